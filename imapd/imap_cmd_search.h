/*
 * How search results are written; shared by SEARCH and SORT.
 */
#ifndef IMAPD_IMAP_CMD_SEARCH_H
#define IMAPD_IMAP_CMD_SEARCH_H

#include "imapd/imap_search_run.h"

/* "* ESEARCH ..." as RETURN asks.  `numbers` in the order of the result. */
void imap_write_esearch(struct imap_session *s, const struct imap_command *cmd,
    const struct imap_search_run *run, const uint32_t *numbers, size_t count);
/* "* SEARCH 2 5 (MODSEQ 9)"; modseq 0: none. */
void imap_write_numbers(struct imap_session *s, struct slice name,
    const uint32_t *numbers, size_t count, uint64_t modseq);
/* RETURN (SAVE): "$" becomes the result; call while run->uids are UIDs. */
enum status imap_search_save(
    struct imap_session *s, const struct imap_search_run *run) MUST_USE;

#endif
