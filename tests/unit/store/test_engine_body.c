/*
 * The engine's conformance suite, its part about bodies: attaching, counting, derived
 * bytes, handles that outlive their body, listing; over engine_mem (without and with
 * injected re-runs) and over engine_lmdb, plain.  Packed bodies are in test_packed.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "store/engine_int.h"
#include "unit/store/engine_fixture.h"

static const struct partition_id PART_A = {
    {'A', 1}
};
static const struct partition_id PART_Q = {{'Q'}};

static struct slice
text(const char *s)
{
	return slice_from_cstr(s);
}

static struct body_draft *
draft_make(struct engine *engine, const char *prefix, size_t size, char fill)
{
	struct body_draft *draft = engine_draft_new(engine, 64 * 1024 * 1024);
	char chunk[4096];
	memset(chunk, fill, sizeof chunk);
	for (size_t done = 0; done < size;) {
		size_t part = size - done < sizeof chunk ? size - done : sizeof chunk;
		assert_int_equal(
		    body_draft_append(draft, slice_make(chunk, part)), STATUS_OK);
		done += part;
	}
	if (prefix)
		assert_int_equal(body_draft_prefix(draft, text(prefix)), STATUS_OK);
	assert_int_equal(body_draft_seal(draft), STATUS_OK);
	assert_int_equal(body_draft_size(draft), size + (prefix ? strlen(prefix) : 0));
	return draft;
}

struct attach {
	struct body_draft *draft;
	const char *key;
	bool fail;
	uint64_t body;
};

static enum status
attach_run(struct engine_txn *txn, void *arg)
{
	struct attach *attach = arg;
	enum status status = engine_body_attach(txn, attach->draft, &attach->body);
	if (status != STATUS_OK)
		return status;
	char value[8];
	be64_put(value, attach->body);
	engine_put(txn, text(attach->key), slice_make(value, 8));
	return attach->fail ? STATUS_CONFLICT : STATUS_OK;
}

static uint64_t
attach(struct engine *engine, struct partition_id part, struct body_draft *draft,
    const char *key)
{
	struct attach arg = {draft, key, false, 0};
	assert_int_equal(
	    engine_commit_wait(engine, part, attach_run, &arg, draft), STATUS_OK);
	assert_true(arg.body != 0);
	return arg.body;
}

static enum status
release_run(struct engine_txn *txn, void *arg)
{
	return engine_body_release(txn, *(uint64_t *)arg);
}

static enum status
ref_run(struct engine_txn *txn, void *arg)
{
	return engine_body_ref(txn, *(uint64_t *)arg);
}

static void
check_body(struct engine *engine, struct partition_id part, uint64_t body, uint32_t refs,
    struct slice want)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct engine_body stat;
	struct body_handle handle;
	struct slice derived;
	assert_int_equal(engine_snap(reader, part, &txn), STATUS_OK);
	assert_int_equal(engine_body_stat(txn, body, &stat), STATUS_OK);
	assert_int_equal(stat.refs, refs);
	assert_int_equal(stat.size, want.len);
	assert_int_equal(engine_body_derived(txn, body, &derived), STATUS_OK);
	assert_true(derived.len > 0);
	assert_int_equal(engine_body_open(txn, body, &handle), STATUS_OK);
	engine_reader_end(reader); /* the handle does not hang on it */
	assert_true(slice_equal(body_handle_bytes(&handle), want));
	char *copy = xmalloc(want.len + 1);
	assert_int_equal(
	    pread(handle.fd, copy, want.len, (off_t)handle.offset), want.len);
	assert_memory_equal(copy, want.ptr, want.len);
	free(copy);
	body_handle_close(&handle);
	assert_int_equal(engine_snap(reader, part, &txn), STATUS_OK);
	assert_int_equal(engine_body_verify(txn, body), STATUS_OK);
	engine_reader_free(&reader);
}

