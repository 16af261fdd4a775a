/*
 * A week of a busy mailbox store at a steady size: messages come, as many go (mostly
 * young ones, some old), the store is maintained as smtpd does it.  How large the files
 * get in terms of what lives in them, and what keeping them so costs: bytes moved for
 * each byte written, and the share of the time.
 *
 * Usage: store_churn [days, 7] [messages a day, 8000] [folder]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/file.h"
#include "store/directory.h"
#include "store/mailbox.h"
#include "store/message.h"
#include "store/store_maintain.h"

enum {
	ACCOUNTS = 8,
	KEPT = 1500, /* messages of an account */
	HOURS = 24,
	HOUR_MS = 3600 * 1000,
	SIZE_MIN = 1000,
	SIZE_SPREAD = 30000,
	YOUNG = 300, /* three of four that go are among the youngest */
	PATH_BYTES = 400,
};

struct churn {
	struct store *store;
	struct store_reader *reader;
	struct arena *arena;
	struct account_id accounts[ACCOUNTS];
	uint32_t inbox[ACCOUNTS];
	uint64_t bytes;
};

static uint64_t dice = 88172645463325252u;

static uint32_t
random_below(uint32_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice % n);
}

static uint64_t
now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
deliver(struct churn *c, uint32_t account)
{
	size_t size = SIZE_MIN + random_below(SIZE_SPREAD);
	struct deliver_recipient to = {.account = c->accounts[account]};
	struct body_draft *draft = body_draft_new(c->store, 1 << 20);
	AUTO_BUF struct buf text;
	buf_init(&text, 1 << 20);
	buf_append(&text, SLICE("From: a@example.org\r\nSubject: churn\r\n\r\n"));
	while (text.len < size)
		buf_append_format(&text, "line %08x of the message\r\n",
		    (unsigned)random_below(1u << 30));
	ENSURE(body_draft_append(draft, buf_slice(&text)) == STATUS_OK);
	ENSURE(body_draft_seal(draft) == STATUS_OK);
	struct deliver_op op = {.draft = draft, .recipients = &to, .recipient_count = 1};
	deliver_op_submit(c->reader, &op);
	ENSURE(op.op.status == STATUS_OK);
	c->bytes += text.len;
	body_draft_unref(&draft);
}

static void
expunge_one(struct churn *c, uint32_t account)
{
	struct mailbox_view *view;
	ENSURE(mailbox_view_open(c->reader, c->accounts[account], c->inbox[account],
		   &view) == STATUS_OK);
	uint32_t count = mailbox_view_count(view);
	uint32_t young = count < YOUNG ? count : YOUNG;
	uint32_t msn =
	    random_below(4) ? count - random_below(young) : 1 + random_below(count);
	uint32_t uid = mailbox_view_uid(view, msn);
	mailbox_view_close(&view);
	store_reader_end(c->reader);
	struct uid_range range = {uid, uid};
	struct expunge_op op = {.op = {.arena = c->arena},
	    .account = c->accounts[account],
	    .mailbox = c->inbox[account],
	    .ranges = &range,
	    .range_count = 1};
	expunge_op_submit(c->reader, &op);
	ENSURE(op.op.status == STATUS_OK);
	arena_reset(c->arena);
}

int
main(int argc, char **argv)
{
	uint32_t days = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 7;
	uint32_t a_day = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 8000;
	/* The store's clock goes an hour at a time; what is measured is real. */
	clock_fake(1000, (int64_t)time(NULL) * 1000);
	struct churn c = {.arena = arena_new(1 << 24)};
	char path[PATH_BYTES];
	char *error = NULL;
	snprintf(
	    path, sizeof path, "%s/postroom-churn-XXXXXX", argc > 3 ? argv[3] : "/tmp");
	ENSURE(mkdtemp(path));
	struct store_options options = {.path = path,
	    .map_size = UINT64_C(8) << 30,
	    .shards = 1,
	    .create = true,
	    .sync = false,
	    .undelete_days = 0};
	if (store_open(&options, &c.store, &error) != STATUS_OK) {
		fprintf(stderr, "store_churn: %s\n", error);
		return 1;
	}
	c.reader = store_reader_new(c.store, NULL, NULL);
	ENSURE(directory_domain_add(c.reader, SLICE("example.org")) == STATUS_OK);
	for (uint32_t a = 0; a < ACCOUNTS; a++) {
		char login[40];
		struct mailbox_info info;
		snprintf(login, sizeof login, "user%u@example.org", (unsigned)a);
		ENSURE(directory_account_add(c.reader, slice_from_cstr(login), SLICE("k"),
			   0, &c.accounts[a]) == STATUS_OK);
		ENSURE(mailbox_find(c.reader, c.accounts[a], SLICE("INBOX"), &info) ==
		       STATUS_OK);
		c.inbox[a] = info.number;
		for (int i = 0; i < KEPT; i++)
			deliver(&c, a);
	}
	store_reader_end(c.reader);
	struct store_space space;
	struct store_stats before, after;
	ENSURE(store_space(c.store, &space) == STATUS_OK);
	store_stats(c.store, &before);
	uint64_t index_first = space.index_bytes, bytes_first = c.bytes;
	uint64_t care_us = 0, begin_us = now_us();
	double worst = 0, worst_all = 0;
	for (uint32_t hour = 0; hour < days * HOURS; hour++) {
		for (uint32_t i = 0; i < a_day / HOURS; i++) {
			uint32_t account = random_below(ACCOUNTS);
			deliver(&c, account);
			expunge_one(&c, account);
		}
		store_reader_end(c.reader);
		uint64_t care_begin = now_us();
		clock_fake_advance(HOUR_MS);
		while (store_maintain(c.store, clock_wall_s()))
			continue;
		care_us += now_us() - care_begin;
		ENSURE(store_space(c.store, &space) == STATUS_OK);
		double now = (double)space.file_bytes / (double)space.live_bytes;
		double all = (double)(space.file_bytes + space.index_bytes) /
		             (double)(space.live_bytes + index_first);
		worst = now > worst ? now : worst;
		worst_all = all > worst_all ? all : worst_all;
		if (hour % HOURS == HOURS - 1)
			printf("day %u: live %.1f MB, segments %.1f MB (%.2f), index "
			       "%.1f MB\n",
			    (unsigned)(hour / HOURS + 1), (double)space.live_bytes / 1e6,
			    (double)space.file_bytes / 1e6, now,
			    (double)space.index_bytes / 1e6);
		fflush(stdout);
	}
	store_stats(c.store, &after);
	double total_us = (double)(now_us() - begin_us);
	printf(
	    "segments at worst %.2f of what lives in them; with the index, against live "
	    "bytes and the index at first, %.3f\n"
	    "%.2f bytes moved for each byte written; maintenance took %.1f %% of the "
	    "time (not synced)\n",
	    worst, worst_all,
	    (double)(after.moved_bytes - before.moved_bytes) /
		(double)(c.bytes - bytes_first),
	    100 * (double)care_us / total_us);
	store_reader_free(&c.reader);
	store_close(&c.store);
	arena_free(&c.arena);
	file_tree_remove(path);
	return worst < 1.3 ? 0 : 1;
}
