/*
 * What is stored, by key and by offset.  Private to store/; docs/store-format.md is made
 * from this file and must change with it.  The engine's own formats (bodies, segments,
 * versions) are in its files.
 *
 * All integers are big-endian.  A key is one class byte and fixed-size numbers, so that
 * each range that is ever read is contiguous; names come last in a key and have no end
 * mark, but where two names follow each other a NUL stands between them (no name may hold
 * one).  Every record begins with a version byte, STORE_RECORD_VERSION.  A record of
 * another version, another length or with a bad inner length is damaged: readers say
 * STATUS_CORRUPT.
 *
 * ACCOUNT PARTITION (its id is the account's: 'A' and 15 random bytes)
 *
 *   key                          record
 *   A                            account, see ACCOUNT_*
 *   N name                       mailbox number (NAME_*)
 *   S mbox32                     mailbox state and its name (STATE_*)
 *   K mbox32                     keyword names by bit (KEYWORDS_*); absent: none
 *   M mbox32 uid32               message (MESSAGE_*)
 *   C mbox32 modseq64 uid32      change log entry: CHANGE_LIVE or CHANGE_EXPUNGED, 1 byte
 *   X mbox32 uid32               expunged message that can still come back (EXPUNGED_*)
 *   T time64 mbox32 uid32        when it was expunged: modseq64 of its C entry, 8 bytes
 *   U name                       subscription, version byte only
 *   P mbox32 uid32               what POP3 keeps of a message (POP3_*); absent: nothing
 *   Y mbox32 uidl                the message that has this POP3 unique id (UIDL_*)
 *   Q time64 mbox32 uid32        when it was first fetched (POP3_RETRIEVED); version byte
 *   B mbox32 n32                 which of the uids n * 4096 up to the next n's are there,
 *                                and which are unseen (MAP_*); only when S says so
 *   J mbox32                     UIDs reserved for imports (RESERVED_*); absent: none
 *   E mbox32 id16 entry          annotation of a mailbox, or (mbox 0) of the account:
 *                                METADATA_*; id16 is the account whose private one it
 *                                is, zeros for a shared one
 *   e                            number of the last change of an annotation; METADATA_*
 *                                without a value
 *
 *   V mbox32                     who else may do what in the mailbox (ACL_*); absent:
 *                                nobody
 *
 *   Derived, may be missing in whole or in part (store/search.h, decision 0035):
 *   i                            state of the search index (SEARCH_STATE_*)
 *   j mbox32                     uid32: messages of the mailbox below it are covered
 *   g block32                    a block of documents (SEARCH_RECORD_*)
 *   p block32 segment16 key32    a page of postings, key32 is its last one's
 *                                (store/search_page_int.h)
 *
 * DIRECTORY PARTITION ('D' and zeros)
 *
 *   I                            installation: INSTALL_*
 *   D domain                     DOMAIN_*
 *   L domain NUL local           account: LOGIN_* (domain and local part in lower case)
 *   A id16                       version byte, then the L key without its class byte
 *   F domain NUL local           alias; empty local part: catch-all.  ALIAS_*
 *   R from NUL to                relay rule: RELAY_*
 *   r number32                   version byte, then the R key without its class byte
 *   G id16                       account whose partition is still to be emptied; version
 *   W id16                       what the account may send as besides; an ALIAS_* list of
 *                                addresses, domains and "*"
 *   C id16                       IMAP capabilities that its clients are not offered; an
 *                                ALIAS_* list of names
 *   E id16                       where the account's mail is forwarded to: FORWARD_*
 *   J domain                     the domain's journal: FORWARD_* with one address
 *   K domain NUL local           the account's password itself, for APOP (decision 0033);
 *                                version byte, then its bytes
 *
 *   Z grantee16 owner16          the owner may share a mailbox with the grantee: an
 *                                account, or 'D', 7 zeros and hash_stable of a domain
 *                                for all of its accounts; version byte.  A superset of
 *                                what the V records say, but for negative entries
 *
 * QUEUE PARTITION ('Q' and zeros); id16 is the id's 16 characters in lower case
 *
 *   c                            counts: COUNTS_*
 *   m id16                       message: QMESSAGE_*
 *   o created64 id16             messages by age; version byte
 *   r id16 number32              recipient: QRECIPIENT_*
 *   d due64 id16 number32        waiting recipients by due time: QDUE_*, or (older) the
 *                                version byte alone
 *   p domain                     paused site (lower case); version byte
 *   t domain                     TLS level that the operator set: NOTE_*
 *   s domain                     MTA-STS policy that was fetched: NOTE_*
 *   x address                    address that nothing is sent to: NOTE_*
 *   v scope:name                 rate that the operator set: NOTE_*
 *   q name                       pool of source addresses: NOTE_*
 *   u scope:name                 what is used of a rate: NOTE_*
 *   y start:domain               results of TLS in a period: NOTE_*
 *   n name                       tenant (lower case): TENANT_*
 *   k tenant NUL campaign        what a tenant (empty campaign) or a campaign has in the
 *                                queue: COUNTS_*; absent: nothing
 *   h tenant NUL campaign NUL sender NUL site
 *                                paused: mail to which all apply that are not empty;
 *                                version byte
 *   w member                     a tenant's account or domain (lower case): MEMBER_*
 *   b sender                     of who sends in bulk, address or domain: NOTE_*
 *
 * INVARIANTS (store_check reports the number)
 *
 *   Account:
 *    1. Every key decodes to a known class and every record decodes.
 *    2. N and S are one to one: N(name) = n exactly when S(n).name = name.
 *    3. S.exists, unseen, deleted and bytes are what the M records of the mailbox sum to.
 *    4. S.uidnext is above every uid of the mailbox in M and X; S.modseq is at least
 * every modseq in M and C; S.first_recent is at most uidnext.
 *    5. Every M has exactly one live C entry, at its modseq; every live C entry has its
 * M.
 *    6. An expunged C entry's uid has no M; it has a T that gives its modseq.
 *    7. A.bytes, messages and mailboxes are the sums over S.
 *    8. A.next_mailbox is above every mailbox number, next_uidvalidity above every
 *       uidvalidity (no two are equal, but those that came with an import),
 *       next_email_id above every email id.
 *    9. Every X has a T with its time; no uid has both M and X.
 *   10. Every M, C and K belongs to a mailbox that has an S.
 *   11. Keyword bits of M are below the mailbox's keyword count.
 *   12. INBOX is there; a mailbox use is had by at most one mailbox.
 *   13. Every M and X has a body whose size it gives; a body's references are exactly the
 *       M and X records of its environment (and the m records of the queue's).
 *   14. Every P has its M; P's unique ids and the Y records are one to one, and so are
 *       P's times of retrieval and the Q records.
 *   15. Every i, j, g and p decodes and every checksum fits; the pages of a block are
 *       exactly those of its segments; i.documents and i.pages are the sums over g.
 *       (Without i there is no g, and p is left of a drop that was cut short.)
 *   16. Where S says so, B has exactly the uids of M, and those without \Seen as unseen;
 *       else the mailbox has no B.
 *   17. Every J belongs to a mailbox that has an S; its end is at most uidnext, its
 *       next not 0 and at most its end; no M has a uid of next up to end.
 *   18. Every E's mailbox is 0 or has an S; its change is at most e's.
 *   19. Every V belongs to a mailbox that has an S.
 *   Directory:
 *   20. L and A are one to one; every L's domain has its D.
 *   21. D.accounts and D.aliases are counts of L and F; D.postmaster is an account of the
 *       domain, or zero exactly when it has none.
 *   22. No name is both L and F.
 *   23. R and r are one to one; I.next_relay is above every number.
 *   24. Every account of L has an account partition with an A record that is not marked
 *       removed; every account partition with an A record is in A or in G, unless it is
 *       younger than an hour (an account that is being made).
 *   25. Every W, C and E decodes, is not empty, and its account is in A; every J decodes,
 *       has one address, and its domain is in D.
 *   26. Every K decodes, has its L, and its domain's D has DOMAIN_FLAG_APOP.
 *   Queue:
 *   30. m.recipients is the number of its r records and not zero; every r has its m.
 *   31. Every waiting r has its d at its due time, a held one has none; every d has its
 * r.
 *   32. c.messages, recipients and held are the counts of m, r and held r.
 *   33. Every m has its o at its creation time and the other way round.
 *   34. Every w's tenant has its n.
 *   35. k's messages, recipients and held are the counts of m, r and held r of the tenant
 *       and of the campaign; one that counts nothing is not there.
 *   Engine:
 *   40. engine_check finds nothing; with read_bodies every checksum fits, of a packed
 *       message before and after it is unpacked.
 */
