/*
 * CRC-32C.  It runs over every message byte at delivery and at verify, so it uses SSE 4.2
 * where the processor has it and eight tables otherwise; both give the same values, so
 * files move between machines.  Pure, any thread.
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

enum { CRC_POLYNOMIAL = (int)0x82f63b78 }; /* reflected */

static uint32_t crc_tables[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void
crc_tables_make(void)
{
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t crc = n;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ (uint32_t)CRC_POLYNOMIAL : crc >> 1;
		crc_tables[0][n] = crc;
	}
	for (uint32_t n = 0; n < 256; n++) {
		for (int t = 1; t < 8; t++) {
			uint32_t before = crc_tables[t - 1][n];
			crc_tables[t][n] = before >> 8 ^ crc_tables[0][before & 0xff];
		}
	}
}

static uint32_t
crc_by_table(uint32_t crc, const unsigned char *p, size_t len)
{
	pthread_once(&crc_once, crc_tables_make);
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 |
					 (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
		crc = crc_tables[7][low & 0xff] ^ crc_tables[6][low >> 8 & 0xff] ^
		      crc_tables[5][low >> 16 & 0xff] ^ crc_tables[4][low >> 24] ^
		      crc_tables[3][p[4]] ^ crc_tables[2][p[5]] ^ crc_tables[1][p[6]] ^
		      crc_tables[0][p[7]];
	}
	for (; len > 0; p++, len--)
		crc = crc >> 8 ^ crc_tables[0][(crc ^ *p) & 0xff];
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc_by_instruction(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t wide = crc;
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;
		memcpy(&word, p, sizeof word);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len > 0; p++, len--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#endif

uint32_t
crc32c(uint32_t crc, struct slice bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_by_instruction(~crc, p, bytes.len);
#endif
	return ~crc_by_table(~crc, p, bytes.len);
}

uint32_t
crc32c_portable(uint32_t crc, struct slice bytes)
{
	return ~crc_by_table(~crc, (const unsigned char *)bytes.ptr, bytes.len);
}
