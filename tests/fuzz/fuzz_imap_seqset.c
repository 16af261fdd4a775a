/*
 * Sequence sets: what was parsed is normalised to ascending ranges that do not touch, and
 * written and parsed again it is the same set.
 */
#include "base/ensure.h"
#include "imapd/imap_seqset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imap_lex lex;
	struct imap_seqset set, again;
	struct arena *arena = arena_new(16 * 1024 * 1024);
	struct buf text;

	buf_init(&text, 4 * 1024 * 1024);
	imap_lex_init(&lex, slice_make((const char *)data, size), arena);
	if (imap_seqset_lex_uids(&lex, &set)) {
		for (size_t i = 0; i < set.count; i++) {
			struct uid_range *r = &set.ranges[i];
			ENSURE(r->first && r->last);
			if (r->first > r->last)
				*r = (struct uid_range){r->last, r->first};
		}
		struct imap_uid_ranges ranges = {set.ranges, set.count};
		imap_uid_ranges_normalize(&ranges);
		for (size_t i = 1; i < ranges.count; i++)
			ENSURE(ranges.ranges[i - 1].last + 1 < ranges.ranges[i].first);
		imap_seqset_write_ranges(&text, &ranges);
		ENSURE(buf_ok(&text));
		imap_lex_init(&lex, buf_slice(&text), arena);
		ENSURE(imap_seqset_lex_uids(&lex, &again) && imap_lex_end(&lex));
		ENSURE(again.count == ranges.count);
		ENSURE(memcmp(again.ranges, ranges.ranges,
			   ranges.count * sizeof(ranges.ranges[0])) == 0);
	}
	buf_fini(&text);
	arena_free(&arena);
	return 0;
}