#ifndef STORE_STORE_SCHEMA_H
#define STORE_STORE_SCHEMA_H

enum { STORE_RECORD_VERSION = 1 };

/* clang-format off */
enum {
	KEY_ACCOUNT    = 'A',
	KEY_NAME       = 'N',
	KEY_STATE      = 'S',
	KEY_KEYWORDS   = 'K',
	KEY_MESSAGE    = 'M',
	KEY_CHANGE     = 'C',
	KEY_EXPUNGED   = 'X',
	KEY_TIME       = 'T',
	KEY_SUBSCRIBED = 'U',
	KEY_MAP        = 'B',
	KEY_POP3       = 'P',
	KEY_UIDL       = 'Y',
	KEY_RETRIEVED  = 'Q',
	KEY_RESERVED   = 'J',
	KEY_ACL        = 'V',
	KEY_METADATA   = 'E',
	KEY_METADATA_LAST = 'e',

	KEY_SEARCH_STATE   = 'i',
	KEY_SEARCH_MAILBOX = 'j',
	KEY_SEARCH_BLOCK   = 'g',
	KEY_SEARCH_PAGE    = 'p',

	KEY_INSTALL    = 'I',
	KEY_DOMAIN     = 'D',
	KEY_LOGIN      = 'L',
	KEY_LOGIN_BACK = 'A',
	KEY_ALIAS      = 'F',
	KEY_RELAY      = 'R',
	KEY_RELAY_BACK = 'r',
	KEY_GONE       = 'G',
	KEY_SEND_AS    = 'W',
	KEY_IMAP_WITHOUT = 'C', /* of the directory */
	KEY_FORWARD    = 'E',
	KEY_JOURNAL    = 'J', /* of the directory */
	KEY_APOP       = 'K',
	KEY_SHARE      = 'Z',

