/*
 * Lexer primitives of IMAP over one complete command frame, in which literals stand as
 * they were sent ("{5}\r\nhello", "{5+}\r\nhello", "~{5}\r\n...").  Every parser of this
 * folder is written with these.
 *
 * The first fault is sticky: it keeps its position and text, and every later call
 * returns false without moving.  A `try` function that does not match moves nothing and
 * is no fault.  Slices borrow the frame, except quoted strings with escapes, which are
 * copied into the arena.  Pure; no allocation but that and lists.
 *
 * RFC 9051 section 9 (grammar), RFC 7888 (LITERAL+), RFC 3516 (literal8).  It does not
 * know commands, and it never asks for more bytes: that is net/framer's work.
 */
#ifndef IMAPD_IMAP_LEX_H
#define IMAPD_IMAP_LEX_H

#include "imapd/imap_parse.h"

enum {
	IMAP_FLAGS_MAX = 128,          /* flags in one list */
	IMAP_SECTION_NUMBERS_MAX = 64, /* levels in "1.2.3" */
};

struct imap_fault {
	enum parse_result result; /* DONE: no fault */
	size_t position;          /* byte in the frame */
	const char *text;         /* literal: "expected a space" */
};

struct imap_lex {
	struct slice in; /* borrows the frame */
	size_t pos;
	struct arena *arena; /* borrows */
	struct imap_fault fault;
};

void imap_lex_init(struct imap_lex *lex, struct slice frame, struct arena *arena);
/* Set the fault when there is none yet; always false.  `text` is a literal. */
bool imap_lex_bad(struct imap_lex *lex, const char *text);
bool imap_lex_limit(struct imap_lex *lex, const char *text);

static inline bool
imap_lex_ok(const struct imap_lex *lex)
{
	return lex->fault.result == PARSE_DONE;
}

/* How it went, for a parse function's end: fault->text is set when it did not go well. */
enum parse_result imap_lex_result(const struct imap_lex *lex, struct parse_fault *fault);

/* What has not been read yet, for faults and for parsers of one field. */
struct slice imap_lex_rest(const struct imap_lex *lex);
/* The byte to be read next, or -1 at the end (or after a fault). */
int imap_lex_peek(const struct imap_lex *lex);
/* True when nothing but blanks follows, as some clients send; a fault otherwise. */
bool imap_lex_end(struct imap_lex *lex);

/* One byte, exactly. */
bool imap_lex_char(struct imap_lex *lex, char c);
bool imap_lex_try_char(struct imap_lex *lex, char c);
/* Exactly one space. */
bool imap_lex_space(struct imap_lex *lex);
/* A space with something behind it: false, no fault and no move, at the end. */
bool imap_lex_try_space(struct imap_lex *lex);
/* The word in any case, with no atom character behind it. */
bool imap_lex_try_word(struct imap_lex *lex, struct slice word);

bool imap_lex_tag(struct imap_lex *lex, struct slice *out);
bool imap_lex_atom(struct imap_lex *lex, struct slice *out);
/* Letters, digits, "-", "." and "=": command names, item names, options. */
bool imap_lex_word(struct imap_lex *lex, struct slice *out);
/* Quoted or literal. */
bool imap_lex_string(struct imap_lex *lex, struct slice *out);
/* *out is the null slice for NIL, and never for "". */
bool imap_lex_nstring(struct imap_lex *lex, struct slice *out);
bool imap_lex_astring(struct imap_lex *lex, struct slice *out);
/* LIST's pattern: wildcards stay as they are. */
bool imap_lex_list_mailbox(struct imap_lex *lex, struct slice *out);

bool imap_lex_number(struct imap_lex *lex, uint32_t *out);
bool imap_lex_nz_number(struct imap_lex *lex, uint32_t *out);
/* number64: at most 63 bits. */
bool imap_lex_number64(struct imap_lex *lex, uint64_t *out);

/* date, with or without quotes: days since 1970. */
bool imap_lex_date(struct imap_lex *lex, int64_t *out_day);
/* Quoted date-time: seconds UTC and the zone in minutes. */
bool imap_lex_date_time(struct imap_lex *lex, int64_t *out_s, int *out_zone_min);

/* Flags as the store has them: system flags as bits (enum message_flag), the others by
 * name.  Doubles are dropped.  \Recent and unknown \Names are BAD (RFC 9051 section 9,
 * "flag"). */
struct imap_flags {
	uint8_t bits;
	struct slice *keywords;
	size_t keyword_count;
};

/* "(\Seen foo)", and with `bare` also "\Seen foo" without parentheses (STORE). */
bool imap_lex_flags(struct imap_lex *lex, bool bare, struct imap_flags *out);
/* The bit of a system flag's name with its backslash, or 0. */
uint8_t imap_flag_bit(struct slice name);

/* "1.2.3": stops before a "." that no digit follows. */
bool imap_lex_section_numbers(struct imap_lex *lex, uint32_t **out, size_t *out_count);

/* Character classes. */
bool imap_is_atom_char(unsigned char c);
bool imap_is_astring_char(unsigned char c);

#endif
