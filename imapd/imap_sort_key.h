/*
 * What SORT compares: the values of a message's sort keys, and their order.  Shared by
 * the command and by the searches that are kept up to date (imap_context.h).  Pure.
 *
 * RFC 5256 section 3, RFC 5957 (DISPLAYFROM, DISPLAYTO).
 */
#ifndef IMAPD_IMAP_SORT_KEY_H
#define IMAPD_IMAP_SORT_KEY_H

#include "imapd/imap_search_parse.h"
#include "text/message_index.h"

union imap_sort_value {
	int64_t number;
	struct slice text; /* collation key */
};

/* The values of args' sort keys into out[sort_count]; texts lie in the arena; `relevancy`
 * is 0 when nobody asks.  False: the
 * arena's or the text's limit. */
bool imap_sort_values(const struct imap_search_args *args,
    const struct message_record *record, const struct message_index *index,
    unsigned relevancy, struct arena *arena, union imap_sort_value *out);
/* <0, 0, >0.  Equal messages go by UID, ascending: the caller's. */
int imap_sort_compare(const struct imap_search_args *args, const union imap_sort_value *x,
    const union imap_sort_value *y);

#endif
