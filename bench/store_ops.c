/*
 * What the store's calls cost, over LMDB in a temporary folder: delivery, flags, opening
 * a view, a delta, listing records, at 1,000 and 100,000 messages.  Prints one line a
 * measurement: name, messages, operations, microseconds each.
 *
 * Usage: store_ops [messages...]; TMPDIR says where.  With sync, so that the device
 * counts (STORE_OPS_NOSYNC=1: without).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/file.h"
#include "bench/fill.h"
#include "store/directory.h"
#include "store/message.h"

enum {
	COPY_BLOCK = 1000, /* messages that one COPY doubles at most */
	PATH_BYTES = 200,
};

struct bench {
	struct store *store;
	struct store_reader *reader;
	struct arena *arena;
	struct account_id account;
	uint32_t inbox;
	uint32_t messages;
};

static void
tell(const struct bench *b, const char *name, uint64_t operations, uint64_t begin_us)
{
	uint64_t us = clock_mono_us() - begin_us;
	printf("%-28s %7u messages %8llu ops %12.3f us/op\n", name, (unsigned)b->messages,
	    (unsigned long long)operations, (double)us / (double)operations);
	fflush(stdout);
}

static void
deliver(struct bench *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct deliver_recipient to = {.account = b->account};
		struct body_draft *draft = body_draft_new(b->store, 1 << 20);
		AUTO_BUF struct buf text;
		buf_init(&text, 1 << 20);
		buf_append_format(&text,
		    "From: a@example.org\r\nSubject: number %u\r\n\r\n%02000u\r\n", i, i);
		ENSURE(body_draft_append(draft, buf_slice(&text)) == STATUS_OK);
		ENSURE(body_draft_seal(draft) == STATUS_OK);
		struct deliver_op op = {
		    .draft = draft, .recipients = &to, .recipient_count = 1};
		deliver_op_submit(b->reader, &op);
		ENSURE(op.op.status == STATUS_OK);
		body_draft_unref(&draft);
	}
}

/* Fills the INBOX by copies of what is there: quick, and one body each hundred. */
static void
fill(struct bench *b, uint32_t want)
{
	uint32_t have = 100;
	deliver(b, have);
	b->messages = fill_by_copies(b->reader, b->account, b->inbox, SLICE("INBOX"),
	    have, want, COPY_BLOCK * 10, b->arena);
}

static void
flags(struct bench *b, uint32_t first, uint32_t last, enum flags_mode mode)
{
	struct uid_range range = {first, last};
	struct flags_op op = {.op = {.arena = b->arena},
	    .account = b->account,
	    .mailbox = b->inbox,
	    .ranges = &range,
	    .range_count = 1,
	    .mode = mode,
	    .flags = MESSAGE_FLAGGED};
	flags_op_submit(b->reader, &op);
	ENSURE(op.op.status == STATUS_OK);
	arena_reset(b->arena);
}

static void
measure_writes(struct bench *b)
{
	uint64_t begin_us = clock_mono_us();
	deliver(b, 100);
	tell(b, "deliver 2 KB, one by one", 100, begin_us);
	begin_us = clock_mono_us();
	for (uint32_t i = 1; i <= 100; i++)
		flags(b, i, i, FLAGS_ADD);
	tell(b, "flag one message", 100, begin_us);
	begin_us = clock_mono_us();
	flags(b, 1, 1000, FLAGS_REMOVE);
	flags(b, 1, 1000, FLAGS_ADD);
	tell(b, "flag 1,000 messages", 2, begin_us);
}

