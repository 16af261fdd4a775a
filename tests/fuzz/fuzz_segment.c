/*
 * Segment files: whatever stands in them, checking, verifying, mending and reading
 *neither fail nor believe it.  The input is a list of edits of the files of a store that
 *has plain and packed bodies and a spilled one; after them a body that verifies is what
 *it was, a packed one that opens too, and a frame that was mended verifies.  Then the
 *files are put back.
 *
 *	input: edits of file u8 (bit 0: of the spilled body; bits 1-2 all set: cut off
 *there, looked at by a new engine), offset u24, len u8, bytes
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/file.h"
#include "store/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	BODIES = 8,
	FILES = 2,
	SPILLED = BODIES - 1,
	EDIT_HEAD = 5,
	BODY_BYTES_MAX = BODY_SPILL_BYTES + 5000
};

static const struct partition_id PART = {
    {'A', 1}
};

struct segment_file {
	char path[300];
	char *bytes; /* as it was */
	size_t size; /* up to the last byte that is not zero, and some more */
	size_t whole;
	int fd;
	bool edited;
};

static char root[200];
static struct engine *engine;
static char *texts[BODIES];
static size_t lens[BODIES];
static uint64_t bodies[BODIES];
static struct segment_file files[FILES];

static void
engine_start(void)
{
	struct engine_options options = {.path = root,
	    .map_size = 32 << 20,
	    .shards = 1,
	    .create = true,
	    .compress = true};
	char *error = NULL;
	ENSURE(engine_open(&options, &engine, &error) == STATUS_OK);
}

static void
finish(void)
{
	engine_close(&engine);
	file_tree_remove(root);
}

struct attach {
	struct body_draft *draft;
	uint64_t body;
};

static enum status
commit_attach(struct engine_txn *txn, void *arg)
{
	struct attach *attach = arg;
	return engine_body_attach(txn, attach->draft, &attach->body);
}

/* Odd ones cannot be packed. */
static void
body_make(size_t i)
{
	uint32_t random = (uint32_t)i + 1;
	lens[i] = i == SPILLED ? BODY_BYTES_MAX : 600 + i * 300;
	texts[i] = xmalloc(lens[i]);
	for (size_t at = 0; at < lens[i]; at++) {
		random = random * 1664525 + 1013904223;
		texts[i][at] =
		    (char)(i % 2 ? random >> 24 : 'a' + at % 7 + (random >> 31));
	}
	struct attach attach = {.draft = engine_draft_new(engine, BODY_BYTES_MAX)};
	ENSURE(
	    body_draft_append(attach.draft, slice_make(texts[i], lens[i])) == STATUS_OK);
	ENSURE(body_draft_seal(attach.draft) == STATUS_OK);
	ENSURE(engine_commit_wait(engine, PART, commit_attach, &attach, attach.draft) ==
	       STATUS_OK);
	body_draft_unref(&attach.draft);
	bodies[i] = attach.body;
}

static void
file_load(struct segment_file *file, uint64_t body)
{
	struct stat st;
	snprintf(file->path, sizeof file->path, "%s/shard-00/bodies/%08x.seg", root,
	    (unsigned)(body >> 32));
	file->fd = open(file->path, O_RDWR | O_CLOEXEC);
	ENSURE(file->fd >= 0 && fstat(file->fd, &st) == 0);
	file->whole = (size_t)st.st_size;
	file->bytes = xcalloc(1, file->whole);
	ENSURE(pread(file->fd, file->bytes, file->whole, 0) == st.st_size);
	file->size = file->whole;
	while (file->size > 0 && file->bytes[file->size - 1] == 0)
		file->size--;
	file->size = file->size + 64 < file->whole ? file->size + 64 : file->whole;
}

static void
start(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/postroom-fuzz-XXXXXX",
	    tmp                             ? tmp
	    : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
					    : "/tmp");
	ENSURE(mkdtemp(root));
	engine_start();
	for (size_t i = 0; i < BODIES; i++)
		body_make(i);
	file_load(&files[0], bodies[0]);
	file_load(&files[1], bodies[SPILLED]);
	atexit(finish);
}

