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

#endif
