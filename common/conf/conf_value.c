/*
 * Values: durations, sizes, yes and no, words, paths, and lists (addresses and networks:
 * conf_address.c).
 * Text from the file goes into the field that the schema row names, checked against the
 * row's bounds; a refusal says what was read and teaches the form.
 *
 * Pure but for the fields that it sets.  Nothing here knows lines or files.
 */
#include "conf/conf_int.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/ensure.h"

/* A unit and its worth in the field's own unit. */
struct unit {
	const char *name;
	uint64_t worth;
};

static const struct unit duration_units[] = {
    {"ms", 1			     },
    {"s",  1000			  },
    {"m",  60 * UINT64_C(1000)           },
    {"h",  3600 * UINT64_C(1000)         },
    {"d",  24 * 3600 * UINT64_C(1000)    },
    {"w",  7 * 24 * 3600 * UINT64_C(1000)},
};

static const struct unit size_units[] = {
    {"",  1		},
    {"K", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool
parse_with_unit(
    struct slice text, const struct unit *units, size_t unit_count, uint64_t *out)
{
	size_t digits = 0;
	uint64_t number;

	while (digits < text.len && ascii_is_digit(text.ptr[digits]))
		digits++;
	if (!slice_to_u64(slice_sub(text, 0, digits), UINT64_MAX, &number))
		return false;
	struct slice unit = slice_from(text, digits);
	for (size_t i = 0; i < unit_count; i++) {
		if (!slice_equal_nocase(unit, slice_from_cstr(units[i].name)))
			continue;
		if (number > UINT64_MAX / units[i].worth)
			return false;
		*out = number * units[i].worth;
		return true;
	}
	return false;
}

bool
conf_parse_duration_ms(struct slice text, uint64_t *out_ms)
{
	if (slice_equal(text, SLICE("0"))) {
		*out_ms = 0;
		return true;
	}
	return parse_with_unit(text, duration_units, COUNT_OF(duration_units), out_ms);
}

bool
conf_parse_size(struct slice text, uint64_t *out_bytes)
{
	return parse_with_unit(text, size_units, COUNT_OF(size_units), out_bytes);
}

/* The largest unit that divides the value evenly. */
static void
write_with_unit(
    uint64_t value, const struct unit *units, size_t unit_count, struct buf *out)
{
	size_t best = 0;

	for (size_t i = 0; value > 0 && i < unit_count; i++)
		if (value % units[i].worth == 0)
			best = i;
	buf_append_u64(out, value / units[best].worth);
	if (value > 0)
		buf_append_cstr(out, units[best].name);
}

void
conf_value_write_number(const struct conf_key *key, uint64_t value, struct buf *out)
{
	size_t durations = COUNT_OF(duration_units) - 1; /* days, not weeks */

	if (key->type == CONF_TYPE_DURATION_MS)
		write_with_unit(value, duration_units, durations, out);
	else if (key->type == CONF_TYPE_DURATION_S ||
		 key->type == CONF_TYPE_LIST_DURATION_S)
		write_with_unit(value * 1000, duration_units, durations, out);
	else if (key->type == CONF_TYPE_SIZE)
		write_with_unit(value, size_units, COUNT_OF(size_units), out);
	else
		buf_append_format(out, "%" PRIu64 "%s", value,
		    key->type == CONF_TYPE_PERCENT ? "%" : "");
}

static void *
field_at(void *base, size_t offset)
{
	return (char *)base + offset;
}

/* Numbers --------------------------------------------------------------------------- */

static bool
number_in_bounds(
    const struct conf_key *key, uint64_t value, const char *text, struct buf *why)
{
	if (value >= key->min && value <= key->max)
		return true;
	buf_append_format(why, "'%.80s' is out of bounds: ", text);
	conf_value_write_number(key, key->min, why);
	buf_append_cstr(why, " to ");
	conf_value_write_number(key, key->max, why);
	return false;
}

static bool
parse_bool(const char *text, uint64_t *out, struct buf *why)
{
	static const char *const yes[] = {"true", "yes", "on"};
	static const char *const no[] = {"false", "no", "off"};
	struct slice s = slice_from_cstr(text);

	for (size_t i = 0; i < COUNT_OF(yes); i++) {
		*out = slice_equal_nocase(s, slice_from_cstr(yes[i]));
		if (*out || slice_equal_nocase(s, slice_from_cstr(no[i])))
			return true;
	}
	buf_append_format(why, "'%.80s' is neither true nor false", text);
	return false;
}

static bool
parse_days(struct slice s, uint64_t *out)
{
	if (slice_equal_nocase(s, SLICE("never"))) {
		*out = 0;
		return true;
	}
	if (s.len > 1 && ascii_lower(s.ptr[s.len - 1]) == 'd')
		s.len--;
	return slice_to_u64(s, UINT32_MAX, out) && *out > 0;
}

static bool
parse_number(const struct conf_key *key, const char *text, uint64_t *out, struct buf *why)
{
	struct slice s = slice_from_cstr(text);

	switch (key->type) {
	case CONF_TYPE_BOOL:
		return parse_bool(text, out, why);
	case CONF_TYPE_DURATION_MS:
	case CONF_TYPE_DURATION_S:
	case CONF_TYPE_LIST_DURATION_S:
		if (!conf_parse_duration_ms(s, out)) {
			buf_append_format(why,
			    "'%.80s' is no duration: write a number and ms, s, m, h, d "
			    "or w, "
			    "such as 30s or 5m",
			    text);
			return false;
		}
		if (key->type != CONF_TYPE_DURATION_MS) {
			if (*out % 1000 != 0) {
				buf_append_format(
				    why, "'%.80s' is finer than a second", text);
				return false;
			}
			*out /= 1000;
		}
		break;
	case CONF_TYPE_SIZE:
		if (!conf_parse_size(s, out)) {
			buf_append_format(why,
			    "'%.80s' is no size: write a number of bytes, or with K, M, "
			    "G "
			    "or T, such as 25M",
			    text);
			return false;
		}
		break;
	case CONF_TYPE_DAYS:
		if (!parse_days(s, out)) {
			buf_append_format(why,
			    "'%.80s' is no number of days: write 30d, or never", text);
			return false;
		}
		break;
	case CONF_TYPE_PERCENT:
		if (s.len > 1 && s.ptr[s.len - 1] == '%')
			s.len--;
		/* fall through */
	case CONF_TYPE_U16:
	case CONF_TYPE_U32:
	case CONF_TYPE_TEXT:
	case CONF_TYPE_PATH:
	case CONF_TYPE_HOSTNAME:
	case CONF_TYPE_WORD:
	case CONF_TYPE_ENUM:
	case CONF_TYPE_LIST_WORD:
	case CONF_TYPE_LIST_ADDRESS:
	case CONF_TYPE_LIST_SERVER:
	case CONF_TYPE_LIST_NETWORK:
		if (!slice_to_u64(s, UINT64_MAX, out)) {
			buf_append_format(why,
			    "'%.80s' is no number: write digits only%s", text,
			    key->type == CONF_TYPE_PERCENT ? ", such as 5%" : "");
			return false;
		}
		break;
	}
	return number_in_bounds(key, *out, text, why);
}

static void
store_number(const struct conf_key *key, void *base, uint64_t value)
{
	void *field = field_at(base, key->offset);

	if (key->type == CONF_TYPE_BOOL)
		*(bool *)field = value != 0;
	else if (key->type == CONF_TYPE_U16)
		*(uint16_t *)field = (uint16_t)value;
	else if (key->type == CONF_TYPE_SIZE || key->type == CONF_TYPE_DURATION_MS ||
		 key->type == CONF_TYPE_DURATION_S)
		*(uint64_t *)field = value;
	else
		*(uint32_t *)field = (uint32_t)value;
}

/* Words and text -------------------------------------------------------------------- */

/* The place of the word, or SIZE_MAX. */
static size_t
word_index(const char *words, struct slice word, struct slice *out_spelled)
{
	struct slice rest = slice_from_cstr(words);

	for (size_t i = 0; rest.ptr; i++) {
		struct slice one = slice_split(&rest, '|');
		if (slice_equal_nocase(one, word)) {
			*out_spelled = one;
			return i;
		}
	}
	return SIZE_MAX;
}

static void
write_words(const char *words, struct buf *out)
{
	struct slice rest = slice_from_cstr(words);

	for (bool first = true; rest.ptr; first = false) {
		struct slice one = slice_split(&rest, '|');
		if (!first)
			buf_append_cstr(out, rest.ptr ? ", " : " or ");
		buf_append(out, one);
	}
}

/* Letters, digits, hyphens; labels of 1 to 63 octets (RFC 1123 section 2.1). */
static bool
hostname_is_valid(struct slice s)
{
	if (slice_is_empty(s) || s.len > 253)
		return false;
	while (s.ptr) {
		struct slice label = slice_split(&s, '.');
		if (slice_is_empty(label) || label.len > 63 || label.ptr[0] == '-' ||
		    label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!ascii_is_alpha(label.ptr[i]) &&
			    !ascii_is_digit(label.ptr[i]) && label.ptr[i] != '-')
				return false;
	}
	return true;
}

static bool
text_in_bounds(const struct conf_key *key, const char *text, struct buf *why)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
			buf_append_cstr(why, "control characters are not allowed here");
			return false;
		}
	}
	if (len >= key->min && len <= key->max)
		return true;
	if (key->min == key->max)
		buf_append_format(
		    why, "'%.80s' is not %" PRIu64 " characters long", text, key->min);
	else
		buf_append_format(why,
		    "'%.80s' has %zu characters: %" PRIu64 " to %" PRIu64 " are allowed",
		    text, len, key->min, key->max);
	return false;
}

