/*
 * The text files and names of Maildir++: dovecot-uidlist (and Courier's courierimapuiddb,
 * which is its first version), dovecot-keywords, subscriptions, flags in file names,
 * folder names.  Pure; what is returned borrows the input.
 */
#ifndef TEXT_MAILDIR_H
#define TEXT_MAILDIR_H

#include "base/buf.h"

enum {
	MAILDIR_KEYWORDS_MAX = 26, /* a folder's, one a letter */
};

enum maildir_flag {
	MAILDIR_SEEN = 1 << 0,
	MAILDIR_REPLIED = 1 << 1,
	MAILDIR_FLAGGED = 1 << 2,
	MAILDIR_TRASHED = 1 << 3,
	MAILDIR_DRAFT = 1 << 4,
	MAILDIR_PASSED = 1 << 5, /* $Forwarded */
};

/* ---- uid lists ---- */
struct maildir_uidlist {
	unsigned version; /* 1 or 3 */
	uint32_t uidvalidity;
	uint32_t uidnext; /* 0: it does not say */
	/* private: */
	struct slice rest;
	size_t line;
};

struct maildir_uid {
	uint32_t uid;
	struct slice base; /* the file's name up to its flags */
	struct slice uidl; /* the POP3 unique id of a P field, or null */
};

enum maildir_line {
	MAILDIR_LINE_OK,
	MAILDIR_LINE_BAD, /* list->line tells its number; the next call goes on */
	MAILDIR_LINE_END,
};

/* Reads the first line; false when it is none of these lists. */
bool maildir_uidlist_open(struct slice text, struct maildir_uidlist *out);
/* UIDs of good lines ascend and are not 0. */
enum maildir_line maildir_uidlist_next(
    struct maildir_uidlist *list, uint32_t above, struct maildir_uid *out);

/* "0 $Forwarded" lines: the names by letter ('a' is 0), null where there is none.
 * Returns how many lines were no such line. */
size_t maildir_keywords_parse(struct slice text, struct slice out[MAILDIR_KEYWORDS_MAX]);

/* ---- file names ---- */
struct maildir_name {
	struct slice base;
	unsigned flags;    /* enum maildir_flag bits */
	uint32_t keywords; /* bit 0 is 'a' */
	/* Fields of the base name; 0 when they are not there. */
	uint64_t size;  /* S=: bytes of the file */
	uint64_t vsize; /* W=: bytes with CRLF */
	bool has_zone;  /* z=: minutes east of UTC of its date (ours) */
	int zone_min;
};
void maildir_name_parse(struct slice name, struct maildir_name *out);

/* ---- folder names ---- */
/* A name of levels between `separator`, each in modified UTF-7 or else in UTF-8, to
 * UTF-8 with "/".  False when a level is neither, is empty, or holds "/" or a
 * control character. */
bool maildir_folder_decode(struct slice name, char separator, struct buf *out);
/* UTF-8 with "/" to levels between dots; a dot in a level becomes "&AC4-", which decoding
 * knows. */
void maildir_folder_encode(struct slice name, struct buf *out);

/* The next name of a subscriptions file (Dovecot's, both versions; Courier's with its
 * "INBOX." in front), in UTF-8 with "/".  Bad lines are skipped. */
struct maildir_subscriptions {
	struct slice rest;
	bool second; /* version 2 */
};
void maildir_subscriptions_open(struct slice text, struct maildir_subscriptions *out);
bool maildir_subscriptions_next(struct maildir_subscriptions *list, struct buf *out);

#endif