static void
problem(const char *text, void *arg)
{
	ENSURE(text[0]);
	++*(unsigned *)arg;
}

static void
body_look(struct engine_txn *txn, size_t i)
{
	struct engine_body stat;
	struct body_handle handle;
	ENSURE(engine_body_stat(txn, bodies[i], &stat) == STATUS_OK);
	ENSURE(stat.size == lens[i]);
	bool packed = stat.stored < stat.size;
	ENSURE(packed == (i % 2 == 0));
	enum status verified = engine_body_verify(txn, bodies[i]);
	enum status opened = engine_body_open(txn, bodies[i], &handle);
	ENSURE(verified == STATUS_OK || verified == STATUS_CORRUPT);
	ENSURE(opened == STATUS_OK || opened == STATUS_CORRUPT);
	ENSURE(verified != STATUS_OK || opened == STATUS_OK);
	if (opened != STATUS_OK)
		return;
	ENSURE(handle.size == lens[i]);
	bool same = memcmp(handle.map, texts[i], lens[i]) == 0;
	ENSURE(same || (verified == STATUS_CORRUPT && !packed));
	body_handle_close(&handle);
}

/* Mended frames are well, whatever the bytes in them are. */
static void
look(bool mend)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	unsigned problems = 0;
	ENSURE(engine_check(engine, problem, &problems) == STATUS_OK);
	ENSURE(engine_snap(reader, PART, &txn) == STATUS_OK);
	for (size_t i = 0; i < BODIES; i++) {
		if (i == SPILLED && !files[1].edited)
			continue; /* half a megabyte of checksum each time */
		body_look(txn, i);
		enum status frame = engine_body_frame_verify(txn, bodies[i]);
		ENSURE(frame == STATUS_OK || frame == STATUS_CORRUPT);
		if (frame == STATUS_OK || !mend)
			continue;
		ENSURE(engine_body_mend(txn, bodies[i]) == STATUS_OK);
		ENSURE(engine_body_frame_verify(txn, bodies[i]) == STATUS_OK);
		body_look(txn, i);
	}
	engine_reader_free(&reader);
}

/* The edits; true: a file was cut off, which nobody who has it open may see. */
static bool
edits_apply(const uint8_t *data, size_t size)
{
	bool cut = false;
	while (size > EDIT_HEAD) {
		struct segment_file *file = &files[data[0] & 1];
		size_t offset =
		    ((size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3]) % file->size;
		size_t len = data[4] < size - EDIT_HEAD ? data[4] : size - EDIT_HEAD;
		if ((data[0] & 6) == 6 && !cut) {
			cut = true;
			engine_close(&engine);
		}
		if ((data[0] & 6) == 6)
			ENSURE(ftruncate(file->fd, (off_t)offset) == 0);
		else if (!cut)
			ENSURE(pwrite(file->fd, data + EDIT_HEAD, len, (off_t)offset) ==
			       (ssize_t)len);
		file->edited = true;
		data += EDIT_HEAD + len;
		size -= EDIT_HEAD + len;
	}
	return cut;
}

static void
files_restore(void)
{
	for (size_t i = 0; i < FILES; i++) {
		struct segment_file *file = &files[i];
		if (!file->edited)
			continue;
		size_t len =
		    file->size + 256 < file->whole ? file->size + 256 : file->whole;
		ENSURE(pwrite(file->fd, file->bytes, len, 0) == (ssize_t)len);
		ENSURE(ftruncate(file->fd, (off_t)file->whole) == 0);
		file->edited = false;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!engine)
		start();
	bool cut = edits_apply(data, size);
	if (cut)
		engine_start();
	look(!cut);
	if (cut)
		engine_close(&engine);
	files_restore();
	if (cut)
		engine_start();
	return 0;
}
