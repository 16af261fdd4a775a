/*
 * Sort keys: values and comparison.  Texts are compared by i;unicode-casemap (RFC 5255
 * section 4.4, RFC 5256 section 2.2), so their collation keys are kept.
 */
#include "imapd/imap_sort_key.h"

#include "text/encoding.h"

enum { SORT_KEY_MAX = 64 * 1024 /* bytes of one text key; records hold far less */ };

static bool
is_text(enum imap_sort_by by)
{
	return by != IMAP_SORT_ARRIVAL && by != IMAP_SORT_DATE && by != IMAP_SORT_SIZE &&
	       by != IMAP_SORT_RELEVANCY;
}

static struct slice
text_of(enum imap_sort_by by, const struct message_index *index)
{
	switch (by) {
	case IMAP_SORT_CC:
		return index->cc_key;
	case IMAP_SORT_FROM:
		return index->from_key;
	case IMAP_SORT_TO:
		return index->to_key;
	case IMAP_SORT_SUBJECT:
		return index->subject_key;
	case IMAP_SORT_DISPLAYFROM:
		return index->from_display;
	case IMAP_SORT_DISPLAYTO:
		return index->to_display;
	case IMAP_SORT_ARRIVAL:
	case IMAP_SORT_DATE:
	case IMAP_SORT_SIZE:
	case IMAP_SORT_RELEVANCY:
		break;
	}
	return SLICE_NULL;
}

static int64_t
number_of(enum imap_sort_by by, const struct message_record *record,
    const struct message_index *index, unsigned relevancy)
{
	if (by == IMAP_SORT_RELEVANCY)
		return -(int64_t)relevancy;
	if (by == IMAP_SORT_SIZE)
		return (int64_t)record->size;
	/* RFC 5256 section 2.2: without a valid Date the internal date stands in. */
	if (by == IMAP_SORT_DATE && index->date_s != INT64_MIN)
		return index->date_s;
	return record->internaldate_s;
}

static bool
text_copy(struct arena *arena, struct slice text, struct slice *out)
{
	AUTO_BUF struct buf key;

	buf_init(&key, SORT_KEY_MAX);
	utf8_collation_key(text, &key);
	*out = arena_copy(arena, key.len ? buf_slice(&key) : SLICE(""));
	return out->ptr && buf_ok(&key);
}

bool
imap_sort_values(const struct imap_search_args *args, const struct message_record *record,
    const struct message_index *index, unsigned relevancy, struct arena *arena,
    union imap_sort_value *out)
{
	for (size_t i = 0; i < args->sort_count; i++) {
		enum imap_sort_by by = args->sort[i].by;
		if (!is_text(by))
			out[i].number = number_of(by, record, index, relevancy);
		else if (!text_copy(arena, text_of(by, index), &out[i].text))
			return false;
	}
	return true;
}

int
imap_sort_compare(const struct imap_search_args *args, const union imap_sort_value *x,
    const union imap_sort_value *y)
{
	for (size_t k = 0; k < args->sort_count; k++) {
		const struct imap_sort_key *key = &args->sort[k];
		int c = is_text(key->by)            ? slice_compare(x[k].text, y[k].text)
		        : x[k].number < y[k].number ? -1
		                                    : x[k].number > y[k].number;
		if (c)
			return key->reverse ? -c : c;
	}
	return 0;
}
