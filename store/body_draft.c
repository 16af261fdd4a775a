/*
 * Drafts: message bytes that a session receives.  In memory up to BODY_SPILL_BYTES (less
 * when many are large at once), then in a file of its own in the store's spool folder,
 * laid out as a segment already, so that placing it in a shard is a link and not a copy:
 *
 *	0             segment header
 *	...           room for a frame header and the prefix
 *	SPILL_START   the appended bytes
 *
 * At seal the frame header and the prefix are written directly before the bytes.  One
 * thread fills a draft; after seal it is constant but for its places (body_int.h), and
 * references may be dropped on any thread.
 */
#include "store/body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/ids.h"
#include "base/log.h"
#include "store/body_pack.h"
#include "store/engine_int.h"
#include "text/message_index.h"

#define DRAFT_MAGIC 0x44524654u

enum {
	SPILL_START = 128 * 1024, /* bytes; a multiple of the page size */
	DERIVED_MAX = MESSAGE_INDEX_MAX,
};

_Static_assert(
    SPILL_START >= BODY_SEGMENT_HEADER_SIZE + BODY_FRAME_HEADER_SIZE + BODY_PREFIX_MAX,
    "the prefix has room in a spool file");

/* What drafts of this process hold of BODY_SHARED_BYTES_MAX. */
static _Atomic size_t shared_bytes;

struct body_draft *
engine_draft_new(struct engine *engine, uint64_t size_max)
{
	struct body_draft *draft = xcalloc(1, sizeof *draft);
	draft->magic = DRAFT_MAGIC;
	atomic_init(&draft->refs, 1);
	draft->spool = engine->spool;
	draft->place_release = engine->ops->place_release;
	draft->size_max = size_max;
	draft->packs = engine->packs;
	draft->fd = -1;
	buf_init(&draft->prefix, BODY_PREFIX_MAX);
	/* Without a spool everything stays in memory; with one, room for the prefix. */
	size_t memory_max = engine->spool ? BODY_SPILL_BYTES + BODY_PREFIX_MAX
	                                  : (size_t)size_max + BODY_PREFIX_MAX;
	buf_init(&draft->memory, memory_max);
	buf_init(&draft->derived, DERIVED_MAX);
	buf_init(&draft->packed, BODY_PACK_RAW_MAX);
	return draft;
}

static enum status
draft_fail(struct body_draft *draft, enum status status)
{
	if (draft->status == STATUS_OK)
		draft->status = status;
	return draft->status;
}

