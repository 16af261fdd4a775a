/*
 * The n-th call of each kind fails, for all n: every commit either has its whole effect
 * or none and says which, the engine's invariants hold, and the writer goes on.  A failed
 * sync, and a commit that may have failed in its sync, end the process.
 *
 * The calls are caught by the linker (--wrap) where the store makes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "unit/store/engine_fixture.h"

enum call {
	CALL_MDB_PUT,
	CALL_MDB_DEL,
	CALL_MDB_GET,
	CALL_MDB_TXN_BEGIN,
	CALL_MDB_TXN_COMMIT,
	CALL_MDB_CURSOR_OPEN,
	CALL_PWRITEV,
	CALL_PWRITEV_SHORT, /* half of it is written, and that is all */
	CALL_PWRITE,
	CALL_PREAD,
	CALL_FALLOCATE,
	CALL_OPENAT,
	CALL_LINKAT,
	CALL_RENAMEAT,
	CALL_MMAP,
	CALL_FLOCK,
	CALL_FDATASYNC,
	CALL_FSYNC,
	CALLS_,
	CALL_NONE = CALLS_,
};

static _Atomic int armed = CALL_NONE; /* enum call */
static _Atomic int countdown;
static _Atomic bool fired;
static int error_code; /* of the armed call */

/* The n-th call of the armed kind, and no other. */
static bool
fails(enum call call)
{
	if (atomic_load(&armed) != (int)call || atomic_fetch_sub(&countdown, 1) != 1)
		return false;
	atomic_store(&fired, true);
	errno = error_code;
	return true;
}

static void
arm(enum call call, int n, int error)
{
	error_code = error;
	atomic_store(&fired, false);
	atomic_store(&countdown, n);
	atomic_store(&armed, (int)call);
}

static void
disarm(void)
{
	atomic_store(&armed, CALL_NONE);
}

/* ---- the calls ---- */

#define WRAP(type, name, args, call, failure, pass)                                      \
	type __real_##name args;                                                         \
	type __wrap_##name args;                                                         \
	type __wrap_##name args                                                          \
	{                                                                                \
		return fails(call) ? (failure) : __real_##name pass;                     \
	}

WRAP(int, mdb_put, (MDB_txn * t, MDB_dbi d, MDB_val *k, MDB_val *v, unsigned f),
    CALL_MDB_PUT, error_code, (t, d, k, v, f))
WRAP(int, mdb_del, (MDB_txn * t, MDB_dbi d, MDB_val *k, MDB_val *v), CALL_MDB_DEL,
    error_code, (t, d, k, v))
WRAP(int, mdb_get, (MDB_txn * t, MDB_dbi d, MDB_val *k, MDB_val *v), CALL_MDB_GET,
    error_code, (t, d, k, v))
WRAP(int, mdb_txn_begin, (MDB_env * e, MDB_txn *p, unsigned f, MDB_txn **t),
    CALL_MDB_TXN_BEGIN, error_code, (e, p, f, t))
WRAP(int, mdb_cursor_open, (MDB_txn * t, MDB_dbi d, MDB_cursor **c), CALL_MDB_CURSOR_OPEN,
    error_code, (t, d, c))
WRAP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), CALL_PWRITE, -1,
    (fd, b, n, o))
WRAP(ssize_t, pread, (int fd, void *b, size_t n, off_t o), CALL_PREAD, -1, (fd, b, n, o))
WRAP(int, fallocate, (int fd, int m, off_t o, off_t n), CALL_FALLOCATE, -1, (fd, m, o, n))
WRAP(int, linkat, (int a, const char *b, int c, const char *d, int f), CALL_LINKAT, -1,
    (a, b, c, d, f))
WRAP(int, renameat, (int a, const char *b, int c, const char *d), CALL_RENAMEAT, -1,
    (a, b, c, d))
WRAP(void *, mmap, (void *a, size_t n, int p, int f, int fd, off_t o), CALL_MMAP,
    MAP_FAILED, (a, n, p, f, fd, o))
WRAP(int, fdatasync, (int fd), CALL_FDATASYNC, -1, (fd))
WRAP(int, fsync, (int fd), CALL_FSYNC, -1, (fd))

static void (*before_lock)(int op); /* null, or called before each flock */

int __real_flock(int fd, int op);
int __wrap_flock(int fd, int op);
int
__wrap_flock(int fd, int op)
{
	if (before_lock)
		before_lock(op);
	return fails(CALL_FLOCK) ? -1 : __real_flock(fd, op);
}

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int
__wrap_mdb_txn_commit(MDB_txn *txn)
{
	if (!fails(CALL_MDB_TXN_COMMIT))
		return __real_mdb_txn_commit(txn);
	mdb_txn_abort(txn); /* a commit frees the transaction in any case */
	return error_code;
}

