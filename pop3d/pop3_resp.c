/*
 * POP3 replies; see pop3_resp.h.
 */
#include "pop3d/pop3_resp.h"

#include <stdarg.h>
#include <stdio.h>

enum { RESP_LINE_MAX = 512 }; /* octets with CRLF, RFC 1939 section 3 */

struct resp_row {
	const char *code;
	const char *text;
};

/* Row by enum status; texts are for a person who reads the client's error box. */
static const struct resp_row resp_table[] = {
    [STATUS_OK] = {NULL,       "done"					  },
    [STATUS_NOT_FOUND] = {NULL,       "no such message"                               },
    [STATUS_EXISTS] = {"SYS/PERM", "it exists already"                             },
    [STATUS_BUSY] = {"SYS/TEMP", "the server is busy, try again in a moment"     },
    [STATUS_QUOTA] = {"SYS/TEMP", "over quota"                                    },
    [STATUS_FULL] = {"SYS/TEMP", "the server's disk is full, nothing was removed"},
    [STATUS_READ_ONLY] = {"SYS/TEMP", "the mail store is read-only at the moment"     },
    [STATUS_CORRUPT] = {"SYS/PERM", "this message is damaged on the server's disk"  },
    [STATUS_IO] = {"SYS/TEMP", "the server's disk reported an error"           },
    [STATUS_LIMIT] = {"SYS/TEMP", "a limit of the server was reached"             },
    [STATUS_TIMEOUT] = {"SYS/TEMP", "the mail store did not answer in time"         },
    [STATUS_CLOSED] = {"SYS/TEMP", "the server is stopping"                        },
    [STATUS_INVALID] = {NULL,       "not valid"                                     },
    [STATUS_DENIED] = {"SYS/PERM", "not allowed"                                   },
    [STATUS_UNKNOWN] = {"SYS/TEMP", "the outcome is not known, connect again to see"},
    [STATUS_CONFLICT] = {"SYS/TEMP", "the maildrop changed, connect again"           },
};
_Static_assert(sizeof(resp_table) / sizeof(resp_table[0]) == STATUS_COUNT_,
    "every status has a reply");

void
pop3_resp_ok(struct pop3_session *s, const char *text)
{
	pop3_resp_ok_format(s, "%s", text);
}

void
pop3_resp_ok_format(struct pop3_session *s, const char *format, ...)
{
	char line[RESP_LINE_MAX];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(line, sizeof(line) - 2, format, args);
	va_end(args);
	ENSURE(len >= 0 && (size_t)len < sizeof(line) - 2);
	conn_write_format(s->conn, "+OK %s\r\n", line);
}

void
pop3_resp_err(struct pop3_session *s, const char *code, const char *text)
{
	if (code)
		conn_write_format(s->conn, "-ERR [%s] %s\r\n", code, text);
	else
		conn_write_format(s->conn, "-ERR %s\r\n", text);
	if (!code)
		s->errors++;
}

void
pop3_resp_status(struct pop3_session *s, enum status status)
{
	ENSURE(status < STATUS_COUNT_);
	pop3_resp_err(s, resp_table[status].code, resp_table[status].text);
}
