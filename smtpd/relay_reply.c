/*
 * A remote server's replies; see relay_reply.h.
 */
#include "smtpd/relay_reply.h"

#include <stdio.h>

void
relay_reply_reset(struct relay_reply *reply)
{
	reply->code = 0;
	reply->lines = 0;
	reply->complete = false;
	reply->text[0] = '\0';
}

/* What is not printable ASCII becomes "?": the text ends in logs, traces, reports and on
 * terminals (reference: CVE-2020-8794, reply lines that reached a queue file). */
static void
text_append(struct relay_reply *reply, struct slice line)
{
	size_t used = strlen(reply->text);
	for (size_t i = 0; i < line.len && used < RELAY_REPLY_TEXT_MAX; i++) {
		char c = line.ptr[i];
		reply->text[used++] = c >= ' ' && c < 127 ? c : '?';
	}
	reply->text[used] = '\0';
}

/* Octets of "x.y.z" with x of 2, 4, 5 at the front, else 0 (RFC 3463 section 2). */
static size_t
enhanced_length(struct slice text)
{
	if (text.len < 5 ||
	    (text.ptr[0] != '2' && text.ptr[0] != '4' && text.ptr[0] != '5'))
		return 0;
	size_t at = 1;
	for (unsigned part = 0; part < 2; part++) {
		if (at == text.len || text.ptr[at++] != '.')
			return 0;
		size_t digits = 0;
		while (at < text.len && ascii_is_digit(text.ptr[at])) {
			at++;
			digits++;
		}
		if (digits < 1 || digits > 3)
			return 0;
	}
	return at == text.len || text.ptr[at] == ' ' ? at : 0;
}

bool
relay_reply_line(struct relay_reply *reply, struct slice line)
{
	if (line.len < 3 || !ascii_is_digit(line.ptr[0]) ||
	    !ascii_is_digit(line.ptr[1]) || !ascii_is_digit(line.ptr[2]))
		return false;
	int code =
	    (line.ptr[0] - '0') * 100 + (line.ptr[1] - '0') * 10 + (line.ptr[2] - '0');
	char separator = line.len > 3 ? line.ptr[3] : ' ';
	if (code < 200 || code > 599 || (separator != ' ' && separator != '-'))
		return false;
	if (reply->lines > 0 && code != reply->code)
		return false;
	if (++reply->lines > RELAY_REPLY_LINES_MAX)
		return false;
	reply->code = code;
	if (reply->lines > 1) {
		/* An enhanced code repeated on each line is said once. */
		struct slice rest = slice_from(line, 4);
		size_t code_len = enhanced_length(rest);
		if (code_len > 0 &&
		    slice_equal(slice_sub(rest, 0, code_len),
			slice_sub(slice_from_cstr(reply->text), 4, code_len)))
			rest = slice_from(rest, code_len + 1);
		text_append(reply, SLICE(" "));
		text_append(reply, rest);
	} else {
		text_append(reply, slice_sub(line, 0, 3));
		text_append(reply, SLICE(" "));
		text_append(reply, slice_from(line, 4));
	}
	reply->complete = separator == ' ';
	return true;
}

enum relay_reply_class
relay_reply_class(const struct relay_reply *reply)
{
	switch (reply->code / 100) {
	case 2:
		return REPLY_GOOD;
	case 3:
		return REPLY_MORE;
	case 5:
		return REPLY_PERMANENT;
	default:
		return REPLY_TRANSIENT;
	}
}

static bool
word_in(struct slice words, struct slice wanted)
{
	while (!slice_is_empty(words)) {
		struct slice word = slice_split(&words, ' ');
		if (slice_equal_nocase(word, wanted))
			return true;
	}
	return false;
}

void
relay_offer_line(struct relay_offer *offer, struct slice line)
{
	struct slice rest = slice_trim(line);
	struct slice keyword = slice_split(&rest, ' ');
	/* "AUTH=PLAIN" is an old form of the same. */
	bool old_auth = slice_has_prefix_nocase(keyword, SLICE("AUTH="));
	if (slice_equal_nocase(keyword, SLICE("PIPELINING")))
		offer->pipelining = true;
	else if (slice_equal_nocase(keyword, SLICE("STARTTLS")))
		offer->starttls = true;
	else if (slice_equal_nocase(keyword, SLICE("8BITMIME")))
		offer->eightbitmime = true;
	else if (slice_equal_nocase(keyword, SLICE("SMTPUTF8")))
		offer->smtputf8 = true;
	else if (slice_equal_nocase(keyword, SLICE("DSN")))
		offer->dsn = true;
	else if (slice_equal_nocase(keyword, SLICE("REQUIRETLS")))
		offer->requiretls = true;
	else if (slice_equal_nocase(keyword, SLICE("MT-PRIORITY")))
		offer->mt_priority = true;
	else if (slice_equal_nocase(keyword, SLICE("DELIVERBY"))) {
		offer->deliverby = true;
		if (!slice_to_u64(slice_trim(rest), UINT64_MAX, &offer->by_min_s))
			offer->by_min_s = 0;
	} else if (slice_equal_nocase(keyword, SLICE("SIZE"))) {
		offer->size = true;
		if (!slice_to_u64(slice_trim(rest), UINT64_MAX, &offer->size_max))
			offer->size_max = 0;
	} else if (slice_equal_nocase(keyword, SLICE("AUTH")) || old_auth) {
		struct slice mechanisms = old_auth ? slice_from(line, 5) : rest;
		offer->auth_plain |= word_in(mechanisms, SLICE("PLAIN"));
		offer->auth_login |= word_in(mechanisms, SLICE("LOGIN"));
	}
}

void
relay_reply_enhanced(const char *text, char out[16])
{
	struct slice at = slice_from_cstr(text);
	if (at.len > 4 && ascii_is_digit(at.ptr[0]) && at.ptr[3] == ' ')
		at = slice_from(at, 4);
	size_t len = enhanced_length(at);
	if (len > 0)
		snprintf(out, 16, "%.*s", (int)len, at.ptr);
	else
		snprintf(out, 16, "%c.0.0", text[0] == '5' ? '5' : '4');
}
