/*
 * Last log-ins; see pop3_login.h.  A table with one place for each hash: a newer account
 * takes the place of an older one.
 */
#include "pop3d/pop3_login.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hashmap.h"

struct login {
	struct account_id account;
	uint64_t at_ms; /* monotonic, counted from 1; 0: the place is free */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct login *logins; /* made at the first log-in that is noted */

static struct login *
place(const struct account_id *account)
{
	uint64_t hash =
	    hash_keyed(slice_make((const char *)account->v, sizeof(account->v)));
	return &logins[hash % POP3_LOGINS_MAX];
}

uint64_t
pop3_login_wait_ms(struct account_id account, uint64_t delay_ms)
{
	uint64_t wait_ms = 0;
	uint64_t now_ms = clock_mono_ms() + 1;
	pthread_mutex_lock(&lock);
	if (logins) {
		const struct login *login = place(&account);
		uint64_t since_ms = now_ms - login->at_ms;
		if (login->at_ms && since_ms < delay_ms &&
		    memcmp(&login->account, &account, sizeof(account)) == 0)
			wait_ms = delay_ms - since_ms;
	}
	pthread_mutex_unlock(&lock);
	return wait_ms;
}

void
pop3_login_note(struct account_id account)
{
	pthread_mutex_lock(&lock);
	if (!logins)
		logins = xcalloc(POP3_LOGINS_MAX, sizeof(*logins));
	*place(&account) = (struct login){account, clock_mono_ms() + 1};
	pthread_mutex_unlock(&lock);
}
