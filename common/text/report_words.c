/*
 * Bounces in free words: qmail, old Exim, Exchange and Sendmail, and what others make up.
 * What is looked for, in this order: who failed (X-Failed-Recipients, else addresses that
 * stand at a line's front or in brackets before the returned message begins), a code in
 * the lines about it, else words that say it.  A guess by its nature: what is not found
 * stays empty, and nothing of it is believed without proof (decision 0100).
 */
#include "base/buf.h"
#include "text/header.h"
#include "text/report.h"
#include "text/report_int.h"

enum { LINES_MAX = 1000, ADDRESS_MAX = 254 /* octets */ };

/* ---- codes ---- */

static bool
code_boundary(struct slice text, size_t at)
{
	if (at >= text.len)
		return true;
	char c = text.ptr[at];
	return !ascii_is_digit(c) && !ascii_is_alpha(c) && c != '.' && c != '-';
}

/* Digits at `at`, one to three; 0: none or more. */
static size_t
digits_at(struct slice text, size_t at)
{
	size_t n = 0;
	while (at + n < text.len && ascii_is_digit(text.ptr[at + n]) && n < 4)
		n++;
	return n <= 3 ? n : 0;
}

bool
report_code_find(struct slice text, char out[12])
{
	for (size_t i = 0; i + 4 < text.len; i++) {
		char c = text.ptr[i];
		if ((c != '2' && c != '4' && c != '5') || text.ptr[i + 1] != '.' ||
		    (i > 0 && !code_boundary(text, i - 1)))
			continue;
		size_t subject = digits_at(text, i + 2);
		size_t dot = i + 2 + subject;
		if (subject == 0 || dot >= text.len || text.ptr[dot] != '.')
			continue;
		size_t detail = digits_at(text, dot + 1);
		size_t end = dot + 1 + detail;
		/* A full stop may follow, a further number must not. */
		bool ended = code_boundary(text, end) ||
		             (text.ptr[end] == '.' && code_boundary(text, end + 1)) ||
		             (text.ptr[end] == '-' && end + 1 < text.len);
		if (detail == 0 || !ended)
			continue;
		memcpy(out, text.ptr + i, end - i);
		out[end - i] = '\0';
		return true;
	}
	return false;
}

/* The first "4yz" or "5yz" that stands alone; 0: none. */
static char
reply_class(struct slice text)
{
	for (size_t i = 0; i + 2 < text.len; i++) {
		if ((text.ptr[i] == '4' || text.ptr[i] == '5') &&
		    text.ptr[i + 1] >= '0' && text.ptr[i + 1] <= '5' &&
		    ascii_is_digit(text.ptr[i + 2]) &&
		    (i == 0 || code_boundary(text, i - 1)) &&
		    (code_boundary(text, i + 3) || text.ptr[i + 3] == '-'))
			return text.ptr[i];
	}
	return '\0';
}

static bool
find_nocase(struct slice text, struct slice needle)
{
	for (size_t i = 0; i + needle.len <= text.len; i++)
		if (slice_has_prefix_nocase(slice_from(text, i), needle))
			return true;
	return false;
}

static bool
has_any(struct slice text, const struct slice *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (find_nocase(text, words[i]))
			return true;
	return false;
}

/* What is looked at of the field; null when it is not there. */
static struct slice
field_front(struct slice header, struct slice name)
{
	struct header_field field;
	return header_find(header, name, &field)
	           ? slice_sub(field.value, 0, REPORT_VALUE_MAX)
	           : SLICE_NULL;
}

