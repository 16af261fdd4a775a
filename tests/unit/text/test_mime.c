/* The part tree: boundaries, nesting, limits, offsets, sections, decoding. */
#include "unit/text/text_test.h"

#include "base/ensure.h"
#include "text/mime.h"

/* Pre-order text of the tree, a line a part: kind, type, a leaf's body or a message's
 * length, lines. */
static void
dump(const struct mime_part *part, struct slice message, int depth, struct buf *out)
{
	for (; part; part = part->next) {
		buf_append_format(out, "%*s%c %.*s/%.*s [", depth, "", "LMR"[part->kind],
		    SLICE_ARG(part->content_type.type),
		    SLICE_ARG(part->content_type.subtype));
		if (part->kind == MIME_LEAF)
			buf_append(
			    out, slice_sub(message, part->body_offset, part->body_len));
		else if (part->kind == MIME_MESSAGE)
			buf_append_format(out, "%d", (int)part->body_len);
		buf_append(out, SLICE("]"));
		if (part->kind != MIME_MULTIPART)
			buf_append_format(out, " %u", part->body_lines);
		buf_append(out, SLICE("\n"));
		dump(part->child, message, depth + 1, out);
		if (depth == 0)
			break;
	}
}

static void
check_tree(struct slice message, const char *want, int line)
{
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	struct buf text;
	uint32_t count = 0;
	buf_init(&text, 1 << 20);
	dump(mime_parse(message, arena, &count), message, 0, &text);
	check_slice(buf_slice(&text), slice_from_cstr(want), "tree", line);
	buf_fini(&text);
	arena_free(&arena);
}
#define CHECK_TREE(message, want) check_tree(SLICE(message), (want), __LINE__)

static void
test_single(void **state)
{
	(void)state;
	CHECK_TREE("", "L text/plain [] 0\n");
	CHECK_TREE("\r\nhi\r\n", "L text/plain [hi\r\n] 1\n");
	CHECK_TREE("A: b\r\n\r\nhi\r\nx", "L text/plain [hi\r\nx] 1\n");
	CHECK_TREE("A: b\n\nhi\n\n", "L text/plain [hi\n\n] 2\n");
	CHECK_TREE("A: b\r\n", "L text/plain [] 0\n");
	CHECK_TREE("Content-Type: text/html\r\n\r\n--x\r\n", "L text/html [--x\r\n] 1\n");
	CHECK_TREE("Content-Type: bad\r\n\r\n", "L text/plain [] 0\n");
	CHECK_TREE("Content-Type: text\r\n\r\n", "L text/plain [] 0\n");
}

/* Line counts over every length around where counters are added up, and of lines of every
 * density, empty ones too. */
static void
test_line_counts(void **state)
{
	(void)state;
	enum { LINES_MAX = 6000 };
	char *text = xmalloc(LINES_MAX);
	for (unsigned period = 1; period < 12; period++) {
		for (size_t len = 2; len < LINES_MAX; len += len < 40 ? 1 : 997) {
			uint32_t want = 0, parts;
			memcpy(text, "\n\n", 2); /* no header fields */
			for (size_t i = 1; i < len; i++) {
				text[i] = (i + 1) % period ? '\x8a' : '\n';
				want += text[i] == '\n';
			}
			struct arena *arena = arena_new(MIME_ARENA_MAX);
			const struct mime_part *part =
			    mime_parse(slice_make(text, len), arena, &parts);
			assert_int_equal(part->body_lines, want);
			arena_free(&arena);
		}
	}
	free(text);
}

#define MIXED(b) "Content-Type: multipart/mixed; boundary=\"" b "\"\r\n\r\n"

static void
test_multipart(void **state)
{
	(void)state;
	CHECK_TREE(
	    MIXED("b") "pre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n"
		       "two\r\n\r\n--b--\r\nepilogue\r\n",
	    "M multipart/mixed []\n L text/plain [one] 0\n L text/html [two\r\n] 1\n");
	/* Blanks behind a boundary; LF line ends; no end boundary. */
	CHECK_TREE(MIXED("b") "--b \t\n\none\n--b\n\ntwo\n",
	    "M multipart/mixed []\n L text/plain [one] 0\n L text/plain [two\n] 1\n");
	/* What only looks like a boundary. */
	CHECK_TREE(
	    MIXED("b") "--b\r\n\r\n--bb\r\n--b-\r\n --b\r\nx--b\r\n--b--x\r\n--b--\r\n",
	    "M multipart/mixed []\n"
	    " L text/plain [--bb\r\n--b-\r\n --b\r\nx--b\r\n--b--x] 4\n");
	/* Empty parts, with and without a header. */
	CHECK_TREE(MIXED("b") "--b\r\n--b\r\n\r\n--b\r\nA: b\r\n--b--",
	    "M multipart/mixed []\n L text/plain [] 0\n L text/plain [] 0\n"
	    " L text/plain [] 0\n");
	/* No part at all; no boundary parameter; end boundary first. */
	CHECK_TREE(MIXED("b") "nothing\r\n", "M multipart/mixed []\n");
	CHECK_TREE(
	    "Content-Type: multipart/mixed\r\n\r\nx\r\n", "M multipart/mixed []\n");
	CHECK_TREE(MIXED("b") "--b--\r\n--b\r\n\r\nx", "M multipart/mixed []\n");
	CHECK_TREE("Content-Type: multipart/mixed; boundary=b", "M multipart/mixed []\n");
}

