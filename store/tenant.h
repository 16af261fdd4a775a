/*
 * Tenants: who sends in bulk through the submission ports, as a named group of accounts
 * and domains with limits, a pool of source addresses and a DKIM domain of its own.  In
 * the queue's partition, beside the mail that they count.  Names and members are in lower
 * case.  A member belongs to one tenant.
 */
#ifndef STORE_TENANT_H
#define STORE_TENANT_H

#include "store/store.h"

enum {
	TENANT_NAME_MAX = 64,    /* bytes; a campaign's name too */
	TENANT_MEMBER_MAX = 320, /* bytes of an account's log-in or a domain */
	TENANT_TEXT_MAX = 255,   /* bytes of pool or DKIM domain */
	TENANT_CHANGE_MAX = 512, /* members added and removed in one change */
};

struct tenant {
	struct slice name;
	int64_t created_s;
	uint64_t max_queued;      /* messages in the queue; 0: no limit */
	struct slice pool;        /* as directory_relay.source; empty: none of its own */
	struct slice dkim_domain; /* its mail is signed for this one; empty: not said */
};

/* 1 to TENANT_NAME_MAX of a-z, 0-9, "-", "_" and "."; the first a letter or digit. */
bool tenant_name_is_good(struct slice name);
/* The same in lower case into `out`; false: it is none. */
bool tenant_name_fold(struct slice name, char out[TENANT_NAME_MAX + 1]);

/* ---- reading: slices borrow until the reader's end ---- */
enum status tenant_get(
    struct store_reader *reader, struct slice name, struct tenant *out) MUST_USE;
/* In order of the names; fn returns false to stop. */
enum status tenant_each(struct store_reader *reader,
    bool (*fn)(const struct tenant *tenant, void *arg), void *arg) MUST_USE;
/* Whose member an account or domain is; NOT_FOUND: nobody's. */
enum status tenant_member_find(
    struct store_reader *reader, struct slice member, struct slice *out_tenant) MUST_USE;
/* All members, in their order, with their tenants. */
enum status tenant_member_each(struct store_reader *reader,
    bool (*fn)(struct slice member, struct slice tenant, void *arg), void *arg) MUST_USE;

/* ---- writing: for the command line, waits ---- */
enum tenant_field {
	TENANT_SET_MAX_QUEUED = 1 << 0,
	TENANT_SET_POOL = 1 << 1,
	TENANT_SET_DKIM_DOMAIN = 1 << 2,
};
/* All of it in one commit, or nothing. */
struct tenant_change {
	bool create;      /* EXISTS when it is there; else NOT_FOUND when it is not */
	unsigned fields;  /* TENANT_SET_*: which of `to` are set */
	struct tenant to; /* the name always; created_s when it is created */
	const struct slice *add, *remove;
	size_t add_count, remove_count;
	/* Out: the one that EXISTS (at another tenant) or NOT_FOUND is about; null: the
	 * tenant itself. */
	struct slice at;
};
/* INVALID: a name, member or text that is none or too long. */
enum status tenant_change(
    struct store_reader *reader, struct tenant_change *change) MUST_USE;
/* With its members; what it has in the queue keeps its name. */
enum status tenant_remove(struct store_reader *reader, struct slice name) MUST_USE;

#endif
