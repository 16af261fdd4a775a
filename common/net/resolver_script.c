/*
 * The scripted resolver's file: one record a line, as resolver.h describes.  It is read
 * once into records in wire form, so that scripted and real answers take the same way
 * (resolver_data.c).
 *
 * Thread: reading any; afterwards it is immutable.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "net/resolver_int.h"

enum {
	SCRIPT_LINES_MAX = 100 * 1000,
	SCRIPT_LINE_MAX = 16 * 1024, /* octets */
	SCRIPT_TTL_S = 300,
	TXT_PART_MAX = 255,
};

enum script_word {
	WORD_NONE,
	WORD_SECURE,
	WORD_BOGUS,
	WORD_SERVFAIL,
	WORD_NXDOMAIN,
	WORD_TIMEOUT,
};

struct script_entry {
	char *name;
	enum resolver_type type;
	enum script_word word;
	bool has_data;
	struct buf rdata;
};

struct resolver_script {
	struct script_entry *entries;
	size_t count;
	size_t cap;
};

static const struct {
	const char *text;
	enum resolver_type type;
} type_names[] = {
    {"A",    RESOLVER_A   },
    {"PTR",  RESOLVER_PTR },
    {"MX",   RESOLVER_MX  },
    {"TXT",  RESOLVER_TXT },
    {"AAAA", RESOLVER_AAAA},
    {"TLSA", RESOLVER_TLSA},
};

static const char *const word_names[] = {
    [WORD_SECURE] = "SECURE",
    [WORD_BOGUS] = "BOGUS",
    [WORD_SERVFAIL] = "SERVFAIL",
    [WORD_NXDOMAIN] = "NXDOMAIN",
    [WORD_TIMEOUT] = "TIMEOUT",
};

static struct slice
take_word(struct slice *rest)
{
	struct slice trimmed = slice_trim(*rest);
	size_t len = 0;
	while (len < trimmed.len && trimmed.ptr[len] != ' ' && trimmed.ptr[len] != '\t')
		len++;
	*rest = slice_trim(slice_from(trimmed, len));
	return slice_sub(trimmed, 0, len);
}

static bool
parse_type(struct slice text, enum resolver_type *out)
{
	for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
		if (slice_equal_nocase(text, slice_from_cstr(type_names[i].text))) {
			*out = type_names[i].type;
			return true;
		}
	}
	return false;
}

static enum script_word
parse_word(struct slice text)
{
	for (size_t i = WORD_SECURE; i <= WORD_TIMEOUT; i++)
		if (slice_equal(text, slice_from_cstr(word_names[i])))
			return (enum script_word)i;
	return WORD_NONE;
}

/* "host.example" or "." in wire form. */
static bool
put_name(struct slice text, struct buf *out)
{
	if (slice_has_suffix(text, SLICE(".")))
		text.len--;
	while (text.len > 0) {
		struct slice label = slice_split(&text, '.');
		if (label.len == 0 || label.len > 63)
			return false;
		buf_append_byte(out, (char)label.len);
		buf_append(out, label);
	}
	buf_append_byte(out, '\0');
	return true;
}

static bool
put_address(struct slice text, int family, struct buf *out)
{
	char name[INET6_ADDRSTRLEN];
	unsigned char address[sizeof(struct in6_addr)];
	if (!slice_copy_cstr(text, name, sizeof(name)) ||
	    inet_pton(family, name, address) != 1)
		return false;
	buf_append(out, slice_make((char *)address, family == AF_INET ? 4 : 16));
	return true;
}

static bool
put_mx(struct slice text, struct buf *out)
{
	uint64_t preference;
	if (!slice_to_u64(take_word(&text), UINT16_MAX, &preference) || text.len == 0)
		return false;
	buf_append_be16(out, (uint16_t)preference);
	return put_name(text, out);
}

static bool
put_txt(struct slice text, struct buf *out)
{
	if (text.len < 2 || text.ptr[0] != '"' || text.ptr[text.len - 1] != '"')
		return false;
	text = slice_sub(text, 1, text.len - 2);
	do {
		struct slice part = slice_sub(text, 0, TXT_PART_MAX);
		buf_append_byte(out, (char)part.len);
		buf_append(out, part);
		text = slice_from(text, part.len);
	} while (text.len > 0);
	return true;
}

