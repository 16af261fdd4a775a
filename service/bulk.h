/*
 * What senders of mail in bulk ask for: return addresses of single copies (VERP), fields
 * to unsubscribe by (RFC 2369, RFC 8058), and the list of addresses that get no mail, of
 * nobody or of one sender.  Decisions 0125 and 0126.
 */
#ifndef SERVICE_BULK_H
#define SERVICE_BULK_H

#include "auth/verp.h"
#include "store/relay_note.h"

enum {
	BULK_LINE_MAX = 998, /* octets of a field's line, RFC 5322 section 2.1.1 */
};

/* ---- what a sender has been set to (postroom bulk) ---- */
enum { BULK_VERP = 1 << 0 /* bit of the note's kind */ };

struct bulk {
	bool verp;
	struct slice unsubscribe; /* as queue_message, or empty */
	struct slice bounces;     /* where bounces go; empty: to the sender */
};
/* Of the address, else of its domain; all empty when there is nothing.  Slices borrow
 * until the reader's end. */
enum status bulk_find(
    struct store_reader *reader, struct slice sender, struct bulk *out) MUST_USE;

/* ---- unsubscribing ---- */
/* "mailto", or a link "https://…" of printable ASCII with "{token}" in it once, at most
 * QUEUE_UNSUBSCRIBE_MAX octets. */
bool bulk_unsubscribe_is_valid(struct slice text);
/* Appends List-Unsubscribe, and with a link List-Unsubscribe-Post, for this copy; nothing
 * when the addresses do not allow it or a line would be over BULK_LINE_MAX. */
void bulk_unsubscribe_write(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s,
    struct slice sender, struct slice recipient, struct slice unsubscribe,
    struct buf *out);
/* What puts the recipient on the list for the sender's mail, for good; `name` keeps the
 * note's name.  False: the two are too long together. */
bool bulk_unsubscribe_note(struct slice sender, struct slice recipient, int64_t now_s,
    struct slice text, struct buf *name, struct relay_note *out);

/* ---- the list ---- */
/* The name of an entry for mail of one sender; `sender` empty: for all mail. */
void bulk_suppress_name(struct slice address, struct slice sender, struct buf *out);
/* The parts of a name; out_sender is empty for all mail. */
void bulk_suppress_parts(
    struct slice name, struct slice *out_address, struct slice *out_sender);
/* Is the address on the list, for all mail or for this sender's (null: only the former)?
 * NOT_FOUND: no. */
enum status bulk_suppress_get(struct store_reader *reader, struct slice address,
    struct slice sender, int64_t now_s, struct relay_note *out) MUST_USE;

#endif
