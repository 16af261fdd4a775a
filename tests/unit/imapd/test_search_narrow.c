/*
 * Searches with the index give what a scan of every text gives: random search programs
 * over messages of several charsets, encodings and types, some indexed, some not, some
 * moved or expunged meanwhile.  POSTROOM_SEARCH_QUERIES=10000 for many.
 */
#include <iconv.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_search_eval.h"
#include "text/encoding.h"
#include "unit/imapd/box.h"

enum { MESSAGES = 160, QUERIES = 60 };

static struct box box;
static struct mailbox_view *view;
static uint64_t random_state = 42;

static uint32_t
random_below(uint32_t below)
{
	random_state =
	    random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_state >> 33) % below;
}

/* ---- messages ---- */
static const char *const words[] = {"invoice", "Meeting", "the", "and", "QUARTERLY",
    "report", "Lunch", "foo_bar", "a", "42", "x=y", "<b>bold</b>", "&amp;",
    "re:", "Subject", "multipart", "utf-8"};
static const char *const latin[] = {"Gr\xc3\xbc\xc3\x9f"
				    "e",
    "caf\xc3\xa9", "na\xc3\xafve", "\xc3\x85ngstr\xc3\xb6m", "se\xc3\xb1or"};
static const char *const cyrillic[] = {"\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82",
    "\xd0\xbc\xd0\xb8\xd1\x80", "\xd0\x9e\xd1\x82\xd1\x87\xd1\x91\xd1\x82"};
static const char *const wide[] = {"\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c",
    "\xe6\x9d\xb1\xe4\xba\xac", "\xe4\xbc\x9a\xe8\xad\xb0"};
static const char *const any[] = {"\xf0\x9f\x98\x80",
    "\xce\xa3\xce\xbf\xcf\x86\xcf\x8c\xcf\x82", "\xef\xac\x81ne", "\xc4\xb0stanbul"};

static const struct {
	const char *charset;
	const char *const *words;
	size_t count;
} charsets[] = {
    {"us-ascii",     words,    0				   },
    {"iso-8859-1",   latin,    sizeof(latin) / sizeof(*latin)      },
    {"windows-1251", cyrillic, sizeof(cyrillic) / sizeof(*cyrillic)},
    {"koi8-r",       cyrillic, sizeof(cyrillic) / sizeof(*cyrillic)},
    {"shift_jis",    wide + 1, 2				   },
    {"iso-2022-jp",  wide + 1, 2				   },
    {"gb18030",      wide,     sizeof(wide) / sizeof(*wide)        },
    {"utf-16",       any,      sizeof(any) / sizeof(*any)          },
    {"utf-8",        any,      sizeof(any) / sizeof(*any)          },
};

static const char *
random_word(size_t charset)
{
	if (charsets[charset].count && random_below(3) == 0)
		return charsets[charset]
		    .words[random_below((uint32_t)charsets[charset].count)];
	return words[random_below(sizeof(words) / sizeof(*words))];
}

static void
text_make(size_t charset, unsigned count, struct buf *out)
{
	for (unsigned i = 0; i < count; i++) {
		buf_append_cstr(out, random_word(charset));
		if (random_below(6) == 0)
			buf_append_format(out, "%x", random_below(1 << 16));
		buf_append_cstr(out, random_below(9) ? " " : "\r\n");
	}
}

static void
text_convert(size_t charset, struct slice utf8, struct buf *out)
{
	char bytes[16384];
	char *to = bytes;
	char *from = (char *)(uintptr_t)utf8.ptr;
	size_t left = utf8.len;
	size_t room = sizeof(bytes);
	iconv_t handle = iconv_open(charsets[charset].charset, "UTF-8");
	ENSURE(handle != (iconv_t)-1);
	ENSURE(iconv(handle, &from, &left, &to, &room) != (size_t)-1);
	ENSURE(iconv(handle, NULL, NULL, &to, &room) != (size_t)-1);
	iconv_close(handle);
	buf_append(out, slice_make(bytes, (size_t)(to - bytes)));
}

