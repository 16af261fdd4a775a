/*
 * SMTP command lines; see smtp_parse.h.
 */
#include "smtpd/smtp_parse.h"

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

enum { SEEN_SIZE = 1 << 0, SEEN_BODY = 1 << 1, SEEN_UTF8 = 1 << 2, SEEN_AUTH = 1 << 3 };

/* One "KEYWORD" or "KEYWORD=value" of MAIL. */
static enum smtp_parse_result
mail_parameter(
    struct slice word, struct arena *arena, struct smtp_mail *out, unsigned *seen)
{
	struct slice value = word;
	struct slice keyword = slice_split(&value, '=');
	bool has_value = value.ptr != NULL;
	unsigned bit;
	bool good;
	if (slice_equal_nocase(keyword, SLICE("SIZE"))) {
		bit = SEEN_SIZE;
		good = has_value && parse_octets(value, &out->size);
		out->has_size = true;
	} else if (slice_equal_nocase(keyword, SLICE("BODY"))) {
		bit = SEEN_BODY;
		out->body_8bit = slice_equal_nocase(value, SLICE("8BITMIME"));
		good = out->body_8bit || slice_equal_nocase(value, SLICE("7BIT"));
	} else if (slice_equal_nocase(keyword, SLICE("SMTPUTF8"))) {
		bit = SEEN_UTF8;
		good = !has_value;
		out->utf8 = true;
	} else if (slice_equal_nocase(keyword, SLICE("AUTH"))) {
		bit = SEEN_AUTH;
		good = has_value && auth_value_is_valid(value, arena);
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
	while (result == SMTP_PARSE_DONE && parameters.len > 0) {
		struct slice word = slice_split(&parameters, ' ');
		parameters = skip_blanks(parameters);
		if (word.len > 0)
			result = mail_parameter(word, arena, &mail, &seen);
	}
	if (result == SMTP_PARSE_DONE)
		*out = mail;
	return result;
}

enum smtp_parse_result
smtp_rcpt_parse(struct slice rest, struct arena *arena, struct mailbox_address *out)
{
	struct mailbox_address address;
	struct slice parameters;
	enum smtp_parse_result result =
	    parse_path(rest, SLICE("TO:"), arena, &address, &parameters);
	if (result != SMTP_PARSE_DONE)
		return result;
	if (address.local.len == 0 && address.domain.len == 0)
		return SMTP_PARSE_ADDRESS;
	if (parameters.len > 0)
		return SMTP_PARSE_UNKNOWN;
	*out = address;
	return SMTP_PARSE_DONE;
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
