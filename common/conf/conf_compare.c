/*
 * What has changed between two configurations, for a reload: it takes up most keys, and
 * has to say so when one is among them that waits for a restart.
 */
#include "conf/conf_int.h"

static bool
lists_equal(const struct conf_list *a, const struct conf_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static size_t
number_size(const struct conf_key *key)
{
	if (key->type == CONF_TYPE_BOOL)
		return sizeof(bool);
	if (key->type == CONF_TYPE_U16)
		return sizeof(uint16_t);
	if (key->type == CONF_TYPE_SIZE || key->type == CONF_TYPE_DURATION_MS ||
	    key->type == CONF_TYPE_DURATION_S)
		return sizeof(uint64_t);
	return sizeof(uint32_t);
}

bool
conf_value_equal(const struct conf_key *key, const void *a, const void *b)
{
	const void *x = (const char *)a + key->offset;
	const void *y = (const char *)b + key->offset;

	if (key->type == CONF_TYPE_LIST_DURATION_S) {
		size_t count;
		if (memcmp((const char *)a + key->count_offset,
			(const char *)b + key->count_offset, sizeof(count)) != 0)
			return false;
		memcpy(&count, (const char *)a + key->count_offset, sizeof(count));
		return memcmp(*(uint64_t *const *)x, *(uint64_t *const *)y,
			   count * sizeof(uint64_t)) == 0;
	}
	if (conf_key_is_list(key))
		return lists_equal(x, y);
	if (key->type == CONF_TYPE_TEXT || key->type == CONF_TYPE_PATH ||
	    key->type == CONF_TYPE_HOSTNAME || key->type == CONF_TYPE_WORD)
		return strcmp(*(char *const *)x, *(char *const *)y) == 0;
	return memcmp(x, y, number_size(key)) == 0;
}

static void
changed(struct buf *out, const char *section, const char *name, const char *title)
{
	if (out->len > 0)
		buf_append_cstr(out, ", ");
	if (title)
		buf_append_format(out, "listener \"%s\"", title);
	else
		buf_append_format(out, "%s%s%s", section, *section ? "." : "", name);
}

static const struct conf_listener *
listener_named(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->listener_count; i++)
		if (strcmp(conf->listeners[i].name, name) == 0)
			return &conf->listeners[i];
	return NULL;
}

static bool
listeners_equal(const struct conf_listener *a, const struct conf_listener *b)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (strcmp(conf_keys[i].section, "listener") == 0 &&
		    conf_keys[i].restart && !conf_value_equal(&conf_keys[i], a, b))
			return false;
	return true;
}

/* Listeners of `a` that `b` does not have, or, when wanted, has in another way. */
static bool
listeners_changed(
    const struct conf *a, const struct conf *b, bool also_differing, struct buf *out)
{
	bool any = false;

	for (size_t i = 0; i < a->listener_count; i++) {
		const struct conf_listener *one = &a->listeners[i];
		const struct conf_listener *other = listener_named(b, one->name);
		if (other && (!also_differing || listeners_equal(one, other)))
			continue;
		changed(out, "", "", one->name);
		any = true;
	}
	return any;
}

bool
conf_restart_needed(const struct conf *before, const struct conf *after, struct buf *out)
{
	bool any = false;

	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		if (!key->restart || strcmp(key->section, "listener") == 0 ||
		    conf_value_equal(key, before, after))
			continue;
		changed(out, key->section, key->name, NULL);
		any = true;
	}
	any |= listeners_changed(before, after, true, out);
	any |= listeners_changed(after, before, false, out);
	return any;
}
