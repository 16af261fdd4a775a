/*
 * SMTP command lines: verb, paths, ESMTP parameters (RFC 5321 section 4.1).  Pure: no
 * I/O, no globals; results borrow the line or lie in the arena given.  A client's mistake
 * is a parse result, which smtp_cmd_* turn into replies.
 */
#ifndef SMTPD_SMTP_PARSE_H
#define SMTPD_SMTP_PARSE_H

#include "base/arena.h"
#include "store/queue.h"
#include "text/address.h"

enum {
	SMTP_LINE_MAX = 2048, /* octets with CRLF; RFC 5321 wants 512 and more */
	SMTP_AUTH_LINE_MAX = 12 * 1024, /* octets with CRLF, RFC 4954 section 4 */
	SMTP_HELO_MAX = 255,            /* octets of a client's name */
	SMTP_SIZE_DIGITS_MAX = 20,      /* of SIZE= and BDAT, RFC 1870 section 3 */
};

enum smtp_parse_result {
	SMTP_PARSE_DONE,
	SMTP_PARSE_SYNTAX,  /* "FROM:" or "TO:" is not there, or the path is not in <> */
	SMTP_PARSE_ADDRESS, /* the path is no address of RFC 5321 */
	SMTP_PARSE_LONG,    /* the path is over a limit of section 4.5.3.1 */
	SMTP_PARSE_PARAMETER, /* a known parameter with a bad value, or given twice */
	SMTP_PARSE_UNKNOWN,   /* a parameter that was not offered */
};

struct smtp_line {
	struct slice verb;
	struct slice rest; /* behind the verb, without blanks at both ends */
};

/* False when the line has no verb of letters or holds control characters. */
bool smtp_line_parse(struct slice line, struct smtp_line *out);

/* A client's name as HELO and EHLO give it.  Lenient, as clients are ("my_pc",
 * "[10.0.0.1]"); never with bytes that could end a word in a header or log. */
bool smtp_helo_is_valid(struct slice name);

enum smtp_by { SMTP_BY_NONE, SMTP_BY_NOTIFY, SMTP_BY_RETURN };
enum smtp_hold { SMTP_HOLD_NONE, SMTP_HOLD_FOR, SMTP_HOLD_UNTIL };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };

struct smtp_mail {
	struct mailbox_address sender; /* both parts empty for <> */
	bool utf8;                     /* SMTPUTF8 (RFC 6531) */
	bool body_8bit;                /* BODY=8BITMIME (RFC 6152) */
	bool body_binary;              /* BODY=BINARYMIME (RFC 3030 section 3) */
	bool has_size;                 /* SIZE= (RFC 1870) */
	uint64_t size;                 /* octets; UINT64_MAX for what is larger */
	enum smtp_ret ret;             /* RET= (RFC 3461 section 4.3) */
	struct slice envid;            /* ENVID= as given, borrows; empty: none */
	bool requiretls;               /* REQUIRETLS (RFC 8689) */
	bool has_priority;             /* MT-PRIORITY= (RFC 6710) */
	int8_t priority;               /* -9 to 9 */
	enum smtp_by by;               /* BY= (RFC 2852 section 4) */
	int64_t by_time_s;             /* from now; below 1 only with SMTP_BY_NOTIFY */
	bool by_trace;
	enum smtp_hold hold;    /* HOLDFOR=, HOLDUNTIL= (RFC 4865 section 3) */
	int64_t hold_s;         /* seconds from now, or since 1970 */
	struct slice hold_text; /* as given, borrows */
};

struct smtp_rcpt {
	struct mailbox_address address;
	uint8_t notify;     /* NOTIFY=, QUEUE_NOTIFY_* (RFC 3461 section 4.1) */
	struct slice orcpt; /* ORCPT= as given, borrows; empty: none */
	bool orcpt_utf8;    /* it holds UTF-8 (RFC 6533): needs SMTPUTF8 */
};

/* `rest` of MAIL.  The address may hold UTF-8 whatever the parameters say: the caller
 * looks at sender.utf8 and utf8. */
enum smtp_parse_result smtp_mail_parse(
    struct slice rest, struct arena *arena, struct smtp_mail *out);
/* `rest` of RCPT; the caller looks at the UTF-8 flags. */
enum smtp_parse_result smtp_rcpt_parse(
    struct slice rest, struct arena *arena, struct smtp_rcpt *out);

/* A domain as the directory wants it: A-labels.  Null slice when it has none. */
struct slice smtp_domain_ascii(struct slice domain, struct arena *arena);

struct smtp_bdat {
	uint64_t size; /* octets; UINT64_MAX for what is larger */
	bool last;
};
/* False: how many octets follow is not known, the stream is lost (RFC 3030). */
bool smtp_bdat_parse(struct slice rest, struct smtp_bdat *out);

struct smtp_auth {
	struct slice mechanism;
	bool has_initial;
	struct slice initial; /* base64, or "=" */
};
bool smtp_auth_parse(struct slice rest, struct smtp_auth *out);

#endif
