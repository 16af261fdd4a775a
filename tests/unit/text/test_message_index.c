/*
 * The derived record: its fields, its refusal of damage, and its invariants on every
 * message of the corpus (POSTROOM_CORPUS: the folder with the archives) and on generated
 * hostile ones.
 */
#include "unit/text/text_test.h"

#include <dirent.h>
#include <sys/stat.h>

#include "text/encoding.h"
#include "text/message_index.h"
#include "unit/text/structure_check.h"

static void
check_parts(const struct message_index *index, size_t message_len)
{
	for (uint32_t i = 0; i < index->part_count; i++) {
		struct index_part part, parent;
		message_index_part(index, i, &part);
		assert_true(part.body_offset == part.header_offset + part.header_len);
		assert_true(part.body_offset + part.body_len <= message_len);
		assert_true(part.kind <= MIME_MESSAGE && part.encoding <= 3);
		if (i == 0) {
			assert_int_equal(part.parent, 0xffff);
			assert_true(part.header_len == index->header_len);
			continue;
		}
		assert_true(part.parent < i);
		message_index_part(index, part.parent, &parent);
		assert_true(parent.kind != MIME_LEAF);
		assert_true(part.header_offset >= parent.body_offset);
		assert_true(part.body_offset + part.body_len <=
			    parent.body_offset + parent.body_len);
	}
}

/* The record's section search against the tree's. */
static void
check_sections(const struct message_index *index, struct slice message)
{
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	uint32_t count = 0;
	struct mime_part *root = mime_parse(message, arena, &count);
	assert_int_equal(count, index->part_count);
	for (uint32_t a = 0; a < 4; a++) {
		for (uint32_t b = 0; b < 4; b++) {
			for (uint32_t c = 0; c < 4; c++) {
				uint32_t numbers[] = {a, b, c}, found = 0;
				for (size_t n = 0; n <= 3; n++) {
					struct mime_part *part =
					    mime_part_find(root, numbers, n);
					bool ok =
					    message_index_find(index, numbers, n, &found);
					assert_int_equal(ok, part != NULL);
					if (ok)
						assert_int_equal(found, part->index);
				}
			}
		}
	}
	arena_free(&arena);
}

static void
check_message(struct slice message, const char *name)
{
	struct buf record;
	struct message_index index;
	buf_init(&record, MESSAGE_INDEX_MAX);
	if (!message_index_build(message, &record))
		fail_msg("no record: %s", name);
	if (!message_index_decode(buf_slice(&record), &index))
		fail_msg("does not decode: %s", name);
	if (!imap_envelope_is_valid(index.envelope))
		fail_msg("envelope: %s: %.*s", name, SLICE_ARG(index.envelope));
	if (!imap_body_is_valid(index.body, false))
		fail_msg("body: %s: %.*s", name, SLICE_ARG(index.body));
	if (!imap_body_is_valid(index.bodystructure, true))
		fail_msg("bodystructure: %s: %.*s", name, SLICE_ARG(index.bodystructure));
	const struct slice texts[] = {index.subject_key, index.from_key, index.to_key,
	    index.cc_key, index.from_display, index.to_display, index.preview};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_true(utf8_is_valid(texts[i]));
	check_parts(&index, message.len);
	check_sections(&index, message);
	buf_fini(&record);
}

/* Bare line feeds become CRLF, as they do on the way in. */
static void
append_crlf(struct slice in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '\n' && (i == 0 || in.ptr[i - 1] != '\r'))
			buf_append_byte(out, '\r');
		buf_append_byte(out, in.ptr[i]);
	}
}

static size_t
check_folder(const char *folder)
{
	size_t count = 0;
	DIR *dir = opendir(folder);
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		char path[4096];
		struct stat info;
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
			count += check_folder(path);
			continue;
		}
		/* Containers of thousands of messages say nothing here. */
		if (!S_ISREG(info.st_mode) || info.st_size > 4 << 20)
			continue;
		struct slice message = read_file(path);
		struct buf crlf;
		buf_init(&crlf, TEST_FILE_MAX);
		append_crlf(message, &crlf);
		check_message(message, path);
		check_message(buf_slice(&crlf), path);
		buf_fini(&crlf);
		free((void *)(uintptr_t)message.ptr);
		count++;
	}
	closedir(dir);
	return count;
}

static void
run(const char *command)
{
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_int_equal(pclose(pipe), 0);
}

