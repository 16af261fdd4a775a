/*
 * For the tests of common/conf: a configuration as text, every field by the schema table,
 * so that two can be compared; and short ways to parse and to look at errors.
 */
#ifndef UNIT_CONF_CONF_DUMP_H
#define UNIT_CONF_CONF_DUMP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "conf/conf_int.h"

static void
dump_field(const struct conf_key *key, const void *base, struct buf *out)
{
	const void *field = (const char *)base + key->offset;

	buf_append_format(out, "%s.%s =", key->section, key->name);
	if (key->type == CONF_TYPE_LIST_DURATION_S) {
		uint64_t *const *list = field;
		size_t count = *(
		    const size_t *)(const void *)((const char *)base + key->count_offset);
		for (size_t i = 0; i < count; i++)
			buf_append_format(out, " %llu", (unsigned long long)(*list)[i]);
	} else if (conf_key_is_list(key)) {
		const struct conf_list *list = field;
		for (size_t i = 0; i < list->count; i++)
			buf_append_format(out, " %s", list->items[i]);
	} else if (key->type == CONF_TYPE_BOOL) {
		buf_append_format(out, " %d", *(const bool *)field);
	} else if (key->type == CONF_TYPE_U16) {
		buf_append_format(out, " %d", *(const uint16_t *)field);
	} else if (key->type == CONF_TYPE_SIZE || key->type == CONF_TYPE_DURATION_MS ||
		   key->type == CONF_TYPE_DURATION_S) {
		buf_append_format(
		    out, " %llu", (unsigned long long)*(const uint64_t *)field);
	} else if (key->type == CONF_TYPE_TEXT || key->type == CONF_TYPE_PATH ||
		   key->type == CONF_TYPE_HOSTNAME || key->type == CONF_TYPE_WORD) {
		buf_append_format(out, " '%s'", *(char *const *)field);
	} else {
		buf_append_format(out, " %u", *(const uint32_t *)field);
	}
	buf_append_byte(out, '\n');
}

/* The caller frees. */
__attribute__((unused)) static char *
conf_dump(const struct conf *conf)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < conf_key_count; i++)
		if (strcmp(conf_keys[i].section, "listener") != 0)
			dump_field(&conf_keys[i], conf, &out);
	for (size_t l = 0; l < conf->listener_count; l++) {
		buf_append_format(&out, "listener %s\n", conf->listeners[l].name);
		for (size_t i = 0; i < conf_key_count; i++)
			if (strcmp(conf_keys[i].section, "listener") == 0)
				dump_field(&conf_keys[i], &conf->listeners[l], &out);
	}
	assert_true(buf_ok(&out));
	char *text = slice_to_cstr(buf_slice(&out));
	buf_fini(&out);
	return text;
}

/* All errors as "line: text" lines, warnings with "warning: " before the text. */
__attribute__((unused)) static char *
errors_dump(const struct conf_errors *errors)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < errors->count; i++)
		buf_append_format(&out, "%d: %s%s\n", errors->items[i].line,
		    errors->items[i].warning ? "warning: " : "", errors->items[i].text);
	char *text = slice_to_cstr(buf_slice(&out));
	buf_fini(&out);
	return text;
}

/* Parses a text that must be good, without a warning. */
__attribute__((unused)) static struct conf *
must_parse(const char *text, const char *root)
{
	struct conf_errors errors = {NULL, 0};
	struct conf *conf = conf_parse(slice_from_cstr(text), "t.conf", root, &errors);
	char *dump = errors_dump(&errors);

	if (!conf || errors.count)
		fail_msg("did not parse:\n%s\n%s", text, dump);
	free(dump);
	conf_errors_free(&errors);
	return conf;
}

#endif
