/*
 * A tiny reader of IMAP's lists, for tests only: NIL, quoted strings, literals, numbers
 * and parentheses.  It checks ENVELOPE, BODY and BODYSTRUCTURE against their grammar
 * (RFC 9051 section 9) and knows nothing of the code that wrote them.
 */
#ifndef STRUCTURE_CHECK_H
#define STRUCTURE_CHECK_H

#include "base/slice.h"

struct imap_text {
	struct slice in;
	size_t at;
	bool bad;
	int parts; /* leaves and messages seen */
};

static inline bool
imap_take(struct imap_text *t, char c)
{
	if (t->at < t->in.len && t->in.ptr[t->at] == c) {
		t->at++;
		return true;
	}
	return false;
}

static inline void
imap_need(struct imap_text *t, char c)
{
	if (!imap_take(t, c))
		t->bad = true;
}

static inline bool
imap_take_nil(struct imap_text *t)
{
	if (!slice_has_prefix(slice_from(t->in, t->at), SLICE("NIL")))
		return false;
	t->at += 3;
	return true;
}

static inline uint64_t
imap_number(struct imap_text *t)
{
	uint64_t value = 0;
	size_t from = t->at;
	while (t->at < t->in.len && ascii_is_digit(t->in.ptr[t->at]))
		value = value * 10 + (uint64_t)(t->in.ptr[t->at++] - '0');
	if (t->at == from)
		t->bad = true;
	return value;
}

static inline void
imap_literal(struct imap_text *t)
{
	uint64_t len = imap_number(t);
	imap_need(t, '}');
	imap_need(t, '\r');
	imap_need(t, '\n');
	if (t->bad || len > t->in.len - t->at ||
	    memchr(t->in.ptr + t->at, 0, len) != NULL)
		t->bad = true;
	else
		t->at += len;
}

static inline void
imap_string(struct imap_text *t)
{
	if (imap_take(t, '{')) {
		imap_literal(t);
		return;
	}
	imap_need(t, '"');
	while (!t->bad && t->at < t->in.len && t->in.ptr[t->at] != '"') {
		unsigned char c = (unsigned char)t->in.ptr[t->at];
		if (c == '\\') {
			c = t->at + 1 < t->in.len ? (unsigned char)t->in.ptr[++t->at] : 0;
			if (c != '"' && c != '\\')
				t->bad = true;
		}
		if (c == 0 || c == '\r' || c == '\n' || c > 127)
			t->bad = true;
		t->at++;
	}
	imap_need(t, '"');
}

static inline void
imap_nstring(struct imap_text *t)
{
	if (!imap_take_nil(t))
		imap_string(t);
}

static inline void
imap_address_list(struct imap_text *t)
{
	if (imap_take_nil(t))
		return;
	imap_need(t, '(');
	do {
		imap_need(t, '(');
		for (int i = 0; i < 4; i++) {
			if (i)
				imap_need(t, ' ');
			imap_nstring(t);
		}
		imap_need(t, ')');
	} while (!t->bad && !imap_take(t, ')'));
}

static inline void
imap_envelope(struct imap_text *t)
{
	imap_need(t, '(');
	imap_nstring(t);
	imap_need(t, ' ');
	imap_nstring(t);
	for (int i = 0; i < 6 && !t->bad; i++) {
		imap_need(t, ' ');
		imap_address_list(t);
	}
	imap_need(t, ' ');
	imap_nstring(t);
	imap_need(t, ' ');
	imap_nstring(t);
	imap_need(t, ')');
}

static inline void
imap_parameters(struct imap_text *t)
{
	if (imap_take_nil(t))
		return;
	imap_need(t, '(');
	do {
		imap_string(t);
		imap_need(t, ' ');
		imap_string(t);
	} while (!t->bad && imap_take(t, ' '));
	imap_need(t, ')');
}

/* " disposition language location" */
static inline void
imap_tail(struct imap_text *t)
{
	imap_need(t, ' ');
	if (!imap_take_nil(t)) {
		imap_need(t, '(');
		imap_string(t);
		imap_need(t, ' ');
		imap_parameters(t);
		imap_need(t, ')');
	}
	imap_need(t, ' ');
	if (imap_take(t, '(')) {
		do
			imap_string(t);
		while (!t->bad && imap_take(t, ' '));
		imap_need(t, ')');
	} else {
		imap_nstring(t);
	}
	imap_need(t, ' ');
	imap_nstring(t);
}

static inline void
imap_body(struct imap_text *t, bool extended)
{
	imap_need(t, '(');
	if (!t->bad && t->at < t->in.len && t->in.ptr[t->at] == '(') {
		while (!t->bad && t->at < t->in.len && t->in.ptr[t->at] == '(')
			imap_body(t, extended);
		imap_need(t, ' ');
		imap_string(t);
		if (extended) {
			imap_need(t, ' ');
			imap_parameters(t);
			imap_tail(t);
		}
		imap_need(t, ')');
		return;
	}
	t->parts++;
	struct slice from = slice_from(t->in, t->at);
	bool text = slice_has_prefix(from, SLICE("\"text\""));
	bool message = slice_has_prefix(from, SLICE("\"message\" \"rfc822\"")) ||
	               slice_has_prefix(from, SLICE("\"message\" \"global\""));
	imap_string(t);
	imap_need(t, ' ');
	imap_string(t);
	imap_need(t, ' ');
	imap_parameters(t);
	imap_need(t, ' ');
	imap_nstring(t);
	imap_need(t, ' ');
	imap_nstring(t);
	imap_need(t, ' ');
	imap_string(t);
	imap_need(t, ' ');
	imap_number(t);
	if (message && !t->bad) {
		imap_need(t, ' ');
		imap_envelope(t);
		imap_need(t, ' ');
		imap_body(t, extended);
	}
	if (text || message) {
		imap_need(t, ' ');
		imap_number(t);
	}
	if (extended) {
		imap_need(t, ' ');
		imap_nstring(t);
		imap_tail(t);
	}
	imap_need(t, ')');
}

static inline bool
imap_envelope_is_valid(struct slice s)
{
	struct imap_text t = {s, 0, false, 0};
	imap_envelope(&t);
	return !t.bad && t.at == s.len;
}

static inline bool
imap_body_is_valid(struct slice s, bool extended)
{
	struct imap_text t = {s, 0, false, 0};
	imap_body(&t, extended);
	return !t.bad && t.at == s.len;
}

#endif
