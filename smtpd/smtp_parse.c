/*
 * SMTP command lines; see smtp_parse.h.
 */
#include "smtpd/smtp_parse.h"

#include <time.h>

#include "text/encoding.h"

enum { XTEXT_MAX = 500 }; /* octets of AUTH=, RFC 4954 section 5 */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice
skip_blanks(struct slice s)
{
	size_t at = 0;
	while (at < s.len && is_blank(s.ptr[at]))
		at++;
	return slice_from(s, at);
}

bool
smtp_line_parse(struct slice line, struct smtp_line *out)
{
	size_t at = 0;
	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.ptr[i];
		if ((c < 32 && c != '\t') || c == 127)
			return false;
	}
	while (at < line.len && ascii_is_alpha(line.ptr[at]))
		at++;
	if (at == 0 || (at < line.len && !is_blank(line.ptr[at])))
		return false;
	out->verb = slice_sub(line, 0, at);
	out->rest = slice_trim(slice_from(line, at));
	return true;
}

bool
smtp_helo_is_valid(struct slice name)
{
	if (name.len == 0 || name.len > SMTP_HELO_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) &&
		    (c == '\0' || !strchr("-._:[]", c)))
			return false;
	}
	return true;
}

/* "FROM:" or "TO:", then the path; some clients put a blank between the two. */
static enum smtp_parse_result
parse_path(struct slice rest, struct slice keyword, struct arena *arena,
    struct mailbox_address *out, struct slice *out_parameters)
{
	if (!slice_has_prefix_nocase(rest, keyword))
		return SMTP_PARSE_SYNTAX;
	rest = skip_blanks(slice_from(rest, keyword.len));
	if (rest.len == 0 || rest.ptr[0] != '<')
		return SMTP_PARSE_SYNTAX;
	size_t used = 0;
	switch (address_parse_path(rest, true, arena, out, &used)) {
	case ADDRESS_OK:
		break;
	case ADDRESS_BAD:
		return SMTP_PARSE_ADDRESS;
	case ADDRESS_TOO_LONG:
		return SMTP_PARSE_LONG;
	}
	rest = slice_from(rest, used);
	if (rest.len > 0 && !is_blank(rest.ptr[0]))
		return SMTP_PARSE_ADDRESS;
	*out_parameters = skip_blanks(rest);
	return SMTP_PARSE_DONE;
}

/* Digits to a number that stops at UINT64_MAX; false for anything else. */
static bool
parse_octets(struct slice text, uint64_t *out)
{
	if (text.len == 0 || text.len > SMTP_SIZE_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (!ascii_is_digit(text.ptr[i]))
			return false;
	}
	if (!slice_to_u64(text, UINT64_MAX, out))
		*out = UINT64_MAX;
	return true;
}

/* RFC 4954 section 5: who wrote it.  Checked and not used: we trust our own log-ins. */
static bool
auth_value_is_valid(struct slice value, struct arena *arena)
{
	if (slice_equal(value, SLICE("<>")))
		return true;
	struct buf decoded AUTO_BUF;
	buf_init(&decoded, XTEXT_MAX);
	struct mailbox_address address;
	return xtext_decode(value, &decoded) && buf_ok(&decoded) &&
	       address_parse(buf_slice(&decoded), true, arena, &address) == ADDRESS_OK;
}

/* ---- DSN (RFC 3461 section 4) ---- */

/* What xtext stands for must be printable ASCII, as it ends in a report. */
static bool
xtext_is_printable(struct slice value, size_t size_max)
{
	struct buf decoded AUTO_BUF;
	buf_init(&decoded, XTEXT_MAX);
	if (value.len == 0 || value.len > size_max || !xtext_decode(value, &decoded))
		return false;
	for (size_t i = 0; i < decoded.len; i++) {
		if (decoded.ptr[i] < ' ' || decoded.ptr[i] > '~')
			return false;
	}
	return true;
}

static bool
ret_parse(struct slice value, enum smtp_ret *out)
{
	*out = slice_equal_nocase(value, SLICE("FULL"))   ? SMTP_RET_FULL
	       : slice_equal_nocase(value, SLICE("HDRS")) ? SMTP_RET_HDRS
	                                                  : SMTP_RET_NONE;
	return *out != SMTP_RET_NONE;
}

