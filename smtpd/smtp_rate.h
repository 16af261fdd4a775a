/*
 * How many recipients an account may send to in an hour (auth.sends_per_hour): a bucket
 * an account that holds the hour's number and fills up evenly, so that one who has used
 * it up may go on slowly.  In memory, for all workers of the process; a restart forgets
 * it.  From any thread.
 */
#ifndef SMTPD_SMTP_RATE_H
#define SMTPD_SMTP_RATE_H

#include "store/store.h"

enum {
	SMTP_RATE_ACCOUNTS_KEPT = 10000 /* then those whose bucket is full are dropped */
};

/* Takes one; false when there is none left.  `per_hour` 0: no limit. */
bool smtp_rate_take(struct account_id account, uint32_t per_hour, uint64_t now_ms);

#endif