/* Words that say what happened, most telling first. */
static const struct {
	const char *words;
	const char *code; /* without the class */
	bool lasting;     /* so in itself: failed for good */
} phrases[] = {
    {"user unknown",                 ".1.1", true },
    {"unknown user",                 ".1.1", true },
    {"no such user",                 ".1.1", true },
    {"no such recipient",            ".1.1", true },
    {"no such mailbox",              ".1.1", true },
    {"no such address",              ".1.1", true },
    {"unknown recipient",            ".1.1", true },
    {"recipient unknown",            ".1.1", true },
    {"unknown or illegal",           ".1.1", true },
    {"unknown address",              ".1.1", true },
    {"user not found",               ".1.1", true },
    {"recipient not found",          ".1.1", true },
    {"recipient name is not recog",  ".1.1", true },
    {"user doesn't have",            ".1.1", true },
    {"account does not exist",       ".1.1", true },
    {"address does not exist",       ".1.1", true },
    {"email account that you tried", ".1.1", true },
    {"no mailbox here by that name", ".1.1", true },
    {"mailbox not found",            ".1.1", true },
    {"unrouteable address",          ".1.2", true },
    {"host unknown",                 ".1.2", true },
    {"domain not found",             ".1.2", true },
    {"account has been disabled",    ".2.1", true },
    {"account is disabled",          ".2.1", true },
    {"account has been suspended",   ".2.1", false},
    {"over quota",		   ".2.2", false},
    {"quota exceeded",               ".2.2", false},
    {"exceeded its quota",           ".2.2", false},
    {"exceeded the local limit",     ".2.2", false},
    {"mailbox full",                 ".2.2", false},
    {"mailbox is full",              ".2.2", false},
    {"too large",		    ".3.4", false},
    {"connection timed out",         ".4.1", false},
    {"connection refused",           ".4.1", false},
    {"too many hops",                ".4.6", false},
    {"spam",			 ".7.1", false},
    {"blocked",		      ".7.1", false},
    {"relay",			".7.1", false},
};

static bool
phrase_find(struct slice text, size_t *out)
{
	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
		if (find_nocase(text, slice_from_cstr(phrases[i].words))) {
			*out = i;
			return true;
		}
	}
	return false;
}

static bool
says_little(const char status[12])
{
	return status[0] == '\0' || strcmp(status + 1, ".0.0") == 0 ||
	       strcmp(status, "5.5.0") == 0 || strcmp(status, "5.5.4") == 0;
}

void
report_status_refine(struct report_recipient *recipient)
{
	char *status = recipient->status;
	char code[12];
	if (!says_little(status) || recipient->diagnostic.len == 0)
		return;
	bool coded = report_code_find(recipient->diagnostic, code);
	if (coded && (status[0] == '\0' || code[0] == status[0])) {
		memcpy(status, code, sizeof(code));
		if (!says_little(status))
			return;
	}
	size_t phrase;
	char kind = status[0] ? status[0] : reply_class(recipient->diagnostic);
	if (phrase_find(recipient->diagnostic, &phrase)) {
		if (!kind)
			kind = phrases[phrase].lasting ? '5' : '4';
		status[0] = kind;
		memcpy(
		    status + 1, phrases[phrase].code, strlen(phrases[phrase].code) + 1);
	} else if (kind && status[0] == '\0') {
		memcpy(status, kind == '4' ? "4.0.0" : "5.0.0", 6);
	}
}

/* ---- addresses ---- */

static bool
address_octet(char c)
{
	return (unsigned char)c > ' ' && c != 127 && !strchr("<>()[],;:\"'", c);
}

/* A bare address at the front of `text`, perhaps in brackets or quotes; null: none. */
static struct slice
address_at(struct slice text)
{
	bool enclosed = text.len > 0 && (text.ptr[0] == '<' || text.ptr[0] == '"');
	size_t from = enclosed, len = 0, at = SIZE_MAX;
	for (; from + len < text.len && address_octet(text.ptr[from + len]); len++)
		if (text.ptr[from + len] == '@')
			at = len;
	struct slice address = slice_sub(text, from, len);
	if (enclosed && (from + len >= text.len ||
			    text.ptr[from + len] != (text.ptr[0] == '<' ? '>' : '"')))
		return SLICE_NULL;
	while (slice_has_suffix(address, SLICE(".")))
		address.len--;
	if (at == SIZE_MAX || at == 0 || at + 1 >= address.len ||
	    address.len > ADDRESS_MAX)
		return SLICE_NULL;
	return address;
}

static struct report_recipient *
recipient_of(struct report_reader *r, struct slice address)
{
	for (size_t i = 0; i < r->out->recipient_count; i++)
		if (slice_equal_nocase(r->out->recipients[i].address, address))
			return &r->out->recipients[i];
	struct report_recipient *recipient = report_recipient_add(r);
	if (recipient)
		recipient->address = address;
	return recipient;
}

/* ---- the text ---- */