static void
test_nested(void **state)
{
	(void)state;
	/* The outer boundary ends an inner multipart that has no end. */
	CHECK_TREE(
	    MIXED("out") "--out\r\n" MIXED("in") "--in\r\n\r\na\r\n--out\r\n\r\nb\r\n"
						 "--out--\r\n",
	    "M multipart/mixed []\n M multipart/mixed []\n  L text/plain [a] 0\n"
	    " L text/plain [b] 0\n");
	/* Boundaries that are prefixes of each other, both ways. */
	CHECK_TREE(
	    MIXED("ab") "--ab\r\n" MIXED("a") "--a\r\n\r\nx\r\n--ab\r\n\r\ny\r\n--ab--",
	    "M multipart/mixed []\n M multipart/mixed []\n  L text/plain [x] 0\n"
	    " L text/plain [y] 0\n");
	CHECK_TREE(MIXED("a") "--a\r\n" MIXED("ab") "--ab\r\n\r\nx\r\n--ab--\r\n--a--",
	    "M multipart/mixed []\n M multipart/mixed []\n  L text/plain [x] 0\n");
	/* The outer boundary inside an inner header. */
	CHECK_TREE(
	    MIXED("a") "--a\r\nContent-Type: text/html\r\n--a\r\n\r\ny\r\n--a--\r\n",
	    "M multipart/mixed []\n L text/html [] 0\n L text/plain [y] 0\n");
	/* The same boundary twice: the inner one counts. */
	CHECK_TREE(MIXED("a") "--a\r\n" MIXED(
		       "a") "--a\r\n\r\nx\r\n--a--\r\n--a\r\n\r\ny\r\n--a--",
	    "M multipart/mixed []\n M multipart/mixed []\n  L text/plain [x] 0\n"
	    " L text/plain [y] 0\n");
}

static void
test_message(void **state)
{
	(void)state;
	CHECK_TREE("Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nbody\r\n",
	    "R message/rfc822 [20] 3\n L text/plain [body\r\n] 1\n");
	CHECK_TREE(MIXED("b") "--b\r\nContent-Type: message/rfc822\r\n\r\n" MIXED(
		       "c") "--c\r\n\r\nx\r\n--c--\r\n--b\r\n\r\ny\r\n--b--",
	    "M multipart/mixed []\n R message/rfc822 [62] 5\n"
	    "  M multipart/mixed []\n   L text/plain [x] 0\n L text/plain [y] 0\n");
	/* In a digest parts are messages when they do not say otherwise. */
	CHECK_TREE("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nA: "
		   "b\r\n\r\nx\r\n"
		   "--b\r\nContent-Type: text/plain\r\n\r\ny\r\n--b--",
	    "M multipart/digest []\n R message/rfc822 [9] 2\n  L text/plain [x] 0\n"
	    " L text/plain [y] 0\n");
	/* A message whose header never ends still holds a message. */
	CHECK_TREE(MIXED("b") "--b\r\nContent-Type: message/rfc822\r\n--b--",
	    "M multipart/mixed []\n R message/rfc822 [0] 0\n  L text/plain [] 0\n");
}

static void
test_fields(void **state)
{
	(void)state;
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	uint32_t count = 0;
	struct mime_part *part = mime_parse(
	    SLICE("Content-Type: Image/PNG; Name=\"A.png\"\r\n"
		  "Content-Transfer-Encoding: BASE64 (x)\r\nContent-ID: <a@b>\r\n"
		  "Content-Description: some\r\n text\r\nContent-MD5: Q2hl\r\n"
		  "Content-Location: http://x/\r\nContent-Language: en, de\r\n"
		  "Content-Disposition: Attachment; "
		  "filename*=utf-8''%c3%a4.png\r\n\r\nQUJD"),
	    arena, &count);
	assert_int_equal(count, 1);
	CHECK_TEXT(part->content_type.type, "image");
	CHECK_TEXT(part->content_type.subtype, "png");
	CHECK_TEXT(header_value_parameter(&part->content_type, SLICE("name")), "A.png");
	CHECK_TEXT(part->encoding, "base64");
	CHECK_TEXT(part->id, "<a@b>");
	CHECK_TEXT(part->description, "some text");
	CHECK_TEXT(part->md5, "Q2hl");
	CHECK_TEXT(part->location, "http://x/");
	CHECK_TEXT(part->language, "en, de");
	CHECK_TEXT(part->disposition.type, "attachment");
	CHECK_TEXT(header_value_parameter(&part->disposition, SLICE("filename")),
	    "\xc3\xa4.png");
	CHECK_TEXT(part->disposition_written.parameters[0].name, "filename*");
	struct buf out;
	buf_init(&out, 100);
	mime_body_decode(part, SLICE_NULL, &out); /* ranges are clamped */
	assert_int_equal(out.len, 0);
	buf_fini(&out);
	arena_free(&arena);
}