	KEY_QCOUNTS    = 'c',
	KEY_QMESSAGE   = 'm',
	KEY_QOLDEST    = 'o',
	KEY_QRECIPIENT = 'r',
	KEY_QDUE       = 'd',
	KEY_QPAUSED    = 'p',
	KEY_QPAUSED_BY = 'h',
	KEY_QTENANT    = 'k',
	/* NOTE_* records; the values of enum relay_note_table */
	KEY_NOTE_TLS        = 't',
	KEY_NOTE_STS        = 's',
	KEY_NOTE_SUPPRESSED = 'x',
	KEY_NOTE_RATE       = 'v',
	KEY_NOTE_USED       = 'u',
	KEY_NOTE_POOL       = 'q',
	KEY_NOTE_TLSRPT     = 'y',
	KEY_TENANT          = 'n',
	KEY_TENANT_MEMBER   = 'w',
	KEY_NOTE_BULK       = 'b',
};

/* Account (A), 62 bytes; then, only when there is one, the quota of messages u64. */
enum {
	ACCOUNT_FLAGS            = 1,  /* u8: bit 0 removed, nothing may be added */
	ACCOUNT_CREATED          = 2,  /* i64, seconds */
	ACCOUNT_QUOTA            = 10, /* u64, bytes; 0 none */
	ACCOUNT_BYTES            = 18, /* u64 */
	ACCOUNT_MESSAGES         = 26, /* u64 */
	ACCOUNT_NEXT_MAILBOX     = 34, /* u32 */
	ACCOUNT_MAILBOXES        = 38, /* u32 */
	ACCOUNT_NEXT_UIDVALIDITY = 42, /* u32; starts with the time of creation */
	ACCOUNT_NEXT_EMAIL_ID    = 46, /* u64 */
	ACCOUNT_PURGED_TO        = 54, /* i64: X records older than this are purged */
	ACCOUNT_SIZE             = 62,
	ACCOUNT_QUOTA_MESSAGES   = 62, /* u64, not 0 */
	ACCOUNT_SIZE_MAX         = 70,

	ACCOUNT_FLAG_REMOVED     = 1 << 0,
};

