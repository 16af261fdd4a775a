/*
 * An account with one mailbox in a memory store, for tests of what reads messages.
 */
#ifndef UNIT_IMAPD_BOX_H
#define UNIT_IMAPD_BOX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/directory.h"
#include "store/message.h"

struct box {
	struct store *store;
	struct store_reader *reader;
	struct account_id account;
	uint32_t mailbox;
	struct arena *arena;
};

static inline void
box_open(struct box *box)
{
	struct mailbox_info info;
	box->store = store_open_mem(0);
	box->reader = store_reader_new(box->store, NULL, NULL);
	box->arena = arena_new(64 * 1024 * 1024);
	assert_int_equal(
	    directory_domain_add(box->reader, SLICE("example.org")), STATUS_OK);
	assert_int_equal(directory_account_add(box->reader, SLICE("ann@example.org"),
			     SLICE("x"), 0, &box->account),
	    STATUS_OK);
	store_reader_end(box->reader);
	assert_int_equal(
	    mailbox_find(box->reader, box->account, SLICE("INBOX"), &info), STATUS_OK);
	box->mailbox = info.number;
}

static inline void
box_close(struct box *box)
{
	arena_free(&box->arena);
	store_reader_free(&box->reader);
	store_close(&box->store);
}

static inline void
box_done(struct store_op *op)
{
	(void)op;
}

/* Appends a message to INBOX and returns its uid. */
static inline uint32_t
box_append(struct box *box, struct slice text, uint8_t flags,
    const struct slice *keywords, size_t keyword_count, int64_t internaldate_s)
{
	struct body_draft *draft = body_draft_new(box->store, 16 * 1024 * 1024);
	assert_int_equal(body_draft_append(draft, text), STATUS_OK);
	assert_int_equal(body_draft_seal(draft), STATUS_OK);
	struct append_message message = {
	    .draft = draft,
	    .flags = flags,
	    .keywords = keywords,
	    .keyword_count = keyword_count,
	    .internaldate_s = internaldate_s,
	};
	struct append_op op = {
	    .op = {.done = box_done, .arena = box->arena},
	    .account = box->account,
	    .mailbox = SLICE("INBOX"),
	    .messages = &message,
	    .message_count = 1,
	};
	append_op_submit(box->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&draft);
	store_reader_end(box->reader);
	return message.uid;
}

/* Expunges one message by uid. */
static inline void
box_expunge(struct box *box, uint32_t uid)
{
	struct uid_range range = {uid, uid};
	struct expunge_op op = {
	    .op = {.done = box_done, .arena = box->arena},
	    .account = box->account,
	    .mailbox = box->mailbox,
	    .ranges = &range,
	    .range_count = 1,
	};
	expunge_op_submit(box->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	store_reader_end(box->reader);
}

/* Runs a test table's text from a copy that ends at an unmapped page, so that a parser
 * that reads one byte too far dies. */
#include <sys/mman.h>
#include <unistd.h>

struct edge {
	char *map;
	size_t size;
	struct slice text;
};

static inline struct edge
edge_copy(struct slice text)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct edge e;
	size_t body = (text.len + page) / page * page;
	e.size = body + page;
	e.map = mmap(
	    NULL, e.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(e.map != MAP_FAILED);
	assert_int_equal(mprotect(e.map + body, page, PROT_NONE), 0);
	e.text = slice_make(e.map + body - text.len, text.len);
	if (text.len)
		memcpy(e.map + body - text.len, text.ptr, text.len);
	return e;
}

static inline void
edge_free(struct edge *e)
{
	munmap(e->map, e->size);
}

#endif
