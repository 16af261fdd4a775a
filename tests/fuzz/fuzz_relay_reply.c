/*
 * Fuzzes the reading of a remote server's replies: whatever comes, the text kept is
 * printable and bounded, codes are in range, an enhanced code is well formed.
 */
#include "smtpd/relay_reply.h"

#include <stdlib.h>

#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct relay_reply *reply)
{
	char code[16];
	size_t len = strlen(reply->text);
	ENSURE(len <= RELAY_REPLY_TEXT_MAX && reply->lines <= RELAY_REPLY_LINES_MAX);
	ENSURE(reply->code >= 200 && reply->code <= 599);
	for (size_t i = 0; i < len; i++)
		ENSURE(reply->text[i] >= ' ' && reply->text[i] < 127);
	(void)relay_reply_class(reply);
	relay_reply_enhanced(reply->text, code);
	ENSURE(strlen(code) >= 5 && (code[0] == '2' || code[0] == '4' || code[0] == '5'));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_make((const char *)data, size);
	struct relay_reply reply;
	struct relay_offer offer = {0};
	relay_reply_reset(&reply);
	while (!slice_is_empty(rest)) {
		struct slice line = slice_split(&rest, '\n');
		/* From a place of its own, so that a read past its end is seen. */
		char *copy = xmalloc(line.len + 1);
		if (line.len)
			memcpy(copy, line.ptr, line.len);
		struct slice own = slice_make(copy, line.len);
		bool good = relay_reply_line(&reply, own);
		if (good) {
			check(&reply);
			relay_offer_line(&offer, slice_from(own, 4));
		}
		bool over = !good || reply.complete;
		free(copy);
		if (over)
			relay_reply_reset(&reply);
	}
	return 0;
}
