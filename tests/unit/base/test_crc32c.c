/*
 * Known sums, the portable way against the processor's, and sums taken piece by piece.
 */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
known_sums(void **state)
{
	(void)state;
	char zeros[32] = {0};
	assert_true(crc32c(0, SLICE("")) == 0);
	assert_true(crc32c(0, SLICE("123456789")) == 0xe3069283u);
	assert_true(crc32c_portable(0, SLICE("123456789")) == 0xe3069283u);
	/* RFC 3720 appendix B.4 */
	assert_true(crc32c(0, slice_make(zeros, sizeof(zeros))) == 0x8a9136aau);
}

static void
both_ways_and_any_cut_agree(void **state)
{
	(void)state;
	char bytes[300];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 31);
	uint32_t whole = crc32c(0, slice_make(bytes, sizeof(bytes)));
	for (size_t i = 0; i <= sizeof(bytes); i++) {
		struct slice head = slice_make(bytes, i);
		struct slice tail = slice_make(bytes + i, sizeof(bytes) - i);
		assert_true(crc32c(0, head) == crc32c_portable(0, head));
		assert_true(crc32c(crc32c(0, head), tail) == whole);
		assert_true(crc32c_portable(crc32c(0, head), tail) == whole);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_sums),
	    cmocka_unit_test(both_ways_and_any_cut_agree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