/* An absolute path, a relative one below the root, or a word that stands for itself. */
static char *
path_resolve(const struct conf_key *key, const char *root, const char *text)
{
	struct buf out;
	struct slice word;

	if (!root || *text == '/' || *text == '\0' ||
	    (key->words &&
		word_index(key->words, slice_from_cstr(text), &word) != SIZE_MAX))
		return xstrdup(text);
	buf_init(&out, strlen(root) + strlen(text) + 2);
	buf_append_cstr(&out, root);
	if (!slice_has_suffix(slice_from_cstr(root), SLICE("/")))
		buf_append_byte(&out, '/');
	buf_append_cstr(&out, text);
	char *path = slice_to_cstr(buf_slice(&out));
	buf_fini(&out);
	return path;
}

/* Lists ----------------------------------------------------------------------------- */

static void
list_free(struct conf_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct conf_list){NULL, 0};
}

static char *
list_item(const struct conf_key *key, const char *text, struct buf *why)
{
	struct slice word;

	if (key->type == CONF_TYPE_LIST_ADDRESS)
		return conf_address_normal(text, why);
	if (key->type == CONF_TYPE_LIST_SERVER)
		return conf_server_normal(text, why);
	if (key->type == CONF_TYPE_LIST_NETWORK)
		return conf_network_normal(text, why);
	ENSURE(key->type == CONF_TYPE_LIST_WORD);
	if (word_index(key->words, slice_from_cstr(text), &word) != SIZE_MAX)
		return slice_to_cstr(word);
	buf_append_format(why, "'%.80s' is not known: it can be ", text);
	write_words(key->words, why);
	return NULL;
}

