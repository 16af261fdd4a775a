/*
 * GETMETADATA, SETMETADATA and LIST's RETURN (METADATA ...) to plain data.  Pure.
 * RFC 5464 sections 3.2, 4.2, 4.3 and 5, RFC 9590.
 */
#ifndef IMAPD_IMAP_METADATA_PARSE_H
#define IMAPD_IMAP_METADATA_PARSE_H

#include "imapd/imap_lex.h"
#include "store/metadata.h"

enum {
	IMAP_METADATA_ENTRIES_MAX = METADATA_SET_MAX, /* entries of one command */
	IMAP_METADATA_LIST_MAX = 1024, /* octets of the entries of one LIST: they come
	                                  back with every mailbox */
};

enum imap_metadata_depth {
	IMAP_METADATA_DEPTH_0,
	IMAP_METADATA_DEPTH_1,
	IMAP_METADATA_DEPTH_INFINITY,
};

struct imap_metadata_entry {
	struct slice raw;   /* as sent */
	struct slice name;  /* in lower case */
	bool shared;        /* or private */
	struct slice value; /* SETMETADATA; null for NIL */
};

struct imap_metadata_args {
	struct slice mailbox; /* as sent; empty: the server */
	bool has_maxsize;
	uint32_t maxsize; /* octets */
	enum imap_metadata_depth depth;
	struct imap_metadata_entry *entries; /* GETMETADATA: no name twice */
	size_t count;
};

/* "entry" or "(entry entry)", as in GETMETADATA and LIST. */
bool imap_metadata_lex_entries(struct imap_lex *lex, struct imap_metadata_args *args);

#endif