static enum status
write_all(int fd, struct slice bytes, uint64_t offset)
{
	while (bytes.len > 0) {
		ssize_t done = pwrite(fd, bytes.ptr, bytes.len, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 && errno != EFBIG ? status_from_errno(errno)
			                                  : STATUS_FULL;
		bytes = slice_from(bytes, (size_t)done);
		offset += (uint64_t)done;
	}
	return STATUS_OK;
}

/* A file without a name: it goes with the process, whatever happens to it, and can still
 * be given one below a shard. */
static int
spool_open(const char *spool)
{
	int fd = open(spool, O_RDWR | O_TMPFILE | O_CLOEXEC, 0640);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	/* The file system has no such files: its bytes will be copied into a segment. */
	char id[ID_TEXT_SIZE], path[4096];
	id_make(id);
	if (snprintf(path, sizeof path, "%s/%s", spool, id) >= (int)sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd >= 0)
		unlink(path);
	return fd;
}

enum status
body_errno_status(int err)
{
	enum { SAY_MS = 1000 };
	static _Atomic uint64_t said_ms;
	uint64_t now_ms = clock_mono_ms(), last_ms = atomic_load(&said_ms);
	if ((err == EMFILE || err == ENFILE || err == ENOMEM) &&
	    (last_ms == 0 || now_ms - last_ms >= SAY_MS) &&
	    atomic_compare_exchange_strong(&said_ms, &last_ms, now_ms))
		LOG_ERROR("store.no_files", LF_STR("error", strerror(err)),
		    LF_STR("effect", "messages cannot be read or taken at the moment"));
	return status_from_errno(err);
}

static void
shared_give_back(struct body_draft *draft)
{
	atomic_fetch_sub_explicit(&shared_bytes, draft->shared, memory_order_relaxed);
	draft->shared = 0;
}

/* Whether `len` bytes may be in memory; takes a share for more than the draft's own, in
 * the steps in which its buffer grows. */
static bool
shared_take(struct body_draft *draft, size_t len)
{
	if (len > BODY_SPILL_BYTES)
		return false;
	size_t want = BODY_OWN_BYTES;
	while (want < len)
		want *= 2;
	size_t have = BODY_OWN_BYTES + draft->shared;
	if (want <= have)
		return true;
	size_t more = want - have;
	size_t before =
	    atomic_fetch_add_explicit(&shared_bytes, more, memory_order_relaxed);
	draft->shared += more;
	return before + more <= BODY_SHARED_BYTES_MAX;
}

static enum status
draft_spill(struct body_draft *draft)
{
	shared_give_back(draft);
	draft->fd = spool_open(draft->spool);
	if (draft->fd < 0)
		return body_errno_status(errno);
	enum status status = write_all(draft->fd, buf_slice(&draft->memory), SPILL_START);
	buf_fini(&draft->memory);
	return status;
}

enum status
body_draft_append(struct body_draft *draft, struct slice bytes)
{
	ENSURE(!draft->sealed);
	if (draft->status != STATUS_OK)
		return draft->status;
	if (bytes.len > draft->size_max - draft->size)
		return draft_fail(draft, STATUS_LIMIT);
	if (draft->fd < 0 && draft->spool &&
	    !shared_take(draft, draft->memory.len + bytes.len)) {
		enum status status = draft_spill(draft);
		if (status != STATUS_OK)
			return draft_fail(draft, status);
	}
	if (draft->fd >= 0) {
		uint64_t offset = SPILL_START + draft->size - draft->prefix.len;
		enum status status = write_all(draft->fd, bytes, offset);
		if (status != STATUS_OK)
			return draft_fail(draft, status);
	} else {
		buf_append(&draft->memory, bytes);
		if (!buf_ok(&draft->memory))
			return draft_fail(draft, STATUS_LIMIT);
	}
	draft->size += bytes.len;
	return STATUS_OK;
}

enum status
body_draft_prefix(struct body_draft *draft, struct slice bytes)
{
	ENSURE(!draft->sealed && draft->prefix.len == 0);
	if (draft->status != STATUS_OK)
		return draft->status;
	if (bytes.len > draft->size_max - draft->size)
		return draft_fail(draft, STATUS_LIMIT);
	buf_append(&draft->prefix, bytes);
	if (!buf_ok(&draft->prefix))
		return draft_fail(draft, STATUS_LIMIT);
	draft->size += bytes.len;
	return STATUS_OK;
}

static enum status
seal_memory(struct body_draft *draft)
{
	size_t prefix = draft->prefix.len;
	if (prefix == 0)
		return STATUS_OK;
	size_t len = draft->memory.len;
	if (!buf_reserve(&draft->memory, prefix))
		return STATUS_LIMIT;
	memmove(draft->memory.ptr + prefix, draft->memory.ptr, len);
	memcpy(draft->memory.ptr, draft->prefix.ptr, prefix);
	buf_commit(&draft->memory, prefix);
	return STATUS_OK;
}

static enum status
seal_file(struct body_draft *draft)
{
	draft->start = SPILL_START - draft->prefix.len;
	enum status status =
	    write_all(draft->fd, buf_slice(&draft->prefix), draft->start);
	if (status != STATUS_OK)
		return status;
	draft->map_size = (size_t)(draft->start + draft->size);
	void *map = mmap(NULL, draft->map_size, PROT_READ, MAP_SHARED, draft->fd, 0);
	if (map == MAP_FAILED)
		return body_errno_status(errno);
	draft->map = map;
	return STATUS_OK;
}

/* The headers that make the spool file a segment. */
static enum status
seal_file_headers(struct body_draft *draft)
{
	char header[BODY_SEGMENT_HEADER_SIZE];
	body_segment_header_put(header);
	enum status status = write_all(draft->fd, slice_make(header, sizeof header), 0);
	if (status != STATUS_OK)
		return status;
	char frame[BODY_FRAME_HEADER_SIZE];
	body_frame_header_put(frame, draft->size, draft->crc);
	return write_all(
	    draft->fd, slice_make(frame, sizeof frame), draft->start - sizeof frame);
}

enum status
body_draft_seal(struct body_draft *draft)
{
	ENSURE(!draft->sealed);
	if (draft->status != STATUS_OK)
		return draft->status;
	enum status status = draft->fd >= 0 ? seal_file(draft) : seal_memory(draft);
	if (status != STATUS_OK)
		return draft_fail(draft, status);
	buf_fini(&draft->prefix);
	draft->sealed = true;
	struct slice bytes = body_draft_bytes(draft);
	draft->crc = crc32c(0, bytes);
	draft->line_end_missing = (uint8_t)message_line_end_missing(bytes);
	if (draft->fd >= 0) {
		status = seal_file_headers(draft);
		if (status != STATUS_OK)
			return draft_fail(draft, status);
	}
	if (draft->packs && draft->fd < 0 &&
	    body_pack(bytes, draft->crc, BODY_PACK_LEVEL, &draft->packed))
		draft->packed_crc = crc32c(0, buf_slice(&draft->packed));
	/* A record that would be too large is left out: readers build it again. */
	if (!message_index_build(bytes, &draft->derived))
		buf_reset(&draft->derived);
	return STATUS_OK;
}

uint64_t
body_draft_size(const struct body_draft *draft)
{
	return draft->size;
}

struct slice
body_draft_bytes(struct body_draft *draft)
{
	ENSURE(draft->sealed);
	if (draft->map)
		return slice_make(draft->map + draft->start, (size_t)draft->size);
	return draft->memory.ptr ? buf_slice(&draft->memory) : SLICE("");
}

struct slice
body_draft_stored(struct body_draft *draft)
{
	return draft->packed.len ? buf_slice(&draft->packed) : body_draft_bytes(draft);
}

uint32_t
body_draft_stored_crc(const struct body_draft *draft)
{
	return draft->packed.len ? draft->packed_crc : draft->crc;
}

uint8_t
body_draft_line_end_missing(const struct body_draft *draft)
{
	ENSURE(draft->sealed);
	return draft->line_end_missing;
}

struct slice
body_draft_derived(const struct body_draft *draft)
{
	return buf_slice(&draft->derived);
}

struct body_draft *
body_draft_ref(struct body_draft *draft)
{
	atomic_fetch_add_explicit(&draft->refs, 1, memory_order_relaxed);
	return draft;
}

static void
draft_free(struct body_draft *draft)
{
	for (size_t i = 0; i < ENGINE_ENVS_MAX; i++) {
		if (draft->places[i].body != 0)
			draft->place_release(&draft->places[i]);
	}
	shared_give_back(draft);
	if (draft->map)
		munmap(draft->map, draft->map_size);
	if (draft->fd >= 0)
		close(draft->fd);
	buf_fini(&draft->prefix);
	buf_fini(&draft->memory);
	buf_fini(&draft->derived);
	buf_fini(&draft->packed);
	draft->magic = 0;
	free(draft);
}

void
body_draft_unref(struct body_draft **draft)
{
	struct body_draft *d = *draft;
	*draft = NULL;
	while (d) {
		ENSURE(d->magic == DRAFT_MAGIC);
		if (atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
			return;
		/* A chain owns what follows. */
		struct body_draft *next = d->next;
		draft_free(d);
		d = next;
	}
}

void
body_handle_close(struct body_handle *handle)
{
	struct engine_pin *pin = handle->pin;
	if (pin)
		pin->close(pin);
	*handle = (struct body_handle){.fd = -1};
}

void
body_handle_dup(const struct body_handle *handle, struct body_handle *out)
{
	struct engine_pin *pin = handle->pin;
	pin->ref(pin);
	*out = *handle;
}

void
body_draft_chain(struct body_draft *first, struct body_draft *next)
{
	while (first->next)
		first = first->next;
	first->next = next;
}
