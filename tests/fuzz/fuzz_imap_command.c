/*
 * Any frame gives a command or a fault with a text; any frame up to a literal gives an
 * APPEND step; a LIST pattern and a name always give the same answer.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_pattern.h"

enum { FUZZ_ARENA_MAX = 8 * 1024 * 1024 };

static void
fuzz_append(struct slice frame, struct arena *arena)
{
	struct imap_append_head head;
	struct imap_append_item item;
	struct parse_fault fault;

	for (unsigned i = 0; i < 4; i++) {
		size_t from = i & 2 ? frame.len / 2 : 0;
		enum imap_append_step step = imap_append_parse(
		    frame, from, i & 1, i & 2, arena, &head, &item, &fault);
		ENSURE(step != IMAP_APPEND_BAD || fault.text);
	}
}

static void
fuzz_pattern(struct slice text, struct arena *arena)
{
	struct imap_pattern pattern;
	size_t cut = slice_index(text, '\n');
	struct slice name = cut == SIZE_MAX ? text : slice_from(text, cut + 1);

	if (!imap_pattern_compile(slice_sub(text, 0, cut), arena, &pattern))
		return;
	bool first = imap_pattern_match(&pattern, name);
	ENSURE(imap_pattern_match(&pattern, name) == first);
	if (slice_equal(slice_sub(text, 0, cut), SLICE("*")))
		ENSURE(first);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(FUZZ_ARENA_MAX);
	struct slice frame = slice_make((const char *)data, size);
	struct imap_command cmd;
	struct parse_fault fault;

	enum parse_result result = imap_command_parse(frame, arena, &cmd, &fault);
	ENSURE(result == PARSE_DONE || fault.text);
	ENSURE(result != PARSE_DONE || (cmd.row && cmd.tag.len > 0));
	fuzz_append(frame, arena);
	fuzz_pattern(frame, arena);
	arena_free(&arena);
	return 0;
}