ssize_t __real_pwritev(int fd, const struct iovec *v, int n, off_t o);
ssize_t __wrap_pwritev(int fd, const struct iovec *v, int n, off_t o);
ssize_t
__wrap_pwritev(int fd, const struct iovec *v, int n, off_t o)
{
	if (fails(CALL_PWRITEV))
		return -1;
	if (fails(CALL_PWRITEV_SHORT)) {
		/* A full disk takes a part; the next call then says so. */
		ssize_t got = n > 1 ? __real_pwritev(fd, v, n / 2, o) : -1;
		arm(CALL_PWRITEV, 1, ENOSPC);
		atomic_store(&fired, true);
		return got;
	}
	return __real_pwritev(fd, v, n, o);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int
__wrap_openat(int dir, const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return fails(CALL_OPENAT) ? -1 : __real_openat(dir, path, flags, mode);
}

/* ---- the work: slots whose bodies are replaced ---- */

enum { SLOTS = 6, SPILLED_SIZE = BODY_SPILL_BYTES + 5000, N_MAX = 400 };

static const struct partition_id PART = {
    {'A', 3}
};

static uint64_t expected[SLOTS]; /* number in the slot; 0: none */
static uint64_t number_last;

static size_t
size_of(uint64_t number)
{
	return number % 5 == 0 ? SPILLED_SIZE : 200 + number * 7919 % 40000;
}

struct replace {
	struct body_draft *draft; /* null: only away */
	uint64_t slot, number;
};

static enum status
replace_run(struct engine_txn *txn, void *arg)
{
	struct replace *replace = arg;
	char key_bytes[2] = {'s', (char)('0' + replace->slot)}, value[16];
	struct slice old, key = slice_make(key_bytes, 2);
	uint64_t body;
	enum status status = engine_get(txn, key, &old);
	if (status == STATUS_OK)
		status = engine_body_release(txn, be64_get(old.ptr));
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	if (!replace->draft) {
		engine_del(txn, key);
		return engine_txn_status(txn);
	}
	status = engine_body_attach(txn, replace->draft, &body);
	if (status != STATUS_OK)
		return status;
	be64_put(value, body);
	be64_put(value + 8, replace->number);
	engine_put(txn, key, slice_make(value, sizeof value));
	return engine_txn_status(txn);
}

static enum status
replace(struct engine *engine, uint64_t slot, bool away)
{
	struct replace r = {NULL, slot, away ? 0 : ++number_last};
	if (!away) {
		size_t size = size_of(r.number);
		char *bytes = xmalloc(size);
		memset(bytes, (int)('a' + r.number % 26), size);
		r.draft = engine_draft_new(engine, 1 << 22);
		enum status status = body_draft_append(r.draft, slice_make(bytes, size));
		if (status == STATUS_OK)
			status = body_draft_seal(r.draft);
		free(bytes);
		if (status != STATUS_OK) {
			body_draft_unref(&r.draft);
			return status;
		}
	}
	enum status status = engine_commit_wait(engine, PART, replace_run, &r, r.draft);
	if (r.draft)
		body_draft_unref(&r.draft);
	if (status == STATUS_OK)
		expected[slot] = r.number;
	return status;
}

static void
work(struct engine *engine)
{
	struct engine_reclaim reclaim = {0};
	for (uint64_t slot = 0; slot < SLOTS; slot++)
		(void)replace(engine, slot, slot == 2);
	engine_maintain(engine);
	(void)!engine_compact(engine, 1 << 24, 1, &reclaim);
}

/* Every slot holds what the last commit that said OK has put there. */
static void
verify(struct engine *engine)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	ENSURE(engine_snap(reader, PART, &txn) == STATUS_OK);
	for (uint64_t slot = 0; slot < SLOTS; slot++) {
		char key[2] = {'s', (char)('0' + slot)};
		struct slice value;
		struct body_handle handle;
		enum status status = engine_get(txn, slice_make(key, 2), &value);
		if (expected[slot] == 0) {
			assert_int_equal(status, STATUS_NOT_FOUND);
			continue;
		}
		assert_int_equal(status, STATUS_OK);
		assert_int_equal(be64_get(value.ptr + 8), expected[slot]);
		uint64_t body = be64_get(value.ptr);
		assert_int_equal(engine_body_verify(txn, body), STATUS_OK);
		assert_int_equal(engine_body_open(txn, body, &handle), STATUS_OK);
		assert_int_equal(handle.size, size_of(expected[slot]));
		assert_int_equal(handle.map[0], 'a' + (int)(expected[slot] % 26));
		body_handle_close(&handle);
	}
	engine_reader_free(&reader);
	fixture_check(engine);
}

