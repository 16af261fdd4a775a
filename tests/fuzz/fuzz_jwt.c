/*
 * Tokens, files of keys and answers of introspection from any bytes.  Nothing is ever
 * taken: no mutation finds a signature, and what an answer lets in has a name.
 */
#include "auth/jwt.h"
#include "base/ensure.h"

static struct jwt_keys *
the_keys(void)
{
	static struct jwt_keys *keys;
	const char *error = NULL;

	/* The key of RFC 8037 appendix A.2. */
	if (!keys)
		ENSURE(jwt_keys_parse(
			   SLICE("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
				 "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPc"
				 "HURo\"}]}"),
			   &keys, &error) == STATUS_OK);
	return keys;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct jwt_rules rules = {.claim = "email", .now_s = 1795600000};
	struct buf name;
	int64_t expires_s;
	const char *why = NULL;

	if (size < 1)
		return 0;
	struct slice in = slice_make((const char *)data + 1, size - 1);
	buf_init(&name, JWT_NAME_MAX);
	if (data[0] % 3 == 0) {
		ENSURE(jwt_check(in, the_keys(), &rules, &name, &expires_s, &why) ==
		       STATUS_DENIED);
		ENSURE(why);
	} else if (data[0] % 3 == 1) {
		enum status status =
		    jwt_check_introspection(in, &rules, &name, &expires_s, &why);
		ENSURE((status == STATUS_OK) == (why == NULL));
		ENSURE(status != STATUS_OK || name.len > 0);
	} else {
		struct jwt_keys *keys = NULL;
		if (jwt_keys_parse(in, &keys, &why) == STATUS_OK)
			jwt_keys_unref(&keys);
		else
			ENSURE(why);
	}
	buf_fini(&name);
	return 0;
}
