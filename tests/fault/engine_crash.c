/*
 * The machine stops at every point of a recorded run.  While the engine works, every
 * write, sync, truncation, link, rename and unlink below the store's folder is recorded
 * in order, with the acknowledged commits between them.  Then for each point of the
 * record the disk is rebuilt as a crash there may leave it, once with only what was
 * synced and some times with part of the rest (whole writes, writes torn at 512 bytes or
 * 4 KB, any order; names in order), opened, and compared with the ledger:
 *
 *	1. what was acknowledged before the point is there, whole, and what was
 *acknowledged as deleted is gone
 *	2. what else is there is whole
 *	3. the engine's invariants hold, and it can go on
 *
 * The calls of the engine and of LMDB are both caught: this program's definitions come
 * before the C library's.  A write through a descriptor with O_DSYNC is synced when it
 * returns.  POSTROOM_CRASH_STATES: states with parts of the rest at each point (default
 *2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "unit/store/engine_fixture.h"

enum {
	EVENTS_MAX = 20000,
	FILES_MAX = 400,
	NAMES_MAX = 800,
	TORN_SECTOR = 512, /* bytes that a disk writes as one, the one sort */
	TORN_PAGE = 4096,  /* and the other */
};

enum event_kind {
	EVENT_WRITE,    /* file, offset, bytes */
	EVENT_TRUNCATE, /* file, offset: the size */
	EVENT_SYNC,     /* file */
	EVENT_SYNC_DIR, /* dir */
	EVENT_NAME,     /* file gets the name in dir */
	EVENT_UNNAME,   /* the name in dir goes */
	EVENT_RENAME,   /* name in dir becomes name2 in dir */
	EVENT_ACK,      /* offset: the ledger's entry */
};

struct event {
	enum event_kind kind;
	bool durable; /* EVENT_WRITE by O_DSYNC */
	uint64_t file, dir;
	uint64_t offset;
	char *bytes;
	size_t len;
	char name[32], name2[32];
};

static struct event *events;
static size_t event_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool recording;
static char root[200];
static size_t root_len;

/* With the lock.  Whether the descriptor is of a file or folder below the root. */
static bool
below_root(int fd, struct stat *st, char path[PATH_MAX])
{
	char link[64];
	if (!recording || syscall(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH) < 0)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, path, PATH_MAX - 1);
	if (len <= 0)
		return false;
	path[len] = 0;
	return strncmp(path, root, root_len) == 0 && !strstr(path, "watch.map") &&
	       !strstr(path, "lock.mdb");
}

static struct event *
event_add(enum event_kind kind)
{
	ENSURE(event_count < EVENTS_MAX);
	struct event *event = &events[event_count++];
	memset(event, 0, sizeof *event);
	event->kind = kind;
	return event;
}

static void
record_write(int fd, const struct iovec *vector, int count, off_t offset, ssize_t done)
{
	struct stat st;
	char path[PATH_MAX];
	if (done <= 0 || !below_root(fd, &st, path))
		return;
	struct event *event = event_add(EVENT_WRITE);
	event->file = st.st_ino;
	event->offset = (uint64_t)offset;
	event->len = (size_t)done;
	event->bytes = xmalloc(event->len);
	event->durable = (syscall(SYS_fcntl, fd, F_GETFL) & O_DSYNC) != 0;
	size_t at = 0;
	for (int i = 0; i < count && at < event->len; i++) {
		size_t part = vector[i].iov_len < event->len - at ? vector[i].iov_len
		                                                  : event->len - at;
		memcpy(event->bytes + at, vector[i].iov_base, part);
		at += part;
	}
}

/* ---- the calls ---- */

ssize_t
pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
	pthread_mutex_lock(&lock);
	ssize_t done = syscall(SYS_pwritev, fd, vector, count, (long)offset, 0L);
	record_write(fd, vector, count, offset, done);
	pthread_mutex_unlock(&lock);
	return done;
}

ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	struct iovec vector = {(void *)(uintptr_t)bytes, len};
	pthread_mutex_lock(&lock);
	ssize_t done = syscall(SYS_pwrite64, fd, bytes, len, offset);
	record_write(fd, &vector, 1, offset, done);
	pthread_mutex_unlock(&lock);
	return done;
}

