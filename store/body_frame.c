/*
 * Segment and frame headers, and CRC-32C.  The checksum runs over every message byte at
 * delivery and at verify, so it uses SSE 4.2 when the processor has it and eight tables
 * otherwise; both give the same values.  Pure, any thread.
 */
#include "store/body_frame.h"

#include <pthread.h>
#include <string.h>

#include "base/buf.h"

static const char SEGMENT_MAGIC[8] = {'P', 'R', 'S', 'E', 'G', 'M', 'N', 'T'};

enum { FRAME_MAGIC = 0x5052464d };

void
body_segment_header_put(char out[BODY_SEGMENT_HEADER_SIZE])
{
	memset(out, 0, BODY_SEGMENT_HEADER_SIZE);
	memcpy(out, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC);
	be32_put(out + 8, BODY_SEGMENT_VERSION);
}

bool
body_segment_header_ok(const char *header)
{
	char expected[BODY_SEGMENT_HEADER_SIZE];
	body_segment_header_put(expected);
	return memcmp(header, expected, sizeof expected) == 0;
}

void
body_frame_header_put(char out[BODY_FRAME_HEADER_SIZE], uint64_t size, uint32_t crc)
{
	be32_put(out, FRAME_MAGIC);
	be32_put(out + 4, (uint32_t)BODY_FRAME_VERSION << 24);
	be64_put(out + 8, size);
	be32_put(out + 16, crc);
	be32_put(out + 20, body_crc(0, slice_make(out, 20)));
}

bool
body_frame_header_get(const char *header, uint64_t *out_size, uint32_t *out_crc)
{
	if (be32_get(header) != FRAME_MAGIC || header[4] != BODY_FRAME_VERSION ||
	    be32_get(header + 20) != body_crc(0, slice_make(header, 20)))
		return false;
	*out_size = be64_get(header + 8);
	*out_crc = be32_get(header + 16);
	return true;
}

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
body_crc(uint32_t crc, struct slice bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_by_instruction(~crc, p, bytes.len);
#endif
	return ~crc_by_table(~crc, p, bytes.len);
}
