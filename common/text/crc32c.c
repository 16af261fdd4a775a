/*
 * CRC-32C: the processor's instruction on x86-64 that has it (SSE 4.2), else a table of
 * sixteen entries.  Both give the same sums, so records move between machines.
 */
#include "text/crc32c_int.h"

/* Remainders of the sixteen values of four bits, reflected polynomial 0x82f63b78. */
static const uint32_t crc_nibbles[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
    0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6,
    0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

static uint32_t
crc_plain(uint32_t crc, const unsigned char *p, size_t n)
{
	for (; n; p++, n--) {
		crc ^= *p;
		crc = crc >> 4 ^ crc_nibbles[crc & 15];
		crc = crc >> 4 ^ crc_nibbles[crc & 15];
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc_sse42(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t wide = crc, word;
	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; n; p++, n--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#endif

uint32_t
crc32c(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_sse42(UINT32_MAX, p, s.len);
#endif
	return ~crc_plain(UINT32_MAX, p, s.len);
}

uint32_t
crc32c_portable(struct slice s)
{
	return ~crc_plain(UINT32_MAX, (const unsigned char *)s.ptr, s.len);
}