/* Where the returned message begins: what stands behind is its own. */
static bool
begins_original(struct slice line)
{
	static const struct slice fronts[] = {
	    SLICE("Return-Path:"),
	    SLICE("Received:"),
	    SLICE("Message headers follow"),
	    SLICE("Message-ID:"),
	    SLICE("MIME-Version:"),
	};
	static const struct slice words[] = {
	    SLICE("copy of the message"),
	    SLICE("original message"),
	    SLICE("original headers"),
	    SLICE("unsent message"),
	    SLICE("undelivered message follows"),
	    SLICE("text of the message"),
	    SLICE("returned message"),
	    SLICE("message header"),
	};
	for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++)
		if (slice_has_prefix_nocase(line, fronts[i]))
			return true;
	if (!slice_has_prefix(line, SLICE("-")) && !slice_has_prefix(line, SLICE("|")) &&
	    !slice_has_suffix(line, SLICE(":")) && !slice_has_suffix(line, SLICE("-")))
		return false;
	return has_any(line, words, sizeof(words) / sizeof(words[0]));
}

/* The text before the returned message, and that message's header. */
static struct slice
text_cut(struct slice text, struct slice *out_original)
{
	struct slice rest = text;
	*out_original = SLICE_NULL;
	for (size_t n = 0; rest.len > 0 && n < LINES_MAX; n++) {
		struct slice before = rest;
		struct slice line = slice_trim(slice_split(&rest, '\n'));
		if (!begins_original(line))
			continue;
		/* Behind a line of words come empty ones. */
		struct slice at = slice_index(line, ':') != SIZE_MAX &&
		                          !slice_has_suffix(line, SLICE(":"))
		                      ? before
		                      : slice_trim(rest);
		*out_original = at;
		return slice_sub(text, 0, (size_t)(before.ptr - text.ptr));
	}
	return text;
}

/* Several lines as a value: a blank where a line ends, none beside another. */
static struct slice
lines_join(struct report_reader *r, struct slice text)
{
	struct buf joined AUTO_BUF;
	buf_init(&joined, REPORT_VALUE_MAX);
	text = slice_trim(slice_sub(text, 0, 4 * (size_t)REPORT_VALUE_MAX));
	for (size_t i = 0; i < text.len && joined.len < REPORT_VALUE_MAX; i++) {
		bool blank = strchr(" \t\r\n", text.ptr[i]) && text.ptr[i] != '\0';
		if (!blank)
			buf_append_byte(&joined, text.ptr[i]);
		else if (joined.len > 0 && joined.ptr[joined.len - 1] != ' ')
			buf_append_byte(&joined, ' ');
	}
	return arena_copy(r->arena, buf_slice(&joined));
}

/* Takes the addresses of the lines, with the lines behind each as its diagnostic. */
static void
lines_take(struct report_reader *r, struct slice text, bool known)
{
	struct slice rest = text;
	for (size_t n = 0; rest.len > 0 && n < LINES_MAX; n++) {
		struct slice line = slice_trim(slice_split(&rest, '\n'));
		size_t before = r->out->recipient_count;
		struct slice address = address_at(line);
		if (!address.ptr)
			continue;
		struct report_recipient *recipient = NULL;
		if (!known)
			recipient = recipient_of(r, address);
		for (size_t i = 0; known && i < before; i++)
			if (slice_equal_nocase(r->out->recipients[i].address, address))
				recipient = &r->out->recipients[i];
		if (!recipient || recipient->diagnostic.ptr)
			continue;
		/* To the next empty line that has text before it. */
		struct slice about =
		    slice_from(line, (size_t)(address.ptr - line.ptr) + address.len);
		const char *end = text.ptr + text.len;
		struct slice ahead = rest;
		bool words = false;
		while (ahead.len > 0) {
			struct slice next = slice_trim(slice_split(&ahead, '\n'));
			if ((next.len == 0 && words) || address_at(next).ptr) {
				end = next.ptr;
				break;
			}
			words |= next.len > 0;
		}
		about.len = (size_t)(end - about.ptr);
		about = lines_join(r, about);
		while (about.len > 0 && strchr(">\": \t", about.ptr[0]))
			about = slice_from(about, 1);
		recipient->diagnostic = about;
	}
}

/* The first address anywhere in the text that is not one of the bounce's own header. */
static void
text_take_first(struct report_reader *r, struct slice header, struct slice text)
{
	struct header_field to, from;
	struct slice own = header_find(header, SLICE("To"), &to) ? to.value : SLICE("");
	struct slice by =
	    header_find(header, SLICE("From"), &from) ? from.value : SLICE("");
	own = slice_sub(own, 0, REPORT_VALUE_MAX);
	by = slice_sub(by, 0, REPORT_VALUE_MAX);
	for (size_t i = 0; i < text.len; i++) {
		struct slice address = address_at(slice_from(text, i));
		if (address.ptr && !find_nocase(own, address) &&
		    !find_nocase(by, address)) {
			(void)recipient_of(r, address);
			return;
		}
		/* To the next word. */
		while (i < text.len && address_octet(text.ptr[i]))
			i++;
	}
}

