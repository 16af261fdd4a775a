/*
 * Packed bodies: what goes in comes out, at all sizes; what does not pay is refused; a
 * stream that is cut, changed in any bit, longer or shorter than it says, or a bomb, is
 * refused and writes nothing behind the size that was asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/crc32c.h"
#include "store/body_pack.h"

enum { GUARD = 64 };

static struct slice
text_make(char *bytes, size_t len)
{
	static const char line[] = "Received: from mx.example by mail.example; ";
	uint32_t random = 1;
	for (size_t i = 0; i < len; i++) {
		random = random * 1103515245 + 12345;
		bytes[i] = random >> 30 ? line[i % (sizeof line - 1)]
		                        : (char)('a' + (random >> 20) % 26);
	}
	return slice_make(bytes, len);
}

/* Into exactly so much room, with a guard behind. */
static bool
unpack(struct slice packed, uint64_t size, uint32_t crc, char *out)
{
	memset(out, 0x55, (size_t)size + GUARD);
	bool ok = body_unpack(packed, size, crc, out);
	for (size_t i = 0; i < GUARD; i++)
		assert_int_equal(out[size + i], 0x55);
	return ok;
}

static void
test_sizes(void **state)
{
	static const size_t sizes[] = {BODY_PACK_RAW_MIN, 1000, 1024, 1025, 4000, 32767,
	    32768, 32769, 100000, BODY_PACK_RAW_MAX};
	char *bytes = malloc(BODY_PACK_RAW_MAX + 1);
	char *out = malloc(BODY_PACK_RAW_MAX + GUARD);
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct slice raw = text_make(bytes, sizes[i]);
		uint32_t crc = crc32c(0, raw), got_crc;
		uint64_t size;
		struct buf packed AUTO_BUF;
		buf_init(&packed, BODY_PACK_RAW_MAX);
		assert_true(body_pack(raw, crc, BODY_PACK_LEVEL, &packed));
		assert_true(packed.len <= raw.len - raw.len / BODY_PACK_SAVES);
		assert_true(body_pack_head(buf_slice(&packed), &size, &got_crc));
		assert_int_equal(size, raw.len);
		assert_int_equal(got_crc, crc);
		assert_true(unpack(buf_slice(&packed), raw.len, crc, out));
		assert_memory_equal(out, raw.ptr, raw.len);
		/* Not what was asked for. */
		assert_false(unpack(buf_slice(&packed), raw.len - 1, crc, out));
		assert_false(unpack(buf_slice(&packed), raw.len, crc + 1, out));
	}
	free(bytes);
	free(out);
}

static void
test_does_not_pay(void **state)
{
	char *bytes = malloc(BODY_PACK_RAW_MAX + 1);
	struct buf packed AUTO_BUF;
	(void)state;
	buf_init(&packed, BODY_PACK_RAW_MAX);
	memset(bytes, 'x', BODY_PACK_RAW_MAX + 1);
	assert_false(body_pack(
	    slice_make(bytes, BODY_PACK_RAW_MIN - 1), 0, BODY_PACK_LEVEL, &packed));
	assert_false(body_pack(
	    slice_make(bytes, BODY_PACK_RAW_MAX + 1), 0, BODY_PACK_LEVEL, &packed));
	uint32_t random = 7;
	for (size_t i = 0; i < BODY_PACK_RAW_MAX; i++) {
		random = random * 1664525 + 1013904223;
		bytes[i] = (char)(random >> 24);
	}
	assert_false(
	    body_pack(slice_make(bytes, BODY_PACK_RAW_MAX), 0, BODY_PACK_LEVEL, &packed));
	assert_false(
	    body_pack(slice_make(bytes, BODY_PACK_RAW_MIN), 0, BODY_PACK_LEVEL, &packed));
	assert_int_equal(packed.len, 0);
	free(bytes);
}

static void
test_damage(void **state)
{
	char bytes[900], out[900 + GUARD];
	struct slice raw = text_make(bytes, sizeof bytes);
	uint32_t crc = crc32c(0, raw);
	struct buf packed AUTO_BUF;
	(void)state;
	buf_init(&packed, BODY_PACK_RAW_MAX);
	assert_true(body_pack(raw, crc, BODY_PACK_LEVEL, &packed));
	for (size_t len = 0; len < packed.len; len++) {
		char *cut = malloc(len + 1); /* so that reading on is seen */
		memcpy(cut, packed.ptr, len);
		assert_false(unpack(slice_make(cut, len), raw.len, crc, out));
		free(cut);
	}
	for (size_t bit = 0; bit < packed.len * 8; bit++) {
		packed.ptr[bit / 8] ^= (char)(1 << bit % 8);
		/* A bit that the stream does not use is found by the frame's checksum;
		 * what comes out is right or refused. */
		if (unpack(buf_slice(&packed), raw.len, crc, out))
			assert_memory_equal(out, raw.ptr, raw.len);
		packed.ptr[bit / 8] ^= (char)(1 << bit % 8);
	}
	buf_append_byte(&packed, 0);
	assert_false(unpack(buf_slice(&packed), raw.len, crc, out));
}

/* Streams that are well formed and lie about their size. */
static void
test_bombs(void **state)
{
	enum { BIG = 8 * 1024 * 1024 };
	char *zeroes = calloc(1, BIG), out[2000 + GUARD];
	unsigned char packed[BODY_PACK_HEAD_SIZE + 20000];
	(void)state;
	for (unsigned size = 999; size <= 1001; size++) {
		uLongf len = sizeof packed - BODY_PACK_HEAD_SIZE;
		uLong raw = size == 999 ? BIG : size == 1000 ? 1001 : 999;
		assert_int_equal(compress2(packed + BODY_PACK_HEAD_SIZE, &len,
				     (unsigned char *)zeroes, raw, 9),
		    Z_OK);
		uint32_t crc = crc32c(0, slice_make(zeroes, 1000));
		be32_put((char *)packed, 0x50524c5a);
		be32_put((char *)packed + 4, crc);
		be64_put((char *)packed + 8, 1000);
		struct slice all =
		    slice_make((char *)packed, BODY_PACK_HEAD_SIZE + (size_t)len);
		assert_false(unpack(all, 1000, crc, out));
		/* Nor are sizes believed that no body has. */
		static const uint64_t lies[] = {0, BODY_PACK_RAW_MAX + 1, UINT64_MAX};
		for (size_t i = 0; i < 3; i++) {
			uint64_t got;
			be64_put((char *)packed + 8, lies[i]);
			assert_false(body_pack_head(all, &got, &crc));
			assert_false(body_unpack(all, lies[i], crc, out));
		}
	}
	free(zeroes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_does_not_pay),
	    cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_bombs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
