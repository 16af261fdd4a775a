/*
 * APPEND and REPLACE, whose message literals never lie in the frame: the text around them
 * is read in steps, each as far as it has come.
 *
 * The frame grows between the steps (a message literal leaves its announcement in it, a
 * literal that is a string lies in it whole); the reader keeps its place and looks at
 * nothing twice.  Pure.
 *
 * RFC 9051 section 6.3.12, RFC 3502 (MULTIAPPEND), RFC 4466 (append-message), RFC 4469
 * (CATENATE), RFC 6855 section 4 (UTF8), RFC 8508 (REPLACE).
 */
#ifndef IMAPD_IMAP_APPEND_PARSE_H
#define IMAPD_IMAP_APPEND_PARSE_H

#include "imapd/imap_parse.h"

enum { IMAP_REPLACE_LAST = 0 /* stands for "*" as REPLACE's message number */ };

enum imap_append_step {
	IMAP_APPEND_NOT,    /* the frame is another command */
	IMAP_APPEND_STRING, /* the literal announced is a string of the command: accept it
	                       and look again when there is more */
	IMAP_APPEND_HEAD,   /* the command's name and mailbox are known: reader->head */
	IMAP_APPEND_BEGIN,  /* a message begins: reader->item */
	IMAP_APPEND_URL,    /* its next part is what reader->url means */
	IMAP_APPEND_BYTES, /* its next part, or the whole of it, is the literal announced:
	                      stream it */
	IMAP_APPEND_CLOSE, /* the message is complete */
	IMAP_APPEND_END,   /* the command is complete */
	IMAP_APPEND_BAD,
};

struct imap_append_head {
	struct slice tag, mailbox; /* borrow the frame, which moves when it grows */
	bool replace;
	bool uid;        /* UID REPLACE */
	uint32_t number; /* REPLACE: message number or UID; IMAP_REPLACE_LAST */
};

struct imap_append_item {
	uint8_t flags;
	struct slice *keywords; /* borrow the frame */
	size_t keyword_count;
	bool has_date;
	int64_t date_s;
	int zone_min;
	bool utf8;     /* UTF8 (~{n} ... ")") */
	bool catenate; /* parts follow, not one literal */
};

struct imap_append_reader {
	size_t pos; /* octets of the frame that are read */
	enum imap_append_at {
		APPEND_AT_HEAD,
		APPEND_AT_ITEM,
		APPEND_AT_LITERAL,
		APPEND_BEHIND_LITERAL,
		APPEND_AT_FIRST_PART,
		APPEND_BEHIND_PART,
	} at;
	bool part_utf8; /* the part's ")" is still to come */
	size_t items;
	struct imap_append_head head;
	struct imap_append_item item;
	struct slice url; /* borrows the frame or lies in the arena */
};

/* All zero is the beginning.  The frame ends in a literal announcement (`at_literal`) or
 * is whole, without its CRLF.  With BAD the head's tag is set when there is one. */
enum imap_append_step imap_append_next(struct imap_append_reader *reader,
    struct slice frame, bool at_literal, struct arena *arena, struct parse_fault *fault);

#endif