/* Name (N), 5 bytes: the number at 1. */
enum { NAME_NUMBER = 1, NAME_SIZE = 5 };

/* Mailbox state (S), 53 bytes and the name; behind it flags u8 when there are some: bit 0
 * the mailbox has a map (B). */
enum {
	STATE_USE          = 1,  /* u16, enum mailbox_use bits */
	STATE_UIDVALIDITY  = 3,  /* u32 */
	STATE_UIDNEXT      = 7,  /* u32 */
	STATE_EXISTS       = 11, /* u32 */
	STATE_UNSEEN       = 15, /* u32 */
	STATE_DELETED      = 19, /* u32 */
	STATE_FIRST_RECENT = 23, /* u32 */
	STATE_MODSEQ       = 27, /* u64 */
	STATE_BYTES        = 35, /* u64 */
	STATE_HORIZON      = 43, /* u64: expunged entries up to this modseq may be trimmed */
	STATE_NAME_LEN     = 51, /* u16 */
	STATE_NAME         = 53,
	STATE_FLAG_MAPPED  = 1 << 0,
};

/* Access control list (V): count u16, then 20 bytes of each entry. */
enum {
	ACL_COUNT = 1, /* u16 */
	ACL_LIST  = 3,

	ACL_ENTRY_WHO      = 0, /* u8, enum acl_who */
	ACL_ENTRY_NEGATIVE = 1, /* u8, 0 or 1 */
	ACL_ENTRY_ID       = 2, /* id16 */
	ACL_ENTRY_RIGHTS   = 18, /* u16, enum acl_right bits, not 0 */
	ACL_ENTRY_SIZE     = 20,
};

enum { SHARE_KEY_SIZE = 33 }; /* Z */

/* Annotation (E), 9 bytes and the value; e has no value. */
enum {
	METADATA_CHANGE = 1, /* u64, from 1 */
	METADATA_VALUE  = 9,
};

/* Keywords (K): count u8, then length u8 and bytes of each. */
enum { KEYWORDS_COUNT = 1, KEYWORDS_LIST = 2 };

/* Message (M), 60 bytes. */
enum {
	MESSAGE_FLAGS        = 1,  /* u8, enum message_flag bits; bits 5, 6: line_end_missing */
	MESSAGE_ZONE         = 2,  /* i16, minutes */
	MESSAGE_KEYWORDS     = 4,  /* u64, bits into K */
	MESSAGE_MODSEQ       = 12, /* u64 */
	MESSAGE_INTERNALDATE = 20, /* i64, seconds */
	MESSAGE_SAVE_DATE    = 28, /* i64, seconds */
	MESSAGE_BYTES        = 36, /* u64, RFC822.SIZE */
	MESSAGE_BODY         = 44, /* u64, engine's body number */
	MESSAGE_EMAIL_ID     = 52, /* u64 */
	MESSAGE_SIZE         = 60,
	MESSAGE_LINE_END_SHIFT = 5, /* bits; above MESSAGE_FLAGS_ALL */
};

/* Map (B): bit uid % 8 of byte uid % 4096 / 8 is a uid.  Bits of uids that are there, then
 * those of unseen ones, each as a number of leading bytes that are all ones, which are
 * left out, and the bytes behind them up to the last that is not zero.  A record without
 * any uid is not kept. */
enum {
	MAP_PRESENT_FULL = 1, /* u16, bytes */
	MAP_PRESENT_REST = 3, /* u16, bytes */
	MAP_UNSEEN_FULL  = 5, /* u16, bytes; its rest is what is left of the record */
	MAP_BITS         = 7,
};

/* Change (C), 1 byte. */
enum { CHANGE_LIVE = 1, CHANGE_EXPUNGED = 2 };

/* Expunged (X), 68 bytes: time, then the message record as it was. */
enum { EXPUNGED_TIME = 60, EXPUNGED_SIZE = 68 };

/* POP3 record (P), 10 bytes and the unique id. */
enum {
	POP3_RETRIEVED = 1, /* i64, seconds: first fetched; 0 not, or not kept */
	POP3_UIDL_LEN  = 9, /* u8, 0 to 70: 0 is the default form */
	POP3_UIDL      = 10,
};

