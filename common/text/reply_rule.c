/*
 * Rules about refusals; see reply_rule.h.
 */
#include "text/reply_rule.h"

/* The next word of the line, "…" without its quotes; false at the end or when a quote is
 * not closed. */
static bool
word_take(struct slice *line, struct slice *out)
{
	*line = slice_trim(*line);
	if (slice_is_empty(*line))
		return false;
	if (line->ptr[0] == '"') {
		struct slice rest = slice_from(*line, 1);
		size_t end = slice_index(rest, '"');
		if (end == SIZE_MAX)
			return false;
		*out = slice_sub(rest, 0, end);
		*line = slice_from(rest, end + 1);
		return true;
	}
	size_t len = 0;
	while (len < line->len && line->ptr[len] != ' ' && line->ptr[len] != '\t')
		len++;
	*out = slice_sub(*line, 0, len);
	*line = slice_from(*line, len);
	return true;
}

/* "90s", "5m", "4h", "1d" */
static bool
wait_parse(struct slice text, uint32_t *out)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = {
	    {'s', 1    },
            {'m', 60   },
            {'h', 3600 },
            {'d', 86400}
        };
	uint64_t number;
	if (text.len < 2 || !slice_to_u64(slice_sub(text, 0, text.len - 1),
				REPLY_RULE_WAIT_S_MAX, &number))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (text.ptr[text.len - 1] != units[i].unit)
			continue;
		number *= units[i].seconds;
		*out = (uint32_t)number;
		return number > 0 && number <= REPLY_RULE_WAIT_S_MAX;
	}
	return false;
}

static bool
code_is_good(struct slice code)
{
	if (code.len != 3 || (code.ptr[0] != '4' && code.ptr[0] != '5'))
		return false;
	for (size_t i = 1; i < 3; i++)
		if (!ascii_is_digit(code.ptr[i]) && code.ptr[i] != 'x')
			return false;
	return true;
}

/* Null when the line is a rule, or what is wrong with it. */
static const char *
rule_parse(struct slice line, struct reply_rule *out)
{
	static const char *const actions[] = {"pause", "slow", "retry", "fail", "pool"};
	struct slice action, wait, more;
	if (!word_take(&line, &out->host) || !word_take(&line, &out->code) ||
	    !word_take(&line, &out->enhanced) || !word_take(&line, &out->text) ||
	    !word_take(&line, &action))
		return "a rule is HOST CODE ENHANCED \"TEXT\" ACTION";
	if (slice_is_empty(out->host) || slice_is_empty(out->enhanced))
		return "HOST and ENHANCED are at least *";
	if (!code_is_good(out->code))
		return "CODE is 4 or 5 and two digits or x";
	for (int i = REPLY_PAUSE; i <= REPLY_POOL; i++) {
		if (!slice_equal(action, slice_from_cstr(actions[i])))
			continue;
		out->action = (enum reply_action)i;
		bool waits = i == REPLY_PAUSE || i == REPLY_RETRY || i == REPLY_POOL;
		if (i == REPLY_POOL &&
		    (!word_take(&line, &out->pool) || slice_is_empty(out->pool)))
			return "pool wants the pool's name and a time";
		if (waits &&
		    (!word_take(&line, &wait) || !wait_parse(wait, &out->wait_s)))
			return "pause, retry and pool want a time such as 15m, at most "
			       "7d";
		return word_take(&line, &more) ? "there is more behind the action" : NULL;
	}
	return "ACTION is pause, slow, retry, fail or pool";
}

bool
reply_rules_parse(
    struct slice text, struct reply_rules *out, unsigned *out_line, const char **out_why)
{
	out->count = 0;
	*out_why = NULL;
	if (text.len > REPLY_RULES_BYTES_MAX)
		*out_why = "the table is too long";
	for (*out_line = 0; !*out_why && !slice_is_empty(text);) {
		struct slice line = slice_trim(slice_split(&text, '\n'));
		++*out_line;
		if (slice_is_empty(line) || line.ptr[0] == '#')
			continue;
		if (out->count == REPLY_RULES_MAX) {
			*out_why = "there are too many rules";
			break;
		}
		struct reply_rule rule = {.line = *out_line};
		*out_why = rule_parse(line, &rule);
		if (!*out_why)
			out->rules[out->count++] = rule;
	}
	return !*out_why;
}

/* ---- matching ---- */

/* "*", "*.google.com", or the name itself. */
static bool
host_fits(struct slice pattern, struct slice host)
{
	if (slice_equal(pattern, SLICE("*")))
		return true;
	if (!slice_has_prefix(pattern, SLICE("*.")))
		return slice_equal_nocase(pattern, host);
	pattern = slice_from(pattern, 1);
	return host.len > pattern.len &&
	       slice_equal_nocase(slice_from(host, host.len - pattern.len), pattern);
}

static bool
code_fits(struct slice pattern, struct slice reply)
{
	for (size_t i = 0; i < 3; i++)
		if (pattern.ptr[i] != 'x' && pattern.ptr[i] != reply.ptr[i])
			return false;
	return true;
}

/* "4.7.28", "4.7.*", "*"; `rest` is what stands behind the code. */
static bool
enhanced_fits(struct slice pattern, struct slice rest)
{
	struct slice code = slice_split(&rest, ' ');
	if (slice_equal(pattern, SLICE("*")))
		return true;
	if (slice_has_suffix(pattern, SLICE(".*")))
		return slice_has_prefix(code, slice_sub(pattern, 0, pattern.len - 1));
	return slice_equal(pattern, code);
}

static bool
text_fits(struct slice wanted, struct slice reply)
{
	for (size_t at = 0; at + wanted.len <= reply.len; at++)
		if (slice_equal_nocase(slice_sub(reply, at, wanted.len), wanted))
			return true;
	return false;
}

const struct reply_rule *
reply_rules_find(const struct reply_rules *rules, struct slice host, struct slice reply)
{
	if (reply.len < 3)
		return NULL;
	for (size_t i = 0; i < rules->count; i++) {
		const struct reply_rule *rule = &rules->rules[i];
		if (code_fits(rule->code, reply) && host_fits(rule->host, host) &&
		    enhanced_fits(rule->enhanced, slice_from(reply, 4)) &&
		    text_fits(rule->text, slice_from(reply, 3)))
			return rule;
	}
	return NULL;
}
