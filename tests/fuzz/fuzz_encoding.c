/*
 * Encodings: nothing crashes, strict decoders accept only what the encoder writes, output
 * that should be UTF-8 is.
 */
#include "base/ensure.h"
#include "text/encoding.h"
#include "text/header.h"

enum { OUT_MAX = 1 << 20 /* bytes */ };

static void
check_reversible(struct slice in)
{
	struct buf out, again;
	buf_init(&out, OUT_MAX);
	buf_init(&again, OUT_MAX);
	if (base64_decode_strict(in, &out)) {
		base64_encode(buf_slice(&out), &again);
		ENSURE(slice_equal(buf_slice(&again), in));
	}
	buf_reset(&out);
	buf_reset(&again);
	if (mutf7_decode(in, &out)) {
		ENSURE(utf8_is_valid(buf_slice(&out)));
		mutf7_encode(buf_slice(&out), &again);
		ENSURE(slice_equal(buf_slice(&again), in));
	}
	buf_reset(&out);
	buf_reset(&again);
	if (utf8_is_valid(in) && slice_index(in, '\0') == SIZE_MAX) {
		mutf7_encode(in, &out);
		ENSURE(mutf7_decode(buf_slice(&out), &again));
		ENSURE(slice_equal(buf_slice(&again), in));
	}
	buf_reset(&out);
	buf_reset(&again);
	xtext_encode(in, &out);
	ENSURE(xtext_decode(buf_slice(&out), &again));
	ENSURE(slice_equal(buf_slice(&again), in));
	buf_fini(&out);
	buf_fini(&again);
}

/* The first byte picks a charset, the rest is converted. */
static void
check_charset(struct slice in)
{
	static const char *const names[] = {"iso-8859-1", "koi8-r", "iso-2022-jp",
	    "shift_jis", "euc-kr", "big5", "gb2312", "utf-7", "utf-16", "utf-8",
	    "nothing"};
	struct buf out;
	if (in.len == 0)
		return;
	size_t which = (unsigned char)in.ptr[0] % (sizeof(names) / sizeof(names[0]));
	buf_init(&out, OUT_MAX);
	charset_to_utf8(slice_from_cstr(names[which]), slice_from(in, 1), &out);
	ENSURE(utf8_is_valid(buf_slice(&out)));
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct buf out;
	buf_init(&out, OUT_MAX);
	check_reversible(in);
	check_charset(in);
	base64_decode_lenient(in, &out);
	ENSURE(out.len <= (in.len + 3) / 4 * 3);
	buf_reset(&out);
	qp_decode(in, &out);
	ENSURE(out.len <= in.len);
	buf_reset(&out);
	utf8_casefold(in, &out);
	ENSURE(utf8_is_valid(buf_slice(&out)));
	buf_reset(&out);
	bool nfc = utf8_to_nfc(in, &out);
	ENSURE(nfc == utf8_is_valid(in));
	ENSURE(utf8_is_valid(buf_slice(&out)));
	buf_reset(&out);
	xtext_decode(in, &out);
	buf_fini(&out);
	return 0;
}
