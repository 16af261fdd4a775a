/* Transfer encodings: what is changed and what is not, by RFC 6152 and RFC 3030; the
 * content is the same afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/encoding.h"
#include "text/mime_convert.h"

static bool
keep(struct slice bytes, void *arg)
{
	buf_append(arg, bytes);
	return true;
}

static bool
stop(struct slice bytes, void *arg)
{
	(void)bytes;
	return ++*(int *)arg < 2;
}

#define EIGHT "gr\xc3\xbc\xc3\x9f = x \r\n"
#define QP    "gr=C3=BC=C3=9F =3D x=20\r\n"

static void
forms(void **state)
{
	(void)state;
	static const struct {
		enum mime_form form;
		const char *in;
		size_t len;
		const char *out; /* null: impossible */
	} rows[] = {
#define ROW(form, in, out) {form, in, sizeof(in) - 1, out}
	    /* Nothing to do: octet by octet. */
	    ROW(MIME_FORM_7BIT, "A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n"),
	    ROW(MIME_FORM_8BIT, "A: b\r\n\r\n" EIGHT, "A: b\r\n\r\n" EIGHT),
	    ROW(MIME_FORM_7BIT, "", ""),
	    /* Without MIME it becomes MIME. */
	    ROW(MIME_FORM_7BIT, "A: b\r\n\r\n" EIGHT,
		"A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n" QP),
	    ROW(MIME_FORM_7BIT, "A: b\r\n\r\n\xfc\r\n",
		"A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
		"charset=unknown-8bit\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=FC\r\n"),
	    /* The label goes where it is, folded or not. */
	    ROW(MIME_FORM_7BIT,
		"MIME-Version: 1.0\r\ncontent-transfer-encoding:\r\n "
		"8bit\r\nContent-Type: text/html\r\n\r\n" EIGHT,
		"MIME-Version: 1.0\r\nContent-Type: "
		"text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" QP),
	    /* What is no text is base64. */
	    ROW(MIME_FORM_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: "
		"image/x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\xfe",
		"MIME-Version: 1.0\r\nContent-Type: "
		"image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n//4=\r\n"),
	    ROW(MIME_FORM_8BIT,
		"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\nContent-Type: "
		"text/plain\r\n\r\na\nb\0c\r",
		"MIME-Version: 1.0\r\nContent-Type: "
		"text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nYQpiAGMN\r\n"),
	    /* "binary" that is none only loses the label. */
	    ROW(MIME_FORM_8BIT,
		"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" EIGHT,
		"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" EIGHT),
	    /* Part by part; the preamble is nobody's. */
	    ROW(MIME_FORM_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
		"boundary=B\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		"pre\xfc\r\n--B\r\n\r\nplain\r\n--B\r\nContent-Type: text/plain; "
		"charset=utf-8\r\n\r\n" EIGHT "--B--\r\nepi\r\n",
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
		"pre?\r\n--B\r\n\r\nplain\r\n--B\r\nContent-Type: text/plain; "
		"charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		"gr=C3=BC=C3=9F =3D x=20\r\n--B--\r\nepi\r\n"),
	    /* A boundary that ends its line alone. */
	    ROW(MIME_FORM_8BIT,
		"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\n\r\nx\n--B--\n",
		"Content-Type: multipart/mixed; "
		"boundary=B\r\n\r\n--B\r\n\r\nx\r\n--B--\r\n"),
	    /* Into messages inside. */
	    ROW(MIME_FORM_7BIT,
		"MIME-Version: 1.0\r\nContent-Type: "
		"message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; "
		"charset=utf-8\r\n\r\n" EIGHT,
		"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; "
		"charset=utf-8\r\nContent-Transfer-Encoding: "
		"quoted-printable\r\n\r\n" QP),
	    /* Signed: never changed, and not sent when it would have to be. */
	    ROW(MIME_FORM_7BIT,
		"Content-Type: multipart/signed; "
		"boundary=B\r\n\r\n--B\r\n\r\nok\r\n--B--\r\n",
		"Content-Type: multipart/signed; "
		"boundary=B\r\n\r\n--B\r\n\r\nok\r\n--B--\r\n"),
	    ROW(MIME_FORM_7BIT,
		"Content-Type: multipart/signed; "
		"boundary=B\r\n\r\n--B\r\n\r\n\xfc\r\n--B--\r\n",
		NULL),
	    /* Encoded once already, or a type that must not be. */
	    ROW(MIME_FORM_7BIT, "Content-Transfer-Encoding: base64\r\n\r\n\xfc\r\n",
		NULL),
	    ROW(MIME_FORM_7BIT, "Content-Type: message/delivery-status\r\n\r\n\xfc\r\n",
		NULL),
	    ROW(MIME_FORM_7BIT,
		"Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: "
		"base64\r\n\r\n--B\r\n\r\n\xfc\r\n--B--\r\n",
		NULL),
	    /* A header that could be read in two ways. */
	    ROW(MIME_FORM_8BIT, "A: b\rX: c\r\n\r\nx\r\n", NULL),
	    ROW(MIME_FORM_8BIT, "A: b\nX: c\r\n\r\nx\r\n", NULL),
	    ROW(MIME_FORM_8BIT, "A: b\0\r\n\r\nx\r\n", NULL),
#undef ROW
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out AUTO_BUF;
		bool has_8bit = false;
		buf_init(&out, 10000);
		enum mime_convert_result result =
		    mime_convert(slice_make(rows[i].in, rows[i].len), rows[i].form, keep,
			&out, &has_8bit);
		assert_int_equal(
		    result, rows[i].out ? MIME_CONVERT_DONE : MIME_CONVERT_IMPOSSIBLE);
		if (!rows[i].out)
			continue;
		if (!slice_equal(buf_slice(&out), slice_from_cstr(rows[i].out)))
			print_error("row %zu: %.*s\n", i, SLICE_ARG(buf_slice(&out)));
		assert_true(slice_equal(buf_slice(&out), slice_from_cstr(rows[i].out)));
		assert_int_equal(has_8bit, !ascii_only(buf_slice(&out)));
	}
}