static void
qp_encode(struct slice in, struct buf *out)
{
	size_t column = 0;
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];
		if (column > 60) {
			buf_append_cstr(out, "=\r\n");
			column = 0;
		}
		if (c > 32 && c < 127 && c != '=' && random_below(10)) {
			buf_append_byte(out, (char)c);
			column++;
		} else {
			buf_append_format(out, "=%02X", c);
			column += 3;
		}
	}
}

static void
part_make(struct buf *out)
{
	static const char *const types[] = {"plain", "plain", "html", "x-odd"};
	size_t charset = random_below(sizeof(charsets) / sizeof(*charsets));
	struct buf utf8, raw;
	buf_init(&utf8, 16384);
	buf_init(&raw, 16384);
	text_make(charset, 3 + random_below(40), &utf8);
	text_convert(charset, buf_slice(&utf8), &raw);
	bool image = random_below(12) == 0;
	buf_append_format(out, "Content-Type: %s/%s; charset=%s\r\n",
	    image ? "image" : "text", image ? "png" : types[random_below(4)],
	    charsets[charset].charset);
	if (random_below(2) || strcmp(charsets[charset].charset, "utf-16") == 0) {
		struct buf coded;
		buf_init(&coded, 65536);
		base64_encode(buf_slice(&raw), &coded);
		buf_append_cstr(out, "Content-Transfer-Encoding: base64\r\n\r\n");
		buf_append(out, buf_slice(&coded));
		buf_fini(&coded);
	} else if (random_below(2)) {
		buf_append_cstr(
		    out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		qp_encode(buf_slice(&raw), out);
	} else {
		buf_append_cstr(out, "\r\n");
		buf_append(out, buf_slice(&raw));
	}
	buf_append_cstr(out, "\r\n");
	buf_fini(&utf8);
	buf_fini(&raw);
}

/* A subject: plain, raw, or an encoded word. */
static void
field_make(const char *name, struct buf *out)
{
	size_t charset = random_below(2) ? 1 : 8;
	struct buf utf8, raw, coded;
	buf_init(&utf8, 4096);
	buf_init(&raw, 4096);
	buf_init(&coded, 8192);
	for (unsigned i = 0; i < 1 + random_below(4); i++) {
		buf_append_cstr(&utf8, i ? " " : "");
		buf_append_cstr(&utf8, random_word(charset));
	}
	text_convert(charset, buf_slice(&utf8), &raw);
	base64_encode(buf_slice(&raw), &coded);
	if (random_below(3))
		buf_append_format(out, "%s: =?%s?b?%.*s?= %x\r\n", name,
		    charsets[charset].charset, SLICE_ARG(buf_slice(&coded)),
		    random_below(1 << 12));
	else
		buf_append_format(out, "%s: %.*s\r\n", name, SLICE_ARG(buf_slice(&utf8)));
	buf_fini(&utf8);
	buf_fini(&raw);
	buf_fini(&coded);
}

/* Addresses that are written in another way than they are read. */
static void
address_make(const char *name, struct buf *out)
{
	const char *a = words[random_below(17)], *b = words[random_below(17)];
	unsigned n = random_below(8);

	buf_append_format(out, "%s: ", name);
	switch (random_below(4)) {
	case 0:
		buf_append_format(
		    out, "\"%s, %s\" <user%x (now) @ (then) mail . example>", a, b, n);
		break;
	case 1:
		buf_append_format(
		    out, "=?utf-8?q?%s,?= %s <user%x@mail.example>, x@y", a, b, n);
		break;
	case 2:
		buf_append_format(out, "user%x@mail.example (%s \\( %s)", n, a, b);
		break;
	default:
		buf_append_format(
		    out, "%s %s: <user%x@mail\r\n .example>, b@c;", a, b, n);
	}
	buf_append_cstr(out, "\r\n");
}

static void
message_make(unsigned number, struct buf *out)
{
	static const char *const names[] = {
	    "Subject", "From", "To", "Cc", "Reply-To", "X-Odd", "List-Id", "Bcc"};
	for (unsigned i = 0; i < 2 + random_below(6); i++)
		field_make(names[random_below(8)], out);
	if (random_below(2))
		address_make(random_below(2) ? "From" : "To", out);
	buf_append_format(
	    out, "Message-ID: <%x.%u@example.org>\r\n", random_below(1 << 30), number);
	unsigned parts = random_below(3);
	if (parts == 0) {
		part_make(out);
		return;
	}
	buf_append_format(
	    out, "Content-Type: multipart/mixed; boundary=b%u\r\n\r\n", number);
	for (unsigned i = 0; i < parts; i++) {
		buf_append_format(out, "--b%u\r\n", number);
		if (random_below(4) == 0) {
			buf_append_cstr(out, "Content-Type: message/rfc822\r\n\r\n");
			field_make("Subject", out);
		}
		part_make(out);
	}
	buf_append_format(out, "--b%u--\r\n", number);
}

static void
append(unsigned number)
{
	struct buf text;
	buf_init(&text, 1024 * 1024);
	arena_reset(box.arena);
	message_make(number, &text);
	box_append(&box, buf_slice(&text), random_below(2) ? MESSAGE_SEEN : 0, NULL, 0,
	    1000 * (int64_t)random_below(1000000));
	buf_fini(&text);
}

/* ---- programs ---- */
static void
needle_put(struct buf *out)
{
	size_t charset = random_below(sizeof(charsets) / sizeof(*charsets));
	struct buf text;
	buf_init(&text, 4096);
	text_make(charset, 1 + random_below(2), &text);
	size_t from = random_below(4) ? 0 : random_below((uint32_t)text.len);
	size_t len = random_below(4) ? text.len : 1 + random_below(6);
	while (from && ((unsigned char)text.ptr[from] & 0xc0) == 0x80)
		from--;
	while (
	    from + len < text.len && ((unsigned char)text.ptr[from + len] & 0xc0) == 0x80)
		len++;
	struct slice needle = slice_sub(buf_slice(&text), from, len);
	if (random_below(20) == 0)
		needle = SLICE("");
	buf_append_format(out, "{%zu}\r\n%.*s", needle.len, SLICE_ARG(needle));
	buf_fini(&text);
}

static void
key_put(struct buf *out, unsigned depth)
{
	static const char *const keys[] = {
	    "BODY ", "TEXT ", "SUBJECT ", "FROM ", "TO ", "CC ", "BCC "};
	static const char *const fields[] = {
	    "X-Odd", "list-id", "Message-ID", "Subject", "Reply-To", "X-None"};
	switch (random_below(depth ? 13 : 8)) {
	case 12:
		buf_append_cstr(out, random_below(2) ? "FROM " : "FUZZY TO ");
		buf_append_format(out,
		    random_below(3) ? "\"user%x@mail.example\"" : "\"report <user%x@m\"",
		    random_below(8));
		break;
	case 0:
		buf_append_format(out, "HEADER %s ", fields[random_below(6)]);
		needle_put(out);
		break;
	case 8:
		buf_append_cstr(out, "NOT ");
		key_put(out, depth - 1);
		break;
	case 9:
		buf_append_cstr(out, "OR ");
		key_put(out, depth - 1);
		buf_append_byte(out, ' ');
		key_put(out, depth - 1);
		break;
	case 10:
		buf_append_byte(out, '(');
		key_put(out, depth - 1);
		buf_append_byte(out, ' ');
		key_put(out, depth - 1);
		buf_append_byte(out, ')');
		break;
	case 11:
		buf_append_cstr(out, random_below(2) ? "SEEN" : "10:120");
		break;
	default:
		buf_append_cstr(out, keys[random_below(7)]);
		needle_put(out);
		break;
	}
}

/* ---- with and without ---- */
static void
search(
    struct imap_search_node *root, bool narrowed, struct buf *out, size_t *out_excluded)
{
	struct imap_search_eval eval;
	struct imap_search_narrow narrow;
	struct message_record record;

	imap_search_eval_init(&eval, box.reader, box.account, NULL, 0);
	imap_search_narrow_init(&narrow, root);
	if (narrowed) {
		eval.narrow = &narrow;
		while (!imap_search_narrow_run(&narrow, box.reader, box.account))
			store_reader_end(box.reader);
	}
	struct message_cursor *cursor =
	    message_cursor_open(box.reader, box.account, box.mailbox, 1, UINT32_MAX - 1);
	while (message_cursor_next(cursor, &record) == STATUS_OK) {
		for (size_t i = 0; i < narrow.key_count && narrowed; i++)
			*out_excluded +=
			    imap_search_narrow_excludes(&narrow, narrow.keys[i], &record);
		if (imap_search_match(&eval, root, &record))
			buf_append_format(out, " %u", (unsigned)record.uid);
		imap_search_done(&eval);
	}
	message_cursor_close(&cursor);
	assert_int_equal(eval.status, STATUS_OK);
	imap_search_narrow_fini(&narrow);
	imap_search_eval_fini(&eval);
	store_reader_end(box.reader);
}

static void
query(size_t *out_found, size_t *out_excluded)
{
	struct imap_lex lex;
	struct imap_command cmd = {0};
	struct parse_fault fault = {"?"};
	struct imap_uid_ranges saved = {0};
	struct buf program, scanned, narrowed;
	buf_init(&program, 65536);
	buf_init(&scanned, 65536);
	buf_init(&narrowed, 65536);
	arena_reset(box.arena);
	buf_append_byte(&program, ' ');
	key_put(&program, 3);
	imap_lex_init(&lex, arena_copy(box.arena, buf_slice(&program)), box.arena);
	if (imap_parse_search(&lex, box.arena, &cmd, &fault) != PARSE_DONE)
		fail_msg("%.*s: %s", SLICE_ARG(buf_slice(&program)), fault.text);
	struct imap_search_node *root = cmd.u.search->root;
	assert_int_equal(imap_search_resolve(root, view, &saved, box.arena), STATUS_OK);
	size_t nothing = 0;
	search(root, false, &scanned, &nothing);
	search(root, true, &narrowed, out_excluded);
	if (!slice_equal(buf_slice(&scanned), buf_slice(&narrowed)))
		fail_msg("%.*s: scan %.*s, index %.*s", SLICE_ARG(buf_slice(&program)),
		    SLICE_ARG(buf_slice(&scanned)), SLICE_ARG(buf_slice(&narrowed)));
	*out_found += scanned.len > 0;
	buf_fini(&program);
	buf_fini(&scanned);
	buf_fini(&narrowed);
}

static void
index_all(void)
{
	struct search_reindex_options options = {.keep = true};
	struct search_totals totals;
	assert_int_equal(
	    search_reindex(box.store, box.account, &options, &totals), STATUS_OK);
}

static void
as_a_scan(void **state)
{
	(void)state;
	const char *many = getenv("POSTROOM_SEARCH_QUERIES");
	unsigned queries = many ? (unsigned)atoi(many) : QUERIES;
	size_t found = 0, excluded = 0;
	unsigned number = 0;
	while (number < MESSAGES / 2)
		append(number++);
	index_all();
	while (number < 3 * MESSAGES / 4)
		append(number++);
	index_all();
	while (number < MESSAGES) /* these are not indexed */
		append(number++);
	assert_int_equal(
	    mailbox_view_open(box.reader, box.account, box.mailbox, &view), STATUS_OK);
	for (unsigned i = 0; i < queries; i++)
		query(&found, &excluded);
	print_message("%u queries, %zu with matches, %zu messages not read\n", queries,
	    found, excluded);
	/* It was worth something both ways. */
	assert_true(found > queries / 4);
	assert_true(excluded > (size_t)queries * MESSAGES / 4);
	mailbox_view_close(&view);
}

static int
setup(void **state)
{
	(void)state;
	box_open(&box);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	box_close(&box);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(as_a_scan)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
