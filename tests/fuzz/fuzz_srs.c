/*
 * Fuzzes sender rewriting: a local part from outside is never taken unless it was made
 * with our key, and what is made from any sender leads back to it.
 */
#include <stdint.h>

#include "auth/srs.h"
#include "base/ensure.h"
#include "text/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char key[SRS_KEY_SIZE] = "key";
	struct slice text = slice_make((const char *)data, size);
	struct slice domain = SLICE("us.example");
	struct buf made, back;
	buf_init(&made, 1024);
	buf_init(&back, 1024);
	if (srs_is(text))
		ENSURE(
		    srs_reverse(key, text, 1764000000, &back) != SRS_OK || back.len > 0);
	buf_reset(&back);
	if (srs_forward(key, text, domain, 1764000000, &made)) {
		ENSURE(buf_ok(&made) && made.len <= ADDRESS_PATH_MAX);
		struct slice local =
		    slice_sub(buf_slice(&made), 0, made.len - domain.len - 1);
		ENSURE(srs_is(local));
		enum srs_result result = srs_reverse(key, local, 1764000000, &back);
		ENSURE(result == SRS_OK || result == SRS_BAD);
		/* Of a plain sender with a valid domain it is the same again. */
		size_t at = slice_rindex(text, '@');
		struct slice name = slice_sub(text, 0, at);
		if (!srs_is(name) &&
		    address_domain_is_valid(slice_from(text, at + 1), false, true))
			ENSURE(result == SRS_OK && slice_equal(buf_slice(&back), text));
	}
	buf_fini(&made);
	buf_fini(&back);
	return 0;
}
