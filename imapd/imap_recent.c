/*
 * \Recent: claims of the process and the ranges of a session.
 *
 * A session's claim is decided and entered under one mutex, so no two sessions of the
 * process have the same message; of several imapd processes on one store the order of
 * their ops decides only later ones, which RFC 3501 section 2.3.2 allows.  Threads: any
 * worker's loop; nothing is held over a call into the store.
 */
#include "imapd/imap_recent.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "imapd/imap_int.h"

enum { CLAIM_ARENA_MAX = 4096 /* bytes */ };

/* The claim goes on without its session. */
struct recent_claim {
	struct mailbox_recent_op op;
	struct list node; /* in a bucket */
	struct imap_worker *worker;
	struct arena *arena;
	struct loop_timer timer; /* runs until it is submitted */
	bool submitted;
	uint64_t done_ms; /* 0: not committed yet */
};

/* ---- the table ---- */

void
imap_recents_init(struct imap_recents *recents)
{
	pthread_mutex_init(&recents->mutex, NULL);
	for (size_t i = 0; i < IMAP_RECENT_BUCKETS; i++)
		list_init(&recents->buckets[i]);
}

static void
claim_free(struct recent_claim *claim)
{
	list_remove(&claim->node);
	arena_free(&claim->arena);
	free(claim);
}

void
imap_recents_fini(struct imap_recents *recents)
{
	for (size_t i = 0; i < IMAP_RECENT_BUCKETS; i++) {
		LIST_EACH_SAFE(&recents->buckets[i], node)
		{
			struct recent_claim *claim =
			    LIST_ENTRY(node, struct recent_claim, node);
			ENSURE(claim->done_ms != 0);
			claim_free(claim);
		}
	}
	pthread_mutex_destroy(&recents->mutex);
}

static struct list *
bucket_of(struct imap_recents *recents, struct account_id account, uint32_t mailbox)
{
	uint32_t hash = mailbox;

	for (size_t i = 0; i < sizeof(account.v); i++)
		hash = hash * 31 + account.v[i];
	return &recents->buckets[hash % IMAP_RECENT_BUCKETS];
}

/* Under the mutex.  Claims that have lingered long enough leave. */
static uint32_t
bucket_first(
    struct list *bucket, struct account_id account, uint32_t mailbox, uint32_t first)
{
	uint64_t now = clock_mono_ms();

	LIST_EACH_SAFE(bucket, node)
	{
		struct recent_claim *claim = LIST_ENTRY(node, struct recent_claim, node);
		if (memcmp(&claim->op.account, &account, sizeof(account)) == 0 &&
		    claim->op.mailbox == mailbox && claim->op.uidnext > first)
			first = claim->op.uidnext;
		else if (claim->done_ms && now - claim->done_ms > IMAP_RECENT_LINGER_MS)
			claim_free(claim);
	}
	return first;
}

uint32_t
imap_recent_first(
    struct imap_session *s, struct account_id account, uint32_t mailbox, uint32_t first)
{
	struct imap_recents *recents = s->worker->recents;

	pthread_mutex_lock(&recents->mutex);
	first =
	    bucket_first(bucket_of(recents, account, mailbox), account, mailbox, first);
	pthread_mutex_unlock(&recents->mutex);
	return first ? first : 1;
}

/* ---- claiming ---- */

static void
on_claim_done(struct store_op *op)
{
	struct recent_claim *claim = op->user;
	struct imap_recents *recents = claim->worker->recents;

	claim->worker->background_ops--;
	pthread_mutex_lock(&recents->mutex);
	claim->done_ms = clock_mono_ms() + 1;
	if (op->status != STATUS_OK) /* gone, or to be claimed again */
		claim_free(claim);
	pthread_mutex_unlock(&recents->mutex);
}

static void
claim_submit(struct recent_claim *claim)
{
	struct imap_worker *w = claim->worker;

	claim->submitted = true;
	w->background_ops++;
	mailbox_recent_submit(w->reader, &claim->op);
}

static void
on_claim_timer(void *arg)
{
	claim_submit(arg);
}