static void
test_bodies(void **state)
{
	struct engine *engine = fixture_engine(state);
	const size_t sizes[] = {0, 1, 100, 4096, 500000, 3000000, 2000000, 1500000};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct body_draft *draft =
		    draft_make(engine, i % 2 ? "Received: x\r\n" : NULL, sizes[i], 'm');
		uint64_t body = attach(engine, PART_A, draft, "one");
		assert_int_equal(attach(engine, PART_A, draft, "two"), body);
		check_body(engine, PART_A, body, 2, body_draft_bytes(draft));
		/* The queue is another environment: a body of its own. */
		uint64_t queued = attach(engine, PART_Q, draft, "q");
		check_body(engine, PART_Q, queued, 1, body_draft_bytes(draft));
		assert_int_equal(
		    engine_commit_wait(engine, PART_A, ref_run, &body, NULL), STATUS_OK);
		for (int n = 0; n < 3; n++)
			assert_int_equal(
			    engine_commit_wait(engine, PART_A, release_run, &body, NULL),
			    STATUS_OK);
		assert_int_equal(
		    engine_commit_wait(engine, PART_A, release_run, &body, NULL),
		    STATUS_NOT_FOUND);
		assert_int_equal(engine_commit_wait(engine, PART_A, ref_run, &body, NULL),
		    STATUS_NOT_FOUND);
		/* The draft is still there: attached once more it lives again. */
		body = attach(engine, PART_A, draft, "again");
		engine_maintain(engine);
		check_body(engine, PART_A, body, 1, body_draft_bytes(draft));
		body_draft_unref(&draft);
	}
	fixture_check(engine);
}

static void
test_body_failed_attach(void **state)
{
	struct engine *engine = fixture_engine(state);
	struct body_draft *draft = draft_make(engine, NULL, 1000, 'x');
	struct attach arg = {draft, "k", true, 0};
	assert_int_equal(
	    engine_commit_wait(engine, PART_A, attach_run, &arg, draft), STATUS_CONFLICT);
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct engine_body stat;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	assert_int_equal(engine_body_stat(txn, arg.body, &stat), STATUS_NOT_FOUND);
	struct body_handle handle;
	assert_int_equal(engine_body_open(txn, arg.body, &handle), STATUS_NOT_FOUND);
	engine_reader_free(&reader);
	uint64_t body = attach(engine, PART_A, draft, "k");
	check_body(engine, PART_A, body, 1, body_draft_bytes(draft));
	body_draft_unref(&draft);
	fixture_check(engine);
}

static enum status
derived_run(struct engine_txn *txn, void *arg)
{
	return engine_body_set_derived(txn, *(uint64_t *)arg, SLICE("healed"));
}

static void
test_body_derived(void **state)
{
	struct engine *engine = fixture_engine(state);
	struct body_draft *draft = draft_make(engine, NULL, 1000, 'x');
	uint64_t body = attach(engine, PART_A, draft, "k");
	assert_int_equal(
	    engine_commit_wait(engine, PART_A, derived_run, &body, NULL), STATUS_OK);
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct slice derived;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	assert_int_equal(engine_body_derived(txn, body, &derived), STATUS_OK);
	assert_true(slice_equal(derived, text("healed")));
	engine_reader_free(&reader);
	body += 77;
	assert_int_equal(engine_commit_wait(engine, PART_A, derived_run, &body, NULL),
	    STATUS_NOT_FOUND);
	body_draft_unref(&draft);
}

/* A handle outlives expunge, maintenance and the draft. */
static void
test_body_pinned(void **state)
{
	struct engine *engine = fixture_engine(state);
	struct body_draft *draft = draft_make(engine, "P: q\r\n", 700000, 'y');
	uint64_t body = attach(engine, PART_A, draft, "k");
	AUTO_BUF struct buf want;
	buf_init(&want, 1 << 20);
	buf_append(&want, body_draft_bytes(draft));
	body_draft_unref(&draft);
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct body_handle handle;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	assert_int_equal(engine_body_open(txn, body, &handle), STATUS_OK);
	engine_reader_free(&reader);
	assert_int_equal(
	    engine_commit_wait(engine, PART_A, release_run, &body, NULL), STATUS_OK);
	engine_maintain(engine);
	assert_true(slice_equal(body_handle_bytes(&handle), buf_slice(&want)));
	body_handle_close(&handle);
	assert_int_equal(handle.fd, -1);
	fixture_check(engine);
}

struct each_count {
	uint64_t bodies, bytes;
};

static bool
each_count_fn(uint64_t id, const struct engine_body *body, void *arg)
{
	struct each_count *count = arg;
	assert_true(id != 0);
	count->bodies++;
	count->bytes += body->size;
	return count->bodies < 3;
}

