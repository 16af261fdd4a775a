/*
 * NOTIFY's arguments to plain data.  Pure.  RFC 5465 section 8.
 */
#ifndef IMAPD_IMAP_NOTIFY_PARSE_H
#define IMAPD_IMAP_NOTIFY_PARSE_H

#include "imapd/imap_fetch_parse.h"
#include "imapd/imap_source.h"

enum {
	IMAP_NOTIFY_GROUPS_MAX = 32, /* event groups of one command */
};

enum imap_notify_event {
	IMAP_NOTIFY_MESSAGE_NEW = 1 << 0,
	IMAP_NOTIFY_MESSAGE_EXPUNGE = 1 << 1,
	IMAP_NOTIFY_FLAG_CHANGE = 1 << 2,
	IMAP_NOTIFY_MAILBOX_NAME = 1 << 3,
	IMAP_NOTIFY_SUBSCRIPTION = 1 << 4,
	IMAP_NOTIFY_MAILBOX_METADATA = 1 << 5,
	IMAP_NOTIFY_SERVER_METADATA = 1 << 6,
};
#define IMAP_NOTIFY_MESSAGE_EVENTS                                                       \
	(IMAP_NOTIFY_MESSAGE_NEW | IMAP_NOTIFY_MESSAGE_EXPUNGE | IMAP_NOTIFY_FLAG_CHANGE)

struct imap_notify_group {
	struct imap_source source;
	unsigned events; /* enum imap_notify_event bits; none for NONE */
};

struct imap_notify_args {
	bool none;          /* NOTIFY NONE */
	bool status;        /* STATUS of all mailboxes first */
	bool unknown_event; /* reply NO [BADEVENT] */
	struct imap_notify_group *groups;
	size_t group_count;
	/* Of SELECTED's MessageNew: "(uid flags)" as sent, null without. */
	struct slice items;
	struct imap_fetch_args *fetch; /* the same, parsed */
};

#endif