/* The claim of this worker that is not submitted yet, or a new one.  Under the mutex. */
static void
claim_make(struct imap_session *s, struct list *bucket, uint32_t uidnext)
{
	struct imap_worker *w = s->worker;

	LIST_EACH(bucket, node)
	{
		struct recent_claim *claim = LIST_ENTRY(node, struct recent_claim, node);
		if (claim->worker == w && !claim->submitted &&
		    claim->op.mailbox == s->mailbox &&
		    memcmp(&claim->op.account, &s->box_account, sizeof(s->box_account)) ==
			0) {
			claim->op.uidnext = uidnext;
			return;
		}
	}
	struct recent_claim *claim = xcalloc(1, sizeof(*claim));
	claim->worker = w;
	claim->arena = arena_new(CLAIM_ARENA_MAX);
	claim->op = (struct mailbox_recent_op){
	    .op = {.done = on_claim_done, .user = claim, .arena = claim->arena},
	    .account = s->box_account,
	    .mailbox = s->mailbox,
	    .uidnext = uidnext,
	};
	list_append(bucket, &claim->node);
	loop_timer_start(
	    w->loop, &claim->timer, IMAP_RECENT_DELAY_MS, on_claim_timer, claim);
}

void
imap_recents_flush(struct imap_worker *w, bool write)
{
	struct imap_recents *recents = w->recents;

	for (size_t i = 0; i < IMAP_RECENT_BUCKETS; i++) {
		pthread_mutex_lock(&recents->mutex);
		LIST_EACH_SAFE(&recents->buckets[i], node)
		{
			struct recent_claim *claim =
			    LIST_ENTRY(node, struct recent_claim, node);
			if (claim->worker != w || claim->submitted)
				continue;
			loop_timer_stop(&claim->timer);
			if (write) /* now, so that it is under way before the stop */
				loop_timer_start(
				    w->loop, &claim->timer, 0, on_claim_timer, claim);
			else
				claim_free(claim);
		}
		pthread_mutex_unlock(&recents->mutex);
	}
}

static void
range_add(struct imap_session *s, uint32_t first, uint32_t last)
{
	if (s->recent_count > 0 && s->recent[s->recent_count - 1].last >= first - 1) {
		struct uid_range *end = &s->recent[s->recent_count - 1];
		end->last = last > end->last ? last : end->last;
		return;
	}
	if (!s->recent)
		s->recent = xcalloc(IMAP_RECENT_RANGES_MAX, sizeof(*s->recent));
	if (s->recent_count == IMAP_RECENT_RANGES_MAX) {
		memmove(s->recent, s->recent + 1,
		    (IMAP_RECENT_RANGES_MAX - 1) * sizeof(*s->recent));
		s->recent_count--;
	}
	s->recent[s->recent_count++] = (struct uid_range){first, last};
}

void
imap_recent_claim(struct imap_session *s, uint32_t first, uint32_t uidnext)
{
	struct imap_recents *recents = s->worker->recents;
	struct list *bucket = bucket_of(recents, s->box_account, s->mailbox);

	if (first == 0)
		first = 1;
	if (first >= uidnext)
		return;
	pthread_mutex_lock(&recents->mutex);
	first = bucket_first(bucket, s->box_account, s->mailbox, first);
	/* EXAMINE takes nothing away (RFC 3501 section 6.3.2). */
	if (first < uidnext && !s->read_only)
		claim_make(s, bucket, uidnext);
	pthread_mutex_unlock(&recents->mutex);
	if (first < uidnext)
		range_add(s, first, uidnext - 1);
}

/* ---- the session's ---- */

bool
imap_is_recent(const struct imap_session *s, uint32_t uid)
{
	if (imap_is_rev2(s))
		return false;
	for (uint32_t i = 0; i < s->recent_count; i++)
		if (uid >= s->recent[i].first && uid <= s->recent[i].last)
			return true;
	return false;
}

uint32_t
imap_recent_count(const struct imap_session *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->recent_count; i++)
		count += mailbox_view_rank(s->view, s->recent[i].last) -
		         mailbox_view_rank(s->view, s->recent[i].first - 1);
	return count;
}
