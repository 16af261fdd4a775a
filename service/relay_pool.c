/*
 * Pools of source addresses: their text and the look at them; the contract is in
 * relay_pool.h.
 *
 * A pool is a note in the queue's partition (RELAY_NOTE_POOL), its members in `more`.
 * Whether an address is of this machine is not known here: binding to it tells.
 */
#include "service/relay_pool.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "text/address.h"

bool
relay_pool_name_is_good(struct slice name)
{
	char plain[RELAY_POOL_NAME_MAX + 1];
	unsigned char bytes[16];
	if (name.len == 0 || !slice_copy_cstr(name, plain, sizeof(plain)))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alpha(plain[i]) && !ascii_is_digit(plain[i]) &&
		    !strchr("-_.", plain[i]))
			return false;
	return inet_pton(AF_INET, plain, bytes) != 1;
}

static bool
address_read(struct slice text, struct relay_source *out)
{
	char plain[INET6_ADDRSTRLEN];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->address;
	if (!slice_copy_cstr(text, plain, sizeof(plain)))
		return false;
	if (inet_pton(AF_INET, plain, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		out->len = sizeof(*v4);
		return inet_ntop(AF_INET, &v4->sin_addr, out->text, sizeof(out->text));
	}
	if (inet_pton(AF_INET6, plain, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		out->len = sizeof(*v6);
		return inet_ntop(AF_INET6, &v6->sin6_addr, out->text, sizeof(out->text));
	}
	return false;
}

static bool
ehlo_read(struct slice name, char out[RELAY_POOL_EHLO_MAX + 1])
{
	struct buf ascii AUTO_BUF;
	buf_init(&ascii, RELAY_POOL_EHLO_MAX);
	return address_domain_to_ascii(name, &ascii) &&
	       slice_copy_cstr(buf_slice(&ascii), out, RELAY_POOL_EHLO_MAX + 1);
}

bool
relay_source_parse(struct slice text, struct relay_source *out, const char **out_why)
{
	uint64_t weight = 1;
	size_t star = slice_rindex(text, '*');
	size_t equals = slice_index(text, '=');
	*out = (struct relay_source){0};
	if (star != SIZE_MAX) {
		if (!slice_to_u64(
			slice_from(text, star + 1), RELAY_POOL_WEIGHT_MAX, &weight) ||
		    weight == 0) {
			*out_why = "a weight is a number from 1 to 1000";
			return false;
		}
		text = slice_sub(text, 0, star);
	}
	out->weight = (uint32_t)weight;
	if (equals != SIZE_MAX) {
		if (!ehlo_read(slice_from(text, equals + 1), out->ehlo)) {
			*out_why = "behind = stands the host name that EHLO says";
			return false;
		}
		text = slice_sub(text, 0, equals);
	}
	if (!address_read(text, out)) {
		*out_why = "a member is an address, as in 192.0.2.1=out.example.net*2";
		return false;
	}
	return true;
}

bool
relay_pool_parse(struct slice text, struct relay_pool *out, const char **out_why)
{
	out->count = 0;
	while (!slice_is_empty(text = slice_trim(text))) {
		if (out->count == RELAY_POOL_SOURCES_MAX) {
			*out_why = "a pool has 64 addresses at most";
			return false;
		}
		struct relay_source *s = &out->sources[out->count];
		if (!relay_source_parse(slice_split(&text, ' '), s, out_why))
			return false;
		for (size_t i = 0; i < out->count; i++) {
			if (strcmp(out->sources[i].text, s->text) == 0) {
				*out_why = "an address stands there twice";
				return false;
			}
		}
		out->count++;
	}
	*out_why = out->count ? NULL : "a pool has at least one address";
	return out->count > 0;
}

enum status
relay_pool_find(struct store_reader *reader, struct slice source, struct slice ehlo,
    struct relay_pool *out)
{
	struct relay_note note;
	const char *why;
	out->count = 0;
	if (address_read(source, &out->sources[0])) {
		struct relay_source *s = &out->sources[0];
		s->weight = 1;
		s->ehlo[0] = '\0';
		(void)slice_copy_cstr(ehlo, s->ehlo, sizeof(s->ehlo));
		out->count = 1;
		return STATUS_OK;
	}
	if (!relay_pool_name_is_good(source))
		return STATUS_NOT_FOUND;
	enum status status =
	    relay_note_get(reader, RELAY_NOTE_POOL, source, clock_wall_s(), &note);
	if (status != STATUS_OK)
		return status;
	if (!relay_pool_parse(note.more, out, &why))
		return STATUS_CORRUPT;
	for (size_t i = 0; i < out->count && ehlo.len; i++)
		if (!out->sources[i].ehlo[0])
			(void)slice_copy_cstr(
			    ehlo, out->sources[i].ehlo, sizeof(out->sources[i].ehlo));
	return STATUS_OK;
}
