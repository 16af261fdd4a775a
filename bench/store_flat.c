/*
 * Does what is done often cost the same in a large store as in a small one?  Two stores
 * are open at once, one with few messages (accounts) and one with many, and each
 * operation is done in turns on both, so that the disk's moods meet both alike; medians.
 *
 * Usage: store_flat [messages of the large mailbox, 1000000] [folder]
 *
 * Sync is on for what commits ("deliver", "flag", "expunge"), so their figures hold the
 * disk's; the line "of it CPU" is without.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/file.h"
#include "bench/fill.h"
#include "store/directory.h"
#include "store/mailbox.h"
#include "store/message.h"

enum {
	SMALL = 1000,
	ROUNDS = 200,
	ACCOUNTS_SMALL = 100,
	ACCOUNTS_LARGE = 100000,
	MAILBOXES = 10000,
	COPY_BLOCK = 10000,
	PATH_BYTES = 400,
};

struct side {
	char path[PATH_BYTES];
	struct store *store;
	struct store_reader *reader;
	struct arena *arena;
	struct account_id account;
	uint32_t inbox, messages;
	uint32_t next_flag, next_expunge;
	uint64_t modseq;
};

static const char *folder = "/tmp";

static void
side_store_open(struct side *s, bool sync)
{
	char *error = NULL;
	struct store_options options = {.path = s->path,
	    .map_size = UINT64_C(32) << 30,
	    .shards = 1,
	    .create = true,
	    .sync = sync,
	    .undelete_days = 7};
	if (store_open(&options, &s->store, &error) != STATUS_OK) {
		fprintf(stderr, "store_flat: %s\n", error);
		exit(1);
	}
	s->reader = store_reader_new(s->store, NULL, NULL);
}

static void
side_store_close(struct side *s)
{
	store_reader_free(&s->reader);
	store_close(&s->store);
}

static void
side_begin(struct side *s)
{
	snprintf(s->path, sizeof s->path, "%s/postroom-flat-XXXXXX", folder);
	ENSURE(mkdtemp(s->path));
	s->arena = arena_new((size_t)1 << 30);
	side_store_open(s, false);
	ENSURE(directory_domain_add(s->reader, SLICE("example.org")) == STATUS_OK);
}

static void
side_end(struct side *s)
{
	side_store_close(s);
	arena_free(&s->arena);
	file_tree_remove(s->path);
}

/* ---- the operations ---- */

static void
deliver_to(struct side *s, struct account_id account)
{
	static unsigned number;
	struct deliver_recipient to = {.account = account};
	struct body_draft *draft = body_draft_new(s->store, 1 << 20);
	AUTO_BUF struct buf text;
	buf_init(&text, 1 << 20);
	buf_append_format(&text,
	    "From: a@example.org\r\nSubject: number %u\r\n\r\n%02000u\r\n", number,
	    number);
	number++;
	ENSURE(body_draft_append(draft, buf_slice(&text)) == STATUS_OK);
	ENSURE(body_draft_seal(draft) == STATUS_OK);
	struct deliver_op op = {.draft = draft, .recipients = &to, .recipient_count = 1};
	deliver_op_submit(s->reader, &op);
	ENSURE(op.op.status == STATUS_OK);
	body_draft_unref(&draft);
}

static void
op_deliver(struct side *s)
{
	deliver_to(s, s->account);
}

static void
op_flag(struct side *s)
{
	struct uid_range range = {s->next_flag, s->next_flag};
	s->next_flag++;
	struct flags_op op = {.op = {.arena = s->arena},
	    .account = s->account,
	    .mailbox = s->inbox,
	    .ranges = &range,
	    .range_count = 1,
	    .mode = FLAGS_ADD,
	    .flags = MESSAGE_SEEN};
	flags_op_submit(s->reader, &op);
	ENSURE(op.op.status == STATUS_OK && op.out_count == 1);
}

static void
op_expunge(struct side *s)
{
	struct uid_range range = {s->next_expunge, s->next_expunge};
	s->next_expunge++;
	struct expunge_op op = {.op = {.arena = s->arena},
	    .account = s->account,
	    .mailbox = s->inbox,
	    .ranges = &range,
	    .range_count = 1};
	expunge_op_submit(s->reader, &op);
	ENSURE(op.op.status == STATUS_OK);
}

static void
op_open(struct side *s)
{
	struct mailbox_view *view;
	uint32_t uid;
	ENSURE(mailbox_view_open(s->reader, s->account, s->inbox, &view) == STATUS_OK);
	(void)!mailbox_first_unseen(s->reader, s->account, s->inbox, &uid);
	mailbox_view_close(&view);
}

static struct mailbox_view *views[2];

/* What changed since a picture that is 10 changes old, and what a client that was away is
 * told of (QRESYNC). */
