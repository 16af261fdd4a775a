/*
 * Sequence sets: lexing, resolving against a view, writing.
 */
#include "imapd/imap_seqset.h"

#include <stdlib.h>

static bool
seq_number(struct imap_lex *lex, bool star, uint32_t *out)
{
	if (star && imap_lex_try_char(lex, '*')) {
		*out = IMAP_SEQSET_STAR;
		return true;
	}
	return imap_lex_nz_number(lex, out);
}

static bool
ranges_lex(struct imap_lex *lex, bool star, struct imap_seqset *out)
{
	struct imap_seqset set = {0};
	/* Counted first, so that the array fits exactly; a set ends at the first byte
	 * that cannot be in one. */
	struct slice rest = imap_lex_rest(lex);
	size_t max = 1;
	for (size_t i = 0; i < rest.len && rest.ptr[i] != ' ' && rest.ptr[i] != ')'; i++)
		max += rest.ptr[i] == ',';
	if (max > IMAP_SEQSET_RANGES_MAX)
		return imap_lex_limit(lex, "too many ranges in a sequence set");
	set.ranges = ARENA_ARRAY(lex->arena, struct uid_range, max);
	if (!set.ranges)
		return imap_lex_limit(lex, "command is too large");
	do {
		struct uid_range *range = &set.ranges[set.count++];
		if (!seq_number(lex, star, &range->first))
			return false;
		range->last = range->first;
		if (imap_lex_try_char(lex, ':') && !seq_number(lex, star, &range->last))
			return false;
	} while (set.count < max && imap_lex_try_char(lex, ','));
	*out = set;
	return true;
}

bool
imap_seqset_lex(struct imap_lex *lex, struct imap_seqset *out)
{
	if (imap_lex_try_char(lex, '$')) {
		*out = (struct imap_seqset){.saved = true};
		return true;
	}
	return ranges_lex(lex, true, out);
}

bool
imap_seqset_lex_uids(struct imap_lex *lex, struct imap_seqset *out)
{
	return ranges_lex(lex, false, out);
}

bool
imap_partial_range_lex(
    struct imap_lex *lex, bool *out_from_end, uint32_t *out_first, uint32_t *out_last)
{
	uint32_t a, b;
	bool from_end = imap_lex_try_char(lex, '-');
	if (!imap_lex_nz_number(lex, &a) || !imap_lex_char(lex, ':'))
		return false;
	if (from_end != imap_lex_try_char(lex, '-'))
		return imap_lex_bad(lex, "both ends of PARTIAL must have one sign");
	if (!imap_lex_nz_number(lex, &b))
		return false;
	*out_from_end = from_end;
	*out_first = a < b ? a : b;
	*out_last = a < b ? b : a;
	return true;
}