static bool
list_holds(const struct conf_list *list, const char *item)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], item) == 0)
			return true;
	return false;
}

static bool
set_list(const struct conf_key *key, void *base, const char *const *values, size_t count,
    struct buf *why)
{
	struct conf_list list = {xcalloc(count + 1, sizeof(char *)), 0};

	for (size_t i = 0; i < count; i++) {
		char *item = list_item(key, values[i], why);
		if (!item) {
			list_free(&list);
			return false;
		}
		/* Twice the same says nothing more. */
		if (list_holds(&list, item))
			free(item);
		else
			list.items[list.count++] = item;
	}
	struct conf_list *field = field_at(base, key->offset);
	list_free(field);
	*field = list;
	return true;
}

static bool
set_durations(const struct conf_key *key, void *base, const char *const *values,
    size_t count, struct buf *why)
{
	struct conf_key one = *key;
	uint64_t *list = xcalloc(count + 1, sizeof(uint64_t));

	one.min = 1;
	one.max =
	    UINT64_C(30) * UINT64_C(86400); /* a wait of more than a month is a mistake */
	for (size_t i = 0; i < count; i++) {
		if (!parse_number(&one, values[i], &list[i], why)) {
			free(list);
			return false;
		}
	}
	uint64_t **field = field_at(base, key->offset);
	free(*field);
	*field = list;
	*(size_t *)field_at(base, key->count_offset) = count;
	return true;
}

/* Setting --------------------------------------------------------------------------- */

static void
store_text(const struct conf_key *key, void *base, char *text)
{
	char **field = field_at(base, key->offset);

	free(*field);
	*field = text;
}

static bool
set_one(const struct conf_key *key, void *base, const char *root, const char *text,
    struct buf *why)
{
	uint64_t number;
	struct slice word;

