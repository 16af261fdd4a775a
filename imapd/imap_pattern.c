/*
 * A pattern as a non-deterministic automaton, all states of which are stepped at once in
 * machine words (shift-and).  State i means: the first i elements have matched.
 *
 * A wildcard element stays on itself for the bytes it takes, and is left without a byte;
 * as neighbouring wildcards were joined, one step of that is enough.  Pure.
 */
#include "imapd/imap_pattern.h"

static void
bit_set(uint64_t *words, size_t index)
{
	words[index / 64] |= UINT64_C(1) << index % 64;
}

static bool
bit_get(const uint64_t *words, size_t index)
{
	return words[index / 64] >> index % 64 & 1;
}

static bool
is_wildcard(char c)
{
	return c == '*' || c == '%';
}

/* One element at text[*at]: a byte, or a run of wildcards ("*" wins). */
static char
element_take(struct slice text, size_t *at)
{
	char c = text.ptr[(*at)++];

	if (!is_wildcard(c))
		return c;
	while (*at < text.len && is_wildcard(text.ptr[*at])) {
		if (text.ptr[*at] == '*')
			c = '*';
		(*at)++;
	}
	return c;
}

bool
imap_pattern_compile(struct slice text, struct arena *arena, struct imap_pattern *out)
{
	*out = (struct imap_pattern){.words = 1};
	out->ends_in_percent = slice_has_suffix(text, SLICE("%"));
	for (size_t at = 0; at < text.len; out->count++)
		element_take(text, &at);
	if (out->count > IMAP_PATTERN_ELEMENTS_MAX) {
		out->never = true;
		return true;
	}
	out->words = out->count / 64 + 1;
	out->literal = ARENA_ARRAY(arena, uint64_t, 256 * out->words);
	if (!out->literal)
		return false;
	for (size_t at = 0, i = 0; at < text.len; i++) {
		char c = element_take(text, &at);
		if (c == '*')
			bit_set(out->star, i);
		else if (c == '%')
			bit_set(out->percent, i);
		else
			bit_set(out->literal + (unsigned char)c * out->words, i);
	}
	return true;
}

/* now |= (now & wildcards) << 1 */
static void
skip_wildcards(const struct imap_pattern *p, uint64_t *now)
{
	uint64_t carry = 0;

	for (size_t w = 0; w < p->words; w++) {
		uint64_t skip = now[w] & (p->star[w] | p->percent[w]);
		now[w] |= skip << 1 | carry;
		carry = skip >> 63;
	}
}

static void
step(const struct imap_pattern *p, uint64_t *now, char c, bool any_case)
{
	const uint64_t *lower = p->literal + (unsigned char)ascii_lower(c) * p->words;
	const uint64_t *upper = p->literal + (unsigned char)ascii_upper(c) * p->words;
	const uint64_t *exact = p->literal + (unsigned char)c * p->words;
	uint64_t carry = 0;

	for (size_t w = 0; w < p->words; w++) {
		uint64_t fits = any_case ? lower[w] | upper[w] : exact[w];
		uint64_t taken = now[w] & fits;
		uint64_t stay =
		    now[w] & (c == '/' ? p->star[w] : p->star[w] | p->percent[w]);
		now[w] = taken << 1 | carry | stay;
		carry = taken >> 63;
	}
	skip_wildcards(p, now);
}

bool
imap_pattern_match(const struct imap_pattern *pattern, struct slice name)
{
	uint64_t now[IMAP_PATTERN_WORDS] = {1};
	bool inbox = slice_has_prefix_nocase(name, SLICE("INBOX")) &&
	             (name.len == 5 || name.ptr[5] == '/');

	if (pattern->never)
		return false;
	skip_wildcards(pattern, now);
	for (size_t i = 0; i < name.len; i++)
		step(pattern, now, name.ptr[i], inbox && i < 5);
	return bit_get(now, pattern->count);
}
