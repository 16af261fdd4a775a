/*
 * How many recipients an account may send to in an hour (auth.sends_per_hour): a bucket
 * an account that holds the hour's number and fills up evenly, so that one who has used
 * it up may go on slowly.  In memory, for all workers of the process, and in a file that
 * is written now and then: a restart goes on from there.  From any thread.
 */
#ifndef SMTPD_SMTP_RATE_H
#define SMTPD_SMTP_RATE_H

#include "store/store.h"

enum {
	SMTP_RATE_ACCOUNTS_KEPT = 10000, /* then those whose bucket is full are dropped */
	SMTP_RATE_SAVE_MS = 5 * 1000,    /* a kill forgets so much at most */
};

/* Takes one; false when there is none left.  `per_hour` 0: no limit.  Times are of the
 * wall clock: they go on over a restart. */
bool smtp_rate_take(struct account_id account, uint32_t per_hour, uint64_t now_ms);

/* Writes the buckets to the file, if something was taken since the last time; another
 * name is renamed to it, so it is whole or as before. */
enum status smtp_rate_save(const char *path) MUST_USE;
/* Reads them, once at the start.  NOT_FOUND: there is none; CORRUPT: nothing was taken
 * from a damaged one. */
enum status smtp_rate_load(const char *path) MUST_USE;

#endif
