/*
 * Writers of response text, and the map from enum status to IMAP replies.
 *
 * Pure: everything appends to a struct buf, whose overflow is sticky and looked at by the
 * session.  Nothing from outside can end a line: what is not fit for a quoted string goes
 * out as a literal.
 *
 * RFC 9051 sections 4.3 and 7.1, RFC 5530 (codes), RFC 6855 (UTF-8 in quoted strings),
 * RFC 8474 (ids).
 */
#include "imapd/imap_resp.h"

#include "base/ensure.h"
#include "imapd/imap_lex.h"
#include "text/encoding.h"

/* ---- status ---- */

static const struct imap_status_reply status_replies[] = {
    [STATUS_OK] = {IMAP_OK, "",              "done"                                },
    [STATUS_NOT_FOUND] = {IMAP_NO, "NONEXISTENT",   "no such mailbox"                     },
    [STATUS_EXISTS] = {IMAP_NO, "ALREADYEXISTS", "it exists already"                   },
    [STATUS_BUSY] = {IMAP_NO, "UNAVAILABLE",   "too busy, try again"                 },
    [STATUS_QUOTA] = {IMAP_NO, "OVERQUOTA",     "over quota"                          },
    [STATUS_FULL] = {IMAP_NO, "UNAVAILABLE",   "no space left on the server"         },
    [STATUS_READ_ONLY] = {IMAP_NO, "UNAVAILABLE",
		   "the mail store is read-only at the moment"                     },
    [STATUS_CORRUPT] = {IMAP_NO, "CORRUPTION",    "a damaged record was found"          },
    [STATUS_IO] = {IMAP_NO, "SERVERBUG",     "the storage failed"                  },
    [STATUS_LIMIT] = {IMAP_NO, "LIMIT",         "over a limit"                        },
    [STATUS_TIMEOUT] = {IMAP_NO, "UNAVAILABLE",   "timed out, try again"                },
    [STATUS_CLOSED] = {IMAP_NO, "UNAVAILABLE",   "the server is stopping"              },
    [STATUS_INVALID] = {IMAP_NO, "CANNOT",        "not valid"                           },
    [STATUS_DENIED] = {IMAP_NO, "NOPERM",        "not allowed"                         },
    [STATUS_UNKNOWN] = {IMAP_NO, "UNAVAILABLE",   "the outcome is not known, look again"},
    [STATUS_CONFLICT] = {IMAP_NO, "INUSE",         "changed by somebody else, try again" },
};
_Static_assert(sizeof(status_replies) / sizeof(status_replies[0]) == STATUS_COUNT_,
    "every status has a reply");

const struct imap_status_reply *
imap_resp_status(enum status status)
{
	ENSURE((unsigned)status < STATUS_COUNT_);
	return &status_replies[status];
}

/* ---- strings ---- */

static bool
fits_quoted(struct slice s, bool utf8)
{
	if (s.len > IMAP_QUOTED_MAX)
		return false;
	bool eight_bit = false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c == '\r' || c == '\n' || c == '\0')
			return false;
		eight_bit = eight_bit || c > 127;
	}
	return !eight_bit || (utf8 && utf8_is_valid(s));
}

void
imap_resp_literal_head(struct buf *out, uint64_t len, bool binary)
{
	if (binary)
		buf_append_byte(out, '~');
	buf_append_byte(out, '{');
	buf_append_u64(out, len);
	buf_append(out, SLICE("}\r\n"));
}

void
imap_resp_string(struct buf *out, struct slice s, bool utf8)
{
	if (!fits_quoted(s, utf8)) {
		bool binary = memchr(s.ptr, '\0', s.len) != NULL;
		imap_resp_literal_head(out, s.len, binary);
		buf_append(out, s);
		return;
	}
	buf_append_byte(out, '"');
	size_t from = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '"' && s.ptr[i] != '\\')
			continue;
		buf_append(out, slice_sub(s, from, i - from));
		buf_append_byte(out, '\\');
		from = i;
	}
	buf_append(out, slice_from(s, from));
	buf_append_byte(out, '"');
}

void
imap_resp_nstring(struct buf *out, struct slice s, bool utf8)
{
	if (!s.ptr)
		buf_append(out, SLICE("NIL"));
	else
		imap_resp_string(out, s, utf8);
}

void
imap_resp_astring(struct buf *out, struct slice s, bool utf8)
{
	bool atom =
	    s.len > 0 && s.len <= IMAP_QUOTED_MAX && !slice_equal_nocase(s, SLICE("NIL"));

	for (size_t i = 0; atom && i < s.len; i++)
		atom = imap_is_atom_char((unsigned char)s.ptr[i]);
	if (atom)
		buf_append(out, s);
	else
		imap_resp_string(out, s, utf8);
}

void
imap_resp_mailbox(struct buf *out, struct slice name, bool utf8)
{
	struct buf encoded;

	if (utf8 || ascii_only(name)) {
		/* "&" is the shift character of modified UTF-7 and needs its escape. */
		if (utf8 || slice_index(name, '&') == SIZE_MAX) {
			imap_resp_astring(out, name, utf8);
			return;
		}
	}
	buf_init(&encoded, MAILBOX_NAME_MAX * 8);
	mutf7_encode(name, &encoded);
	imap_resp_astring(out, buf_slice(&encoded), false);
	buf_fini(&encoded);
}

/* ---- flags ---- */

static const struct {
	uint8_t bit;
	struct slice name;
} flag_names[] = {
    {MESSAGE_ANSWERED, {"\\Answered", 9}},
    {MESSAGE_FLAGGED,  {"\\Flagged", 8} },
    {MESSAGE_DELETED,  {"\\Deleted", 8} },
    {MESSAGE_SEEN,     {"\\Seen", 5}    },
    {MESSAGE_DRAFT,    {"\\Draft", 6}   },
};

static void
append_word(struct buf *out, struct slice word, bool *first)
{
	if (!*first)
		buf_append_byte(out, ' ');
	*first = false;
	buf_append(out, word);
}

void
imap_resp_flags(struct buf *out, uint8_t flags, uint64_t keywords,
    const struct slice *names, size_t keyword_count, bool recent)
{
	bool first = true;

	buf_append_byte(out, '(');
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++)
		if (flags & flag_names[i].bit)
			append_word(out, flag_names[i].name, &first);
	for (size_t i = 0; keywords != 0 && i < keyword_count; i++)
		if (keywords >> i & 1)
			append_word(out, names[i], &first);
	if (recent)
		append_word(out, SLICE("\\Recent"), &first);
	buf_append_byte(out, ')');
}

/* ---- ids ---- */

void
imap_resp_emailid(struct buf *out, uint64_t email_id)
{
	buf_append_byte(out, 'M');
	buf_append_u64(out, email_id);
}

void
imap_resp_mailboxid(struct buf *out, uint32_t number)
{
	buf_append_byte(out, 'F');
	buf_append_u64(out, number);
}
