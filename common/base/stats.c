/*
 * Named counters in one block of memory, private at first, shared through a file after
 * stats_open().
 *
 * The file, host byte order (it never leaves the machine or outlives the boot):
 *	 0  u32 magic   4  u32 version   8  u32 count   12  52 bytes of zero
 *	64  STATS_COUNT_MAX + 1 records of 64 bytes: name (56, NUL-padded), value (u64)
 * The last record is the overflow counter.
 *
 * Invariants: (1) a counter's address never changes, so pointers from stats_get() stay
 * good: stats_open() maps the file over the same addresses; (2) a record's name is
 * written before `count` says that it is there; (3) the file is made under another name
 * and renamed, so readers of the last process's file are not disturbed.
 *
 * The reader uses read(2), not a mapping: the supervisor must not fall over (SIGBUS) when
 * an unprivileged daemon cuts its own file short.
 */
#include "base/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/ensure.h"

enum {
	STATS_MAGIC = 0x53746174,
	STATS_VERSION = 1,
	STATS_HEAD_SIZE = 64,                /* bytes */
	STATS_RECORDS = STATS_COUNT_MAX + 1, /* with the overflow counter */
	STATS_PATH_MAX = 4096,               /* bytes, with the NUL */
};

struct stats_file {
	uint32_t magic;
	uint32_t version;
	_Atomic uint32_t count;
	char reserved[STATS_HEAD_SIZE - 12];
	struct stats_counter counters[STATS_RECORDS];
};

_Static_assert(sizeof(struct stats_counter) == 64, "one cache line a counter");
_Static_assert(offsetof(struct stats_file, counters) == STATS_HEAD_SIZE,
    "records begin behind the head");

static pthread_mutex_t stats_lock = PTHREAD_MUTEX_INITIALIZER;
static struct stats_file *stats_block; /* guarded by stats_lock; made once */

/* The block, made on first use.  The lock is held. */
static struct stats_file *
block_get(void)
{
	if (stats_block)
		return stats_block;
	void *at = mmap(NULL, sizeof(*stats_block), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ENSURE(at != MAP_FAILED);
	stats_block = at;
	stats_block->magic = STATS_MAGIC;
	stats_block->version = STATS_VERSION;
	memcpy(stats_block->counters[STATS_COUNT_MAX].name, "overflow", 9);
	return stats_block;
}

static enum status
write_all(int fd, const void *data, size_t size)
{
	const char *at = data;
	while (size > 0) {
		ssize_t put = write(fd, at, size);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return status_from_errno(put < 0 ? errno : ENOSPC);
		at += put;
		size -= (size_t)put;
	}
	return STATUS_OK;
}

/* Copies the block into the open file and maps that over the block's addresses. */
static enum status
block_share(int fd, struct stats_file *block)
{
	enum status status = write_all(fd, block, sizeof(*block));
	if (status != STATUS_OK)
		return status;
	void *at = mmap(
	    block, sizeof(*block), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (at == MAP_FAILED)
		return status_from_errno(errno);
	ENSURE(at == block);
	return STATUS_OK;
}

enum status
stats_open(const char *path)
{
	char fresh[STATS_PATH_MAX];
	if (!path)
		return STATUS_OK;
	int len = snprintf(fresh, sizeof(fresh), "%s.%ld", path, (long)getpid());
	if (len < 0 || (size_t)len >= sizeof(fresh))
		return STATUS_LIMIT;

	pthread_mutex_lock(&stats_lock);
	enum status status;
	(void)unlink(fresh); /* left by a process of the same number, or not there */
	int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0) {
		status = status_from_errno(errno);
		goto out;
	}
	status = block_share(fd, block_get());
	if (status == STATUS_OK && rename(fresh, path) < 0)
		status = status_from_errno(errno);
	if (status != STATUS_OK)
		(void)unlink(fresh);
	close(fd);
out:
	pthread_mutex_unlock(&stats_lock);
	return status;
}

struct stats_counter *
stats_get(const char *name)
{
	size_t len = strlen(name);
	ENSURE(len > 0 && len <= STATS_NAME_MAX);

	pthread_mutex_lock(&stats_lock);
	struct stats_file *block = block_get();
	uint32_t count = atomic_load_explicit(&block->count, memory_order_relaxed);
	struct stats_counter *found = NULL;
	for (uint32_t i = 0; i < count && !found; i++) {
		if (strcmp(block->counters[i].name, name) == 0)
			found = &block->counters[i];
	}
	if (!found && count < STATS_COUNT_MAX) {
		found = &block->counters[count];
		memcpy(found->name, name, len + 1);
		atomic_store_explicit(&block->count, count + 1, memory_order_release);
	}
	pthread_mutex_unlock(&stats_lock);
	return found ? found : &block->counters[STATS_COUNT_MAX];
}

/* Fills the whole of `block`, or says why not. */
static enum status
read_block(int fd, struct stats_file *block)
{
	char *at = (char *)block;
	size_t got = 0;
	while (got < sizeof(*block)) {
		ssize_t part = pread(fd, at + got, sizeof(*block) - got, (off_t)got);
		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			return status_from_errno(errno);
		if (part == 0)
			return STATUS_CORRUPT;
		got += (size_t)part;
	}
	if (block->magic != STATS_MAGIC || block->version != STATS_VERSION ||
	    atomic_load(&block->count) > STATS_COUNT_MAX)
		return STATUS_CORRUPT;
	return STATUS_OK;
}

enum status
stats_read(
    const char *path, void (*fn)(const char *name, uint64_t value, void *arg), void *arg)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return status_from_errno(errno);
	struct stats_file *block = xcalloc(1, sizeof(*block));
	enum status status = read_block(fd, block);
	close(fd);
	if (status == STATUS_OK) {
		uint32_t count = atomic_load(&block->count);
		for (uint32_t i = 0; i < STATS_RECORDS; i++) {
			struct stats_counter *c = &block->counters[i];
			uint64_t value = atomic_load(&c->value);
			c->name[STATS_NAME_MAX] = '\0';
			if (i < count || (i == STATS_COUNT_MAX && value > 0))
				fn(c->name, value, arg);
		}
	}
	free(block);
	return status;
}
