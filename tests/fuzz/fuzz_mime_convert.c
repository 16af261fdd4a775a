/*
 * Transfer encodings: what comes out has the form that was asked for (but for raw octets
 * in header fields, and where nothing could be done), and a second time changes nothing.
 * The last holds for text of whole lines only: a bare CR that becomes "?" may be a part
 * of what was taken for a boundary.  The first byte chooses the form.
 */
#include "base/ensure.h"
#include "text/encoding.h"
#include "text/mime_convert.h"

enum { OUT_MAX = 4 * 1024 * 1024 };

static bool
keep(struct slice bytes, void *arg)
{
	buf_append(arg, bytes);
	return buf_ok(arg);
}

static bool
whole_lines_only(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		bool before = i > 0 && text.ptr[i - 1] == '\r';
		bool after = i + 1 < text.len && text.ptr[i + 1] == '\n';
		if ((text.ptr[i] == '\n' && !before) || (text.ptr[i] == '\r' && !after))
			return false;
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	enum mime_form form = data[0] & 1 ? MIME_FORM_7BIT : MIME_FORM_8BIT;
	struct slice in = slice_make((const char *)data + 1, size - 1);
	struct buf once AUTO_BUF;
	struct buf twice AUTO_BUF;
	bool has_8bit = false;
	buf_init(&once, OUT_MAX);
	buf_init(&twice, OUT_MAX);
	enum mime_convert_result result = mime_convert(in, form, keep, &once, &has_8bit);
	if (result != MIME_CONVERT_DONE)
		return 0;
	ENSURE(has_8bit == !ascii_only(buf_slice(&once)));
	ENSURE(slice_index(buf_slice(&once), '\0') == SIZE_MAX);
	if (ascii_only(in))
		ENSURE(!has_8bit);
	result = mime_convert(buf_slice(&once), form, keep, &twice, &has_8bit);
	if (result == MIME_CONVERT_DONE && whole_lines_only(in))
		ENSURE(slice_equal(buf_slice(&once), buf_slice(&twice)));
	return 0;
}