static void
test_corpus(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		size_t count_min;
	} archives[] = {
	    {"awkward-mime.tar.gz", 1000},
            {"dsn-arf.tar.gz",      600 }
        };
	const char *corpus = getenv("POSTROOM_CORPUS");
	if (!corpus)
		return;
	for (size_t i = 0; i < sizeof(archives) / sizeof(archives[0]); i++) {
		char folder[] = "/tmp/postroom-test-XXXXXX", command[4096];
		assert_non_null(mkdtemp(folder));
		snprintf(command, sizeof(command), "tar -xzf '%s/%s' -C '%s'", corpus,
		    archives[i].name, folder);
		run(command);
		assert_true(check_folder(folder) >= archives[i].count_min);
		snprintf(command, sizeof(command), "rm -rf '%s'", folder);
		run(command);
	}
}

static void
test_fields(void **state)
{
	(void)state;
	struct buf record;
	struct message_index index;
	buf_init(&record, MESSAGE_INDEX_MAX);
	buf_append(&record, SLICE("before"));
	assert_true(message_index_build(
	    SLICE("Date: Fri, 21 Nov 1997 09:55:06 -0600\r\n"
		  "From: \"J\xc3\x84RG\" <Joe@Example.org>\r\nTo: Group: A@b, c@d;\r\n"
		  "Cc: X@y\r\nSubject: [list] Re: =?utf-8?Q?=C3=84pfel?= (fwd)\r\n"
		  "Message-ID: <1@x>\r\nReferences: <a@x>\r\n <b@x>\r\nIn-Reply-To: "
		  "<c@x>\r\n"
		  "Content-Type: multipart/alternative; boundary=b\r\n\r\n"
		  "--b\r\nContent-Type: text/html\r\n\r\n<p>no</p>\r\n"
		  "--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: "
		  "base64\r\n\r\n"
		  "SGVsbG8sICAKCndvcmxk\r\n--b--\r\n"),
	    &record));
	assert_true(message_index_decode(slice_from(buf_slice(&record), 6), &index));
	assert_true(index.date_s == 880127706);
	assert_int_equal(index.date_zone_min, -360);
	CHECK_TEXT(index.subject_key, "a\xcc\x88pfel");
	assert_true(index.subject_is_reply);
	CHECK_TEXT(index.from_key, "joe");
	CHECK_TEXT(index.to_key, "group");
	CHECK_TEXT(index.cc_key, "x");
	CHECK_TEXT(index.from_display, "ja\xcc\x88rg");
	CHECK_TEXT(index.to_display, "group");
	CHECK_TEXT(index.message_id, "<1@x>");
	CHECK_TEXT(index.references, "<a@x> <b@x>");
	CHECK_TEXT(index.preview, "Hello, world");
	assert_int_equal(index.part_count, 3);
	struct index_part part;
	message_index_part(&index, 2, &part);
	assert_int_equal(part.encoding, 1);
	assert_int_equal(part.body_len, 20);
	buf_reset(&record);
	assert_true(message_index_build(
	    SLICE("In-Reply-To: <c@x> <d@x>\r\nDate: never\r\nTo: a@b\r\n\r\n"),
	    &record));
	assert_true(message_index_decode(buf_slice(&record), &index));
	assert_true(index.date_s == INT64_MIN);
	CHECK_TEXT(index.references, "<c@x>");
	assert_null(index.message_id.ptr);
	CHECK_TEXT(index.to_display, "a@b");
	assert_int_equal(index.preview.len, 0);
	buf_fini(&record);
}

static void
check_preview(const char *message, const char *want, int line)
{
	struct buf record;
	struct message_index index;
	buf_init(&record, MESSAGE_INDEX_MAX);
	assert_true(message_index_build(slice_from_cstr(message), &record));
	assert_true(message_index_decode(buf_slice(&record), &index));
	check_slice(index.preview, slice_from_cstr(want), "preview", line);
	buf_fini(&record);
}
#define CHECK_PREVIEW(message, want) check_preview((message), (want), __LINE__)