struct engine_ctx {
	char path[200];
	struct engine *engine;
};

static void
ctx_open(struct engine_ctx *ctx, bool sync)
{
	memset(expected, 0, sizeof expected);
	fixture_path_make(ctx->path, sizeof ctx->path);
	struct engine_options options = {
	    .path = ctx->path,
	    .map_size = (uint64_t)1 << 28,
	    .shards = 1,
	    .segment_size = 128 * 1024,
	    .create = true,
	    .sync = sync,
	};
	char *error = NULL;
	ENSURE(engine_open(&options, &ctx->engine, &error) == STATUS_OK);
}

static void
ctx_close(struct engine_ctx *ctx)
{
	engine_close(&ctx->engine);
	fixture_path_remove(ctx->path);
}

/* All n until the work makes no n-th call of the kind. */
static int
nth_of(struct engine *engine, enum call call, int error)
{
	int n = 1;
	for (; n <= N_MAX; n++) {
		arm(call, n, error);
		work(engine);
		disarm();
		verify(engine);
		/* The writer goes on. */
		assert_int_equal(replace(engine, (uint64_t)n % SLOTS, false), STATUS_OK);
		if (!atomic_load(&fired))
			break;
	}
	verify(engine);
	return n - 1;
}

static void
test_nth_call(void **state)
{
	(void)state;
	static const struct {
		enum call call;
		int error;
		const char *name;
		int least; /* so often at least the work makes the call */
	} ROWS[] = {
	    {CALL_MDB_PUT,         MDB_MAP_FULL,     "mdb_put: map full",      20},
	    {CALL_MDB_PUT,         ENOMEM,           "mdb_put: no memory",     20},
	    {CALL_MDB_DEL,         MDB_MAP_FULL,     "mdb_del: map full",      5 },
	    {CALL_MDB_GET,         ENOMEM,           "mdb_get: no memory",     20},
	    {CALL_MDB_TXN_BEGIN,   ENOMEM,           "mdb_txn_begin",          6 },
	    {CALL_MDB_TXN_BEGIN,   MDB_READERS_FULL, "readers full",           6 },
	    {CALL_MDB_TXN_COMMIT,  MDB_MAP_FULL,     "mdb_txn_commit: full",   6 },
	    {CALL_MDB_TXN_COMMIT,  ENOSPC,           "mdb_txn_commit: ENOSPC", 6 },
	    {CALL_MDB_CURSOR_OPEN, ENOMEM,           "mdb_cursor_open",        1 },
	    {CALL_PWRITEV,         ENOSPC,           "pwritev: ENOSPC",        3 },
	    {CALL_PWRITEV,         EIO,              "pwritev: EIO",           3 },
	    {CALL_PWRITEV_SHORT,   ENOSPC,           "pwritev: short",         3 },
	    {CALL_PWRITE,          ENOSPC,           "pwrite: ENOSPC",         3 },
	    {CALL_PREAD,           EIO,              "pread: EIO",             1 },
	    {CALL_FALLOCATE,       ENOSPC,           "fallocate: ENOSPC",      1 },
	    {CALL_OPENAT,          EMFILE,           "openat: EMFILE",         3 },
	    {CALL_LINKAT,          ENOSPC,           "linkat: ENOSPC",         1 },
	    {CALL_RENAMEAT,        EIO,              "renameat: EIO",          1 },
	    {CALL_MMAP,            ENOMEM,           "mmap: no memory",        1 },
	    {CALL_FLOCK,           EWOULDBLOCK,      "flock: taken",           1 },
	    {CALL_PWRITEV,         EROFS,            "pwritev: read-only",     3 },
	    {CALL_PWRITE,          EROFS,            "pwrite: read-only",      3 },
	    {CALL_MDB_TXN_COMMIT,  EROFS,            "commit: read-only",      6 },
	};
	for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
		struct engine_ctx ctx;
		ctx_open(&ctx, false);
		work(ctx.engine);
		int calls = nth_of(ctx.engine, ROWS[i].call, ROWS[i].error);
		printf("%-24s %d\n", ROWS[i].name, calls);
		assert_true(calls >= ROWS[i].least && calls < N_MAX);
		ctx_close(&ctx);
	}
}

/* The process ends: a child that survives, or dies otherwise, is wrong.  False: there is
 * no n-th call. */
static bool
must_abort(enum call call, int n, int error)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct engine_ctx ctx;
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(3);
		ctx_open(&ctx, true);
		arm(call, n, error);
		work(ctx.engine);
		_exit(atomic_load(&fired) ? 1 : 2);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		return false;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		fail_msg("call %d, n %d: exit status %x", (int)call, n, (unsigned)status);
	return true;
}

