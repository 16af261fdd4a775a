/*
 * Addresses that nothing is sent to: what the operator put on the list, and, when
 * relay.suppress_for says so, addresses that a remote server refused for good or that
 * a report told of (relay_report.c).  Looked at when a recipient is loaded, so that mail
 * that waits already follows the list too.
 *
 * Runs on the relay's loop.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "service/bulk.h"
#include "smtpd/relay_int.h"

enum { SUPPRESS_ARENA_MAX = 4 * 1024 * 1024 };

struct suppress {
	struct relay_note_op op;
	struct arena *arena;
};

bool
relay_code_is_hard(const char *code)
{
	/* The address itself is wrong (RFC 3463 sections 3.2 and 3.3). */
	static const char *const codes[] = {"5.1.1", "5.1.3", "5.1.6", "5.1.10", "5.2.1"};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(code, codes[i]) == 0)
			return true;
	return false;
}

bool
relay_reply_is_hard(const char *reply)
{
	char code[16];
	if (reply[0] != '5')
		return false;
	relay_reply_enhanced(reply, code);
	return relay_code_is_hard(code);
}

/* store_done_fn */
static void
noted(struct store_op *op)
{
	struct suppress *s = op->user;
	/* The next refusal puts it there. */
	if (op->status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "suppression list"),
		    LF_STR("status", status_text(op->status)));
	arena_free(&s->arena);
	free(s);
}

void
relay_suppress_note(struct relay *relay, enum relay_suppress reason,
    const char *const *addresses, const char *const *replies, size_t count)
{
	uint64_t lasts_s = service_conf(relay->service)->relay.suppress_for_s;
	if (count == 0 || lasts_s == 0)
		return;
	struct suppress *s = xcalloc(1, sizeof(*s));
	int64_t now = clock_wall_s();
	s->arena = arena_new(SUPPRESS_ARENA_MAX);
	struct relay_note *notes = ARENA_ARRAY(s->arena, struct relay_note, count);
	if (!notes) {
		arena_free(&s->arena);
		free(s);
		return;
	}
	for (size_t i = 0; i < count; i++)
		notes[i] = (struct relay_note){
		    .name = arena_copy(s->arena, slice_from_cstr(addresses[i])),
		    .kind = (uint8_t)reason,
		    .created_s = now,
		    .expires_s = now + (int64_t)lasts_s,
		    .text = arena_copy(s->arena,
			slice_sub(slice_from_cstr(replies[i]), 0, RELAY_NOTE_TEXT_MAX)),
		};
	s->op = (struct relay_note_op){
	    .op = {.done = noted, .user = s, .arena = s->arena},
	    .table = RELAY_NOTE_SUPPRESSED,
	    .notes = notes,
	    .count = count,
	    .now_s = now,
	};
	for (size_t i = 0; i < count; i++)
		TRACE(relay->trace, "relay.suppress", LF_STR("to", addresses[i]),
		    LF_STR("reason", relay_suppress_text((uint8_t)reason)),
		    LF_STR("reply", replies[i]),
		    LF_U64("until", (uint64_t)now + lasts_s));
	relay_note_submit(relay->reader, &s->op);
}

bool
relay_is_suppressed(
    struct relay *relay, struct slice address, struct slice sender, char out_reply[200])
{
	struct relay_note note;
	if (bulk_suppress_get(relay->reader, address, sender, clock_wall_s(), &note) !=
	    STATUS_OK)
		return false;
	snprintf(out_reply, 200,
	    "550 5.7.1 the address is on the suppression list (%s): postroom suppress "
	    "list",
	    relay_suppress_text(note.kind));
	return true;
}
