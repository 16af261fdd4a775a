/*
 * What a remote server's refusal means for further mail: a table of rules, one a line,
 * the first that fits counts:
 *
 *   HOST            CODE  ENHANCED  "TEXT"            ACTION
 *   *.google.com    421   4.7.28    ""                slow
 *   *               4xx   *         "greylist"        retry 5m
 *
 * HOST: the MX host's name, "*." for a name below, "*" for all.  CODE: digits, x for any.
 * ENHANCED: "4.7.28", "4.7.*", "*".  TEXT: found in the reply in any case; "" always.
 * Actions: "pause DURATION" nothing is sent to the site until then; "slow" fewer
 * connections and gaps between messages, both wear off with what goes through; "retry
 * DURATION" this recipient again then, also after a 5xx; "fail" it is final, also a 4xx;
 * "pool NAME DURATION" again at once and all of the site's mail for so long from the
 * addresses of that pool.
 * "#" begins a comment.  Pure, fuzzed.
 */
#ifndef TEXT_REPLY_RULE_H
#define TEXT_REPLY_RULE_H

#include "base/slice.h"

enum {
	REPLY_RULES_MAX = 500,
	REPLY_RULES_BYTES_MAX = 128 * 1024,
	REPLY_RULE_WAIT_S_MAX = 7 * 24 * 3600,
};

enum reply_action { REPLY_PAUSE, REPLY_SLOW, REPLY_RETRY, REPLY_FAIL, REPLY_POOL };

struct reply_rule {
	struct slice host, code, enhanced, text; /* borrow the table's text */
	enum reply_action action;
	uint32_t wait_s;   /* PAUSE, RETRY, POOL */
	struct slice pool; /* POOL: its name */
	unsigned line;
};

struct reply_rules {
	struct reply_rule rules[REPLY_RULES_MAX];
	size_t count;
};

/* False when a line is no rule: its number and what is wrong. */
bool reply_rules_parse(
    struct slice text, struct reply_rules *out, unsigned *out_line, const char **out_why);
/* The rule for a reply ("421 4.7.0 slow down") of this host, or null. */
const struct reply_rule *reply_rules_find(
    const struct reply_rules *rules, struct slice host, struct slice reply);
/* The table that is shipped. */
struct slice reply_rules_default(void);

#endif
