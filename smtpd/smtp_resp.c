/*
 * SMTP replies; see smtp_resp.h.
 */
#include "smtpd/smtp_resp.h"

#include <stdarg.h>
#include <stdio.h>

/* Row by enum status; the texts are for the person who gets them in a bounce. */
static const struct smtp_reply status_table[] = {
    [STATUS_OK] = {250, "2.0.0", "done"						},
    [STATUS_NOT_FOUND] = {550, "5.1.1", "no such user here"                                   },
    [STATUS_EXISTS] = {451, "4.3.0", "the mail store answered in an unexpected way"        },
    [STATUS_BUSY] = {451, "4.3.2", "the mail store is busy, try again in a moment"       },
    [STATUS_QUOTA] = {452, "4.2.2", "the mailbox is full, try again later"                },
    [STATUS_FULL] = {452, "4.3.1", "the server's disk is full, try again later"          },
    [STATUS_READ_ONLY] = {452, "4.3.1", "the mail store is read-only at the moment"           },
    [STATUS_CORRUPT] = {451, "4.3.0", "the mail store is damaged, try again later"          },
    [STATUS_IO] = {451, "4.3.0", "the server's disk reported an error, try again later"},
    [STATUS_LIMIT] = {552, "5.3.4", "the message is over a limit of this server"          },
    [STATUS_TIMEOUT] = {451, "4.3.0", "the mail store did not answer in time"               },
    [STATUS_CLOSED] = {421, "4.3.2", "the server is stopping, try again in a moment"       },
    [STATUS_INVALID] = {451, "4.3.0", "the mail store did not take the message"             },
    [STATUS_DENIED] = {550, "5.7.1", "not allowed"                                         },
    [STATUS_UNKNOWN] = {451, "4.3.0", "the outcome is not known, try again"                 },
    [STATUS_CONFLICT] = {451, "4.3.0", "the mailbox changed, try again"                      },
};
_Static_assert(sizeof(status_table) / sizeof(status_table[0]) == STATUS_COUNT_,
    "every status has a reply");

static const struct smtp_reply fault_table[] = {
    [SMTP_FAULT_NONE] = {250, "2.0.0", "done"                                            },
    [SMTP_FAULT_SIZE] = {552, "5.3.4", "the message is larger than this server takes"    },
    [SMTP_FAULT_HEADER_SIZE] = {552, "5.3.4",
			 "the message's header is larger than this server takes"         },
    [SMTP_FAULT_LOOP] = {554, "5.4.6",
			 "this message loops: too many Received fields, or it was forwarded from here "
	"before"									 },
    [SMTP_FAULT_FROM] = {553, "5.7.1",
			 "the From field is not an address of the logged-in user"        },
    [SMTP_FAULT_DRAFT] = {451, "4.3.0", "the message could not be written"                },
    [SMTP_FAULT_LINE] = {550, "5.6.0", "a line of the message is over 1 MiB"             },
    [SMTP_FAULT_BARE] = {550, "5.6.0",
			 "the message holds a bare CR or LF, lines must end in CR LF (RFC 5321 "
	"section 2.3.8)"								 },
    [SMTP_FAULT_CONVERT] = {554, "5.6.3",
			 "the binary message has no other form: it is signed, or no MIME"},
    [SMTP_FAULT_NUL] = {550, "5.6.0", "the message holds a NUL byte"                    },
    [SMTP_FAULT_CAMPAIGN] = {550, "5.6.0",
			 "X-Postroom-Campaign stands once and has a name of 1 to 64 letters, digits, "
	"\"-\", \"_\" and \".\""							 },
};
_Static_assert(sizeof(fault_table) / sizeof(fault_table[0]) == SMTP_FAULT_CAMPAIGN + 1,
    "every fault has a reply");

void
smtp_resp(struct smtp_session *s, unsigned code, const char *enhanced, const char *text)
{
	conn_write_format(s->conn, "%u %s%s%s\r\n", code, enhanced ? enhanced : "",
	    enhanced ? " " : "", text);
}

void
smtp_resp_format(
    struct smtp_session *s, unsigned code, const char *enhanced, const char *format, ...)
{
	char line[SMTP_REPLY_MAX];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(line, sizeof(line) - 16, format, args);
	va_end(args);
	ENSURE(len >= 0); /* cut when it is longer */
	smtp_resp(s, code, enhanced, line);
}

void
smtp_resp_bad(
    struct smtp_session *s, unsigned code, const char *enhanced, const char *text)
{
	s->errors++;
	smtp_resp(s, code, enhanced, text);
}

const struct smtp_reply *
smtp_resp_of_status(enum status status)
{
	ENSURE(status < STATUS_COUNT_);
	return &status_table[status];
}

void
smtp_resp_status(struct smtp_session *s, enum status status)
{
	const struct smtp_reply *reply = smtp_resp_of_status(status);
	smtp_resp(s, reply->code, reply->enhanced, reply->text);
}

const struct smtp_reply *
smtp_resp_of_fault(enum smtp_fault fault)
{
	return &fault_table[fault];
}
