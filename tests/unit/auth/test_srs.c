/*
 * Sender rewriting: there and back, chains of forwarders, its end after three weeks, and
 * that nothing that was not made here is taken.
 */
#include "unit/auth/auth_harness.h"

#include "auth/srs.h"
#include "text/address.h"

static const unsigned char key[SRS_KEY_SIZE] = "the installation's own 32 bytes";
static const unsigned char other_key[SRS_KEY_SIZE] = "another installation's 32 bytes";
enum { NOW_S = 1764000000, DAY_S = 86400 };

/* The rewritten address; its local part is *out_local. */
static const char *
forward(const unsigned char *with, const char *sender, const char *domain, int64_t now_s,
    struct slice *out_local)
{
	static char text[600];
	struct buf out;
	buf_init(&out, sizeof(text) - 1);
	text[0] = '\0';
	if (srs_forward(
		with, slice_from_cstr(sender), slice_from_cstr(domain), now_s, &out)) {
		assert_true(buf_ok(&out));
		memcpy(text, out.ptr, out.len);
		text[out.len] = '\0';
	} else {
		assert_int_equal(out.len, 0);
	}
	buf_fini(&out);
	const char *at = strrchr(text, '@');
	*out_local = slice_make(text, at ? (size_t)(at - text) : 0);
	return text;
}

static enum srs_result
reverse(struct slice local, int64_t now_s, const char *want)
{
	struct buf out;
	buf_init(&out, 600);
	enum srs_result result = srs_reverse(key, local, now_s, &out);
	if (result == SRS_OK)
		assert_true(slice_equal(buf_slice(&out), slice_from_cstr(want)));
	else
		assert_int_equal(out.len, 0);
	buf_fini(&out);
	return result;
}

static void
there_and_back(void **state)
{
	static const char *const senders[] = {"a@b.example", "Some.One@Far.Example",
	    "bounce+x-anna=demo.test@lists.example", "a=b=c@d.example", "=@d.example"};
	struct slice local;
	(void)state;
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		const char *made = forward(key, senders[i], "us.example", NOW_S, &local);
		assert_true(srs_is(local));
		assert_memory_equal(made, "SRS0=", 5);
		assert_true(
		    slice_has_suffix(slice_from_cstr(made), SLICE("@us.example")));
		assert_int_equal(reverse(local, NOW_S, senders[i]), SRS_OK);
	}
}

static void
not_rewritten(void **state)
{
	struct slice local;
	char longest[300];
	(void)state;
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 230, "@b.example", 11);
	static const char *const senders[] = {
	    "", "nobody", "@b.example", "\"a b\"@c.example"};
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++)
		assert_string_equal(
		    forward(key, senders[i], "us.example", NOW_S, &local), "");
	assert_string_equal(forward(key, longest, "us.example", NOW_S, &local), "");
	memcpy(longest + 190, "@b.example", 11);
	assert_true(strlen(forward(key, longest, "us.example", NOW_S, &local)) <=
		    ADDRESS_PATH_MAX);
	assert_int_equal(reverse(local, NOW_S, longest), SRS_OK);
}

static void
it_ends(void **state)
{
	struct slice local;
	(void)state;
	(void)forward(key, "a@b.example", "us.example", NOW_S, &local);
	assert_int_equal(
	    reverse(local, NOW_S + SRS_DAYS_MAX * DAY_S, "a@b.example"), SRS_OK);
	assert_int_equal(
	    reverse(local, NOW_S + (SRS_DAYS_MAX + 1) * DAY_S, ""), SRS_EXPIRED);
	/* A clock that was set back by a day, and by more. */
	assert_int_equal(reverse(local, NOW_S - DAY_S, "a@b.example"), SRS_OK);
	assert_int_equal(reverse(local, NOW_S - 2 * DAY_S, ""), SRS_EXPIRED);
	assert_int_equal(reverse(local, -1, ""), SRS_BAD);
}

static void
chains(void **state)
{
	struct slice local;
	char first[300];
	char second[300];
	(void)state;
	strcpy(first, forward(other_key, "a@b.example", "one.example", NOW_S, &local));
	/* We are the second: reports go back to the first, not further. */
	strcpy(second, forward(key, first, "us.example", NOW_S, &local));
	assert_memory_equal(second, "SRS1=", 5);
	assert_int_equal(reverse(local, NOW_S, first), SRS_OK);
	/* We are the third: the second drops out. */
	const char *foreign = "SRS1=HASH=one.example==ABCD=XY=b.example=a@two.example";
	const char *made = forward(key, foreign, "us.example", NOW_S, &local);
	assert_non_null(strstr(made, "=one.example==ABCD=XY=b.example=a@us.example"));
	assert_int_equal(
	    reverse(local, NOW_S, "SRS0=ABCD=XY=b.example=a@one.example"), SRS_OK);
	/* Other separators are kept. */
	(void)forward(
	    key, "SRS0+ABCD=XY=b.example=a@one.example", "us.example", NOW_S, &local);
	assert_int_equal(
	    reverse(local, NOW_S, "SRS0+ABCD=XY=b.example=a@one.example"), SRS_OK);
}

static void
forged(void **state)
{
	struct slice local;
	char text[300];
	(void)state;
	(void)forward(other_key, "a@b.example", "us.example", NOW_S, &local);
	assert_int_equal(reverse(local, NOW_S, ""), SRS_FORGED);
	(void)forward(key, "a@b.example", "us.example", NOW_S, &local);
	memcpy(text, local.ptr, local.len);
	/* Letter case may have been lost on the way; any other change is found. */
	for (size_t i = 0; i < local.len; i++)
		text[i] = ascii_lower(text[i]);
	assert_int_equal(
	    reverse(slice_make(text, local.len), NOW_S, "a@b.example"), SRS_OK);
	for (size_t i = 5; i < local.len; i++) {
		char kept = text[i];
		text[i] = kept == 'x' ? 'y' : 'x';
		assert_int_not_equal(
		    reverse(slice_make(text, local.len), NOW_S, ""), SRS_OK);
		text[i] = kept;
		assert_int_not_equal(reverse(slice_make(text, i), NOW_S, ""), SRS_OK);
	}
	/* An SRS0's hash is no SRS1's. */
	text[3] = '1';
	assert_int_equal(reverse(slice_make(text, local.len), NOW_S, ""), SRS_FORGED);
	static const char *const bad[] = {"SRS0=", "SRS0==", "SRS1=AAAAAAAA=",
	    "SRS0=a=b=c", "SRS1=AAAAAAAA=x.example=", "SRS0=AAAAAAAA=AA=b.example=a"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(reverse(slice_from_cstr(bad[i]), NOW_S, ""), SRS_OK);
	assert_false(srs_is(SLICE("SRS0")));
	assert_false(srs_is(SLICE("SRS0x")));
	assert_false(srs_is(SLICE("SRS2=a")));
	assert_true(srs_is(SLICE("srs1+a")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_and_back),
	    cmocka_unit_test(not_rewritten),
	    cmocka_unit_test(it_ends),
	    cmocka_unit_test(chains),
	    cmocka_unit_test(forged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