/* "NEVER", or a list of the others. */
static bool
notify_parse(struct slice value, uint8_t *out)
{
	static const struct {
		struct slice word;
		uint8_t bit;
	} words[] = {
	    {SLICE("NEVER"),   QUEUE_NOTIFY_NEVER  },
	    {SLICE("SUCCESS"), QUEUE_NOTIFY_SUCCESS},
	    {SLICE("FAILURE"), QUEUE_NOTIFY_FAILURE},
	    {SLICE("DELAY"),   QUEUE_NOTIFY_DELAY  },
	};
	*out = 0;
	while (value.ptr) {
		struct slice word = slice_split(&value, ',');
		uint8_t bit = 0;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (slice_equal_nocase(word, words[i].word))
				bit = words[i].bit;
		}
		if (bit == 0)
			return false;
		*out |= bit;
	}
	return *out != 0 && (!(*out & QUEUE_NOTIFY_NEVER) || *out == QUEUE_NOTIFY_NEVER);
}

static bool
is_atom(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) &&
		    (c == '\0' || !strchr("!#$%&'*+-/=?^_`{|}~", c)))
			return false;
	}
	return text.len > 0;
}

/* Address type, ";", xtext; of type "utf-8" it is the unitext of RFC 6533 section 3,
 * which may hold UTF-8 itself. */
static bool
orcpt_parse(struct slice value, struct smtp_rcpt *out)
{
	struct slice address = value;
	struct slice type = slice_split(&address, ';');
	if (value.len > QUEUE_ORCPT_MAX || !is_atom(type) || address.len == 0)
		return false;
	out->orcpt = value;
	if (!slice_equal_nocase(type, SLICE("utf-8")))
		return xtext_is_printable(address, QUEUE_ORCPT_MAX);
	struct buf decoded AUTO_BUF;
	buf_init(&decoded, (size_t)QUEUE_ORCPT_MAX + 1);
	out->orcpt_utf8 = !ascii_only(address);
	for (size_t i = 0; i < address.len; i++) {
		if (address.ptr[i] == '+' || address.ptr[i] == '=')
			return false;
	}
	return utf8_is_valid(address) && unitext_decode(address, &decoded);
}

/* ---- DELIVERBY, FUTURERELEASE, MT-PRIORITY ---- */

enum { BY_DIGITS_MAX = 9, HOLD_DIGITS_MAX = 9 };

