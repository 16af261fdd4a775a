/*
 * MTA-STS records and policies; see mta_sts.h.
 */
#include "text/mta_sts.h"

static const char *const mode_texts[] = {"none", "testing", "enforce"};

const char *
mta_sts_mode_text(enum mta_sts_mode mode)
{
	return mode_texts[mode];
}

static bool
is_alnum(char c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool
id_is_good(struct slice id)
{
	if (id.len == 0 || id.len > MTA_STS_ID_MAX)
		return false;
	for (size_t i = 0; i < id.len; i++)
		if (!is_alnum(id.ptr[i]))
			return false;
	return true;
}

bool
mta_sts_record_parse(struct slice txt, struct slice *out_id)
{
	struct slice id = SLICE_NULL;
	struct slice version = slice_trim(slice_split(&txt, ';'));
	if (!slice_equal(version, SLICE("v=STSv1")))
		return false;
	while (!slice_is_empty(txt)) {
		struct slice value = slice_trim(slice_split(&txt, ';'));
		struct slice name = slice_trim(slice_split(&value, '='));
		if (slice_equal(name, SLICE("id")) && !id.ptr)
			id = slice_trim(value);
	}
	if (!id_is_good(id))
		return false;
	*out_id = id;
	return true;
}

/* Letters, digits, "-", "." and at the front "*." */
static bool
pattern_is_good(struct slice pattern)
{
	if (slice_has_prefix(pattern, SLICE("*.")))
		pattern = slice_from(pattern, 2);
	if (pattern.len == 0 || pattern.len > 253 || pattern.ptr[0] == '.')
		return false;
	for (size_t i = 0; i < pattern.len; i++) {
		char c = pattern.ptr[i];
		if (!is_alnum(c) && c != '-' && c != '.' && c != '_')
			return false;
	}
	return true;
}

static bool
mode_parse(struct slice text, enum mta_sts_mode *out)
{
	for (int mode = MTA_STS_NONE; mode <= MTA_STS_ENFORCE; mode++) {
		if (slice_equal(text, slice_from_cstr(mode_texts[mode]))) {
			*out = (enum mta_sts_mode)mode;
			return true;
		}
	}
	return false;
}

struct seen {
	bool version, mode, max_age;
};

/* One "name: value"; the first of a name counts, but for mx (section 3.2). */
static bool
field_take(
    struct slice name, struct slice value, struct seen *seen, struct mta_sts_policy *out)
{
	uint64_t number;
	if (slice_equal(name, SLICE("version")) && !seen->version) {
		seen->version = true;
		return slice_equal(value, SLICE("STSv1"));
	}
	if (slice_equal(name, SLICE("mode")) && !seen->mode) {
		seen->mode = true;
		return mode_parse(value, &out->mode);
	}
	if (slice_equal(name, SLICE("max_age")) && !seen->max_age) {
		seen->max_age = true;
		if (!slice_to_u64(value, UINT32_MAX, &number))
			return false;
		out->max_age_s =
		    number < MTA_STS_AGE_MAX_S ? (uint32_t)number : MTA_STS_AGE_MAX_S;
		return true;
	}
	if (!slice_equal(name, SLICE("mx")))
		return true;
	if (!pattern_is_good(value) || out->mx_count == MTA_STS_MX_MAX)
		return false;
	out->mx[out->mx_count++] = value;
	return true;
}

bool
mta_sts_policy_parse(struct slice text, struct mta_sts_policy *out)
{
	struct mta_sts_policy policy = {.mode = MTA_STS_NONE};
	struct seen seen = {false, false, false};
	if (text.len > MTA_STS_POLICY_MAX)
		return false;
	while (!slice_is_empty(text)) {
		struct slice value = slice_trim(slice_split(&text, '\n'));
		if (slice_is_empty(value))
			continue;
		if (slice_index(value, ':') == SIZE_MAX)
			return false;
		struct slice name = slice_trim(slice_split(&value, ':'));
		if (!field_take(name, slice_trim(value), &seen, &policy))
			return false;
	}
	if (!seen.version || !seen.mode || !seen.max_age ||
	    (policy.mode != MTA_STS_NONE && policy.mx_count == 0))
		return false;
	*out = policy;
	return true;
}

bool
mta_sts_mx_matches(const struct mta_sts_policy *policy, struct slice host)
{
	for (size_t i = 0; i < policy->mx_count; i++) {
		struct slice pattern = policy->mx[i];
		struct slice rest = host;
		if (slice_has_prefix(pattern, SLICE("*."))) {
			pattern = slice_from(pattern, 2);
			if (slice_is_empty(slice_split(&rest, '.')))
				continue;
		}
		if (slice_equal_nocase(rest, pattern))
			return true;
	}
	return false;
}
