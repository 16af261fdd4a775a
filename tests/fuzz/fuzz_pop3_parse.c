/*
 * POP3 command lines (RFC 1939 section 3): what is parsed lies inside the line, and
 * keyword and arguments put together again parse to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "pop3d/pop3_parse.h"

static void
inside(struct slice whole, struct slice part)
{
	ENSURE(part.len == 0 ||
	       (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	ENSURE(copy);
	if (size)
		memcpy(copy, data, size);
	struct slice text = slice_make(copy, size);
	struct pop3_line line;
	uint32_t number;
	if (pop3_number_parse(text, &number))
		ENSURE(number > 0);
	if (pop3_line_parse(text, &line)) {
		struct pop3_line again;
		struct buf out AUTO_BUF;
		unsigned known = line.argument_count < POP3_ARGUMENTS_MAX
		                     ? line.argument_count
		                     : POP3_ARGUMENTS_MAX;
		ENSURE(line.keyword.len > 0 &&
		       line.argument_count <= POP3_ARGUMENTS_MAX + 1);
		inside(text, line.keyword);
		inside(text, line.rest);
		buf_init(&out, size + 8);
		buf_append(&out, line.keyword);
		for (unsigned i = 0; i < known; i++) {
			inside(text, line.arguments[i]);
			ENSURE(line.arguments[i].len > 0);
			buf_append_byte(&out, ' ');
			buf_append(&out, line.arguments[i]);
		}
		ENSURE(buf_ok(&out));
		ENSURE(pop3_line_parse(buf_slice(&out), &again));
		ENSURE(slice_equal(again.keyword, line.keyword));
		ENSURE(again.argument_count == known);
		for (unsigned i = 0; i < known; i++)
			ENSURE(slice_equal(again.arguments[i], line.arguments[i]));
	}
	free(copy);
	return 0;
}
