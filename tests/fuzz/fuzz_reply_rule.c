/*
 * Fuzzes the table of rules about refusals, and a reply against it: what is accepted has
 * its parts inside the text and a bounded wait.
 */
#include "text/reply_rule.h"

#include <stdlib.h>

#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reply_rules rules;
	struct slice text = slice_make((const char *)data, size);
	struct slice reply = slice_split(&text, '\0');
	unsigned line;
	const char *why;
	if (!reply_rules_parse(text, &rules, &line, &why)) {
		ENSURE(why);
		return 0;
	}
	ENSURE(rules.count <= REPLY_RULES_MAX);
	for (size_t i = 0; i < rules.count; i++) {
		const struct reply_rule *r = &rules.rules[i];
		ENSURE(r->code.len == 3 && r->wait_s <= REPLY_RULE_WAIT_S_MAX);
		ENSURE((r->action == REPLY_PAUSE || r->action == REPLY_RETRY ||
			   r->action == REPLY_POOL) == (r->wait_s > 0));
		ENSURE((r->action == REPLY_POOL) == (r->pool.len > 0));
	}
	(void)reply_rules_find(&rules, SLICE("mx.google.com"), reply);
	return 0;
}
