/*
 * Return addresses from any bytes: whatever recipient is encoded comes back in lower
 * case, and what was not made here never stands for anybody.
 */
#include "auth/verp.h"

#include <stdlib.h>

#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char secret[VERP_SECRET_SIZE] = "secret";
	struct slice text = slice_make((const char *)data, size);
	struct buf made AUTO_BUF;
	struct buf back AUTO_BUF;
	buf_init(&made, 1000);
	buf_init(&back, 1000);
	ENSURE(verp_decode(secret, 0, text, &back) != VERP_OK && back.len == 0);
	if (!verp_encode(secret, 86400, text, SLICE("x.test"), &made)) {
		ENSURE(made.len == 0);
		return 0;
	}
	ENSURE(slice_index(buf_slice(&made), '@') <= VERP_LOCAL_MAX);
	ENSURE(verp_decode(secret, 86400, buf_slice(&made), &back) == VERP_OK);
	ENSURE(slice_equal_nocase(buf_slice(&back), text));
	return 0;
}
