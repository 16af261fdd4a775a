/*
 * Segment files: made, locked and let go; and pins, the mapped segments that readers
 * hold.
 *
 * A file appears in the folder under its own name only when it is locked (shared) by the
 * process that appends to it, so that maintenance, which needs the lock for itself, never
 * deletes one that is about to be referred to.  Only its creator ever locks it so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ids.h"
#include "store/engine_lmdb_int.h"

void
segment_name(uint32_t id, char out[16])
{
	snprintf(out, 16, "%08x.seg", id);
}

uint32_t
segment_name_parse(const char *name)
{
	uint32_t id = 0;
	for (int i = 0; i < 8; i++) {
		char c = name[i];
		uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
		                 : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
		                                        : 16;
		if (digit == 16)
			return 0;
		id = id << 4 | digit;
	}
	return strcmp(name + 8, ".seg") == 0 ? id : 0;
}

void
segment_dir_sync(struct lmdb_env *env)
{
	if (!env->engine->sync)
		return;
	if (fsync(env->bodies_fd) < 0)
		lmdb_fatal("fsync of a bodies folder", errno);
	atomic_fetch_add_explicit(&env->engine->engine.syncs, 1, memory_order_relaxed);
}

enum status
segment_allocate(struct engine_segment *segment, uint64_t end)
{
	/* Blocks in steps: few calls, little left over when the process goes. */
	enum { STEP = 4 * 1024 * 1024 };
	if (end <= segment->allocated)
		return STATUS_OK;
	uint64_t want = (end + STEP - 1) / STEP * STEP;
	if (want > segment->capacity)
		want = segment->capacity > end ? segment->capacity : end;
	uint64_t from = segment->allocated;
	if (fallocate(segment->fd, 0, (off_t)from, (off_t)(want - from)) < 0) {
		if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
			return STATUS_FULL;
		/* Not offered here: the file grows by being written. */
		want = segment->capacity;
	}
	segment->allocated = want;
	return STATUS_OK;
}

