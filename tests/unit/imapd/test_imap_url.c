/*
 * IMAP URLs of CATENATE (RFC 5092 section 11): what is taken, what is not.
 */
#include "imapd/imap_url.h"

#include "unit/imapd/box.h"

/* clang-format off */
static const struct {
	const char *text;
	const char *mailbox; /* null: the selected one */
	uint32_t uidvalidity, uid;
	uint32_t number; /* first of the section */
	uint64_t length; /* of a partial */
	enum imap_section_text section;
} good[] = {
	{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", "Drafts", 385759045, 20,
	    0, 0, IMAP_SECTION_HEADER},
	{"/Drafts;UIDVALIDITY=5/;UID=20/;section=1.MIME", "Drafts", 5, 20, 1, 0,
	    IMAP_SECTION_MIME},
	{"/Drafts/;UID=3002", "Drafts", 0, 3002, 0, 0, IMAP_SECTION_ALL},
	{"/a/b%20c;uidvalidity=1/;uid=2/;SECTION=2/;PARTIAL=0.5", "a/b c", 1, 2, 2, 5,
	    IMAP_SECTION_ALL},
	{";UID=7/;SECTION=TEXT", NULL, 0, 7, 0, 0, IMAP_SECTION_TEXT},
	{"/INBOX;UID=1/;PARTIAL=3", "INBOX", 0, 1, 0, INT64_MAX, IMAP_SECTION_ALL},
	{"/x/;UID=1/;SECTION=HEADER.FIELDS%20(Subject%20To)", "x", 0, 1, 0, 0,
	    IMAP_SECTION_HEADER_FIELDS},
};
/* clang-format on */

static const char *const wrong[] = {
    "",
    "/",
    "/INBOX",
    "/;UID=1",
    "/INBOX/;UID=0",
    "/INBOX/;UID=4294967296",
    "/INBOX/;UID=x",
    "/INBOX/;UID=1/;SECTION=",
    "/INBOX/;UID=1/;SECTION=9.9.x",
    "/INBOX/;UID=1/;SECTION=1]",
    "/INBOX/;UID=1/;PARTIAL=0.0",
    "/INBOX/;UID=1/more",
    "/INBOX/;UID=1;URLAUTH=anonymous",
    "/INBOX;UIDVALIDITY=0/;UID=1",
    "/INBOX;UIDVALIDITY=1;UID=1",
    "//server/INBOX/;UID=1",
    "imap://server/INBOX/;UID=1",
    "/a%0/;UID=1",
    "/a%zz/;UID=1",
    "/a%00/;UID=1",
    "/a%0D/;UID=1",
};

static void
taken(void **state)
{
	struct arena *arena = arena_new(1024 * 1024);
	struct imap_url url;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!imap_url_parse(slice_from_cstr(good[i].text), arena, &url))
			fail_msg("%s", good[i].text);
		if (good[i].mailbox)
			assert_true(
			    slice_equal(url.mailbox, slice_from_cstr(good[i].mailbox)));
		else
			assert_null(url.mailbox.ptr);
		assert_int_equal(url.uidvalidity, good[i].uidvalidity);
		assert_int_equal(url.uid, good[i].uid);
		assert_int_equal(url.section.text, good[i].section);
		assert_int_equal(url.section.number_count, good[i].number != 0);
		if (good[i].number)
			assert_int_equal(url.section.numbers[0], good[i].number);
		assert_true(url.section.length == good[i].length);
	}
	arena_free(&arena);
}

static void
refused(void **state)
{
	struct arena *arena = arena_new(1024 * 1024);
	struct imap_url url;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (imap_url_parse(slice_from_cstr(wrong[i]), arena, &url))
			fail_msg("%s", wrong[i]);
	arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(taken),
	    cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
