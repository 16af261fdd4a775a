/*
 * LIST patterns: "*" matches anything, "%" anything but the hierarchy separator "/".
 * Compiled to bit sets, so that matching is linear in the name for every pattern (none of
 * the exponential cases of backtracking).  Pure.  RFC 9051 section 6.3.9.
 */
#ifndef IMAPD_IMAP_PATTERN_H
#define IMAPD_IMAP_PATTERN_H

#include "base/arena.h"

enum {
	/* Elements after runs of wildcards are joined; more cannot match any name, which
	 * has at most MAILBOX_NAME_MAX (400) bytes. */
	IMAP_PATTERN_ELEMENTS_MAX = 801,
	IMAP_PATTERN_WORDS = 13, /* 64 states each; one state more than elements */
};

struct imap_pattern {
	bool never; /* too long: matches nothing */
	bool ends_in_percent;
	size_t count; /* elements */
	size_t words;
	uint64_t star[IMAP_PATTERN_WORDS];    /* elements that are "*" */
	uint64_t percent[IMAP_PATTERN_WORDS]; /* elements that are "%" */
	uint64_t *literal; /* [256][words]: elements that are this byte */
};

/* Compiles UTF-8 text; false when the arena is used up. */
bool imap_pattern_compile(
    struct slice text, struct arena *arena, struct imap_pattern *out);
/* The whole name; its first level in any case when that is INBOX. */
bool imap_pattern_match(const struct imap_pattern *pattern, struct slice name);

#endif
