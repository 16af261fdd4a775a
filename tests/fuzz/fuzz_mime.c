/*
 * The part tree: ranges nest and follow each other, numbers are document order, limits
 * hold, decoding never grows a body.
 */
#include "base/ensure.h"
#include "text/mime.h"

static uint32_t
check_part(const struct mime_part *part, uint64_t from, uint64_t to, uint32_t number,
    size_t depth)
{
	ENSURE(depth < MIME_DEPTH_MAX);
	for (; part; part = part->next) {
		uint64_t end = part->body_offset + part->body_len;
		ENSURE(part->index == number++);
		ENSURE(part->header_offset >= from && end <= to);
		ENSURE(part->body_offset == part->header_offset + part->header_len);
		ENSURE(part->content_type.type.len && part->content_type.subtype.len);
		ENSURE(part->encoding.len);
		ENSURE((part->kind == MIME_LEAF) <= (part->child == NULL));
		if (part->kind == MIME_MESSAGE)
			ENSURE(part->child && !part->child->next);
		for (const struct mime_part *c = part->child; c; c = c->next)
			ENSURE(c->parent == part);
		number =
		    check_part(part->child, part->body_offset, end, number, depth + 1);
		from = end;
	}
	return number;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	uint32_t count = 0;
	struct mime_part *root = mime_parse(in, arena, &count);

	ENSURE(count >= 1 && count <= MIME_PARTS_MAX);
	ENSURE(root->header_len == header_block_length(in));
	ENSURE(root->body_offset + root->body_len == in.len);
	ENSURE(check_part(root, 0, in.len, 0, 0) == count);
	struct buf out;
	buf_init(&out, 64 << 20);
	for (uint32_t a = 1; a < 4; a++) {
		uint32_t numbers[] = {a, 1};
		struct mime_part *part = mime_part_find(root, numbers, 2);
		if (!part)
			continue;
		buf_reset(&out);
		mime_body_decode(part, in, &out);
		ENSURE(out.len <= part->body_len + 3);
	}
	buf_fini(&out);
	arena_free(&arena);
	return 0;
}
