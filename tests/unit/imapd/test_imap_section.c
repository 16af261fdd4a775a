/*
 * Sections of RFC 9051 section 6.4.5.1 to bytes, over a message with nested parts.
 */
#include "imapd/imap_section.h"

#include "imapd/imap_cmd.h"
#include "unit/imapd/box.h"

static const char nested[] = "From: a@example.org\r\n"
			     "Subject: =?utf-8?q?caf=C3=A9?=\r\n"
			     " folded\r\n"
			     "Content-Type: multipart/mixed; boundary=b\r\n"
			     "\r\n"
			     "preamble\r\n"
			     "--b\r\n"
			     "Content-Type: text/plain\r\n"
			     "\r\n"
			     "one\r\n"
			     "--b\r\n"
			     "Content-Type: message/rfc822\r\n"
			     "\r\n"
			     "Subject: inner\r\n"
			     "\r\n"
			     "inner text\r\n"
			     "--b\r\n"
			     "Content-Type: text/html\r\n"
			     "Content-Transfer-Encoding: base64\r\n"
			     "\r\n"
			     "aGFsbG8=\r\n"
			     "--b--\r\n";

static const char simple[] = "Subject: x\r\n\r\nplain\r\n";

static struct arena *arena;

static struct imap_fetch_body
body_of(const char *item)
{
	struct imap_lex lex;
	struct imap_command cmd = {0};
	struct parse_fault fault;
	imap_lex_init(&lex, arena_format(arena, " 1 %s", item), arena);
	assert_int_equal(imap_parse_fetch(&lex, arena, &cmd, &fault), PARSE_DONE);
	assert_int_equal(cmd.u.fetch->body_count, 1);
	return cmd.u.fetch->bodies[0];
}

/* clang-format off */
static const struct {
	const char *message;
	const char *item;
	const char *want; /* null: NIL */
} cases[] = {
	{nested, "BODY[]", nested},
	{nested, "BODY[1]", "one"},
	{nested, "BODY[1.MIME]", "Content-Type: text/plain\r\n\r\n"},
	{nested, "BODY[1.TEXT]", NULL},
	{nested, "BODY[1.HEADER]", NULL},
	{nested, "BODY[1.1]", NULL},
	{nested, "BODY[2]", "Subject: inner\r\n\r\ninner text"},
	{nested, "BODY[2.HEADER]", "Subject: inner\r\n\r\n"},
	{nested, "BODY[2.TEXT]", "inner text"},
	{nested, "BODY[2.1]", "inner text"},
	{nested, "BODY[2.MIME]", "Content-Type: message/rfc822\r\n\r\n"},
	{nested, "BODY[2.HEADER.FIELDS (subject)]", "Subject: inner\r\n\r\n"},
	{nested, "BODY[3]", "aGFsbG8="},
	{nested, "BODY[4]", NULL},
	{nested, "BODY[HEADER.FIELDS (Subject X-None)]",
	    "Subject: =?utf-8?q?caf=C3=A9?=\r\n folded\r\n\r\n"},
	{nested, "BODY[HEADER.FIELDS.NOT (SUBJECT content-type)]",
	    "From: a@example.org\r\n\r\n"},
	{nested, "BODY[HEADER.FIELDS (none)]", "\r\n"},
	{nested, "BODY[1]<1.1>", "n"},
	{nested, "BODY[1]<1.100>", "ne"},
	{nested, "BODY[1]<3.1>", ""},
	{nested, "BODY[1]<999.1>", ""},
	{nested, "BODY[1]<2.9223372036854775807>", "e"},
	{simple, "BODY[1]", "plain\r\n"},
	{simple, "BODY[TEXT]", "plain\r\n"},
	{simple, "BODY[HEADER]", "Subject: x\r\n\r\n"},
	{simple, "BODY[1.MIME]", "Subject: x\r\n\r\n"},
	{simple, "BODY[2]", NULL},
	{simple, "BODY[1.1]", NULL},
	{"", "BODY[TEXT]", ""},
	{"", "BODY[HEADER.FIELDS (a)]", "\r\n"},
	{"x", "BODY[]", "x"},
};
/* clang-format on */

static void
found(void **state)
{
	(void)state;
	struct buf record, text;
	buf_init(&record, MESSAGE_INDEX_MAX);
	buf_init(&text, 65536);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice message = slice_from_cstr(cases[i].message);
		struct message_index index;
		struct imap_section_range range;
		arena_reset(arena);
		buf_reset(&record);
		assert_true(message_index_build(message, &record));
		assert_true(message_index_decode(buf_slice(&record), &index));
		struct imap_fetch_body body = body_of(cases[i].item);
		enum imap_section_result result =
		    imap_section_find(&index, message.len, &body, &range);
		if (!cases[i].want) {
			if (result != IMAP_SECTION_NIL)
				fail_msg("%s is not NIL", cases[i].item);
			continue;
		}
		if (result != IMAP_SECTION_FOUND)
			fail_msg("%s: %d", cases[i].item, result);
		buf_reset(&text);
		struct slice bytes =
		    slice_sub(message, (size_t)range.offset, (size_t)range.len);
		if (body.text == IMAP_SECTION_HEADER_FIELDS ||
		    body.text == IMAP_SECTION_HEADER_FIELDS_NOT)
			imap_section_header_fields(&body, bytes, &text);
		else
			buf_append(&text, bytes);
		uint64_t offset = 0, len = text.len;
		imap_section_partial(&body, &offset, &len);
		bytes = slice_sub(buf_slice(&text), (size_t)offset, (size_t)len);
		if (!slice_equal(bytes, slice_from_cstr(cases[i].want)))
			fail_msg("%s: '%.*s'", cases[i].item, SLICE_ARG(bytes));
	}
	buf_fini(&record);
	buf_fini(&text);
}

static void
encodings(void **state)
{
	(void)state;
	struct buf record;
	struct message_index index;
	struct imap_section_range range;
	buf_init(&record, MESSAGE_INDEX_MAX);
	assert_true(message_index_build(slice_from_cstr(nested), &record));
	assert_true(message_index_decode(buf_slice(&record), &index));
	struct imap_fetch_body body = body_of("BINARY[3]");
	assert_int_equal(imap_section_find(&index, sizeof(nested) - 1, &body, &range),
	    IMAP_SECTION_FOUND);
	assert_int_equal(range.encoding, 1);
	/* A record of another, longer message is found out. */
	assert_int_equal(
	    imap_section_find(&index, 100, &body, &range), IMAP_SECTION_DAMAGED);
	body = body_of("BODY[TEXT]");
	assert_int_equal(
	    imap_section_find(&index, 10, &body, &range), IMAP_SECTION_DAMAGED);
	buf_fini(&record);
}

static int
setup(void **state)
{
	(void)state;
	arena = arena_new(4 * 1024 * 1024);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(found),
	    cmocka_unit_test(encodings),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
