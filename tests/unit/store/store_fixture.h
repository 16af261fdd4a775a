/*
 * Temporary stores for the store's tests: a fresh one a case, over the memory engine with
 * several seeds (which inject re-runs of commit functions) and over LMDB in a new folder
 * of $TMPDIR; checked and removed afterwards.  Header only: included by each test file.
 */
#ifndef UNIT_STORE_STORE_FIXTURE_H
#define UNIT_STORE_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/ensure.h"
#include "base/file.h"
#include "store/check.h"
#include "store/directory.h"
#include "store/message.h"
#include "store/queue.h"
#include "store/store.h"
#include "store/store_int.h"

enum { STORE_BACKENDS = 5 };

/* What the next store over LMDB is opened with. */
__attribute__((unused)) static bool fixture_compress;

struct fixture {
	int backend; /* 0: lmdb; else memory with seed backend - 1 */
	struct store *store;
	struct store_reader *reader;
	struct arena *arena;
	struct account_id jo, amy; /* jo@example.org, amy@example.org */
	char path[200];
};

__attribute__((unused)) static void
fixture_open_store(struct fixture *f)
{
	char *error = NULL;
	if (f->backend) {
		f->store = store_open_mem((uint64_t)(f->backend - 1));
	} else {
		struct store_options options = {
		    .path = f->path,
		    .map_size = UINT64_C(1) << 30,
		    .shards = 2,
		    .create = true,
		    .sync = false,
		    .compress = fixture_compress,
		    .undelete_days = 7,
		};
		enum status status = store_open(&options, &f->store, &error);
		if (status != STATUS_OK)
			fail_msg("store_open: %s", error);
	}
	f->reader = store_reader_new(f->store, NULL, NULL);
}

__attribute__((unused)) static void
fixture_init(struct fixture *f, int backend)
{
	memset(f, 0, sizeof(*f));
	f->backend = backend;
	if (backend == 0) {
		const char *tmp = getenv("TMPDIR");
		snprintf(f->path, sizeof(f->path), "%s/postroom-store-XXXXXX",
		    tmp ? tmp : "/tmp");
		ENSURE(mkdtemp(f->path));
	}
	fixture_open_store(f);
	f->arena = arena_new(64 * 1024 * 1024);
	assert_int_equal(
	    directory_domain_add(f->reader, SLICE("example.org")), STATUS_OK);
	assert_int_equal(directory_account_add(
			     f->reader, SLICE("jo@example.org"), SLICE("key"), 0, &f->jo),
	    STATUS_OK);
	assert_int_equal(directory_account_add(f->reader, SLICE("amy@example.org"),
			     SLICE("key"), 0, &f->amy),
	    STATUS_OK);
}

__attribute__((unused)) static void
fixture_problem(const char *text, void *arg)
{
	(void)arg;
	print_error("check: %s\n", text);
}

/* The store has no damage. */
__attribute__((unused)) static void
fixture_check(struct fixture *f)
{
	struct store_check_options options = {
	    .read_bodies = true, .problem = fixture_problem};
	struct store_check_totals totals;
	assert_int_equal(store_check(f->store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.problems, 0);
}

__attribute__((unused)) static void
fixture_fini(struct fixture *f)
{
	fixture_check(f);
	store_reader_free(&f->reader);
	store_close(&f->store);
	arena_free(&f->arena);
	if (f->path[0])
		file_tree_remove(f->path);
}

/* Runs the case over every backend. */
__attribute__((unused)) static void
fixture_each(void (*fn)(struct fixture *f))
{
	for (int backend = 0; backend < STORE_BACKENDS; backend++) {
		struct fixture f;
		fixture_init(&f, backend);
		fn(&f);
		fixture_fini(&f);
	}
}

__attribute__((unused)) static struct body_draft *
fixture_draft(struct fixture *f, const char *subject, size_t pad)
{
	struct body_draft *draft = body_draft_new(f->store, 64 * 1024 * 1024);
	AUTO_BUF struct buf text;
	buf_init(&text, 64 * 1024 * 1024);
	buf_append_format(&text,
	    "From: Amy <amy@example.org>\r\nTo: jo@example.org\r\nSubject: %s\r\n"
	    "Message-ID: <%s@example.org>\r\n\r\nhello\r\n",
	    subject, subject);
	for (size_t i = 0; i < pad; i++)
		buf_append_byte(&text, i % 72 == 71 ? '\n' : 'x');
	assert_int_equal(body_draft_append(draft, buf_slice(&text)), STATUS_OK);
	assert_int_equal(body_draft_seal(draft), STATUS_OK);
	return draft;
}

__attribute__((unused)) static enum status
fixture_deliver(struct fixture *f, struct account_id account, const char *mailbox,
    const char *subject, uint8_t flags, uint32_t *out_uid)
{
	struct deliver_recipient recipient = {
	    .account = account, .mailbox = slice_from_cstr(mailbox), .flags = flags};
	struct deliver_op op = {.op = {.arena = f->arena},
	    .draft = fixture_draft(f, subject, 0),
	    .recipients = &recipient,
	    .recipient_count = 1,
	    .internaldate_s = 1000,
	    .internaldate_zone_min = 60};
	deliver_op_submit(f->reader, &op);
	body_draft_unref(&op.draft);
	if (out_uid)
		*out_uid = recipient.uid;
	return op.op.status;
}

__attribute__((unused)) static uint32_t
fixture_box(struct fixture *f, struct account_id account, const char *name)
{
	struct mailbox_info info;
	if (mailbox_find(f->reader, account, slice_from_cstr(name), &info) != STATUS_OK)
		return 0;
	return info.number;
}

__attribute__((unused)) static struct mailbox_info
fixture_info(struct fixture *f, struct account_id account, const char *name)
{
	struct mailbox_info info;
	assert_int_equal(
	    mailbox_find(f->reader, account, slice_from_cstr(name), &info), STATUS_OK);
	return info;
}

__attribute__((unused)) static enum status
fixture_mailbox(struct fixture *f, struct account_id account, enum mailbox_change change,
    const char *name, const char *new_name)
{
	struct mailbox_op op = {.op = {.arena = f->arena},
	    .account = account,
	    .change = change,
	    .name = slice_from_cstr(name),
	    .new_name = slice_from_cstr(new_name)};
	mailbox_op_submit(f->reader, &op);
	return op.op.status;
}

/* Flags of one message. */
__attribute__((unused)) static enum status
fixture_flag(struct fixture *f, struct account_id account, uint32_t mailbox, uint32_t uid,
    enum flags_mode mode, uint8_t flags)
{
	struct uid_range range = {uid, uid};
	struct flags_op op = {.op = {.arena = f->arena},
	    .account = account,
	    .mailbox = mailbox,
	    .ranges = &range,
	    .range_count = 1,
	    .mode = mode,
	    .flags = flags};
	flags_op_submit(f->reader, &op);
	return op.op.status;
}

#endif