/* All octets, long lines, many pieces: decoded it is what it was, and no line is long. */
static void
content_stays(void **state)
{
	(void)state;
	static const char *const heads[] = {
	    "MIME-Version: 1.0\r\nContent-Type: image/png\r\n\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n",
	};
	for (size_t head = 0; head < 2; head++) {
		for (size_t size = 0; size < 200000; size = size * 3 + 1) {
			struct buf in AUTO_BUF;
			struct buf out AUTO_BUF;
			struct buf back AUTO_BUF;
			bool has_8bit;
			buf_init(&in, 300000);
			buf_init(&out, 1000000);
			buf_init(&back, 1000000);
			buf_append_cstr(&in, heads[head]);
			size_t body = in.len;
			for (size_t i = 0; i < size; i++) {
				unsigned char c = (unsigned char)(i * 7 + i / 251);
				/* The second is text: all octets but the controls. */
				if (head == 1 && (c == 0 || c == '\r' || c == '\n'))
					c = 0xe4;
				buf_append_byte(&in, (char)c);
			}
			buf_append_cstr(&in, "\xfc\r\n");
			assert_int_equal(mime_convert(buf_slice(&in), MIME_FORM_7BIT,
					     keep, &out, &has_8bit),
			    MIME_CONVERT_DONE);
			assert_true(buf_ok(&out) && ascii_only(buf_slice(&out)));
			struct slice rest = buf_slice(&out);
			while (rest.ptr)
				assert_true(slice_split(&rest, '\n').len <= 78);
			struct arena *arena = arena_new(MIME_ARENA_MAX);
			uint32_t count;
			struct mime_part *root =
			    mime_parse(buf_slice(&out), arena, &count);
			mime_body_decode(root, buf_slice(&out), &back);
			assert_true(slice_equal(
			    buf_slice(&back), slice_from(buf_slice(&in), body)));
			arena_free(&arena);
		}
	}
}

static void
stopped(void **state)
{
	(void)state;
	struct buf in AUTO_BUF;
	bool has_8bit;
	int calls = 0;
	buf_init(&in, 1000000);
	buf_append_cstr(&in, "A: b\r\n\r\n");
	for (size_t i = 0; i < 50000; i++)
		buf_append_cstr(&in, "\xc3\xa4\r\n");
	assert_int_equal(
	    mime_convert(buf_slice(&in), MIME_FORM_7BIT, stop, &calls, &has_8bit),
	    MIME_CONVERT_STOPPED);
	assert_int_equal(calls, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(forms),
	    cmocka_unit_test(content_stays),
	    cmocka_unit_test(stopped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
