/*
 * Capability masks: names, clients by their ID, and the commands that go with them.
 */
#include "imapd/imap_mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BIT(name)  imap_capability_bit(SLICE(name))
#define NAMES(txt) imap_mask_names(SLICE(txt))

static void
names(void **state)
{
	(void)state;
	assert_int_not_equal(BIT("IDLE"), 0);
	assert_int_equal(BIT("IDLE"), BIT("idle"));
	assert_int_not_equal(BIT("IDLE"), BIT("MOVE"));
	assert_int_not_equal(BIT("QUOTASET"), 0);
	/* Announced with a value, masked by name. */
	assert_int_not_equal(BIT("MESSAGELIMIT"), BIT("SAVELIMIT"));
	assert_int_not_equal(BIT("MESSAGELIMIT"), 0);
	assert_int_equal(BIT("IMAP4rev1"), 0);
	assert_int_equal(BIT("X-NONE"), 0);
	assert_int_equal(BIT(""), 0);
	assert_int_equal(NAMES("IDLE,move , X-NONE,,QRESYNC"),
	    BIT("IDLE") | BIT("MOVE") | BIT("QRESYNC"));
	assert_int_equal(NAMES(""), 0);
	assert_int_equal(NAMES(" , ,"), 0);
}

static void
clients(void **state)
{
	(void)state;
	static const char rules[] =
	    "Some Mail=QRESYNC,IDLE; Other = MOVE ;broken;=IDLE; *=NOTIFY,SORT";
	struct slice r = slice_from_cstr(rules);
	assert_int_equal(
	    imap_mask_client(r, SLICE("some mail 3.1")), BIT("QRESYNC") | BIT("IDLE"));
	assert_int_equal(imap_mask_client(r, SLICE("Other")), BIT("MOVE"));
	assert_int_equal(imap_mask_client(r, SLICE("Some")), BIT("NOTIFY") | BIT("SORT"));
	assert_int_equal(imap_mask_client(r, SLICE_NULL), BIT("NOTIFY") | BIT("SORT"));
	assert_int_equal(imap_mask_client(SLICE("a=IDLE"), SLICE("b")), 0);
	assert_int_equal(imap_mask_client(SLICE("a=IDLE"), SLICE_NULL), 0);
	assert_int_equal(imap_mask_client(SLICE_NULL, SLICE("a")), 0);
	assert_int_equal(imap_mask_client(SLICE(";;=;a"), SLICE("a")), 0);
}

static void
commands(void **state)
{
	(void)state;
	assert_true(imap_mask_hides(BIT("MOVE"), SLICE("MOVE")));
	assert_true(imap_mask_hides(BIT("MOVE") | BIT("IDLE"), SLICE("idle")));
	assert_false(imap_mask_hides(BIT("MOVE"), SLICE("IDLE")));
	assert_true(imap_mask_hides(BIT("QUOTASET"), SLICE("SETQUOTA")));
	assert_false(imap_mask_hides(BIT("QUOTASET"), SLICE("GETQUOTA")));
	assert_false(imap_mask_hides(UINT64_MAX, SLICE("FETCH")));
	assert_false(imap_mask_hides(0, SLICE("MOVE")));
	/* Three capabilities bring THREAD: it goes when all of them go. */
	assert_false(imap_mask_hides(
	    BIT("THREAD=REFERENCES") | BIT("THREAD=REFS"), SLICE("THREAD")));
	assert_true(imap_mask_hides(
	    BIT("THREAD=REFERENCES") | BIT("THREAD=REFS") | BIT("THREAD=ORDEREDSUBJECT"),
	    SLICE("THREAD")));
	assert_true(imap_mask_hides(BIT("ACL"), SLICE("GETACL")));
	assert_true(imap_mask_hides(
	    BIT("METADATA") | BIT("METADATA-SERVER"), SLICE("SETMETADATA")));
	assert_true(imap_mask_hides(BIT("COMPRESS=DEFLATE"), SLICE("COMPRESS")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names),
	    cmocka_unit_test(clients),
	    cmocka_unit_test(commands),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