static void
op_since(struct side *s)
{
	struct mailbox_view *view = views[s->messages > SMALL * 2];
	struct mailbox_delta delta;
	uint32_t *uids;
	size_t count;
	bool complete;
	ENSURE(mailbox_view_delta(s->reader, view, s->arena, 0, &delta) == STATUS_OK);
	ENSURE(delta.changed_count == 10);
	ENSURE(mailbox_vanished(s->reader, s->account, s->inbox, s->modseq, s->arena,
		   1000000, &uids, &count, &complete) == STATUS_OK);
}

/* ---- measuring ---- */

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t
now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double
median_us(uint64_t *times, size_t count)
{
	qsort(times, count, sizeof *times, compare);
	return (double)times[count / 2] / 1000;
}

static void
both(struct side *small, struct side *large, const char *name, int rounds,
    void (*op)(struct side *))
{
	static uint64_t wall[2][ROUNDS], cpu[2][ROUNDS];
	for (int i = 0; i < rounds; i++) {
		for (int which = 0; which < 2; which++) {
			struct side *s = which ? large : small;
			uint64_t cpu_begin = now_ns(CLOCK_PROCESS_CPUTIME_ID);
			uint64_t begin = now_ns(CLOCK_MONOTONIC);
			op(s);
			wall[which][i] = now_ns(CLOCK_MONOTONIC) - begin;
			cpu[which][i] = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
			store_reader_end(s->reader);
			arena_reset(s->arena);
		}
	}
	size_t count = (size_t)rounds;
	double a = median_us(wall[0], count), b = median_us(wall[1], count);
	double c = median_us(cpu[0], count), d = median_us(cpu[1], count);
	printf(
	    "%-34s %10.1f us %10.1f us  x %.2f   of it CPU %8.1f us %8.1f us  x %.2f\n",
	    name, a, b, b / a, c, d, d / c);
	fflush(stdout);
}

/* ---- one mailbox ---- */

static void
mailbox_fill(struct side *s, uint32_t want)
{
	struct mailbox_info info;
	side_begin(s);
	ENSURE(directory_account_add(s->reader, SLICE("jo@example.org"), SLICE("k"), 0,
		   &s->account) == STATUS_OK);
	ENSURE(mailbox_find(s->reader, s->account, SLICE("INBOX"), &info) == STATUS_OK);
	s->inbox = info.number;
	uint32_t have = 100;
	for (uint32_t i = 0; i < have; i++)
		op_deliver(s);
	have = fill_by_copies(s->reader, s->account, s->inbox, SLICE("INBOX"), have, want,
	    COPY_BLOCK, s->arena);
	s->messages = have;
	s->next_flag = have / 2;
	s->next_expunge = have / 4;
	side_store_close(s);
	side_store_open(s, true);
}

static void
view_memory(struct side *s, const char *what)
{
	struct mailbox_view *view;
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	uint64_t begin = now_ns(CLOCK_MONOTONIC);
	ENSURE(mailbox_view_open(s->reader, s->account, s->inbox, &view) == STATUS_OK);
	uint64_t ns = now_ns(CLOCK_MONOTONIC) - begin;
	size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
	printf("%-34s %10u messages %8.3f ms %10zu bytes held\n", what,
	    (unsigned)mailbox_view_count(view), (double)ns / 1e6, after - before);
	mailbox_view_close(&view);
	store_reader_end(s->reader);
}

/* The page cache is emptied of the store's file. */
static void
view_cold(struct side *s)
{
	char data[PATH_BYTES + 40];
	side_store_close(s);
	snprintf(data, sizeof data, "%s/shard-00/data.mdb", s->path);
	int fd = open(data, O_RDONLY | O_CLOEXEC);
	ENSURE(fd >= 0 && fdatasync(fd) == 0);
	ENSURE(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	close(fd);
	side_store_open(s, true);
	view_memory(s, "view, cold");
}

/* Every other message goes: the least that a map can be packed. */
static void
view_holes(struct side *s)
{
	side_store_close(s);
	side_store_open(s, false);
	for (uint32_t from = 1; from < s->messages; from += 2000) {
		static struct uid_range odd[1000];
		for (uint32_t i = 0; i < 1000; i++)
			odd[i] = (struct uid_range){from + 2 * i, from + 2 * i};
		struct expunge_op op = {.op = {.arena = s->arena},
		    .account = s->account,
		    .mailbox = s->inbox,
		    .ranges = odd,
		    .range_count = 1000};
		expunge_op_submit(s->reader, &op);
		ENSURE(op.op.status == STATUS_OK);
		arena_reset(s->arena);
	}
	view_memory(s, "view, every other message gone");
	view_memory(s, "the same again");
}

static void
one_mailbox(uint32_t messages)
{
	struct side small = {.path = ""}, large = {.path = ""};
	mailbox_fill(&small, SMALL);
	mailbox_fill(&large, messages);
	printf("one mailbox with %u and with %u messages, in turns\n",
	    (unsigned)small.messages, (unsigned)large.messages);
	both(&small, &large, "deliver 2 KB", ROUNDS, op_deliver);
	both(&small, &large, "flag (\\Seen)", ROUNDS, op_flag);
	both(&small, &large, "expunge", ROUNDS, op_expunge);
	struct side *sides[] = {&small, &large};
	for (int i = 0; i < 2; i++) {
		ENSURE(mailbox_view_open(sides[i]->reader, sides[i]->account,
			   sides[i]->inbox, &views[i]) == STATUS_OK);
		sides[i]->modseq = mailbox_view_modseq(views[i]);
		store_reader_end(sides[i]->reader);
		for (int n = 0; n < 10; n++)
			op_flag(sides[i]);
	}
	both(&small, &large, "what changed since, 10 changes", ROUNDS, op_since);
	both(&small, &large, "open, first unseen (warm)", ROUNDS, op_open);
	for (int i = 0; i < 2; i++)
		mailbox_view_close(&views[i]);
	view_memory(&large, "view, warm");
	view_cold(&large);
	view_holes(&large);
	side_end(&small);
	side_end(&large);
}

/* ---- many accounts ---- */

static struct account_id *ids[2];
static uint32_t id_count[2];

static void
accounts_fill(struct side *s, uint32_t count, int which)
{
	side_begin(s);
	ids[which] = xcalloc(count, sizeof **ids);
	id_count[which] = count;
	for (uint32_t i = 0; i < count; i++) {
		char login[40];
		snprintf(login, sizeof login, "user%06u@example.org", (unsigned)i);
		ENSURE(directory_account_add(s->reader, slice_from_cstr(login),
			   SLICE("k"), 0, &ids[which][i]) == STATUS_OK);
	}
	s->messages = which ? UINT32_MAX : 0;
	side_store_close(s);
	side_store_open(s, true);
}

static uint32_t dice = 12345;

static uint32_t
random_below(uint32_t n)
{
	dice = dice * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)dice * n >> 32);
}

