/*
 * Writing FETCH responses: the items that come from records (the hot path, formatted by
 * hand), from the index record, and the sections of bodies.  Private to imap_cmd_fetch.c
 * and tests.
 */
#ifndef IMAPD_IMAP_FETCH_WRITE_H
#define IMAPD_IMAP_FETCH_WRITE_H

#include "imapd/imap_int.h"
#include "imapd/imap_section.h"

enum {
	IMAP_FETCH_INLINE_MAX = 16 * 1024, /* bytes of a section that are copied; above it
	                                      the file range is sent */
	IMAP_FETCH_DECODE_MAX = 48 * 1024 * 1024, /* bytes that BINARY decodes at once */
	IMAP_FETCH_FLAGS_TEXT_MAX =               /* bytes of "FLAGS (…)" */
	MAILBOX_KEYWORDS_MAX * (MAILBOX_KEYWORD_LEN_MAX + 1) + 80,
};

/* The text "(\Seen foo)" of the last flags written, for messages that have the same. */
struct imap_flags_cache {
	bool valid, recent;
	uint8_t flags;
	uint64_t keywords;
	struct buf text;
};

/* What one FETCH writes with. */
struct imap_fetch_writer {
	struct imap_session *s;
	const struct imap_fetch_args *args;
	struct imap_flags_cache flags;
	const struct slice *names; /* keywords; of this slice of work */
	size_t name_count;
	struct arena *scratch; /* reset for each message */
	struct buf bytes;      /* header subsets and decoded parts of one message */
	bool needs_index, needs_body;
	bool unknown_cte;    /* sticky: BINARY met an encoding that we cannot decode */
	uint64_t turn_bytes; /* given to the connection in this turn */
};

void imap_fetch_writer_init(struct imap_fetch_writer *w, struct imap_session *s,
    const struct imap_fetch_args *args);
void imap_fetch_writer_fini(struct imap_fetch_writer *w);
/* One untagged FETCH.  `items` are the record items, which may be more than the args'.
 * On any status but OK nothing was written for this message. */
enum status imap_fetch_write(struct imap_fetch_writer *w,
    const struct message_record *record, uint32_t msn, uint32_t items) MUST_USE;

#endif
