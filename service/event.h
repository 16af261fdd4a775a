/*
 * Delivery events for programs: what the trace tells of messages, as JSON.  The trace is
 * the log (decision 0101); an event's id and the cursor behind it are places in it.
 *
 *   {"id": "2026-11-24:1200", "cursor": "2026-11-24:1391", "event": "delivered",
 *    "time": "2026-11-24T10:00:00.123Z", "message": "0123456789ABCDEF",
 *    "from": "a@example.org", "to": "b@example.net", "reply": "250 2.0.0 ok", …}
 */
#ifndef SERVICE_EVENT_H
#define SERVICE_EVENT_H

#include <jansson.h>

#include "service/trace.h"

enum event_kind {
	EVENT_ACCEPTED,   /* into the queue, for each recipient */
	EVENT_DELIVERED,  /* in a mailbox here, or taken by another server */
	EVENT_DEFERRED,   /* tried, and will be again */
	EVENT_BOUNCED,    /* failed for good; also told later by a proven report */
	EVENT_COMPLAINED, /* a proven complaint */
	EVENT_SUPPRESSED, /* the address was put on the suppression list */
	EVENT_KINDS,
};
enum { EVENT_ALL = (1u << EVENT_KINDS) - 1 };

/* "accepted", … */
const char *event_kind_text(enum event_kind kind);
/* Sets the bit 1 << kind; false: no kind is called so. */
bool event_kind_parse(struct slice text, unsigned *bits);

/* Which kind a line of the trace is; false: none.  Pure. */
bool event_kind_of(struct slice line, enum event_kind *out);
/* The event of a line at `at`; a new reference. */
json_t *event_json(struct slice line, enum event_kind kind, const struct trace_place *at);

#endif
