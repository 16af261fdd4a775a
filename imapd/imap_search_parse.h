/*
 * SEARCH, SORT and THREAD: arguments to a tree of keys.  Pure.
 *
 * Text is converted to UTF-8 and case-folded here, once.  The members of an AND or OR are
 * ordered by what it costs to look at them, so that evaluation from left to right reads a
 * body only when flags, dates and headers have not decided.
 *
 * RFC 9051 section 6.4.4, RFC 4731 (RETURN), RFC 5182 (SAVE, "$"), RFC 5032 (OLDER,
 * YOUNGER), RFC 9738 section 3.2 (UIDAFTER, UIDBEFORE), RFC 7162 (MODSEQ), RFC 8474
 * (EMAILID, THREADID), RFC 8514 (SAVED*), RFC 9394 (PARTIAL), RFC 7377 (ESEARCH), RFC
 * 6203 (FUZZY, RELEVANCY), RFC 5256 and 5957 (SORT, THREAD), RFC 5267 (SORT RETURN,
 * UPDATE, CONTEXT).
 */
#ifndef IMAPD_IMAP_SEARCH_PARSE_H
#define IMAPD_IMAP_SEARCH_PARSE_H

#include "imapd/imap_seqset.h"
#include "imapd/imap_source.h"

enum {
	IMAP_SEARCH_DEPTH_MAX = 50,  /* levels of NOT, OR and parentheses */
	IMAP_SEARCH_KEYS_MAX = 1000, /* keys in one command */
	IMAP_SEARCH_TEXT_MAX = 4096, /* bytes of one search string, as sent */
	IMAP_SORT_KEYS_MAX = 16,
	IMAP_FUZZY_WORDS_MAX =
	    16, /* of one string behind FUZZY; the last takes the rest */
};

enum imap_search_key {
	IMAP_SEARCH_AND, /* children; none: all messages */
	IMAP_SEARCH_OR,
	IMAP_SEARCH_NOT,   /* one child */
	IMAP_SEARCH_NONE,  /* no message */
	IMAP_SEARCH_FLAGS, /* (flags & flag_mask) == flag_want */
	IMAP_SEARCH_KEYWORD,
	IMAP_SEARCH_RECENT,
	IMAP_SEARCH_MSN, /* set of message numbers */
	IMAP_SEARCH_UID, /* set of UIDs, or "$" */
	IMAP_SEARCH_LARGER,
	IMAP_SEARCH_SMALLER,
	IMAP_SEARCH_MODSEQ,
	IMAP_SEARCH_EMAILID,
	IMAP_SEARCH_OLDER,
	IMAP_SEARCH_YOUNGER,
	IMAP_SEARCH_BEFORE, /* INTERNALDATE */
	IMAP_SEARCH_ON,
	IMAP_SEARCH_SINCE,
	IMAP_SEARCH_SAVED_BEFORE,
	IMAP_SEARCH_SAVED_ON,
	IMAP_SEARCH_SAVED_SINCE,
	IMAP_SEARCH_SENT_BEFORE, /* the Date field */
	IMAP_SEARCH_SENT_ON,
	IMAP_SEARCH_SENT_SINCE,
	IMAP_SEARCH_HEADER,
	IMAP_SEARCH_BODY,
	IMAP_SEARCH_TEXT,
	IMAP_SEARCH_FUZZY, /* the words of `text` as children: all of them, in any order;
	                      `words_in` says where (RFC 6203) */
};

/* What must be read to decide a key, cheapest first. */
enum imap_search_cost {
	IMAP_SEARCH_COST_RECORD,
	IMAP_SEARCH_COST_INDEX,
	IMAP_SEARCH_COST_HEADER,
	IMAP_SEARCH_COST_BODY,
};

struct imap_search_node {
	enum imap_search_key key;
	enum imap_search_cost cost;
	enum imap_search_key words_in;  /* FUZZY: HEADER, BODY or TEXT */
	struct imap_search_node *child; /* first */
	struct imap_search_node *next;  /* sibling */
	uint8_t flag_mask, flag_want;
	bool addresses;     /* HEADER of FROM, TO, CC, BCC: addresses as normalised too */
	int8_t narrow;      /* evaluation's: number in imap_search_narrow, or -1 */
	int8_t keyword_bit; /* evaluation's: -1 when the mailbox has no such keyword */
	uint64_t number;    /* LARGER, SMALLER, MODSEQ, OLDER, YOUNGER (seconds) */
	int64_t day;        /* dates, days since 1970 */
	struct slice name;  /* header field, keyword, EMAILID's value */
	struct slice text;  /* UTF-8, case-folded */
	struct imap_seqset set;
	struct imap_uid_ranges ranges; /* evaluation's: the set, resolved */
};

enum imap_search_return {
	IMAP_RETURN_MIN = 1 << 0,
	IMAP_RETURN_MAX = 1 << 1,
	IMAP_RETURN_ALL = 1 << 2,
	IMAP_RETURN_COUNT = 1 << 3,
	IMAP_RETURN_SAVE = 1 << 4,
	IMAP_RETURN_PARTIAL = 1 << 5,
	IMAP_RETURN_UPDATE = 1 << 6,    /* RFC 5267 section 4.3 */
	IMAP_RETURN_RELEVANCY = 1 << 8, /* RFC 6203 section 4 */
	IMAP_RETURN_CONTEXT = 1 << 7, /* a hint: asked for by clients, not needed here */
};

enum imap_sort_by {
	IMAP_SORT_ARRIVAL,
	IMAP_SORT_CC,
	IMAP_SORT_DATE,
	IMAP_SORT_FROM,
	IMAP_SORT_SIZE,
	IMAP_SORT_SUBJECT,
	IMAP_SORT_TO,
	IMAP_SORT_DISPLAYFROM,
	IMAP_SORT_DISPLAYTO,
	IMAP_SORT_RELEVANCY, /* the highest first */
};

struct imap_sort_key {
	enum imap_sort_by by;
	bool reverse;
};

enum imap_thread_by {
	IMAP_THREAD_ORDEREDSUBJECT,
	IMAP_THREAD_REFERENCES,
	IMAP_THREAD_REFS,
};

struct imap_search_args {
	bool has_return;  /* RETURN was given: answer with ESEARCH */
	uint32_t returns; /* enum imap_search_return bits */
	bool partial_from_end;
	uint32_t partial_first, partial_last;
	struct imap_fetch_args
	    *update_fetch; /* UPDATE (...), RFC 5465 section 7; or null */
	bool bad_charset;  /* reply NO [BADCHARSET]; the tree is not to be used */
	bool has_fuzzy;    /* a FUZZY key */
	bool needs_score;  /* RELEVANCY is asked for or sorted by */
	bool has_numbers;  /* a set of message numbers */
	bool has_modseq;   /* a MODSEQ key: the answer has the highest modseq */
	struct imap_search_node *root; /* an AND */
	struct imap_sort_key *sort;
	size_t sort_count;
	enum imap_thread_by thread;
	bool multi;                  /* ESEARCH: results name their mailbox */
	bool beyond_selected;        /* a source that is not SELECTED */
	struct imap_source *sources; /* ESEARCH; none: SELECTED */
	size_t source_count;
};

#endif