/* An optional sign and up to `digits_max` digits. */
static bool
parse_signed(struct slice text, size_t digits_max, int64_t *out)
{
	bool negative = text.len > 0 && text.ptr[0] == '-';
	uint64_t value;
	if (text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+'))
		text = slice_from(text, 1);
	if (text.len == 0 || text.len > digits_max ||
	    !slice_to_u64(text, UINT64_MAX, &value))
		return false;
	*out = negative ? -(int64_t)value : (int64_t)value;
	return true;
}

/* "120;R", "-5;NT" (RFC 2852 section 4). */
static bool
by_parse(struct slice value, struct smtp_mail *out)
{
	struct slice mode = value;
	struct slice time = slice_split(&mode, ';');
	if (!parse_signed(time, BY_DIGITS_MAX, &out->by_time_s) || mode.len < 1 ||
	    mode.len > 2)
		return false;
	char letter = ascii_lower(mode.ptr[0]);
	out->by = letter == 'r' ? SMTP_BY_RETURN : SMTP_BY_NOTIFY;
	out->by_trace = mode.len == 2;
	return (letter == 'r' || letter == 'n') &&
	       (!out->by_trace || ascii_lower(mode.ptr[1]) == 't') &&
	       (out->by == SMTP_BY_NOTIFY || out->by_time_s > 0);
}

/* Zero leading, 1 to 9 digits (RFC 4865 section 3). */
static bool
hold_for_parse(struct slice value, int64_t *out)
{
	uint64_t seconds;
	if (value.len == 0 || value.len > HOLD_DIGITS_MAX || value.ptr[0] == '0' ||
	    !slice_to_u64(value, UINT64_MAX, &seconds))
		return false;
	*out = (int64_t)seconds;
	return true;
}

/* "2026-11-24T12:00:00Z": RFC 3339, in UTC. */
static bool
hold_until_parse(struct slice value, int64_t *out)
{
	static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
	int numbers[6] = {0};
	size_t at = 0;
	if (value.len != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		if (form[i] == 'd') {
			if (!ascii_is_digit(c))
				return false;
			numbers[at] = numbers[at] * 10 + (c - '0');
		} else {
			if (ascii_lower(c) != ascii_lower(form[i]))
				return false;
			at++;
		}
	}
	struct tm tm = {
	    .tm_year = numbers[0] - 1900,
	    .tm_mon = numbers[1] - 1,
	    .tm_mday = numbers[2],
	    .tm_hour = numbers[3],
	    .tm_min = numbers[4],
	    .tm_sec = numbers[5],
	};
	struct tm given = tm;
	*out = (int64_t)timegm(&tm);
	/* No 30th of February. */
	return numbers[0] >= 1970 && tm.tm_mon == given.tm_mon &&
	       tm.tm_mday == given.tm_mday && tm.tm_hour == given.tm_hour &&
	       tm.tm_min == given.tm_min && tm.tm_sec == given.tm_sec;
}

/* "0" to "9", "-1" to "-9" (RFC 6710 section 7). */
static bool
priority_parse(struct slice value, int8_t *out)
{
	bool negative = value.len == 2 && value.ptr[0] == '-';
	if (value.len != (negative ? 2u : 1u) ||
	    !ascii_is_digit(value.ptr[value.len - 1]) ||
	    (negative && value.ptr[1] == '0'))
		return false;
	int digit = value.ptr[value.len - 1] - '0';
	*out = (int8_t)(negative ? -digit : digit);
	return true;
}

/* ---- parameters ---- */

enum {
	SEEN_SIZE = 1 << 0,
	SEEN_BODY = 1 << 1,
	SEEN_UTF8 = 1 << 2,
	SEEN_AUTH = 1 << 3,
	SEEN_RET = 1 << 4,
	SEEN_ENVID = 1 << 5,
	SEEN_NOTIFY = 1 << 6,
	SEEN_ORCPT = 1 << 7,
	SEEN_REQUIRETLS = 1 << 8,
	SEEN_PRIORITY = 1 << 9,
	SEEN_BY = 1 << 10,
	SEEN_HOLD = 1 << 11,
};

/* One "KEYWORD" or "KEYWORD=value" of a command. */
struct parameter {
	struct slice keyword, value;
	bool has_value;
};

static bool
parameter_is(const struct parameter *p, const char *keyword)
{
	return slice_equal_nocase(p->keyword, slice_from_cstr(keyword));
}

/* The next one; false at the end. */
static bool
parameter_next(struct slice *rest, struct parameter *out)
{
	*rest = skip_blanks(*rest);
	if (rest->len == 0)
		return false;
	out->value = slice_split(rest, ' ');
	out->keyword = slice_split(&out->value, '=');
	out->has_value = out->value.ptr != NULL;
	return true;
}

static enum smtp_parse_result
mail_parameter(
    const struct parameter *p, struct arena *arena, struct smtp_mail *out, unsigned *seen)
{
	unsigned bit;
	bool good;
	if (parameter_is(p, "SIZE")) {
		bit = SEEN_SIZE;
		good = p->has_value && parse_octets(p->value, &out->size);
		out->has_size = true;
	} else if (parameter_is(p, "BODY")) {
		bit = SEEN_BODY;
		out->body_8bit = slice_equal_nocase(p->value, SLICE("8BITMIME"));
		out->body_binary = slice_equal_nocase(p->value, SLICE("BINARYMIME"));
		good = out->body_8bit || out->body_binary ||
		       slice_equal_nocase(p->value, SLICE("7BIT"));
	} else if (parameter_is(p, "SMTPUTF8")) {
		bit = SEEN_UTF8;
		good = !p->has_value;
		out->utf8 = true;
	} else if (parameter_is(p, "AUTH")) {
		bit = SEEN_AUTH;
		good = p->has_value && auth_value_is_valid(p->value, arena);
	} else if (parameter_is(p, "RET")) {
		bit = SEEN_RET;
		good = ret_parse(p->value, &out->ret);
	} else if (parameter_is(p, "ENVID")) {
		bit = SEEN_ENVID;
		good = xtext_is_printable(p->value, QUEUE_ENVID_MAX);
		out->envid = p->value;
	} else if (parameter_is(p, "REQUIRETLS")) {
		bit = SEEN_REQUIRETLS;
		good = !p->has_value;
		out->requiretls = true;
	} else if (parameter_is(p, "MT-PRIORITY")) {
		bit = SEEN_PRIORITY;
		good = p->has_value && priority_parse(p->value, &out->priority);
		out->has_priority = true;
	} else if (parameter_is(p, "BY")) {
		bit = SEEN_BY;
		good = p->has_value && by_parse(p->value, out);
	} else if (parameter_is(p, "HOLDFOR")) {
		/* One of the two, once (RFC 4865 section 4.2). */
		bit = SEEN_HOLD;
		good = p->has_value && hold_for_parse(p->value, &out->hold_s);
		out->hold = SMTP_HOLD_FOR;
		out->hold_text = p->value;
	} else if (parameter_is(p, "HOLDUNTIL")) {
		bit = SEEN_HOLD;
		good = p->has_value && hold_until_parse(p->value, &out->hold_s);
		out->hold = SMTP_HOLD_UNTIL;
		out->hold_text = p->value;
	} else {
		return SMTP_PARSE_UNKNOWN;
	}
	if (!good || (*seen & bit))
		return SMTP_PARSE_PARAMETER;
	*seen |= bit;
	return SMTP_PARSE_DONE;
}

enum smtp_parse_result
smtp_mail_parse(struct slice rest, struct arena *arena, struct smtp_mail *out)
{
	struct smtp_mail mail = {0};
	struct slice parameters;
	enum smtp_parse_result result =
	    parse_path(rest, SLICE("FROM:"), arena, &mail.sender, &parameters);
	/* <postmaster> without a domain is for recipients (RFC 5321 section 4.1.1.3). */
	if (result == SMTP_PARSE_DONE && mail.sender.local.len && !mail.sender.domain.len)
		return SMTP_PARSE_ADDRESS;
	unsigned seen = 0;
	struct parameter p;
	while (result == SMTP_PARSE_DONE && parameter_next(&parameters, &p))
		result = mail_parameter(&p, arena, &mail, &seen);
	if (result == SMTP_PARSE_DONE)
		*out = mail;
	return result;
}

static enum smtp_parse_result
rcpt_parameter(const struct parameter *p, struct smtp_rcpt *out, unsigned *seen)
{
	unsigned bit;
	bool good;
	if (parameter_is(p, "NOTIFY")) {
		bit = SEEN_NOTIFY;
		good = notify_parse(p->value, &out->notify);
	} else if (parameter_is(p, "ORCPT")) {
		bit = SEEN_ORCPT;
		good = orcpt_parse(p->value, out);
	} else {
		return SMTP_PARSE_UNKNOWN;
	}
	if (!good || (*seen & bit))
		return SMTP_PARSE_PARAMETER;
	*seen |= bit;
	return SMTP_PARSE_DONE;
}

enum smtp_parse_result
smtp_rcpt_parse(struct slice rest, struct arena *arena, struct smtp_rcpt *out)
{
	struct smtp_rcpt rcpt = {0};
	struct slice parameters;
	enum smtp_parse_result result =
	    parse_path(rest, SLICE("TO:"), arena, &rcpt.address, &parameters);
	if (result != SMTP_PARSE_DONE)
		return result;
	if (rcpt.address.local.len == 0 && rcpt.address.domain.len == 0)
		return SMTP_PARSE_ADDRESS;
	unsigned seen = 0;
	struct parameter p;
	while (result == SMTP_PARSE_DONE && parameter_next(&parameters, &p))
		result = rcpt_parameter(&p, &rcpt, &seen);
	if (result == SMTP_PARSE_DONE)
		*out = rcpt;
	return result;
}

struct slice
smtp_domain_ascii(struct slice domain, struct arena *arena)
{
	if (ascii_only(domain))
		return domain;
	struct buf text AUTO_BUF;
	buf_init(&text, ADDRESS_DOMAIN_MAX);
	if (!address_domain_to_ascii(domain, &text) || !buf_ok(&text))
		return SLICE_NULL;
	return arena_copy(arena, buf_slice(&text));
}

bool
smtp_bdat_parse(struct slice rest, struct smtp_bdat *out)
{
	struct slice size = slice_split(&rest, ' ');
	rest = skip_blanks(rest);
	if (!parse_octets(size, &out->size))
		return false;
	out->last = slice_equal_nocase(rest, SLICE("LAST"));
	return out->last || rest.len == 0;
}

bool
smtp_auth_parse(struct slice rest, struct smtp_auth *out)
{
	out->mechanism = slice_split(&rest, ' ');
	rest = skip_blanks(rest);
	out->has_initial = rest.len > 0;
	out->initial = rest;
	return out->mechanism.len > 0 && slice_index(rest, ' ') == SIZE_MAX;
}