static void
test_failed_sync_ends_the_process(void **state)
{
	(void)state;
	static const enum call calls[] = {
	    CALL_FDATASYNC, CALL_FSYNC, CALL_MDB_TXN_COMMIT};
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		int n = 1;
		while (n <= 4 && must_abort(calls[i], n, EIO))
			n++;
		assert_true(n > 1);
	}
}

/* A file system that becomes read-only before a sync has not failed: what was asked is
 * refused, and when it is writable again the same process goes on. */
static void
test_read_only_before_sync(void **state)
{
	(void)state;
	struct engine_ctx ctx;
	int n = 1;
	ctx_open(&ctx, true);
	for (;; n++) {
		arm(CALL_FDATASYNC, n, EROFS);
		work(ctx.engine);
		disarm();
		verify(ctx.engine);
		assert_int_equal(
		    replace(ctx.engine, (uint64_t)n % SLOTS, false), STATUS_OK);
		if (!atomic_load(&fired))
			break;
	}
	assert_true(n > 2 && n < N_MAX);
	verify(ctx.engine);
	ctx_close(&ctx);
}

/* ---- a process commits and dies between compaction's look and its lock ---- */

static struct {
	pid_t pid;
	int go[2], done[2];
} owner;

static void
owner_dies(int op)
{
	if (op != (LOCK_EX | LOCK_NB) || owner.pid == 0)
		return;
	char byte = 0;
	pid_t pid = owner.pid;
	owner.pid = 0;
	assert_int_equal(write(owner.go[1], &byte, 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static enum status
slot_put(struct engine *engine, uint64_t slot, size_t size)
{
	struct replace r = {engine_draft_new(engine, 1 << 22), slot, 9};
	char *bytes = xcalloc(1, size);
	enum status status = body_draft_append(r.draft, slice_make(bytes, size));
	free(bytes);
	if (status == STATUS_OK)
		status = body_draft_seal(r.draft);
	if (status == STATUS_OK)
		status = engine_commit_wait(engine, PART, replace_run, &r, r.draft);
	body_draft_unref(&r.draft);
	return status;
}

static void
owner_main(const char *path)
{
	struct engine_options options = {
	    .path = path, .map_size = (uint64_t)1 << 28, .shards = 1, .sync = true};
	struct engine *engine;
	char *error = NULL, byte = 0;
	if (engine_open(&options, &engine, &error) != STATUS_OK ||
	    slot_put(engine, 0, 1000) != STATUS_OK ||
	    write(owner.done[1], &byte, 1) != 1 || read(owner.go[0], &byte, 1) != 1)
		_exit(1);
	/* Too large for the redo database: only the segment has it. */
	_exit(slot_put(engine, 1, 300000) == STATUS_OK ? 0 : 1);
}

static void
test_owner_dies_before_compaction_locks(void **state)
{
	(void)state;
	struct engine_ctx ctx;
	struct engine_reclaim reclaim = {0};
	char byte = 0;
	ctx_open(&ctx, true);
	engine_close(&ctx.engine);
	assert_int_equal(pipe(owner.go), 0);
	assert_int_equal(pipe(owner.done), 0);
	fflush(NULL);
	owner.pid = fork();
	assert_true(owner.pid >= 0);
	if (owner.pid == 0)
		owner_main(ctx.path);
	assert_int_equal(read(owner.done[0], &byte, 1), 1);
	struct engine_options options = {
	    .path = ctx.path, .map_size = (uint64_t)1 << 28, .shards = 1, .sync = true};
	char *error = NULL;
	assert_int_equal(engine_open(&options, &ctx.engine, &error), STATUS_OK);
	before_lock = owner_dies;
	enum status status = engine_compact(ctx.engine, 1 << 24, 0, &reclaim);
	before_lock = NULL;
	assert_int_equal(owner.pid, 0);
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(reclaim.unreadable, 0);
	struct engine_reader *reader = engine_reader_new(ctx.engine);
	struct engine_txn *txn;
	struct slice value;
	assert_int_equal(engine_snap(reader, PART, &txn), STATUS_OK);
	assert_int_equal(engine_get(txn, SLICE("s1"), &value), STATUS_OK);
	assert_int_equal(engine_body_verify(txn, be64_get(value.ptr)), STATUS_OK);
	engine_reader_free(&reader);
	fixture_check(ctx.engine);
	for (int i = 0; i < 2; i++) {
		close(owner.go[i]);
		close(owner.done[i]);
	}
	ctx_close(&ctx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nth_call),
	    cmocka_unit_test(test_owner_dies_before_compaction_locks),
	    cmocka_unit_test(test_read_only_before_sync),
	    cmocka_unit_test(test_failed_sync_ends_the_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