static bool
from_is_postmaster(struct slice header)
{
	static const struct slice names[] = {
	    SLICE("mailer-daemon"),
	    SLICE("mailer_daemon"),
	    SLICE("postmaster"),
	    SLICE("mail delivery"),
	    SLICE("maildelivery"),
	    SLICE("mail administrator"),
	    SLICE("mailerdaemon"),
	    SLICE("symantec_antivirus"),
	    SLICE("root@"),
	};
	struct header_field field;
	return !header_find(header, SLICE("From"), &field) ||
	       has_any(slice_sub(field.value, 0, REPORT_VALUE_MAX), names,
		   sizeof(names) / sizeof(names[0]));
}

static bool
subject_is_bounce(struct slice header)
{
	static const struct slice words[] = {
	    SLICE("undeliver"),
	    SLICE("delivery fail"),
	    SLICE("delivery status"),
	    SLICE("delivery notif"),
	    SLICE("failure notice"),
	    SLICE("failure notification"),
	    SLICE("returned mail"),
	    SLICE("returning message"),
	    SLICE("could not be delivered"),
	    SLICE("non remis"),
	    SLICE("user unknown"),
	    SLICE("delivery problem"),
	    SLICE("mail failure"),
	    SLICE("message delivery"),
	    SLICE("nondeliverable"),
	    SLICE("non-deliverable"),
	    SLICE("cannot be delivered"),
	    SLICE("delay"),
	};
	return has_any(field_front(header, SLICE("Subject")), words,
	    sizeof(words) / sizeof(words[0]));
}

/* RFC 3834 section 5: somebody's automatic answer is no report. */
static bool
is_answer(struct slice header)
{
	return find_nocase(
		   field_front(header, SLICE("Auto-Submitted")), SLICE("auto-replied")) &&
	       !from_is_postmaster(header);
}

static void
failed_recipients(struct report_reader *r, struct slice header)
{
	struct header_field field;
	if (!header_find(header, SLICE("X-Failed-Recipients"), &field))
		return;
	struct slice rest =
	    header_unfold(slice_sub(field.value, 0, REPORT_TEXT_MAX), r->arena);
	while (rest.len > 0) {
		struct slice address = address_at(slice_trim(slice_split(&rest, ',')));
		if (address.ptr)
			(void)recipient_of(r, address);
	}
}

/* A server's words that no address stands in front of, when it is clear whose they are.
 */
static void
single_finish(struct report_reader *r, struct slice text)
{
	if (r->out->recipient_count != 1)
		return;
	struct report_recipient *one = &r->out->recipients[0];
	if (one->status[0] == '\0' || says_little(one->status)) {
		struct report_recipient whole = *one;
		whole.diagnostic = text;
		report_status_refine(&whole);
		memcpy(one->status, whole.status, sizeof(one->status));
	}
	if (one->diagnostic.len == 0)
		one->diagnostic = lines_join(r, text);
}

void
report_words(struct report_reader *r, struct slice header, struct slice text)
{
	struct slice original;
	failed_recipients(r, header);
	bool known = r->out->recipient_count > 0;
	if (!known && (is_answer(header) ||
			  !(from_is_postmaster(header) || subject_is_bounce(header))))
		return;
	text = text_cut(text, &original);
	lines_take(r, text, known);
	if (r->out->recipient_count == 0 && from_is_postmaster(header) &&
	    subject_is_bounce(header))
		text_take_first(r, header, text);
	report_original(r, original);
	for (size_t i = 0; i < r->out->recipient_count; i++)
		report_status_refine(&r->out->recipients[i]);
	single_finish(r, text);
	bool delayed = find_nocase(field_front(header, SLICE("Subject")), SLICE("delay"));
	bool told = known || subject_is_bounce(header);
	for (size_t i = 0; i < r->out->recipient_count; i++) {
		struct report_recipient *one = &r->out->recipients[i];
		if (delayed || one->status[0] == '4')
			one->action = REPORT_DELAYED;
		told |= one->status[0] != '\0';
	}
	if (r->out->recipient_count > 0 && told)
		r->out->kind = REPORT_DELIVERY;
}
