/*
 * Header fields and values: iteration covers the block in order, decoded text is UTF-8,
 * parameters stay within their limit.
 */
#include "base/ensure.h"
#include "text/encoding.h"
#include "text/header.h"

enum { ARENA_BYTES = 64 << 20, OUT_MAX = 4 << 20, IDS_MAX = 50 };

static void
check_value(struct slice value, struct arena *arena, struct buf *out)
{
	struct header_value parsed;
	struct slice ids[IDS_MAX];
	bool is_reply;

	header_value_parse(value, arena, &parsed);
	ENSURE(parsed.parameter_count <= HEADER_PARAMETERS_MAX);
	header_value_parse_written(value, arena, &parsed);
	ENSURE(parsed.parameter_count <= HEADER_PARAMETERS_MAX);
	size_t count = header_message_ids(value, arena, ids, IDS_MAX);
	ENSURE(count <= IDS_MAX);
	for (size_t i = 0; i < count; i++)
		ENSURE(ids[i].len > 2 && ids[i].ptr[0] == '<' &&
		       ids[i].ptr[ids[i].len - 1] == '>');
	struct slice unfolded = header_unfold(value, arena);
	ENSURE(unfolded.len <= value.len && slice_index(unfolded, '\n') == SIZE_MAX);
	buf_reset(out);
	header_decode(value, out);
	ENSURE(utf8_is_valid(buf_slice(out)));
	struct buf base;
	buf_init(&base, OUT_MAX);
	header_base_subject(buf_slice(out), &base, &is_reply);
	ENSURE(base.len <= out->len && utf8_is_valid(buf_slice(&base)));
	buf_fini(&base);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct arena *arena = arena_new(ARENA_BYTES);
	struct header_iter it;
	struct header_field field;
	struct buf out;
	const char *at = in.ptr;

	buf_init(&out, OUT_MAX);
	header_iter_init(&it, slice_sub(in, 0, header_block_length(in)));
	while (header_iter_next(&it, &field)) {
		ENSURE(field.whole.ptr >= at);
		at = field.whole.ptr + field.whole.len;
		ENSURE(field.name.len > 0 && field.value.ptr + field.value.len == at);
		check_value(field.value, arena, &out);
	}
	check_value(in, arena, &out);
	buf_fini(&out);
	arena_free(&arena);
	return 0;
}