static void
measure_reads(struct bench *b)
{
	struct mailbox_view *view;
	struct mailbox_delta delta;
	struct message_record record;
	uint64_t begin_us = clock_mono_us();
	for (int i = 0; i < 20; i++) {
		ENSURE(mailbox_view_open(b->reader, b->account, b->inbox, &view) ==
		       STATUS_OK);
		if (i < 19)
			mailbox_view_close(&view);
		store_reader_end(b->reader);
	}
	tell(b, "open view", 20, begin_us);
	uint32_t count = mailbox_view_count(view);

	begin_us = clock_mono_us();
	uint64_t sum = 0;
	for (int i = 0; i < 10; i++) {
		struct message_cursor *cursor =
		    message_cursor_open(b->reader, b->account, b->inbox, 1, UINT32_MAX);
		while (message_cursor_next(cursor, &record) == STATUS_OK)
			sum += record.flags;
		message_cursor_close(&cursor);
		store_reader_end(b->reader);
	}
	tell(b, "list records, a record", 10 * (uint64_t)count, begin_us);

	begin_us = clock_mono_us();
	for (uint32_t msn = 1; msn <= count; msn++)
		sum += mailbox_view_uid(view, msn);
	tell(b, "message number to uid", count, begin_us);
	begin_us = clock_mono_us();
	for (uint32_t msn = 1; msn <= count; msn++)
		sum += mailbox_view_msn(view, msn);
	tell(b, "uid to message number", count, begin_us);

	begin_us = clock_mono_us();
	for (int i = 0; i < 10000; i++) {
		ENSURE(mailbox_view_delta(b->reader, view, b->arena, 0, &delta) ==
		       STATUS_OK);
		store_reader_end(b->reader);
	}
	tell(b, "delta, nothing new", 10000, begin_us);
	flags(b, 1, 10, FLAGS_REMOVE);
	begin_us = clock_mono_us();
	for (int i = 0; i < 10000; i++) {
		ENSURE(mailbox_view_delta(b->reader, view, b->arena, 0, &delta) ==
		       STATUS_OK);
		ENSURE(delta.changed_count == 10);
		arena_reset(b->arena);
		store_reader_end(b->reader);
	}
	tell(b, "delta, ten changes", 10000, begin_us);
	mailbox_view_close(&view);
	ENSURE(sum);
}

static void
measure(uint32_t messages)
{
	struct bench b = {.arena = arena_new((size_t)1 << 30)};
	char path[PATH_BYTES];
	const char *tmp = getenv("TMPDIR");
	char *error = NULL;
	struct mailbox_info info;
	snprintf(path, sizeof(path), "%s/postroom-bench-XXXXXX", tmp ? tmp : "/tmp");
	ENSURE(mkdtemp(path));
	struct store_options options = {.path = path,
	    .map_size = UINT64_C(8) << 30,
	    .shards = 1,
	    .create = true,
	    .sync = !getenv("STORE_OPS_NOSYNC"),
	    .undelete_days = 7};
	if (store_open(&options, &b.store, &error) != STATUS_OK) {
		fprintf(stderr, "store_ops: %s\n", error);
		exit(1);
	}
	b.reader = store_reader_new(b.store, NULL, NULL);
	ENSURE(directory_domain_add(b.reader, SLICE("example.org")) == STATUS_OK);
	ENSURE(directory_account_add(b.reader, SLICE("jo@example.org"), SLICE("k"), 0,
		   &b.account) == STATUS_OK);
	ENSURE(mailbox_find(b.reader, b.account, SLICE("INBOX"), &info) == STATUS_OK);
	b.inbox = info.number;
	fill(&b, messages);
	measure_writes(&b);
	measure_reads(&b);
	store_reader_free(&b.reader);
	store_close(&b.store);
	arena_free(&b.arena);
	file_tree_remove(path);
}

int
main(int argc, char **argv)
{
	if (argc < 2) {
		measure(1000);
		measure(100000);
		return 0;
	}
	for (int i = 1; i < argc; i++) {
		uint32_t messages;
		if (!slice_to_u32(slice_from_cstr(argv[i]), &messages) ||
		    messages < 1000) {
			fprintf(stderr, "store_ops: not a number of at least 1000: %s\n",
			    argv[i]);
			return 2;
		}
		measure(messages);
	}
	return 0;
}