static void
test_body_each(void **state)
{
	struct engine *engine = fixture_engine(state);
	struct engine_reader *reader = engine_reader_new(engine);
	for (int i = 0; i < 5; i++) {
		struct engine_txn *txn;
		struct each_count count = {0, 0};
		assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
		assert_int_equal(engine_body_each(txn, each_count_fn, &count), STATUS_OK);
		assert_int_equal(count.bodies, i < 3 ? i : 3);
		assert_int_equal(count.bytes, (i < 3 ? i : 3) * 500);
		engine_reader_end(reader);
		struct body_draft *draft = draft_make(engine, NULL, 500, 'z');
		attach(engine, PART_A, draft, "k");
		body_draft_unref(&draft);
	}
	engine_reader_free(&reader);
}

/* A draft of `size` bytes, not sealed; whether it is in memory. */
static struct body_draft *
draft_begin(struct engine *engine, size_t size, bool *out_in_memory)
{
	struct body_draft *draft = engine_draft_new(engine, 64 * 1024 * 1024);
	char *bytes = xmalloc(size);
	memset(bytes, 'm', size);
	assert_int_equal(body_draft_append(draft, slice_make(bytes, size)), STATUS_OK);
	free(bytes);
	*out_in_memory = draft->fd < 0;
	return draft;
}

/* What drafts hold in memory together is bounded, and all of it comes back. */
static void
test_drafts_in_memory(void **state)
{
	enum { SHARES = BODY_SHARED_BYTES_MAX / (BODY_SPILL_BYTES - BODY_OWN_BYTES) };
	struct engine *engine = fixture_engine(state);
	struct body_draft *drafts[SHARES], *more;
	bool in_memory;
	more = draft_begin(engine, BODY_SPILL_BYTES + 1, &in_memory);
	assert_false(in_memory);
	body_draft_unref(&more);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < SHARES; i++) {
			drafts[i] = draft_begin(engine, BODY_SPILL_BYTES, &in_memory);
			assert_true(in_memory);
		}
		more = draft_begin(engine, BODY_SPILL_BYTES, &in_memory);
		assert_false(in_memory);
		body_draft_unref(&more);
		more = draft_begin(engine, BODY_OWN_BYTES, &in_memory);
		assert_true(in_memory);
		body_draft_unref(&more);
		body_draft_unref(&drafts[0]);
		drafts[0] = draft_begin(engine, BODY_SPILL_BYTES, &in_memory);
		assert_true(in_memory);
		/* One that grows into its file gives back, too. */
		assert_int_equal(body_draft_append(drafts[1], text("x")), STATUS_OK);
		assert_true(drafts[1]->fd >= 0);
		more = draft_begin(engine, BODY_SPILL_BYTES, &in_memory);
		assert_true(in_memory);
		body_draft_unref(&more);
		for (int i = 0; i < SHARES; i++)
			body_draft_unref(&drafts[i]);
	}
}

#define SUITE(setup)                                                                     \
	cmocka_unit_test_setup_teardown(test_bodies, setup, fixture_teardown),           \
	    cmocka_unit_test_setup_teardown(                                             \
		test_body_failed_attach, setup, fixture_teardown),                       \
	    cmocka_unit_test_setup_teardown(test_body_derived, setup, fixture_teardown), \
	    cmocka_unit_test_setup_teardown(test_body_pinned, setup, fixture_teardown),  \
	    cmocka_unit_test_setup_teardown(test_body_each, setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest plain[] = {SUITE(fixture_setup_mem)};
	const struct CMUnitTest reruns[] = {SUITE(fixture_setup_mem_reruns)};
	const struct CMUnitTest lmdb[] = {
	    SUITE(fixture_setup_lmdb),
	    cmocka_unit_test_setup_teardown(
		test_drafts_in_memory, fixture_setup_lmdb, fixture_teardown),
	};
	int failed = cmocka_run_group_tests_name("mem", plain, NULL, NULL);
	failed += cmocka_run_group_tests_name("mem with re-runs", reruns, NULL, NULL);
	failed += cmocka_run_group_tests_name("lmdb", lmdb, NULL, NULL);
	return failed;
}
