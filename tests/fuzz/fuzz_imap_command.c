/*
 * Any frame gives a command or a fault with a text; any frame up to a literal gives an
 * APPEND step, and only finitely many; any text is a URL or not; a LIST pattern and a
 * name always give the same answer.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "imapd/imap_append_parse.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_pattern.h"
#include "imapd/imap_url.h"

enum { FUZZ_ARENA_MAX = 8 * 1024 * 1024 };

/* Every step but the last goes on in the frame, so there are no more than its octets. */
static void
fuzz_append(struct slice frame, bool at_literal, struct arena *arena)
{
	struct imap_append_reader reader = {.pos = 0};
	struct parse_fault fault;
	enum imap_append_step step;
	size_t steps = 0;

	do {
		size_t before = reader.pos;
		step = imap_append_next(&reader, frame, at_literal, arena, &fault);
		ENSURE(reader.pos >= before && reader.pos <= frame.len);
		ENSURE(step != IMAP_APPEND_BAD || fault.text);
		ENSURE(++steps <= 2 * frame.len + 3);
	} while (step == IMAP_APPEND_HEAD || step == IMAP_APPEND_BEGIN ||
		 step == IMAP_APPEND_URL || step == IMAP_APPEND_CLOSE);
}

static void
fuzz_url(struct slice text, struct arena *arena)
{
	struct imap_url url;

	if (imap_url_parse(text, arena, &url))
		ENSURE(url.uid > 0 && (!url.mailbox.ptr || url.mailbox.len > 0));
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
	fuzz_append(frame, false, arena);
	fuzz_append(frame, true, arena);
	fuzz_url(frame, arena);
	fuzz_pattern(frame, arena);
	arena_free(&arena);
	return 0;
}
