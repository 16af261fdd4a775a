/*
 * What a recipient address leads to for smtpd: what the directory says, and for
 * addresses that were made by sender rewriting (SRS) the sender behind them.  Used at
 * RCPT, when the queue delivers here, and by the proof that nobody can relay.
 */
#ifndef SERVICE_SMTP_RECIPIENT_H
#define SERVICE_SMTP_RECIPIENT_H

#include "store/directory.h"
#include "text/address.h"

/* As directory_resolve; the address's domain must be an A-label.  An SRS address of one
 * of our domains that is forged or too old is DIRECTORY_UNKNOWN_USER. */
enum status smtp_recipient_resolve(struct store_reader *reader,
    const struct mailbox_address *address, struct slice delimiters, struct arena *arena,
    enum directory_answer *out_answer, struct directory_target **out_targets,
    size_t *out_count) MUST_USE;

/* The sender that a message from `sender` is forwarded with by `domain` (decision 0090):
 * rewritten when it is of no domain of ours; appended.  False: as it is. */
bool smtp_recipient_rewrite_sender(struct store_reader *reader, struct slice sender,
    struct slice domain, struct buf *out);

#endif