enum status
segment_create(
    struct lmdb_env *env, uint32_t id, uint64_t frame, struct engine_segment **out)
{
	char temp[32], unique[ID_TEXT_SIZE], name[16];
	id_make(unique);
	snprintf(temp, sizeof temp, "new-%s", unique);
	int fd =
	    openat(env->bodies_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return body_errno_status(errno);
	struct engine_segment *segment = xcalloc(1, sizeof *segment);
	atomic_init(&segment->holders, 1);
	segment->id = id;
	segment->fd = fd;
	segment->end = BODY_SEGMENT_HEADER_SIZE;
	segment->capacity = env->engine->segment_size;
	if (segment->capacity < BODY_SEGMENT_HEADER_SIZE + frame)
		segment->capacity = BODY_SEGMENT_HEADER_SIZE + frame;
	char header[BODY_SEGMENT_HEADER_SIZE];
	body_segment_header_put(header);
	enum status status = STATUS_OK;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		status = STATUS_BUSY; /* maintenance looks at it: next time */
	if (status == STATUS_OK)
		status = segment_allocate(segment, BODY_SEGMENT_HEADER_SIZE + frame);
	if (status == STATUS_OK && pwrite(fd, header, sizeof header, 0) != sizeof header)
		status = STATUS_FULL;
	segment_name(id, name);
	if (status == STATUS_OK &&
	    renameat(env->bodies_fd, temp, env->bodies_fd, name) < 0)
		status = status_from_errno(errno);
	if (status != STATUS_OK) {
		unlinkat(env->bodies_fd, temp, 0);
		segment_unref(&segment);
		return status;
	}
	segment_dir_sync(env);
	*out = segment;
	return STATUS_OK;
}

void
segment_unref(struct engine_segment **segment)
{
	struct engine_segment *s = *segment;
	*segment = NULL;
	if (!s || atomic_fetch_sub(&s->holders, 1) != 1)
		return;
	/* Gives the blocks ahead back; that it works is not needed. */
	if (s->allocated > s->end && ftruncate(s->fd, (off_t)s->end) < 0)
		errno = 0;
	close(s->fd);
	free(s);
}

/* ---- pins ---- */

static struct list *
pin_bucket(struct lmdb_env *env, uint32_t segment)
{
	return &env->pins[segment % LMDB_PIN_BUCKETS];
}

static void
pin_destroy(struct lmdb_pin *pin)
{
	list_remove(&pin->by_bucket);
	list_remove(&pin->idle);
	munmap(pin->map, (size_t)pin->map_size);
	close(pin->fd);
	free(pin);
}

/* With pin_lock. */
static void
pin_drop_idle(struct lmdb_env *env, struct lmdb_pin *pin)
{
	env->pins_idle_count--;
	pin_destroy(pin);
}

static void
pin_ref(struct engine_pin *base)
{
	struct lmdb_pin *pin = (struct lmdb_pin *)base;
	pthread_mutex_lock(&pin->env->pin_lock);
	ENSURE(pin->handles > 0);
	pin->handles++;
	pthread_mutex_unlock(&pin->env->pin_lock);
}

static void
pin_close(struct engine_pin *base)
{
	struct lmdb_pin *pin = (struct lmdb_pin *)base;
	struct lmdb_env *env = pin->env;
	pthread_mutex_lock(&env->pin_lock);
	ENSURE(pin->handles > 0);
	if (--pin->handles == 0) {
		if (pin->stale) {
			pin_destroy(pin);
		} else {
			pin->idle_since_ms = clock_mono_ms();
			list_append(&env->pins_idle, &pin->idle);
			if (++env->pins_idle_count > LMDB_PINS_IDLE_MAX)
				pin_drop_idle(env, LIST_ENTRY(env->pins_idle.next,
						       struct lmdb_pin, idle));
		}
	}
	pthread_mutex_unlock(&env->pin_lock);
}

static enum status
pin_new(struct lmdb_env *env, uint32_t segment, uint64_t end, struct lmdb_pin **out)
{
	char name[16];
	segment_name(segment, name);
	int fd = openat(env->bodies_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return body_errno_status(errno);
	struct stat st;
	if (fstat(fd, &st) < 0) {
		int err = errno;
		close(fd);
		return status_from_errno(err);
	}
	if ((uint64_t)st.st_size < end) {
		close(fd);
		return STATUS_CORRUPT; /* cut off; a read there would be a signal */
	}
	/* A segment grows while its process appends: room for what comes. */
	uint64_t map_size = (uint64_t)st.st_size;
	if (map_size < env->engine->segment_size)
		map_size = env->engine->segment_size;
	void *map = mmap(NULL, (size_t)map_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		int err = errno;
		close(fd);
		return body_errno_status(err);
	}
	struct lmdb_pin *pin = xcalloc(1, sizeof *pin);
	pin->pin.ref = pin_ref;
	pin->pin.close = pin_close;
	pin->env = env;
	list_init(&pin->idle);
	pin->segment = segment;
	pin->fd = fd;
	pin->map = map;
	pin->map_size = map_size;
	pin->file_size = (uint64_t)st.st_size;
	list_append(pin_bucket(env, segment), &pin->by_bucket);
	*out = pin;
	return STATUS_OK;
}

/* The kept pin of the segment if it covers `end`; one that cannot is let go. */
static struct lmdb_pin *
pin_find(struct lmdb_env *env, uint32_t segment, uint64_t end)
{
	LIST_EACH(pin_bucket(env, segment), node)
	{
		struct lmdb_pin *pin = LIST_ENTRY(node, struct lmdb_pin, by_bucket);
		if (pin->segment != segment || pin->stale)
			continue;
		struct stat st;
		if (end > pin->file_size && fstat(pin->fd, &st) == 0)
			pin->file_size = (uint64_t)st.st_size;
		if (end <= pin->file_size && end <= pin->map_size)
			return pin;
		if (pin->handles == 0)
			pin_drop_idle(env, pin);
		else
			pin->stale = true;
		return NULL;
	}
	return NULL;
}

enum status
pin_open(struct lmdb_env *env, uint32_t segment, uint64_t end, struct lmdb_pin **out)
{
	enum status status = STATUS_OK;
	pthread_mutex_lock(&env->pin_lock);
	*out = pin_find(env, segment, end);
	if (!*out)
		status = pin_new(env, segment, end, out);
	if (status == STATUS_OK && (*out)->handles++ == 0 &&
	    !list_is_empty(&(*out)->idle)) {
		list_remove(&(*out)->idle);
		env->pins_idle_count--;
	}
	pthread_mutex_unlock(&env->pin_lock);
	return status;
}

void
pins_trim(struct lmdb_env *env, bool all)
{
	uint64_t now = clock_mono_ms();
	pthread_mutex_lock(&env->pin_lock);
	while (!list_is_empty(&env->pins_idle)) {
		struct lmdb_pin *pin =
		    LIST_ENTRY(env->pins_idle.next, struct lmdb_pin, idle);
		if (!all && now - pin->idle_since_ms < LMDB_PIN_IDLE_MS)
			break;
		pin_drop_idle(env, pin);
	}
	pthread_mutex_unlock(&env->pin_lock);
}
