/*
 * What the relay and its operator remember of domains and addresses, by name: TLS levels
 * that the operator set, MTA-STS policies that were fetched, addresses that nothing is
 * sent to, rates.  Tables of one form, in the queue's partition; a note ends by itself at
 * expires_s (readers leave out what has ended).  Names are in lower case.
 */
#ifndef STORE_RELAY_NOTE_H
#define STORE_RELAY_NOTE_H

#include "store/store.h"

enum relay_note_table {
	RELAY_NOTE_TLS = 't', /* recipient domain → enum relay_level */
	RELAY_NOTE_STS = 's', /* domain → mode; text: the record's id, more: policy */
	/* "address", or "address>sender" for mail of that sender only → enum
	 * relay_suppress; text: why */
	RELAY_NOTE_SUPPRESSED = 'x',
	RELAY_NOTE_RATE = 'v',   /* "site:…", "sender:…" → text: "100/1h", "none" */
	RELAY_NOTE_POOL = 'q',   /* a pool's name → more: its members */
	RELAY_NOTE_USED = 'u',   /* the same → text: how much of it is used, and when */
	RELAY_NOTE_TLSRPT = 'y', /* "start:domain" → more: service/tls_results.h */
	RELAY_NOTE_BULK = 'b',   /* sender's address or domain → service/bulk.h */
};

enum {
	RELAY_NOTE_NAME_MAX = 400,       /* bytes */
	RELAY_NOTE_TEXT_MAX = 500,       /* bytes */
	RELAY_NOTE_MORE_MAX = 10 * 1024, /* bytes */
};

/* How well a connection must be protected, worst first.  MAY: TLS if it is offered, in
 * clear if not; ENCRYPT: any certificate; VERIFY: a certificate by a known authority for
 * the host's name; DANE: one that DNSSEC vouches for (RFC 7672). */
enum relay_level {
	RELAY_LEVEL_NONE,
	RELAY_LEVEL_MAY,
	RELAY_LEVEL_ENCRYPT,
	RELAY_LEVEL_VERIFY,
	RELAY_LEVEL_DANE,
};
/* "none", "opportunistic", "encrypt", "verify", "dane". */
const char *relay_level_text(enum relay_level level);

enum relay_suppress {
	RELAY_SUPPRESS_MANUAL,
	RELAY_SUPPRESS_BOUNCE,
	RELAY_SUPPRESS_COMPLAINT,
	RELAY_SUPPRESS_UNSUBSCRIBE, /* of one sender's mail */
};
/* "manual", "bounce", "complaint", "unsubscribe"; "unknown" for others. */
const char *relay_suppress_text(uint8_t reason);

struct relay_note {
	struct slice name;
	uint8_t kind;
	int64_t created_s;
	int64_t expires_s; /* 0: never */
	struct slice text;
	struct slice more;
};

/* ---- reading: slices borrow until the reader's end ---- */
/* NOT_FOUND too when it has ended at now_s. */
enum status relay_note_get(struct store_reader *reader, enum relay_note_table table,
    struct slice name, int64_t now_s, struct relay_note *out) MUST_USE;
/* In order of the names; fn returns false to stop. */
enum status relay_note_each(struct store_reader *reader, enum relay_note_table table,
    int64_t now_s, bool (*fn)(const struct relay_note *note, void *arg),
    void *arg) MUST_USE;

/* ---- writing ---- */
/* For the command line: they wait.  INVALID: a name or text that is too long or has
 * controls in it.  Put replaces. */
enum status relay_note_put(struct store_reader *reader, enum relay_note_table table,
    const struct relay_note *note) MUST_USE;
enum status relay_note_remove(
    struct store_reader *reader, enum relay_note_table table, struct slice name) MUST_USE;

/* For the daemon: several at once; notes that have ended at now_s go in the same commit
 * (RELAY_NOTE_PURGE_MAX at most).  The slices stay the caller's until op.done. */
enum { RELAY_NOTE_PURGE_MAX = 1000 };
struct relay_note_op {
	struct store_op op;
	enum relay_note_table table;
	const struct relay_note *notes;
	size_t count;
	int64_t now_s;
};
void relay_note_submit(struct store_reader *reader, struct relay_note_op *op);

#endif
