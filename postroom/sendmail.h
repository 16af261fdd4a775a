/*
 * sendmail, mailq and newaliases: the commands that programs of a machine have always
 * called to send mail, as other names of `postroom` (decision 0116).  No setuid and no
 * setgid: the message goes over smtpd's local socket, where the kernel says who it is.
 */
#ifndef POSTROOM_SENDMAIL_H
#define POSTROOM_SENDMAIL_H

#include "base/arena.h"
#include "base/buf.h"

/* sysexits(3), as callers of sendmail know them. */
enum {
	SENDMAIL_OK = 0,
	SENDMAIL_USAGE = 64,
	SENDMAIL_DATA = 65,        /* the message cannot be taken as it is */
	SENDMAIL_NO_USER = 67,     /* a recipient is unknown */
	SENDMAIL_UNAVAILABLE = 69, /* refused for good */
	SENDMAIL_TRY_AGAIN = 75,   /* smtpd cannot be reached, or puts it off */
	SENDMAIL_NOT_ALLOWED = 77, /* not with this sender */
};

/* What the program is called as: "sendmail", "mailq", "newaliases"; null for another. */
const char *sendmail_name(const char *argv0);
/* Runs it; `queue_list` shows the queue as `postroom queue list` does (mailq, -bp). */
int sendmail_main(
    const char *name, int argc, char **argv, int (*queue_list)(int argc, char **argv));

/* ---- sendmail_text.c: pure ---- */

enum { SENDMAIL_RECIPIENTS_MAX = 1000, SENDMAIL_HEADER_MAX = 1024 * 1024 /* octets */ };

struct sendmail_wish {
	bool dot_ends;        /* a dot alone on a line ends the message (no -i) */
	bool take_recipients; /* -t: from To, Cc and Bcc; Bcc goes */
	struct slice from;    /* for a missing From: an address */
	struct slice name;    /* … and its name, or empty */
	struct slice host;    /* behind an address without a domain */
};

struct sendmail_text {
	struct buf header; /* with the empty line; the caller frees it */
	struct slice body; /* borrows the input */
	struct slice recipients[SENDMAIL_RECIPIENTS_MAX]; /* in the arena */
	size_t recipient_count;
	bool has_8bit;
};

/* Takes NULs out of the bytes, in place; the new length. */
size_t sendmail_without_nul(char *bytes, size_t len);
/* Makes a message of what came on standard input, lines as they are.  False: `why` says
 * what is wrong (the header is too long, too many recipients). */
bool sendmail_text_make(struct slice raw, const struct sendmail_wish *wish,
    struct arena *arena, struct sendmail_text *out, const char **why);
/* Adds the addresses of a list ("a, B <b@c>") to the recipients; false when there is none
 * in it, one cannot be an address, or there are too many. */
bool sendmail_recipients_add(
    struct slice list, struct slice host, struct arena *arena, struct sendmail_text *out);
/* RFC 3461 section 4: for ENVID. */
void sendmail_xtext(struct slice text, struct buf *out);

/* ---- sendmail_link.c: smtpd's local socket ---- */

enum { SENDMAIL_REPLY_MAX = 1000 };

struct sendmail_link {
	int fd;
	char in[4096];
	size_t in_len;
	int code;                      /* of the last reply */
	char text[SENDMAIL_REPLY_MAX]; /* its lines, joined by blanks */
	char host[256];                /* the server's name */
	uint64_t size_max;             /* octets of a message; 0: not told */
};

/* Connects, says EHLO; false with the reason in `text` when it is not there. */
bool sendmail_link_open(struct sendmail_link *l, const char *path);
void sendmail_link_close(struct sendmail_link *l);
/* Sends the command with CRLF and reads the reply; false when the connection is lost. */
bool sendmail_link_say(struct sendmail_link *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* After 354: the message, dot-stuffed, lines ended by CRLF, and the reply to it. */
bool sendmail_link_data(struct sendmail_link *l, struct slice header, struct slice body);
/* -bs: copies between standard input and output and the socket until one side ends. */
int sendmail_link_copy(const char *path);

#endif
