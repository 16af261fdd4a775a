/*
 * POP3 command lines; see pop3_parse.h.
 */
#include "pop3d/pop3_parse.h"

bool
pop3_line_parse(struct slice line, struct pop3_line *out)
{
	*out = (struct pop3_line){0};
	for (size_t i = 0; i < line.len; i++) {
		if ((unsigned char)line.ptr[i] < ' ' || line.ptr[i] == 127)
			return false;
	}
	size_t space = slice_index(line, ' ');
	if (space == SIZE_MAX)
		space = line.len;
	out->keyword = slice_sub(line, 0, space);
	if (slice_is_empty(out->keyword))
		return false;
	out->rest = slice_from(line, space < line.len ? space + 1 : line.len);
	struct slice rest = slice_trim(out->rest);
	while (!slice_is_empty(rest)) {
		struct slice word = slice_split(&rest, ' ');
		rest = slice_trim(rest);
		if (out->argument_count < POP3_ARGUMENTS_MAX)
			out->arguments[out->argument_count] = word;
		if (out->argument_count++ == POP3_ARGUMENTS_MAX)
			break;
	}
	return true;
}

bool
pop3_number_parse(struct slice text, uint32_t *out)
{
	return slice_to_u32(text, out) && *out > 0;
}