	switch (key->type) {
	case CONF_TYPE_WORD:
	case CONF_TYPE_ENUM:
		number = word_index(key->words, slice_from_cstr(text), &word);
		if (number == SIZE_MAX) {
			buf_append_format(why, "'%.80s' is not known: it can be ", text);
			write_words(key->words, why);
			return false;
		}
		if (key->type == CONF_TYPE_ENUM)
			store_number(key, base, number);
		else
			store_text(key, base, slice_to_cstr(word));
		return true;
	case CONF_TYPE_HOSTNAME:
		if (!hostname_is_valid(slice_from_cstr(text))) {
			buf_append_format(why,
			    "'%.80s' is no host name: write letters, digits, hyphens and "
			    "dots, "
			    "such as \"mail.example.org\"",
			    text);
			return false;
		}
		store_text(key, base, xstrdup(text));
		return true;
	case CONF_TYPE_PATH:
		if (!text_in_bounds(key, text, why))
			return false;
		store_text(key, base, path_resolve(key, root, text));
		return true;
	case CONF_TYPE_TEXT:
		if (!text_in_bounds(key, text, why))
			return false;
		store_text(key, base, xstrdup(text));
		return true;
	case CONF_TYPE_BOOL:
	case CONF_TYPE_U16:
	case CONF_TYPE_U32:
	case CONF_TYPE_PERCENT:
	case CONF_TYPE_DAYS:
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION_MS:
	case CONF_TYPE_DURATION_S:
		if (!parse_number(key, text, &number, why))
			return false;
		store_number(key, base, number);
		return true;
	case CONF_TYPE_LIST_WORD:
	case CONF_TYPE_LIST_ADDRESS:
	case CONF_TYPE_LIST_SERVER:
	case CONF_TYPE_LIST_NETWORK:
	case CONF_TYPE_LIST_DURATION_S:
		break;
	}
	UNREACHABLE();
}

bool
conf_value_set(const struct conf_key *key, void *base, const char *root,
    const char *const *values, size_t count, struct buf *why)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(values[i]) > CONF_VALUE_BYTES_MAX) {
			buf_append_format(
			    why, "a value is longer than %d bytes", CONF_VALUE_BYTES_MAX);
			return false;
		}
	}
	if (!conf_key_is_list(key)) {
		ENSURE(count == 1);
		return set_one(key, base, root, values[0], why);
	}
	if (count < key->min || count > key->max) {
		buf_append_format(why,
		    "the list has %zu values: %" PRIu64 " to %" PRIu64 " are allowed",
		    count, key->min, key->max);
		return false;
	}
	return key->type == CONF_TYPE_LIST_DURATION_S
	           ? set_durations(key, base, values, count, why)
	           : set_list(key, base, values, count, why);
}

void
conf_value_set_default(const struct conf_key *key, void *base, const char *root)
{
	char *values[CONF_LIST_MAX];
	size_t count = 0;
	struct slice rest = slice_from_cstr(key->fallback);
	struct buf why;

	if (!key->fallback)
		return;
	if (conf_key_is_list(key)) {
		while (rest.ptr && *key->fallback) {
			ENSURE(count < CONF_LIST_MAX);
			values[count++] = slice_to_cstr(slice_split(&rest, ','));
		}
	} else {
		values[count++] = slice_to_cstr(rest);
	}
	buf_init(&why, CONF_MESSAGE_BYTES_MAX);
	bool ok =
	    conf_value_set(key, base, root, (const char *const *)values, count, &why);
	ENSURE(ok); /* a default that its own row refuses is our mistake */
	buf_fini(&why);
	for (size_t i = 0; i < count; i++)
		free(values[i]);
}

void
conf_value_free(const struct conf_key *key, void *base)
{
	if (key->type == CONF_TYPE_LIST_DURATION_S) {
		uint64_t **field = field_at(base, key->offset);
		free(*field);
		*field = NULL;
	} else if (conf_key_is_list(key)) {
		list_free(field_at(base, key->offset));
	} else if (key->type == CONF_TYPE_TEXT || key->type == CONF_TYPE_PATH ||
		   key->type == CONF_TYPE_HOSTNAME || key->type == CONF_TYPE_WORD) {
		store_text(key, base, NULL);
	}
}

static bool
default_is_bare(const struct conf_key *key)
{
	return key->type != CONF_TYPE_TEXT && key->type != CONF_TYPE_PATH &&
	       key->type != CONF_TYPE_HOSTNAME && strcmp(key->name, "min_version") != 0;
}

void
conf_value_write_default(const struct conf_key *key, struct buf *out)
{
	struct slice rest = slice_from_cstr(key->fallback);

	ENSURE(key->fallback);
	if (!conf_key_is_list(key)) {
		buf_append_format(
		    out, default_is_bare(key) ? "%s" : "\"%s\"", key->fallback);
		return;
	}
	buf_append_byte(out, '{');
	for (bool first = true; rest.ptr && *key->fallback; first = false) {
		struct slice item = slice_split(&rest, ',');
		buf_append_format(out, "%s\"%.*s\"", first ? "" : ", ", SLICE_ARG(item));
	}
	buf_append_byte(out, '}');
}