static int
hex_value(char c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
put_tlsa(struct slice text, struct buf *out)
{
	for (int i = 0; i < 3; i++) {
		uint64_t number;
		if (!slice_to_u64(take_word(&text), UINT8_MAX, &number))
			return false;
		buf_append_byte(out, (char)number);
	}
	if (text.len % 2 != 0)
		return false;
	for (size_t i = 0; i < text.len; i += 2) {
		int high = hex_value(text.ptr[i]), low = hex_value(text.ptr[i + 1]);
		if (high < 0 || low < 0)
			return false;
		buf_append_byte(out, (char)(high << 4 | low));
	}
	return true;
}

static bool
put_data(enum resolver_type type, struct slice text, struct buf *out)
{
	switch (type) {
	case RESOLVER_A:
		return put_address(text, AF_INET, out);
	case RESOLVER_AAAA:
		return put_address(text, AF_INET6, out);
	case RESOLVER_PTR:
		return put_name(text, out);
	case RESOLVER_MX:
		return put_mx(text, out);
	case RESOLVER_TXT:
		return put_txt(text, out);
	case RESOLVER_TLSA:
		return put_tlsa(text, out);
	}
	return false;
}

/* Null when the line is good, or else what is wrong with it. */
static const char *
parse_line(struct resolver_script *script, struct slice line)
{
	struct slice rest = slice_trim(line);
	if (rest.len == 0 || rest.ptr[0] == '#')
		return NULL;
	struct slice name = take_word(&rest);
	if (name.len > 1 && slice_has_suffix(name, SLICE(".")))
		name.len--;
	if (name.len > RESOLVER_NAME_MAX || memchr(name.ptr, '\0', name.len))
		return "the name is not valid";
	struct script_entry entry = {0};
	if (!parse_type(take_word(&rest), &entry.type))
		return "the type is not one of A, AAAA, MX, TXT, PTR, TLSA";
	struct slice after = rest;
	entry.word = parse_word(take_word(&after));
	if (entry.word != WORD_NONE)
		rest = after;
	buf_init(&entry.rdata, (size_t)2 * SCRIPT_LINE_MAX);
	entry.has_data = rest.len > 0;
	if (entry.has_data &&
	    (!put_data(entry.type, rest, &entry.rdata) || !buf_ok(&entry.rdata))) {
		buf_fini(&entry.rdata);
		return "the data does not fit the type";
	}
	entry.name = slice_to_cstr(name);
	if (script->count == script->cap) {
		script->cap = script->cap ? 2 * script->cap : 32;
		script->entries =
		    xrealloc(script->entries, script->cap * sizeof(*script->entries));
	}
	script->entries[script->count++] = entry;
	return NULL;
}

enum status
resolver_script_read(const char *path, struct resolver_script **out, char **error)
{
	*error = NULL;
	FILE *file = fopen(path, "re");
	if (!file) {
		int saved_errno = errno;
		if (asprintf(error, "cannot open DNS script %s: %s", path,
			strerror(saved_errno)) < 0)
			*error = NULL;
		return status_from_errno(saved_errno);
	}
	struct resolver_script *script = xcalloc(1, sizeof(*script));
	char *line = xmalloc(SCRIPT_LINE_MAX);
	const char *wrong = NULL;
	int number = 0;
	while (!wrong && fgets(line, SCRIPT_LINE_MAX, file)) {
		struct slice text = slice_from_cstr(line);
		if (++number > SCRIPT_LINES_MAX)
			wrong = "there are too many lines";
		else if (text.len == SCRIPT_LINE_MAX - 1)
			wrong = "the line is too long";
		else
			wrong = parse_line(script, text);
	}
	fclose(file);
	free(line);
	if (wrong) {
		if (asprintf(error, "%s:%d: %s", path, number, wrong) < 0)
			*error = NULL;
		resolver_script_free(&script);
		return STATUS_INVALID;
	}
	*out = script;
	return STATUS_OK;
}

void
resolver_script_free(struct resolver_script **script_ptr)
{
	struct resolver_script *script = *script_ptr;
	if (!script)
		return;
	*script_ptr = NULL;
	for (size_t i = 0; i < script->count; i++) {
		free(script->entries[i].name);
		buf_fini(&script->entries[i].rdata);
	}
	free(script->entries);
	free(script);
}

static void
add_record(
    const struct script_entry *entry, struct arena *arena, struct resolver_answer *out)
{
	if (!entry->has_data || out->count == RESOLVER_RECORDS_MAX)
		return;
	if (resolver_record_from_wire(
		entry->type, buf_slice(&entry->rdata), arena, &out->records[out->count]))
		out->count++;
}

bool
resolver_script_answer(const struct resolver_script *script,
    const struct resolver_query *query, struct arena *arena, struct resolver_answer *out)
{
	bool name_is_there = false;
	*out = (struct resolver_answer){.ttl_s = SCRIPT_TTL_S};
	out->records = arena_must(arena, RESOLVER_RECORDS_MAX * sizeof(*out->records));
	for (size_t i = 0; i < script->count; i++) {
		const struct script_entry *entry = &script->entries[i];
		if (!slice_equal_nocase(
			slice_from_cstr(entry->name), slice_from_cstr(query->name)))
			continue;
		name_is_there = true;
		if (entry->type != query->type)
			continue;
		switch (entry->word) {
		case WORD_TIMEOUT:
			return true;
		case WORD_BOGUS:
			out->result = RESOLVER_BOGUS;
			out->why = "the script says bogus";
			out->count = 0;
			return false;
		case WORD_SERVFAIL:
			out->result = RESOLVER_FAILED;
			out->why = "the name server failed (SERVFAIL)";
			out->count = 0;
			return false;
		case WORD_NXDOMAIN:
			out->result = RESOLVER_NO_NAME;
			out->count = 0;
			return false;
		case WORD_SECURE:
			out->secure = true;
			break;
		case WORD_NONE:
			break;
		}
		add_record(entry, arena, out);
	}
	resolver_sort(out->records, out->count);
	out->result = out->count > 0  ? RESOLVER_OK
	              : name_is_there ? RESOLVER_NO_DATA
	                              : RESOLVER_NO_NAME;
	return false;
}
