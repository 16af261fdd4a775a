/*
 * How search results are written; shared by SEARCH and SORT.
 */
#ifndef IMAPD_IMAP_CMD_SEARCH_H
#define IMAPD_IMAP_CMD_SEARCH_H

#include "imapd/imap_search_run.h"

/* "(TAG "x")", and for ESEARCH with MAILBOX and UIDVALIDITY of `box` (RFC 7377 section
 * 2.1); null else. */
void imap_write_correlator(
    struct imap_session *s, struct slice tag, const struct mailbox_info *box);
/* "* ESEARCH ..." as RETURN asks; `box` as above.  `numbers` in the order of the result.
 */
void imap_write_esearch(struct imap_session *s, const struct imap_command *cmd,
    const struct imap_search_run *run, const struct mailbox_info *box,
    const uint32_t *numbers, size_t count);
/* "* SEARCH 2 5 (MODSEQ 9)"; modseq 0: none. */
void imap_write_numbers(struct imap_session *s, struct slice name,
    const uint32_t *numbers, size_t count, uint64_t modseq);
/* RETURN (SAVE): "$" becomes the result; call while run->uids are UIDs. */
enum status imap_search_save(
    struct imap_session *s, const struct imap_search_run *run) MUST_USE;

#endif