static void
check_section(struct mime_part *root, const uint32_t *numbers, size_t count, int want)
{
	struct mime_part *part = mime_part_find(root, numbers, count);
	assert_int_equal(part ? (int)part->index : -1, want);
}
#define CHECK_SECTION(want, ...)                                                         \
	check_section(root, (const uint32_t[]){__VA_ARGS__},                             \
	    sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (want))

static void
test_sections(void **state)
{
	(void)state;
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	uint32_t count = 0;
	struct slice message = SLICE(MIXED(
	    "o") "--o\r\n\r\n1\r\n--o\r\n"
		 "Content-Type: message/rfc822\r\n\r\n" MIXED(
		     "i") "--i\r\n\r\n2.1\r\n--i\r\n\r\n"
			  "2.2\r\n--i--\r\n--o\r\nContent-Type: message/rfc822\r\n\r\nA: "
			  "b\r\n\r\n3.1\r\n"
			  "--o\r\n" MIXED("j") "--j\r\n\r\n4.1\r\n--j--\r\n--o--\r\n");
	struct mime_part *root = mime_parse(message, arena, &count);
	assert_int_equal(count, 10);
	check_section(root, NULL, 0, 0);
	CHECK_SECTION(1, 1);
	CHECK_SECTION(2, 2);
	CHECK_SECTION(4, 2, 1);
	CHECK_SECTION(5, 2, 2);
	CHECK_SECTION(-1, 2, 3);
	CHECK_SECTION(6, 3);
	CHECK_SECTION(7, 3, 1);
	CHECK_SECTION(-1, 3, 2);
	CHECK_SECTION(-1, 3, 1, 1);
	CHECK_SECTION(8, 4);
	CHECK_SECTION(9, 4, 1);
	CHECK_SECTION(-1, 5);
	CHECK_SECTION(-1, 0);
	CHECK_SECTION(-1, 1, 1);
	arena_reset(arena);
	root = mime_parse(SLICE("A: b\r\n\r\nx"), arena, &count);
	CHECK_SECTION(0, 1);
	CHECK_SECTION(-1, 2);
	CHECK_SECTION(-1, 1, 1);
	arena_reset(arena);
	root = mime_parse(
	    SLICE("Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx"), arena, &count);
	CHECK_SECTION(0, 1);
	CHECK_SECTION(1, 1, 1);
	arena_free(&arena);
}

/* Depth and count are bounded, time is linear, ranges stay in their parents. */
static void
check_ranges(const struct mime_part *part, uint64_t from, uint64_t to)
{
	for (; part; part = part->next) {
		assert_true(part->header_offset >= from);
		assert_true(part->header_offset + part->header_len <= to);
		assert_true(part->body_offset == part->header_offset + part->header_len);
		assert_true(part->body_offset + part->body_len <= to);
		check_ranges(
		    part->child, part->body_offset, part->body_offset + part->body_len);
		from = part->body_offset + part->body_len;
	}
}

static void
test_limits(void **state)
{
	(void)state;
	static const char *pieces[] = {MIXED("b") "--b\r\n", "--b\r\n", "--b\r\n\r\n",
	    "--\r\n", "--b--\r\n", "\n", "Content-Type: message/rfc822\r\n\r\n",
	    "a: b\r\n", "--b\r\nContent-Type: message/rfc822\r\n",
	    "--b\r\n" MIXED("c") "--c\r\n"};
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf message;
		struct arena *arena = arena_new(MIME_ARENA_MAX);
		uint32_t count = 0;
		buf_init(&message, 4 << 20);
		buf_append(&message, SLICE(MIXED("b")));
		while (message.len < 1 << 20)
			buf_append_cstr(&message, pieces[i]);
		struct mime_part *root = mime_parse(buf_slice(&message), arena, &count);
		assert_true(count >= 1 && count <= MIME_PARTS_MAX);
		check_ranges(root, 0, message.len);
		arena_free(&arena);
		buf_fini(&message);
	}
	/* A different boundary on each level, then lines that nearly match them all. */
	struct buf message;
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	uint32_t count = 0;
	buf_init(&message, 4 << 20);
	for (int i = 0; i < 200; i++)
		buf_append_format(&message,
		    "Content-Type: multipart/mixed; boundary=x%03d\r\n\r\n--x%03d\r\n", i,
		    i);
	while (message.len < 2 << 20)
		buf_append(&message, SLICE("--x99y\r\n"));
	struct mime_part *root = mime_parse(buf_slice(&message), arena, &count);
	assert_int_equal(count, MIME_DEPTH_MAX);
	check_ranges(root, 0, message.len);
	arena_free(&arena);
	buf_fini(&message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_single),
	    cmocka_unit_test(test_line_counts),
	    cmocka_unit_test(test_multipart),
	    cmocka_unit_test(test_nested),
	    cmocka_unit_test(test_message),
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_sections),
	    cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
