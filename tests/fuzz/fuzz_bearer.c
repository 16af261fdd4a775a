/*
 * OAUTHBEARER's and XOAUTH2's messages from any bytes: what is taken has a token of the
 * token's characters that lies inside the input, and a name that ends.
 */
#include "auth/bearer.h"
#include "base/ensure.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bearer_message message;

	if (size < 1)
		return 0;
	struct slice in = slice_make((const char *)data + 1, size - 1);
	bool good = data[0] & 1 ? bearer_parse_xoauth2(in, &message)
	                        : bearer_parse_oauthbearer(in, &message);
	if (!good)
		return 0;
	ENSURE(message.token.len > 0 && message.token.ptr >= in.ptr &&
	       message.token.ptr + message.token.len <= in.ptr + in.len);
	for (size_t i = 0; i < message.token.len; i++)
		ENSURE(message.token.ptr[i] > ' ' && message.token.ptr[i] <= '~');
	ENSURE(strlen(message.user) <= BEARER_USER_MAX);
	ENSURE(!(data[0] & 1) || message.user[0] != '\0');
	return 0;
}