/* Unique id (Y), 5 bytes. */
enum {
	UIDL_UID  = 1, /* u32 */
	UIDL_SIZE = 5,
};

/* Reserved (J), 9 bytes. */
enum {
	RESERVED_END  = 1, /* u32: UIDs below it are given out by imports only */
	RESERVED_NEXT = 5, /* u32: of them, those from here on have not been yet */
	RESERVED_SIZE = 9,
};

/* State of the search index (i), 65 bytes. */
enum {
	SEARCH_STATE_SEQUENCE  = 1,  /* u64: +1 with every change of the index */
	SEARCH_STATE_DOCUMENTS = 9,  /* u64, covered */
	SEARCH_STATE_PAGES     = 17, /* u64 */
	SEARCH_STATE_TEXT      = 25, /* u64, bytes of text covered, about */
	SEARCH_STATE_EMAIL_ID  = 33, /* u64, the account's next one when all was covered */
	SEARCH_STATE_BYTES     = 41, /* u64, the account's bytes then */
	SEARCH_STATE_SWEPT     = 49, /* i64: when expunged documents were looked for */
	SEARCH_STATE_REMOVED   = 57, /* u64, documents dropped since the index was begun */
	SEARCH_STATE_SIZE      = 65,
};

/* Mailbox's progress (j), 5 bytes: the uid at 1. */
enum { SEARCH_MAILBOX_UID = 1, SEARCH_MAILBOX_SIZE = 5 };

/* Block (g): ten bytes for each segment (id u16, first u16, span u16, pages u32), then
 * two postings of span SEARCH_BLOCK_DOCS: the documents that it covers, and those of them
 * that may hold anything. */
enum {
	SEARCH_RECORD_CRC      = 1, /* u32, CRC-32C of what follows */
	SEARCH_RECORD_NEXT     = 5, /* u16, a segment id to begin looking for a free one */
	SEARCH_RECORD_COUNT    = 7, /* u8, segments */
	SEARCH_RECORD_SEGMENTS = 8,
	SEARCH_SEGMENT_SIZE    = 10,
};

/* Installation (I), 37 bytes. */
enum { INSTALL_SECRET = 1, INSTALL_NEXT_RELAY = 33, INSTALL_SIZE = 37 };

/* Domain (D), 26 bytes; with POP3_POLICY_DAYS two more: days u16; then, only when there
 * are some, flags u8. */
enum {
	DOMAIN_POP3       = 1,  /* u8, enum pop3_policy */
	DOMAIN_ACCOUNTS   = 2,  /* u32 */
	DOMAIN_ALIASES    = 6,  /* u32 */
	DOMAIN_POSTMASTER = 10, /* id16 of its oldest account, zeros when it has none */
	DOMAIN_SIZE       = 26,
	DOMAIN_FLAG_APOP  = 1 << 0, /* of the flags: passwords are kept for APOP */
};

enum { POP3_DAYS_SIZE = 2 };

/* Login (L), 27 bytes, then length u16 and bytes of login and credential; with
 * POP3_POLICY_DAYS two more: days u16. */
enum {
	LOGIN_FLAGS      = 1,  /* u8: bit 0 disabled */
	LOGIN_POP3       = 2,  /* u8, enum pop3_policy */
	LOGIN_ID         = 3,  /* id16 */
	LOGIN_CREATED    = 19, /* i64, seconds */
	LOGIN_TEXTS      = 27,

	LOGIN_FLAG_DISABLED = 1 << 0,
};

/* Alias (F): count u16, then length u16 and bytes of each target. */
enum { ALIAS_COUNT = 1, ALIAS_LIST = 3 };

/* Forwards (E) and journal (J): flags u8, then a list as an alias's from its count on. */
enum {
	FORWARD_FLAGS = 1, /* u8 */
	FORWARD_LIST  = 2,

	FORWARD_FLAG_KEEP = 1 << 0, /* E: a copy stays in the account */
	JOURNAL_FLAG_IN   = 1 << 0, /* J: of what comes for the domain */
	JOURNAL_FLAG_OUT  = 1 << 1, /* J: of what its people send */
};

/* Relay (R), 9 bytes, then length u16 and bytes of host, user, password; behind them, when
 * one of them is not empty, of source and ehlo.  An empty host: by MX. */
