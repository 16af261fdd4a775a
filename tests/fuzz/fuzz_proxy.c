/*
 * Fuzzes what proxies say: PROXY headers and XCLIENT's attributes.  A header never takes
 * more than is there or allowed, and its outcome does not change with what follows.
 */
#include <stdint.h>

#include "base/ensure.h"
#include "net/proxy.h"
#include "smtpd/smtp_xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size);
	struct proxy_header header, again;
	size_t used = 0, used_again = 0;
	enum proxy_result result = proxy_parse(text, &header, &used);
	if (size >= PROXY_HEADER_MAX)
		ENSURE(result != PROXY_MORE);
	if (result == PROXY_DONE) {
		ENSURE(used > 0 && used <= size && used <= PROXY_HEADER_MAX);
		ENSURE(header.client.ss_family == AF_UNSPEC ||
		       header.client.ss_family == AF_INET ||
		       header.client.ss_family == AF_INET6);
		ENSURE(proxy_parse(slice_sub(text, 0, used), &again, &used_again) ==
			   PROXY_DONE &&
		       used_again == used);
		ENSURE(proxy_parse(slice_sub(text, 0, used - 1), &again, &used_again) ==
		       PROXY_MORE);
	}
	struct arena *arena = arena_new(64 * 1024);
	struct smtp_xclient x;
	if (smtp_xclient_parse(text, arena, &x))
		ENSURE(!x.has_address || x.address_unknown ||
		       x.address.ss_family != AF_UNSPEC);
	arena_free(&arena);
	return 0;
}
