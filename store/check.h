/*
 * `postroom check` for the store: verifies every invariant listed in store_schema.h and
 * docs/store-format.md, online, in short read transactions.
 */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "store/store.h"

struct store_check_totals {
	uint64_t accounts, mailboxes, messages, bodies, queued;
	uint64_t bytes;
	uint64_t problems;
};

struct store_check_options {
	bool read_bodies; /* also read every body and compare its checksum */
	void (*problem)(const char *text, void *arg);
	/* now and then; may be null */
	void (*progress)(uint64_t done, uint64_t total, void *arg);
	void *arg;
};

enum status store_check(struct store *store, const struct store_check_options *options,
    struct store_check_totals *out) MUST_USE;

/*
 * `postroom verify`: every byte that is kept is read and compared with its checksum,
 * online.  What is derived is made anew where it is damaged; a damaged message goes into
 * quarantine (reading it says CORRUPT, its neighbours are as before) and comes out of it
 * when it reads well again.
 */
enum verify_what {
	VERIFY_MESSAGE, /* its bytes are damaged or cannot be read */
	VERIFY_DERIVED, /* its derived record was damaged */
	VERIFY_SEARCH,  /* blocks of an account's search index were damaged: dropped, the
	                 * indexer makes them anew.  Neither body, mailbox nor uid */
	VERIFY_FRAME,   /* what stands around its bytes in the file was damaged */
};

struct verify_finding {
	enum verify_what what;
	enum status status; /* CORRUPT or IO; OK: it came out of quarantine */
	bool healed;        /* made anew */
	uint64_t body;      /* the engine's number */
	uint32_t segment;   /* the file that it is in */
	/* Whose it is, one finding for each; null slices: nobody's, or the queue's. */
	struct slice login;
	struct slice mailbox;
	uint32_t uid;
	bool expunged;         /* deleted, can still be brought back */
	struct slice queue_id; /* of a queued message */
};

struct store_verify_options {
	bool look_only; /* neither heal nor quarantine */
	void (*finding)(const struct verify_finding *finding, void *arg);
	void (*progress)(
	    uint64_t done, uint64_t total, void *arg); /* bodies; may be null */
	void *arg;
};

struct store_verify_totals {
	uint64_t bodies, bytes;
	uint64_t findings; /* bodies with some */
	uint64_t healed, quarantined, released;
};

enum status store_verify(struct store *store, const struct store_verify_options *options,
    struct store_verify_totals *out) MUST_USE;

#endif