enum {
	RELAY_NUMBER   = 1, /* u32 */
	RELAY_PORT     = 5, /* u16 */
	RELAY_TLS      = 7, /* u8, enum relay_tls */
	RELAY_BITS   = 8, /* u8, RELAY_BIT_* */
	RELAY_TEXTS  = 9,

	RELAY_BIT_IMPLICIT = 1 << 0, /* TLS from the first byte */
	RELAY_BIT_LMTP     = 1 << 1, /* the host may be a Unix socket's path, the port 0 */
};

/* Queue counts (c), 25 bytes. */
enum {
	COUNTS_MESSAGES   = 1,  /* u64 */
	COUNTS_RECIPIENTS = 9,  /* u64 */
	COUNTS_HELD       = 17, /* u64 */
	COUNTS_SIZE       = 25,
};

/* Queue message (m), 41 bytes, then length u16 and bytes of sender, login, origin, then
 * fields in the order of their tags: tag u8, length u16, bytes.  One that has its default
 * is not there. */
enum {
	QMESSAGE_FLAGS      = 1,  /* u32 */
	QMESSAGE_CREATED    = 5,  /* i64, seconds */
	QMESSAGE_EXPIRES    = 13, /* i64, seconds */
	QMESSAGE_RECIPIENTS = 21, /* u32 */
	QMESSAGE_BYTES      = 25, /* u64 */
	QMESSAGE_BODY       = 33, /* u64 */
	QMESSAGE_TEXTS      = 41,

	QMESSAGE_TAG_BY       = 'b', /* i64, seconds, not 0 */
	QMESSAGE_TAG_CAMPAIGN = 'c', /* name, not empty */
	QMESSAGE_TAG_ENVID    = 'e', /* xtext, not empty */
	QMESSAGE_TAG_HOLD     = 'h', /* text, not empty */
	QMESSAGE_TAG_PRIORITY = 'p', /* i8, -9 to 9, not 0 */
	QMESSAGE_TAG_TENANT   = 't', /* name, not empty */
	QMESSAGE_TAG_UNSUBSCRIBE = 'u', /* text, not empty */
};

/* Due (d), 17 bytes: who sends (the login, else the sender's domain) and where to (the
 * recipient's domain), as hash_stable of the text in lower case: for fairness only.  Of a
 * tenant or campaign 33: their names' hashes, 0 for the one that it has not. */
enum {
	QDUE_SENDER   = 1,
	QDUE_SITE     = 9,
	QDUE_SIZE     = 17,
	QDUE_TENANT   = 17,
	QDUE_CAMPAIGN = 25,
	QDUE_SIZE_MAX = 33,
};

/* Notes (t, s, x, v, u, q), 18 bytes, then length u16 and bytes of text and more. */
enum {
	NOTE_KIND    = 1,  /* u8: enum relay_level, mta_sts_mode, relay_suppress */
	NOTE_CREATED = 2,  /* i64, seconds */
	NOTE_EXPIRES = 10, /* i64, seconds; 0 never */
	NOTE_TEXTS   = 18,
};

/* Tenant (n), 17 bytes, then length u16 and bytes of pool and DKIM domain. */
enum {
	TENANT_CREATED    = 1,  /* i64, seconds */
	TENANT_MAX_QUEUED = 9,  /* u64, messages; 0: no limit */
	TENANT_TEXTS      = 17,
};

/* Member of a tenant (w): length u16 and bytes of the tenant's name. */
enum { MEMBER_TEXTS = 1 };

/* Queue recipient (r), 22 bytes, then length u16 and bytes of address, original, reply,
 * then fields as in m. */
enum {
	QRECIPIENT_STATE    = 1,  /* u8, enum queue_state */
	QRECIPIENT_ATTEMPTS = 2,  /* u32 */
	QRECIPIENT_DUE      = 6,  /* i64, seconds, at least 0 */
	QRECIPIENT_LAST_TRY = 14, /* i64, seconds */
	QRECIPIENT_TEXTS    = 22,

	QRECIPIENT_TAG_NOTIFY = 'n', /* u8, QUEUE_NOTIFY_* bits, not 0 */
	QRECIPIENT_TAG_ORCPT  = 'o', /* as given at RCPT, not empty */
};
/* clang-format on */

#endif