ssize_t
writev(int fd, const struct iovec *vector, int count)
{
	pthread_mutex_lock(&lock);
	off_t offset = recording ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t done = syscall(SYS_writev, fd, vector, count);
	record_write(fd, vector, count, offset, done);
	pthread_mutex_unlock(&lock);
	return done;
}

ssize_t
write(int fd, const void *bytes, size_t len)
{
	struct iovec vector = {(void *)(uintptr_t)bytes, len};
	pthread_mutex_lock(&lock);
	off_t offset = recording ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t done = syscall(SYS_write, fd, bytes, len);
	record_write(fd, &vector, 1, offset, done);
	pthread_mutex_unlock(&lock);
	return done;
}

static int
sync_call(long number, int fd)
{
	struct stat st;
	char path[PATH_MAX];
	pthread_mutex_lock(&lock);
	/* Not the real one: the run is in memory, and this machine does not stop. */
	int rc = recording ? 0 : (int)syscall(number, fd);
	if (below_root(fd, &st, path)) {
		bool dir = S_ISDIR(st.st_mode);
		struct event *event = event_add(dir ? EVENT_SYNC_DIR : EVENT_SYNC);
		event->file = event->dir = st.st_ino;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

int
fdatasync(int fd)
{
	return sync_call(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
	return sync_call(SYS_fsync, fd);
}

static void
record_size(int fd, uint64_t size, bool only_grow)
{
	struct stat st;
	char path[PATH_MAX];
	if (!below_root(fd, &st, path) || (only_grow && (uint64_t)st.st_size != size))
		return;
	struct event *event = event_add(EVENT_TRUNCATE);
	event->file = st.st_ino;
	event->offset = size;
}

int
ftruncate(int fd, off_t size)
{
	pthread_mutex_lock(&lock);
	int rc = (int)syscall(SYS_ftruncate, fd, size);
	if (rc == 0)
		record_size(fd, (uint64_t)size, false);
	pthread_mutex_unlock(&lock);
	return rc;
}

int
fallocate(int fd, int mode, off_t offset, off_t len)
{
	pthread_mutex_lock(&lock);
	int rc = (int)syscall(SYS_fallocate, fd, mode, offset, len);
	if (rc == 0 && mode == 0)
		record_size(fd, (uint64_t)(offset + len), true);
	pthread_mutex_unlock(&lock);
	return rc;
}

static void
record_name(
    enum event_kind kind, int dir, const char *name, const char *name2, uint64_t file)
{
	struct stat st;
	char path[PATH_MAX];
	if (!below_root(dir, &st, path) || !strstr(path, "bodies"))
		return;
	struct event *event = event_add(kind);
	event->dir = st.st_ino;
	event->file = file;
	snprintf(event->name, sizeof event->name, "%s", name);
	snprintf(event->name2, sizeof event->name2, "%s", name2 ? name2 : "");
}

int
openat(int dir, const char *name, int flags, ...)
{
	mode_t mode = 0;
	if (flags & (O_CREAT | O_TMPFILE)) {
		va_list args;
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	pthread_mutex_lock(&lock);
	int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
	struct stat st;
	if (fd >= 0 && recording && flags & O_CREAT && flags & O_EXCL &&
	    syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) == 0)
		record_name(EVENT_NAME, dir, name, NULL, st.st_ino);
	pthread_mutex_unlock(&lock);
	return fd;
}

int
linkat(int from_dir, const char *from, int dir, const char *name, int flags)
{
	struct stat st;
	pthread_mutex_lock(&lock);
	int rc = (int)syscall(SYS_linkat, from_dir, from, dir, name, flags);
	if (rc == 0 && recording && syscall(SYS_newfstatat, dir, name, &st, 0) == 0)
		record_name(EVENT_NAME, dir, name, NULL, st.st_ino);
	pthread_mutex_unlock(&lock);
	return rc;
}

int
renameat(int from_dir, const char *from, int dir, const char *name)
{
	pthread_mutex_lock(&lock);
	int rc = (int)syscall(SYS_renameat, from_dir, from, dir, name);
	if (rc == 0)
		record_name(EVENT_RENAME, dir, from, name, 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int
unlinkat(int dir, const char *name, int flags)
{
	pthread_mutex_lock(&lock);
	int rc = (int)syscall(SYS_unlinkat, dir, name, flags);
	if (rc == 0)
		record_name(EVENT_UNNAME, dir, name, NULL, 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

/* ---- the ledger ---- */

enum { SLOTS = 12, LEDGER_MAX = 2000, SPILLED = BODY_SPILL_BYTES + 3000 };

/* One commit on a slot; in the order in which they were submitted, one at a time a slot.
 */
static struct ledger {
	uint64_t slot, number; /* number 0: taken away */
	size_t submitted_at;   /* events before it */
	size_t acked_at;       /* SIZE_MAX: not yet */
} ledger[LEDGER_MAX];
static size_t ledger_count;

static const struct partition_id PART = {
    {'A', 3}
};

static size_t
size_of(uint64_t number)
{
	return number % 23 == 0 ? SPILLED : 100 + number * 7919 % 9000;
}

struct replace {
	struct engine_commit commit;
	struct body_draft *draft;
	size_t entry;
	sem_t done;
};

static enum status
replace_run(struct engine_txn *txn, void *arg)
{
	struct replace *r = arg;
	const struct ledger *entry = &ledger[r->entry];
	char bytes[2] = {'s', (char)('0' + entry->slot)}, value[16];
	struct slice old, key = slice_make(bytes, 2);
	uint64_t body;
	enum status status = engine_get(txn, key, &old);
	if (status == STATUS_OK)
		status = engine_body_release(txn, be64_get(old.ptr));
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	if (!r->draft) {
		engine_del(txn, key);
		return engine_txn_status(txn);
	}
	status = engine_body_attach(txn, r->draft, &body);
	if (status != STATUS_OK)
		return status;
	be64_put(value, body);
	be64_put(value + 8, entry->number);
	engine_put(txn, key, slice_make(value, sizeof value));
	return engine_txn_status(txn);
}

static void
replace_done(struct engine_commit *commit, enum status status)
{
	struct replace *r = (struct replace *)commit;
	ENSURE(status == STATUS_OK);
	pthread_mutex_lock(&lock);
	ledger[r->entry].acked_at = event_count;
	event_add(EVENT_ACK)->offset = r->entry;
	pthread_mutex_unlock(&lock);
	sem_post(&r->done);
}

static void
replace_submit(struct engine *engine, struct replace *r, uint64_t slot, uint64_t number)
{
	memset(r, 0, sizeof *r);
	sem_init(&r->done, 0, 0);
	if (number) {
		size_t size = size_of(number);
		char *bytes = xmalloc(size);
		memset(bytes, (int)('a' + number % 26), size);
		r->draft = engine_draft_new(engine, 1 << 22);
		ENSURE(body_draft_append(r->draft, slice_make(bytes, size)) == STATUS_OK);
		ENSURE(body_draft_seal(r->draft) == STATUS_OK);
		free(bytes);
	}
	pthread_mutex_lock(&lock);
	r->entry = ledger_count++;
	ENSURE(ledger_count < LEDGER_MAX);
	ledger[r->entry] = (struct ledger){slot, number, event_count, SIZE_MAX};
	pthread_mutex_unlock(&lock);
	r->commit = (struct engine_commit){.part = PART,
	    .fn = replace_run,
	    .arg = r,
	    .done = replace_done,
	    .drafts = r->draft};
	engine_submit(engine, &r->commit);
}

/* Groups of commits in flight together, and care between them. */
static void
run(struct engine *engine)
{
	uint64_t number = 0;
	struct replace *flight = xcalloc(SLOTS, sizeof *flight);
	for (int round = 0; round < 14; round++) {
		for (uint64_t slot = 0; slot < SLOTS; slot++) {
			/* Some slots stay, so that segments die in part only. */
			bool skip = slot % 4 == 0 && round % 6 != 0;
			bool away = (slot + (uint64_t)round) % 5 == 0;
			flight[slot].draft = NULL;
			if (skip)
				continue;
			replace_submit(engine, &flight[slot], slot, away ? 0 : ++number);
		}
		for (uint64_t slot = 0; slot < SLOTS; slot++) {
			if (slot % 4 == 0 && round % 6 != 0)
				continue;
			sem_wait(&flight[slot].done);
			sem_destroy(&flight[slot].done);
			if (flight[slot].draft)
				body_draft_unref(&flight[slot].draft);
		}
		if (round % 3 == 2) {
			struct engine_reclaim reclaim = {0};
			engine_maintain(engine);
			ENSURE(engine_compact(engine, 1 << 24, 3, &reclaim) == STATUS_OK);
			engine_maintain(engine);
		}
	}
	free(flight);
}

/* ---- the disk that a crash leaves ---- */

struct image {
	uint64_t file;
	char *bytes;
	size_t size, room;
	size_t pending[EVENTS_MAX / 8]; /* events since its last sync */
	size_t pending_count;
};

struct named {
	uint64_t dir, file;
	char name[32];
};

static struct image *images;
static size_t image_count;
static struct named names[NAMES_MAX]; /* what is synced */
static size_t name_count;
static size_t names_pending[EVENTS_MAX / 8];
static size_t names_pending_count;

static struct image *
image_of(uint64_t file)
{
	for (size_t i = 0; i < image_count; i++) {
		if (images[i].file == file)
			return &images[i];
	}
	ENSURE(image_count < FILES_MAX);
	images[image_count] = (struct image){.file = file};
	return &images[image_count++];
}

static void
image_resize(struct image *image, size_t size)
{
	if (size > image->room) {
		image->room = size * 2;
		image->bytes = xrealloc(image->bytes, image->room);
	}
	if (size > image->size)
		memset(image->bytes + image->size, 0, size - image->size);
	image->size = size;
}

static void
image_apply(struct image *image, const struct event *event, size_t from, size_t to)
{
	if (event->kind == EVENT_TRUNCATE) {
		image_resize(image, event->offset);
		return;
	}
	if (event->offset + to > image->size)
		image_resize(image, event->offset + to);
	memcpy(image->bytes + event->offset + from, event->bytes + from, to - from);
}

static void
name_apply(struct named *list, size_t *count, const struct event *event)
{
	const char *gone = event->kind == EVENT_NAME ? NULL : event->name;
	uint64_t file = event->file;
	for (size_t i = 0; gone && i < *count; i++) {
		if (list[i].dir != event->dir || strcmp(list[i].name, gone) != 0)
			continue;
		file = list[i].file;
		list[i] = list[--*count];
		break;
	}
	if (event->kind == EVENT_UNNAME)
		return;
	ENSURE(*count < NAMES_MAX);
	struct named *named = &list[(*count)++];
	named->dir = event->dir;
	named->file = file;
	snprintf(named->name, sizeof named->name, "%s",
	    event->kind == EVENT_NAME ? event->name : event->name2);
}

/* One more event has happened. */
static void
replay(size_t at)
{
	const struct event *event = &events[at];
	switch (event->kind) {
	case EVENT_WRITE:
	case EVENT_TRUNCATE: {
		struct image *image = image_of(event->file);
		if (event->durable) {
			image_apply(image, event, 0, event->len);
			break;
		}
		ENSURE(image->pending_count < EVENTS_MAX / 8);
		image->pending[image->pending_count++] = at;
		break;
	}
	case EVENT_SYNC: {
		struct image *image = image_of(event->file);
		for (size_t i = 0; i < image->pending_count; i++) {
			const struct event *write = &events[image->pending[i]];
			image_apply(image, write, 0, write->len);
		}
		image->pending_count = 0;
		break;
	}
	case EVENT_SYNC_DIR: {
		size_t kept = 0;
		for (size_t i = 0; i < names_pending_count; i++) {
			if (events[names_pending[i]].dir == event->dir)
				name_apply(names, &name_count, &events[names_pending[i]]);
			else
				names_pending[kept++] = names_pending[i];
		}
		names_pending_count = kept;
		break;
	}
	case EVENT_NAME:
	case EVENT_UNNAME:
	case EVENT_RENAME:
		ENSURE(names_pending_count < EVENTS_MAX / 8);
		names_pending[names_pending_count++] = at;
		break;
	case EVENT_ACK:
		break;
	default:
		UNREACHABLE();
	}
}

static struct {
	uint64_t dir;
	char path[64]; /* below the root */
} dirs[8];
static size_t dir_count;

static void
file_write(const char *path, const char *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
	ENSURE(fd >= 0);
	for (size_t at = 0; at < size;) {
		ssize_t got = write(fd, bytes + at, size - at);
		ENSURE(got > 0);
		at += (size_t)got;
	}
	close(fd);
}

static const char *
dir_path(uint64_t dir)
{
	for (size_t i = 0; i < dir_count; i++) {
		if (dirs[i].dir == dir)
			return dirs[i].path;
	}
	UNREACHABLE();
}

/* Writes the state to `target`; with a seed, parts of what was not synced are there. */
static void
state_write(const char *target, unsigned seed)
{
	static struct named list[NAMES_MAX];
	size_t count = name_count;
	char path[600];
	memcpy(list, names, sizeof(struct named) * count);
	size_t unit = seed % 2 ? TORN_SECTOR : TORN_PAGE;
	size_t take = seed ? (size_t)rand_r(&seed) % (names_pending_count + 1) : 0;
	for (size_t i = 0; i < take; i++)
		name_apply(list, &count, &events[names_pending[i]]);
	for (size_t d = 0; d < dir_count; d++) {
		snprintf(path, sizeof path, "%s/%s", target, dirs[d].path);
		ENSURE(mkdir(path, 0750) == 0 || errno == EEXIST);
	}
	for (size_t i = 0; i < count; i++) {
		struct image *image = image_of(list[i].file);
		struct image copy = {.file = image->file};
		image_resize(&copy, image->size);
		if (image->size > 0)
			memcpy(copy.bytes, image->bytes, image->size);
		for (size_t p = 0; seed && p < image->pending_count; p++) {
			const struct event *event = &events[image->pending[p]];
			int dice = rand_r(&seed) % 4;
			size_t torn = event->len / unit * unit;
			if (torn > 0)
				torn = (size_t)rand_r(&seed) % (torn / unit + 1) * unit;
			if (dice < 2)
				image_apply(&copy, event, 0, event->len);
			else if (dice == 2 && event->kind == EVENT_WRITE && torn > 0)
				image_apply(&copy, event, 0, torn);
		}
		snprintf(path, sizeof path, "%s/%s/%s", target, dir_path(list[i].dir),
		    list[i].name);
		file_write(path, copy.bytes, copy.size);
		free(copy.bytes);
	}
}

/* ---- comparing ---- */

static struct engine *
open_at(const char *path, bool create)
{
	struct engine_options options = {
	    .path = path,
	    .map_size = (uint64_t)1 << 26,
	    .shards = 1,
	    .segment_size = 64 * 1024,
	    .create = create,
	    .sync = create, /* the states need none */
	};
	struct engine *engine = NULL;
	char *error = NULL;
	enum status status = engine_open(&options, &engine, &error);
	if (status != STATUS_OK)
		fail_msg("open %s: %s", path, error);
	return engine;
}

/* What the slot may hold after a crash at `point`: the last acknowledged, or one that was
 * submitted after it. */
static bool
is_allowed(uint64_t slot, uint64_t number, size_t point)
{
	bool allowed = number == 0;
	for (size_t i = 0; i < ledger_count && ledger[i].submitted_at <= point; i++) {
		if (ledger[i].slot != slot)
			continue;
		if (ledger[i].acked_at < point)
			allowed = ledger[i].number == number;
		else
			allowed |= ledger[i].number == number;
	}
	return allowed;
}

static void
state_check(const char *path, size_t point, const char *what)
{
	struct engine *engine = open_at(path, false);
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	ENSURE(engine_snap(reader, PART, &txn) == STATUS_OK);
	for (uint64_t slot = 0; slot < SLOTS; slot++) {
		char key[2] = {'s', (char)('0' + slot)};
		struct slice value;
		uint64_t number = 0;
		enum status status = engine_get(txn, slice_make(key, 2), &value);
		if (status == STATUS_OK) {
			struct engine_body body;
			number = be64_get(value.ptr + 8);
			status = engine_body_verify(txn, be64_get(value.ptr));
			if (status == STATUS_OK)
				status =
				    engine_body_stat(txn, be64_get(value.ptr), &body);
			if (status != STATUS_OK || body.size != size_of(number))
				fail_msg("%s, point %zu: slot %llu is %s", what, point,
				    (unsigned long long)slot, status_text(status));
		}
		if (!is_allowed(slot, number, point))
			fail_msg("%s, point %zu: slot %llu holds %llu", what, point,
			    (unsigned long long)slot, (unsigned long long)number);
	}
	engine_reader_free(&reader);
	fixture_check(engine);
	engine_maintain(engine);
	fixture_check(engine);
	engine_close(&engine);
}

/* The store as it is before the record begins: all of it is on the disk. */
static void
base_read(const char *below)
{
	char path[600];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", root, below);
	DIR *dir = opendir(path);
	ENSURE(dir && fstat(dirfd(dir), &st) == 0);
	ENSURE(dir_count < sizeof dirs / sizeof dirs[0]);
	uint64_t dir_ino = st.st_ino;
	dirs[dir_count].dir = dir_ino;
	snprintf(dirs[dir_count].path, sizeof dirs[0].path, "%s", below);
	dir_count++;
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lock.mdb") == 0 ||
		    strcmp(entry->d_name, "watch.map") == 0)
			continue;
		char child[400];
		snprintf(child, sizeof child, "%s%s%s", below, *below ? "/" : "",
		    entry->d_name);
		ENSURE(fstatat(dirfd(dir), entry->d_name, &st, 0) == 0);
		if (S_ISDIR(st.st_mode)) {
			base_read(child);
			continue;
		}
		struct image *image = image_of(st.st_ino);
		image_resize(image, (size_t)st.st_size);
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY);
		ENSURE(fd >= 0);
		if (image->size > 0)
			ENSURE(pread(fd, image->bytes, image->size, 0) ==
			       (ssize_t)image->size);
		close(fd);
		struct event event = {
		    .kind = EVENT_NAME, .dir = dir_ino, .file = st.st_ino};
		snprintf(event.name, sizeof event.name, "%.31s", entry->d_name);
		name_apply(names, &name_count, &event);
	}
	closedir(dir);
}

static void
test_every_point(void **state)
{
	(void)state;
	const char *wanted = getenv("POSTROOM_CRASH_STATES");
	unsigned parts = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 2;
	size_t states = 0, by_kind[EVENT_ACK + 1] = {0};
	events = xcalloc(EVENTS_MAX, sizeof *events);
	images = xcalloc(FILES_MAX, sizeof *images);
	fixture_path_make(root, sizeof root);
	root_len = strlen(root);
	struct engine *engine = open_at(root, true);
	base_read("");
	recording = true;
	run(engine);
	recording = false;
	engine_close(&engine);
	for (size_t point = 0; point <= event_count; point++) {
		for (unsigned part = 0; part <= parts; part++, states++) {
			char path[200];
			fixture_path_make(path, sizeof path);
			state_write(path, part ? (unsigned)point * 7 + part : 0);
			state_check(path, point, part ? "parts" : "synced only");
			fixture_path_remove(path);
		}
		if (point < event_count) {
			replay(point);
			by_kind[events[point].kind]++;
		}
	}
	printf(
	    "%zu events (%zu writes, %zu sizes, %zu syncs, %zu folder syncs, %zu names), "
	    "%zu acknowledged, %zu states\n",
	    event_count, by_kind[EVENT_WRITE], by_kind[EVENT_TRUNCATE],
	    by_kind[EVENT_SYNC], by_kind[EVENT_SYNC_DIR],
	    by_kind[EVENT_NAME] + by_kind[EVENT_UNNAME] + by_kind[EVENT_RENAME],
	    by_kind[EVENT_ACK], states);
	assert_true(by_kind[EVENT_SYNC] > 20 && by_kind[EVENT_UNNAME] > 0 &&
		    by_kind[EVENT_SYNC_DIR] > 3);
	fixture_path_remove(root);
	for (size_t i = 0; i < event_count; i++)
		free(events[i].bytes);
	for (size_t i = 0; i < image_count; i++)
		free(images[i].bytes);
	free(events);
	free(images);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_point)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
