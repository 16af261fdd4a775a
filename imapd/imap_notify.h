/*
 * NOTIFY (RFC 5465): what a session wants to be told of, and telling it, also between
 * commands.
 *
 * Changes of other mailboxes, own and shared, are found by comparing them with the
 * picture that was told last, so that many changes cost one response, and a client that
 * reads slowly loses nothing and makes nothing pile up.
 */
#ifndef IMAPD_IMAP_NOTIFY_H
#define IMAPD_IMAP_NOTIFY_H

#include "imapd/imap_notify_parse.h"

struct imap_session;
struct imap_notify;
struct mailbox_info;
struct account_id;

enum {
	IMAP_NOTIFY_WANTED_MAX = 512 * 1024, /* bytes of what the command asked for */
	IMAP_NOTIFY_GAP_MS = 50,             /* between two looks at the account */
};

void imap_notify_free(struct imap_notify **notify);
/* Events wanted for the selected mailbox: all of them when NOTIFY was not used. */
unsigned imap_notify_selected(const struct imap_session *s);
/* Events wanted for a mailbox of `account`, or with null those that any group asks for;
 * none when NOTIFY was not used. */
unsigned imap_notify_events(const struct imap_session *s, struct account_id account,
    const struct mailbox_info *box);
/* Is the session between commands with nothing half read, or in IDLE? */
bool imap_notify_may_speak(const struct imap_session *s);
/* Does the selected mailbox's expunge wait for a command (SELECTED-DELAYED)? */
bool imap_notify_delayed(const struct imap_session *s);
/* FETCH for new messages, behind their EXISTS; nothing when no items were asked for. */
void imap_notify_fetch(struct imap_session *s, const uint32_t *uids, size_t count);
/* Messages that this session itself has just added to mailbox `mailbox` are not fetched
 * (RFC 5465 section 5.2). */
void imap_notify_own(
    struct imap_session *s, uint32_t mailbox, uint32_t first, uint32_t last);
/* Something in the account may have changed: tells it when the session is between
 * commands or in IDLE, else at the command's end. */
void imap_notify_hint(void *arg);
/* The same, called with what is told left in imap_out: when output has drained. */
void imap_notify_again(struct imap_session *s);
/* Other mailboxes' changes, at a command's end. */
void imap_notify_tell(struct imap_session *s);

#endif
