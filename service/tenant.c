/*
 * Whose mail it is; see tenant.h.  At most three looks for the member, one for its
 * tenant.
 */
#include "service/tenant.h"

static struct slice
domain_of(struct slice address)
{
	size_t at = slice_rindex(address, '@');
	return at == SIZE_MAX ? SLICE("") : slice_from(address, at + 1);
}

enum status
service_tenant_of(struct store_reader *reader, struct slice login, struct slice sender,
    struct tenant *out)
{
	struct slice members[] = {login, domain_of(sender), domain_of(login)};
	struct slice name;
	if (slice_is_empty(login))
		return STATUS_NOT_FOUND;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		enum status status = tenant_member_find(reader, members[i], &name);
		if (status == STATUS_OK)
			return tenant_get(reader, name, out);
		if (status != STATUS_NOT_FOUND)
			return status;
	}
	return STATUS_NOT_FOUND;
}
