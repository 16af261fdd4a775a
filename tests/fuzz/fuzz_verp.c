/*
 * Addresses and tokens from any bytes: whatever sender and recipient are encoded come
 * back in lower case, and what was not made here never stands for anybody.
 */
#include "auth/verp.h"

#include <stdlib.h>

#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char key[SIGNED_KEY_SIZE] = "secret";
	struct slice text = slice_make((const char *)data, size), recipient = text;
	struct slice sender = slice_split(&recipient, '\n');
	struct verp back;
	struct buf made AUTO_BUF;
	struct buf token AUTO_BUF;
	buf_init(&made, 1000);
	buf_init(&token, VERP_TOKEN_MAX);
	ENSURE(verp_decode(key, 0, text, &back) != VERP_OK);
	ENSURE(verp_token_decode(key, 0, text, &back) != VERP_OK);
	bool good = verp_token_encode(key, 86400, sender, recipient, &token);
	if (good) {
		ENSURE(
		    verp_token_decode(key, 86400, buf_slice(&token), &back) == VERP_OK);
		ENSURE(back.kind == VERP_UNSUBSCRIBE &&
		       slice_equal_nocase(slice_from_cstr(back.sender), sender) &&
		       slice_equal_nocase(slice_from_cstr(back.recipient), recipient));
	}
	for (int kind = VERP_BOUNCE; kind <= VERP_UNSUBSCRIBE; kind++) {
		buf_reset(&made);
		if (!verp_encode(
			key, (enum verp_kind)kind, 86400, sender, recipient, &made)) {
			ENSURE(made.len == 0);
			continue;
		}
		ENSURE(good && slice_rindex(buf_slice(&made), '@') <= VERP_LOCAL_MAX);
		ENSURE(verp_decode(key, 86400, buf_slice(&made), &back) == VERP_OK);
		ENSURE((int)back.kind == kind &&
		       slice_equal_nocase(slice_from_cstr(back.sender), sender) &&
		       slice_equal_nocase(slice_from_cstr(back.recipient), recipient));
	}
	return 0;
}
