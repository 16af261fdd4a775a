/*
 * Shared by the files of the check: one run's state, and how a problem is told.  Private
 * to store/.
 */
#ifndef STORE_STORE_CHECK_INT_H
#define STORE_STORE_CHECK_INT_H

#include "store/check.h"
#include "store/directory_int.h"
#include "store/mailbox_int.h"
#include "store/queue_int.h"

enum { CHECK_WHERE_MAX = 400 /* bytes */ };

struct check {
	struct store *store;
	struct store_reader *reader;
	const struct store_check_options *options;
	struct store_check_totals *totals;
	char where[CHECK_WHERE_MAX]; /* "account jo@example.org", what is looked at */
};

/* Counts and tells one problem; `invariant` as numbered in store_schema.h. */
void check_problem(struct check *check, int invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void check_where(struct check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One account's partition in one snapshot. */
enum status check_account(struct check *check, struct account_id id) MUST_USE;
enum status check_directory(struct check *check) MUST_USE;
enum status check_queue(struct check *check) MUST_USE;
/* Body references of every environment. */
enum status check_bodies(struct check *check) MUST_USE;

/* Ids of all account partitions in the reader's snapshots, struct partition_id. */
enum status check_partitions(struct check *check, struct vec *out) MUST_USE;

#endif
