/*
 * Does a message match?  Exact: case-insensitive substrings of decoded text (RFC 9051
 * section 6.4.4).  What is read is read once a message and only when needed: record,
 * index record, header, body, in this order.
 *
 * FROM, TO, CC and BCC look at the fields' text and at each address as ENVELOPE has it,
 * "Name <local@domain>" with the name decoded.  What a message's text is says
 * text/message_text.h.  TEXT: header, MIME headers of the parts and BODY.
 */
#ifndef IMAPD_IMAP_SEARCH_EVAL_H
#define IMAPD_IMAP_SEARCH_EVAL_H

#include "imapd/imap_search_narrow.h"
#include "text/message_text.h"

struct imap_search_eval {
	struct store_reader *reader;
	struct account_id account;
	struct imap_session *session; /* for \Recent of the selected mailbox */
	uint32_t recent_from;         /* without session: uids from here on; 0: none */
	int64_t now_s;
	struct imap_search_narrow *narrow; /* null: every text is read */
	enum status status; /* sticky: what kept a message from being read */

	/* The message under test. */
	const struct message_record *record;
	bool has_index, has_body, has_body_text, has_header_text;
	struct message_index index;
	struct body_handle body;
	struct message_text
	    text;         /* text.work: bytes looked at, the caller sets it to 0 */
	struct buf value; /* of one field */
};

void imap_search_eval_init(struct imap_search_eval *eval, struct store_reader *reader,
    struct account_id account, struct imap_session *session, int64_t now_s);
void imap_search_eval_fini(struct imap_search_eval *eval);

/* Resolves the tree's sets against the view, once a command; LIMIT on the arena's. */
enum status imap_search_resolve(struct imap_search_node *root,
    const struct mailbox_view *view, const struct imap_uid_ranges *saved,
    struct arena *arena) MUST_USE;
/* Looks its keywords up, once a turn. */
void imap_search_keywords(
    struct imap_search_node *root, const struct slice *names, size_t name_count);
/* The message's number is not needed: sets are UIDs by now.  After it the index record
 * (imap_search_index) may be asked for until imap_search_done. */
bool imap_search_match(struct imap_search_eval *eval, const struct imap_search_node *root,
    const struct message_record *record);
/* The index record of the message under test, or null (eval->status says why). */
const struct message_index *imap_search_index(struct imap_search_eval *eval);
/* How well the message under test, which matches, fits the FUZZY keys: 1 to 100 (RFC 6203
 * section 4; decision 0086). */
unsigned imap_search_score(
    struct imap_search_eval *eval, const struct imap_search_node *root);
/* Lets go of the message. */
void imap_search_done(struct imap_search_eval *eval);

#endif