static int
range_compare(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

void
imap_uid_ranges_normalize(struct imap_uid_ranges *ranges)
{
	if (ranges->count < 2)
		return;
	bool sorted = true;
	for (size_t i = 1; i < ranges->count && sorted; i++)
		sorted = ranges->ranges[i - 1].first <= ranges->ranges[i].first;
	if (!sorted)
		qsort(ranges->ranges, ranges->count, sizeof(ranges->ranges[0]),
		    range_compare);
	size_t kept = 0;
	for (size_t i = 1; i < ranges->count; i++) {
		struct uid_range *last = &ranges->ranges[kept];
		struct uid_range next = ranges->ranges[i];
		if (last->last == UINT32_MAX || next.first <= last->last + 1) {
			if (next.last > last->last)
				last->last = next.last;
		} else {
			ranges->ranges[++kept] = next;
		}
	}
	ranges->count = kept + 1;
}

/* "*" replaced, ends in order. */
static struct uid_range
range_plain(struct uid_range range, uint32_t star)
{
	uint32_t a = range.first == IMAP_SEQSET_STAR ? star : range.first;
	uint32_t b = range.last == IMAP_SEQSET_STAR ? star : range.last;
	return a <= b ? (struct uid_range){a, b} : (struct uid_range){b, a};
}

/* Message numbers to UIDs, in place.  What lies beyond EXISTS is cut off; false when
 * nothing is left. */
static bool
range_to_uids(struct uid_range *range, const struct mailbox_view *view, uint32_t exists)
{
	if (range->first == 0 || range->first > exists)
		return false;
	if (range->last > exists)
		range->last = exists;
	range->first = mailbox_view_uid(view, range->first);
	range->last = mailbox_view_uid(view, range->last);
	return true;
}

/* A message number that there is not, or "*" in an empty mailbox. */
static bool
is_beyond(struct uid_range range, uint32_t exists)
{
	return exists == 0 || range.first > exists || range.last > exists;
}

static enum imap_seqset_result
ranges_resolve(const struct imap_seqset *set, const struct mailbox_view *view, bool uid,
    bool lenient, uint32_t uid_last, struct imap_uid_ranges *out)
{
	uint32_t exists = mailbox_view_count(view);
	for (size_t i = 0; i < set->count; i++) {
		struct uid_range range = set->ranges[i];
		if (!uid && !lenient && is_beyond(range, exists))
			return IMAP_SEQSET_BEYOND;
		range = range_plain(range, uid ? uid_last : exists);
		if (uid || range_to_uids(&range, view, exists))
			out->ranges[out->count++] = range;
	}
	return IMAP_SEQSET_OK;
}

/* Cuts the ranges to 1 to uid_last. */
static void
ranges_cut(struct imap_uid_ranges *ranges, uint32_t uid_last)
{
	size_t kept = 0;
	for (size_t i = 0; i < ranges->count; i++) {
		struct uid_range range = ranges->ranges[i];
		if (range.first == 0 || range.first > uid_last)
			continue;
		if (range.last > uid_last)
			range.last = uid_last;
		ranges->ranges[kept++] = range;
	}
	ranges->count = kept;
}

enum imap_seqset_result
imap_seqset_resolve(const struct imap_seqset *set, const struct mailbox_view *view,
    bool uid, bool lenient, const struct imap_uid_ranges *saved, struct arena *arena,
    struct imap_uid_ranges *out)
{
	uint32_t exists = mailbox_view_count(view);
	uint32_t uid_last = exists ? mailbox_view_uid(view, exists) : 0;
	size_t saved_count = saved ? saved->count : 0;
	size_t count = set->saved ? saved_count : set->count;
	struct imap_uid_ranges ranges = {
	    ARENA_ARRAY(arena, struct uid_range, count ? count : 1), 0};
	enum imap_seqset_result result = IMAP_SEQSET_OK;

	if (!ranges.ranges)
		return IMAP_SEQSET_LIMIT;
	if (!set->saved) {
		result = ranges_resolve(set, view, uid, lenient, uid_last, &ranges);
	} else if (saved && count) {
		memcpy(ranges.ranges, saved->ranges, count * sizeof(ranges.ranges[0]));
		ranges.count = count;
	}
	ranges_cut(&ranges, uid_last);
	imap_uid_ranges_normalize(&ranges);
	*out = ranges;
	return result;
}

/* The index of the first range that ends at or behind `uid`, or count. */
static size_t
range_at(const struct imap_uid_ranges *ranges, uint32_t uid)
{
	size_t low = 0, high = ranges->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ranges->ranges[middle].last < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool
imap_uid_ranges_contain(const struct imap_uid_ranges *ranges, uint32_t uid)
{
	size_t at = range_at(ranges, uid);
	return at < ranges->count && ranges->ranges[at].first <= uid;
}

uint32_t
imap_uid_ranges_next(const struct imap_uid_ranges *ranges,
    const struct mailbox_view *view, uint32_t from, size_t *hint)
{
	while (*hint < ranges->count) {
		const struct uid_range *range = &ranges->ranges[*hint];
		if (range->last < from) {
			++*hint;
			continue;
		}
		uint32_t uid =
		    mailbox_view_next(view, range->first > from ? range->first : from);
		if (uid == 0)
			return 0;
		if (uid <= range->last)
			return uid;
		from = uid; /* behind this range: look in the next one that reaches it */
		++*hint;
	}
	return 0;
}

uint32_t
imap_uid_ranges_count(
    const struct imap_uid_ranges *ranges, const struct mailbox_view *view)
{
	uint32_t count = 0;
	for (size_t i = 0; i < ranges->count; i++) {
		const struct uid_range *range = &ranges->ranges[i];
		count += mailbox_view_rank(view, range->last) -
		         mailbox_view_rank(view, range->first - 1);
	}
	return count;
}

struct imap_uid_ranges
imap_uid_ranges_from_array(const uint32_t *uids, size_t count, struct arena *arena)
{
	size_t runs = 0;
	for (size_t i = 0; i < count; i++)
		runs += i == 0 || uids[i] != uids[i - 1] + 1;
	struct imap_uid_ranges out = {
	    ARENA_ARRAY(arena, struct uid_range, runs ? runs : 1), 0};
	if (!out.ranges)
		return out;
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || uids[i] != uids[i - 1] + 1)
			out.ranges[out.count++] = (struct uid_range){uids[i], uids[i]};
		else
			out.ranges[out.count - 1].last = uids[i];
	}
	return out;
}

static void
range_write(struct buf *out, bool first, uint32_t a, uint32_t b)
{
	if (!first)
		buf_append_byte(out, ',');
	buf_append_u64(out, a);
	if (b != a) {
		buf_append_byte(out, ':');
		buf_append_u64(out, b);
	}
}

void
imap_seqset_write(struct buf *out, const uint32_t *numbers, size_t count)
{
	for (size_t i = 0; i < count;) {
		size_t end = i;
		while (end + 1 < count && numbers[end] != UINT32_MAX &&
		       numbers[end + 1] == numbers[end] + 1)
			end++;
		range_write(out, i == 0, numbers[i], numbers[end]);
		i = end + 1;
	}
}

void
imap_seqset_write_ranges(struct buf *out, const struct imap_uid_ranges *ranges)
{
	for (size_t i = 0; i < ranges->count; i++)
		range_write(out, i == 0, ranges->ranges[i].first, ranges->ranges[i].last);
}
