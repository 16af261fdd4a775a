/*
 * Delivery events; see event.h.
 */
#include "service/event.h"

enum { VALUE_MAX = 2304 };

static const char *const kinds[EVENT_KINDS] = {
    "accepted", "delivered", "deferred", "bounced", "complained", "suppressed"};

const char *
event_kind_text(enum event_kind kind)
{
	return kinds[kind];
}

bool
event_kind_parse(struct slice text, unsigned *bits)
{
	for (unsigned k = 0; k < EVENT_KINDS; k++) {
		if (slice_equal(text, slice_from_cstr(kinds[k]))) {
			*bits |= 1u << k;
			return true;
		}
	}
	return false;
}

static bool
value_is(struct slice line, const char *key, const char *want)
{
	char value[64];
	return trace_value(line, key, value, sizeof(value)) && strcmp(value, want) == 0;
}

bool
event_kind_of(struct slice line, enum event_kind *out)
{
	static const struct {
		const char *name;
		enum event_kind kind;
		const char *key, *want; /* null, or: only with this value */
		bool differs;           /* only with another one */
	} rows[] = {
	    {"smtp.accept",      EVENT_ACCEPTED,   NULL,     NULL,        false},
	    {"deliver.local",    EVENT_DELIVERED,  "status", "delivered", false},
	    {"deliver.local",    EVENT_DELIVERED,  "status", "ok",        false},
 /* Without a host it was delivered here, and that was told. */
	    {"relay.done",       EVENT_DELIVERED,  "host",   "",          true },
	    {"relay.defer",      EVENT_DEFERRED,   NULL,     NULL,        false},
	    {"relay.fail",       EVENT_BOUNCED,    NULL,     NULL,        false},
	    {"report.bounce",    EVENT_BOUNCED,    "action", "failed",    false},
	    {"report.bounce",    EVENT_DEFERRED,   "action", "delayed",   false},
	    {"report.complaint", EVENT_COMPLAINED, NULL,     NULL,        false},
	    {"relay.suppress",   EVENT_SUPPRESSED, NULL,     NULL,        false},
	};
	struct slice name = trace_event_name(line);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!slice_equal(name, slice_from_cstr(rows[i].name)) ||
		    (rows[i].key &&
			value_is(line, rows[i].key, rows[i].want) == rows[i].differs))
			continue;
		*out = rows[i].kind;
		return true;
	}
	return false;
}

json_t *
event_json(struct slice line, enum event_kind kind, const struct trace_place *at)
{
	/* The trace's keys, and what they are called here. */
	static const struct {
		const char *key, *name;
	} keys[] = {
	    {"mid",    "message"   },
	    {"msgid",  "message_id"},
	    {"from",   "from"      },
	    {"to",     "to"        },
	    {"orig",   "original"  },
	    {"user",   "user"      },
	    {"tenant", "tenant"    },
	    {"host",   "host"      },
	    {"try",    "attempt"   },
	    {"reply",  "reply"     },
	    {"status", "status"    },
	    {"reason", "reason"    },
	    {"parent", "report"    },
	};
	char text[TRACE_PLACE_TEXT_MAX], value[VALUE_MAX];
	struct slice rest = line;
	struct slice time = slice_split(&rest, ' ');
	struct trace_place behind = {at->day, at->offset + line.len + 1};
	json_t *event = json_object();
	trace_place_text(at, text);
	json_object_set_new(event, "id", json_string(text));
	trace_place_text(&behind, text);
	json_object_set_new(event, "cursor", json_string(text));
	json_object_set_new(event, "event", json_string(kinds[kind]));
	json_object_set_new(event, "time", json_stringn(time.ptr, time.len));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (trace_value(line, keys[i].key, value, sizeof(value)) && value[0])
			json_object_set_new(event, keys[i].name, json_string(value));
	return event;
}
