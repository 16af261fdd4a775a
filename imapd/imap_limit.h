/*
 * How many messages one command may deal with (RFC 9738): what is over the limit is left
 * for the client's next command, the highest UIDs first, or the command is refused where
 * it has to be all or nothing.
 *
 * imap.message_limit is the number, 0 for none; imap.message_limit_on says whether it
 * holds for all commands (MESSAGELIMIT) or only for COPY and APPEND (SAVELIMIT).
 */
#ifndef IMAPD_IMAP_LIMIT_H
#define IMAPD_IMAP_LIMIT_H

#include "imapd/imap_int.h"

/* The limit of SEARCH, FETCH, STORE, MOVE and UID EXPUNGE; UINT32_MAX: none. */
uint32_t imap_limit(const struct imap_session *s);
/* The limit of COPY and APPEND; UINT32_MAX: none. */
uint32_t imap_limit_saving(const struct imap_session *s);

/* Leaves the highest messages of the view in the ranges, as many as the limit allows; in
 * place.  When some are left out cmd->limit is set, and the tagged reply says so
 * (imap_cmd_finish_code): RFC 9738 section 3.1. */
void imap_limit_cut(
    struct imap_session *s, struct imap_command *cmd, struct imap_uid_ranges *ranges);
/* The same where it is known which `limit` messages they are: those from `uid` on. */
void imap_limit_cut_at(struct imap_command *cmd, uint32_t limit, uint32_t uid,
    struct imap_uid_ranges *ranges);
/* The UID of the `limit`th message from above of those in the ranges; there are more. */
uint32_t imap_limit_uid(const struct imap_uid_ranges *ranges,
    const struct mailbox_view *view, uint32_t limit);
/* NO [MESSAGELIMIT n uid], or without the UID when it is 0: nothing is done. */
enum cmd_result imap_limit_refuse(
    struct imap_session *s, struct imap_command *cmd, uint32_t limit, uint32_t uid);
/* "MESSAGELIMIT n uid" in the command's arena. */
struct slice imap_limit_code(struct imap_session *s, uint32_t limit, uint32_t uid);

#endif
