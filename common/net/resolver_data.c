/*
 * Resource record data from wire form.  Pure functions over untrusted bytes: a record
 * that does not fit its type is left out by the caller and never crashes (Postfix
 * 20260524, 20260531: short rdata).
 *
 * RFC 1035 sections 3.1 and 3.3, RFC 3596, RFC 6698.
 */
#include "net/resolver_int.h"

enum { LABEL_MAX = 63, TLSA_HEADER_SIZE = 3, MX_HEADER_SIZE = 2 };

static bool
is_host_byte(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

bool
resolver_name_from_wire(
    struct slice wire, struct arena *arena, struct slice *out, size_t *out_used)
{
	char text[RESOLVER_NAME_MAX + 1];
	size_t len = 0;
	size_t at = 0;
	for (;;) {
		if (at >= wire.len)
			return false;
		size_t label = (unsigned char)wire.ptr[at++];
		if (label == 0)
			break;
		if (label > LABEL_MAX || label > wire.len - at ||
		    len + label + 1 > RESOLVER_NAME_MAX)
			return false;
		if (len > 0)
			text[len++] = '.';
		for (size_t i = 0; i < label; i++) {
			char c = wire.ptr[at + i];
			if (!is_host_byte(c))
				return false;
			text[len++] = ascii_lower(c);
		}
		at += label;
	}
	struct slice copy = arena_copy(arena, slice_make(text, len));
	if (!copy.ptr)
		return false;
	*out = copy;
	*out_used = at;
	return true;
}

/* Strings of one TXT record are one text (RFC 7208 section 3.3). */
static bool
join_txt(struct slice rdata, struct arena *arena, struct slice *out)
{
	char *text = arena_alloc(arena, rdata.len + 1);
	size_t len = 0;
	if (!text || rdata.len == 0)
		return false;
	for (size_t at = 0; at < rdata.len;) {
		size_t part = (unsigned char)rdata.ptr[at++];
		if (part > rdata.len - at)
			return false;
		if (part > 0)
			memcpy(text + len, rdata.ptr + at, part);
		len += part;
		at += part;
	}
	*out = slice_make(text, len);
	return true;
}

static bool
copy_data(struct slice rdata, struct arena *arena, struct slice *out)
{
	*out = arena_copy(arena, rdata);
	return out->ptr != NULL;
}

bool
resolver_record_from_wire(enum resolver_type type, struct slice rdata,
    struct arena *arena, struct resolver_record *out)
{
	struct resolver_record record = {0};
	size_t used = 0;
	bool good = false;
	if (rdata.len > RESOLVER_RDATA_MAX)
		return false;
	switch (type) {
	case RESOLVER_A:
		good = rdata.len == 4 && copy_data(rdata, arena, &record.data);
		break;
	case RESOLVER_AAAA:
		good = rdata.len == 16 && copy_data(rdata, arena, &record.data);
		break;
	case RESOLVER_TLSA:
		/* What its numbers mean is the business of who uses it. */
		good =
		    rdata.len > TLSA_HEADER_SIZE && copy_data(rdata, arena, &record.data);
		break;
	case RESOLVER_TXT:
		good = join_txt(rdata, arena, &record.data);
		break;
	case RESOLVER_PTR:
		good = resolver_name_from_wire(rdata, arena, &record.name, &used) &&
		       used == rdata.len;
		break;
	case RESOLVER_MX:
		if (rdata.len <= MX_HEADER_SIZE)
			break;
		record.preference = (uint16_t)((unsigned char)rdata.ptr[0] << 8 |
					       (unsigned char)rdata.ptr[1]);
		good = resolver_name_from_wire(slice_from(rdata, MX_HEADER_SIZE), arena,
			   &record.name, &used) &&
		       used + MX_HEADER_SIZE == rdata.len;
		break;
	}
	if (good)
		*out = record;
	return good;
}

/* By preference; stable, and there are at most RESOLVER_RECORDS_MAX. */
void
resolver_sort(struct resolver_record *records, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct resolver_record record = records[i];
		size_t at = i;
		for (; at > 0 && records[at - 1].preference > record.preference; at--)
			records[at] = records[at - 1];
		records[at] = record;
	}
}
