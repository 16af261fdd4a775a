/*
 * What report.c and report_words.c share; private to common/text.
 */
#ifndef TEXT_REPORT_INT_H
#define TEXT_REPORT_INT_H

#include "text/report.h"

struct report_reader {
	struct report *out;
	struct arena *arena;
};

/* A further recipient, zeroed; null when there are REPORT_RECIPIENTS_MAX. */
struct report_recipient *report_recipient_add(struct report_reader *r);
/* One line, blanks at the ends away, REPORT_VALUE_MAX at most. */
struct slice report_value(struct report_reader *r, struct slice value);
/* What a header block of the returned message tells: Message-ID, Return-Path, ids. */
void report_original(struct report_reader *r, struct slice block);

/* The first enhanced code (RFC 3463) of class 2, 4 or 5 in a text; false: none.  Numbers
 * of IP addresses and versions are none. */
bool report_code_find(struct slice text, char out[12]);
/* What the words say about the address when no code says more than "x.0.0". */
void report_status_refine(struct report_recipient *recipient);
/* A bounce in free words: X-Failed-Recipients and the text.  `header` is the message's
 * header block, `text` its first text part, decoded. */
void report_words(struct report_reader *r, struct slice header, struct slice text);

#endif