static void
test_preview(void **state)
{
	(void)state;
	CHECK_PREVIEW("\r\n  a \r\n\t b\r\n", "a b");
	CHECK_PREVIEW(
	    "Content-Type: text/html\r\n\r\n<html><head><title>t</title></head>"
	    "<style>p{}</style><p>a&amp;b&#228;&#x20AC;</p><!-- > -->c&nope;&lt;",
	    "a&b\xc3\xa4\xe2\x82\xac c&nope;<");
	CHECK_PREVIEW(
	    "Content-Type: text/plain; charset=iso-8859-1\r\n\r\n\xe4", "\xc3\xa4");
	CHECK_PREVIEW("Content-Type: image/png\r\n\r\nx", "");
	CHECK_PREVIEW(
	    "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nx", "");
	CHECK_PREVIEW("Content-Type: text/html\r\n\r\n<style>never closed", "");
	CHECK_PREVIEW("Content-Type: text/html\r\n\r\n< 3 <", "< 3 <");
	char message[1000] = "\r\n", want[201];
	memset(message + 2, 'x', 500);
	memset(want, 'x', 200);
	want[200] = '\0';
	CHECK_PREVIEW(message, want);
}

/* Any damaged byte and any shorter record is refused. */
static void
test_damage(void **state)
{
	(void)state;
	struct buf record;
	struct message_index index;
	buf_init(&record, MESSAGE_INDEX_MAX);
	assert_true(message_index_build(
	    SLICE("Subject: x\r\nFrom: a@b\r\n\r\nbody\r\n"), &record));
	for (size_t i = 0; i < record.len; i++) {
		record.ptr[i] ^= 0x10;
		assert_false(message_index_decode(buf_slice(&record), &index));
		record.ptr[i] ^= 0x10;
		assert_false(
		    message_index_decode(slice_sub(buf_slice(&record), 0, i), &index));
	}
	assert_true(message_index_decode(buf_slice(&record), &index));
	buf_fini(&record);
}

static void
test_overflow(void **state)
{
	(void)state;
	struct buf record;
	buf_init(&record, 100);
	assert_false(message_index_build(SLICE("Subject: x\r\n\r\n"), &record));
	buf_fini(&record);
}

/* What could make a record, a time or a memory explode. */
static void
test_hostile(void **state)
{
	(void)state;
	static const char *headers[] = {"To: a@b,\r\n", "Subject: \xff\"\\\r\n",
	    "Content-Type: a/b; x=\"\\\"\\\"\\\"\"\r\n", "References: <a@b>\r\n",
	    "x:\r\n", " fold\r\n", "From: \"\\\"\\\"\\\"\\\"\\\"\\\"\" <a@b>\r\n", "\xff",
	    "(", "<", "\0x"};
	static const char *bodies[] = {"--b\r\n",
	    "--b\r\nContent-Type: message/rfc822\r\n\r\nTo: ", "<", "&#", "=\r\n",
	    "\r\n"};
	enum { SIZE = 1 << 20 };
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		for (size_t k = 0; k < sizeof(bodies) / sizeof(bodies[0]); k++) {
			struct buf message;
			buf_init(&message, 4 * SIZE);
			buf_append(&message,
			    SLICE("Content-Type: multipart/mixed; boundary=b\r\n"));
			size_t len = i == 10 ? 2 : strlen(headers[i]);
			while (message.len < SIZE / 4)
				buf_append(&message, slice_make(headers[i], len));
			buf_append(&message, SLICE("\r\n\r\n"));
			while (message.len < SIZE / 2)
				buf_append_cstr(&message, bodies[k]);
			check_message(buf_slice(&message), headers[i]);
			buf_fini(&message);
		}
	}
}

/* An envelope, parameters and ids that are over every limit. */
static void
test_degraded(void **state)
{
	(void)state;
	struct buf message;
	buf_init(&message, 64 << 20);
	buf_append(&message, SLICE("Content-Type: multipart/mixed; boundary=b\r\nTo: "));
	for (int i = 0; i < 900; i++) {
		buf_append_byte(&message, '"');
		for (int k = 0; k < 1000; k++)
			buf_append_byte(&message, '\xff');
		buf_append(&message, SLICE("\" <a@b>,"));
	}
	buf_append(&message, SLICE("\r\nFrom: "));
	for (int i = 0; i < 100000; i++)
		buf_append_byte(&message, 'x');
	buf_append(&message, SLICE("\r\n\r\n"));
	for (int i = 0; i < 900; i++) {
		buf_append(&message, SLICE("--b\r\nContent-Type: text/plain; "));
		for (int k = 0; k < 50; k++)
			buf_append_format(&message, "p%d=%0100d; ", k, k);
		buf_append(&message, SLICE("\r\n\r\nx\r\n"));
	}
	check_message(buf_slice(&message), "degraded");
	buf_fini(&message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_preview),
	    cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_overflow),
	    cmocka_unit_test(test_hostile),
	    cmocka_unit_test(test_degraded),
	    cmocka_unit_test(test_corpus),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
