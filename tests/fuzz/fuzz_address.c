/*
 * Addresses: an accepted path is written back to an address that parses to the same; a
 * list stays within its limit and its groups are well formed.
 */
#include "base/ensure.h"
#include "text/address.h"

enum { ARENA_BYTES = 64 << 20 };

static void
check_same(const struct mailbox_address *address, bool utf8, struct arena *arena)
{
	struct mailbox_address again;
	struct buf out;
	buf_init(&out, 4096);
	address_write(address, &out);
	/* Quoting may lengthen a local part past its limit, nothing else may change. */
	enum address_result result = address_parse(buf_slice(&out), utf8, arena, &again);
	ENSURE(result != ADDRESS_BAD);
	if (result == ADDRESS_OK) {
		ENSURE(slice_equal(again.local, address->local));
		ENSURE(slice_equal(again.domain, address->domain));
	}
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct arena *arena = arena_new(ARENA_BYTES);
	struct mailbox_address address;
	size_t used = 0;

	for (int utf8 = 0; utf8 < 2; utf8++) {
		if (address_parse_path(in, utf8, arena, &address, &used) == ADDRESS_OK) {
			ENSURE(used >= 2 && used <= in.len && in.ptr[used - 1] == '>');
			ENSURE(slice_index(address.local, '\n') == SIZE_MAX);
			if (address.domain.len)
				check_same(&address, utf8, arena);
		}
		if (address_parse(in, utf8, arena, &address) == ADDRESS_OK)
			check_same(&address, utf8, arena);
	}
	struct list_address *list;
	size_t count = address_list_parse(in, arena, &list);
	ENSURE(count <= ADDRESS_LIST_MAX);
	bool in_group = false;
	for (size_t i = 0; i < count; i++) {
		ENSURE(!(list[i].group_start && in_group));
		ENSURE(!(list[i].group_end && !in_group));
		ENSURE((list[i].host.ptr == NULL) ==
		       (list[i].group_start || list[i].group_end));
		in_group = (in_group || list[i].group_start) && !list[i].group_end;
	}
	ENSURE(!in_group);
	struct buf out;
	buf_init(&out, 4096);
	if (address_domain_to_ascii(in, &out))
		ENSURE(address_domain_is_valid(buf_slice(&out), false, false));
	buf_fini(&out);
	arena_free(&arena);
	return 0;
}
