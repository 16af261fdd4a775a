/*
 * Targets: doubles are taken out, few by search and many by map; the limit holds; what
 * was added last can be taken back.
 */
#include "smtpd/smtp_envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct smtp_target
local(unsigned number)
{
	struct smtp_target target = {.local = true, .login = SLICE("x@y.example")};
	be32_put(target.account.v, number);
	return target;
}

static struct smtp_target
external(struct smtp_envelope *e, unsigned number, bool upper)
{
	return (struct smtp_target){
	    .address = arena_format(
		e->arena, upper ? "USER%u@EXT.example" : "user%u@ext.example", number)};
}

static void
doubles(void **state)
{
	(void)state;
	for (unsigned count = 1; count <= 100; count += 9) {
		struct smtp_envelope *e = smtp_envelope_new(NULL, NULL);
		for (unsigned round = 0; round < 2; round++) {
			enum smtp_envelope_result want =
			    round ? SMTP_ENVELOPE_DOUBLE : SMTP_ENVELOPE_ADDED;
			for (unsigned i = 0; i < count; i++) {
				struct smtp_target a = local(i);
				struct smtp_target b = external(e, i, round);
				assert_int_equal(smtp_envelope_add(e, &a), want);
				assert_int_equal(smtp_envelope_find(e, &b),
				    round ? 2 * i + 1 : SIZE_MAX);
				assert_int_equal(smtp_envelope_add(e, &b), want);
			}
		}
		assert_int_equal(e->target_count, 2 * count);
		assert_int_equal(e->external_count, count);
		smtp_envelope_free(&e);
		assert_null(e);
	}
}

static void
limit(void **state)
{
	(void)state;
	struct smtp_envelope *e = smtp_envelope_new(NULL, NULL);
	unsigned i = 0;
	for (; i < SMTP_TARGETS_MAX; i++) {
		struct smtp_target target = external(e, i, false);
		assert_int_equal(smtp_envelope_add(e, &target), SMTP_ENVELOPE_ADDED);
	}
	struct smtp_target target = external(e, i, false);
	assert_int_equal(smtp_envelope_add(e, &target), SMTP_ENVELOPE_FULL);
	target = external(e, 7, true);
	assert_int_equal(smtp_envelope_add(e, &target), SMTP_ENVELOPE_DOUBLE);
	assert_int_equal(e->target_count, SMTP_TARGETS_MAX);
	smtp_envelope_free(&e);
}

static void
cut(void **state)
{
	(void)state;
	struct smtp_envelope *e = smtp_envelope_new(NULL, NULL);
	for (unsigned i = 0; i < 40; i++) {
		struct smtp_target target = external(e, i, false);
		assert_int_equal(smtp_envelope_add(e, &target), SMTP_ENVELOPE_ADDED);
	}
	smtp_envelope_cut(e, 20);
	assert_int_equal(e->target_count, 20);
	assert_int_equal(e->external_count, 20);
	struct smtp_target target = external(e, 30, false);
	assert_int_equal(smtp_envelope_add(e, &target), SMTP_ENVELOPE_ADDED);
	target = external(e, 19, false);
	assert_int_equal(smtp_envelope_add(e, &target), SMTP_ENVELOPE_DOUBLE);
	smtp_envelope_free(&e);
	smtp_envelope_free(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(doubles),
	    cmocka_unit_test(limit),
	    cmocka_unit_test(cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