static void
op_deliver_any(struct side *s)
{
	int which = s->messages != 0;
	deliver_to(s, ids[which][random_below(id_count[which])]);
}

static void
op_find(struct side *s)
{
	struct mailbox_info info;
	int which = s->messages != 0;
	ENSURE(mailbox_find(s->reader, ids[which][random_below(id_count[which])],
		   SLICE("INBOX"), &info) == STATUS_OK);
}

static void
many_accounts(void)
{
	struct side small = {.path = ""}, large = {.path = ""};
	accounts_fill(&small, ACCOUNTS_SMALL, 0);
	uint64_t begin = now_ns(CLOCK_MONOTONIC);
	accounts_fill(&large, ACCOUNTS_LARGE, 1);
	printf("%u and %u accounts (made at %.1f us each, not synced)\n", ACCOUNTS_SMALL,
	    ACCOUNTS_LARGE,
	    (double)(now_ns(CLOCK_MONOTONIC) - begin) / 1000 / ACCOUNTS_LARGE);
	both(&small, &large, "deliver 2 KB to any", ROUNDS, op_deliver_any);
	both(&small, &large, "find INBOX of any", ROUNDS, op_find);
	side_end(&small);
	side_end(&large);
	free(ids[0]);
	free(ids[1]);
}

/* ---- many mailboxes ---- */

static bool
count_one(const struct mailbox_info *info, void *arg)
{
	*(uint64_t *)arg += info->exists + 1;
	return true;
}

static void
many_mailboxes(void)
{
	struct side s = {.path = ""};
	uint64_t sum = 0;
	side_begin(&s);
	ENSURE(directory_account_add(s.reader, SLICE("jo@example.org"), SLICE("k"), 0,
		   &s.account) == STATUS_OK);
	for (unsigned i = 0; i < MAILBOXES; i++) {
		char name[40];
		snprintf(name, sizeof name, "folder %05u", i);
		struct mailbox_op op = {.op = {.arena = s.arena},
		    .account = s.account,
		    .change = MAILBOX_CREATE,
		    .name = slice_from_cstr(name)};
		mailbox_op_submit(s.reader, &op);
		ENSURE(op.op.status == STATUS_OK);
		arena_reset(s.arena);
	}
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 20; i++) {
		uint64_t begin = now_ns(CLOCK_MONOTONIC);
		ENSURE(mailbox_each(s.reader, s.account, count_one, &sum) == STATUS_OK);
		uint64_t ns = now_ns(CLOCK_MONOTONIC) - begin;
		best = ns < best ? ns : best;
		store_reader_end(s.reader);
	}
	printf(
	    "%u mailboxes in one account: all names with their counts %.2f ms, %.2f us "
	    "each\n",
	    MAILBOXES, (double)best / 1e6, (double)best / 1e3 / MAILBOXES);
	side_end(&s);
}

int
main(int argc, char **argv)
{
	uint32_t messages = 1000000;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && (!slice_to_u32(slice_from_cstr(argv[1]), &messages) ||
			    messages < 10 * SMALL)) {
		fprintf(stderr, "store_flat: at least %d messages\n", 10 * SMALL);
		return 2;
	}
	if (argc > 2)
		folder = argv[2];
	one_mailbox(messages);
	many_accounts();
	many_mailboxes();
	return 0;
}
