/*
 * The engine over LMDB: opens the store's folder and its environments, and holds the
 * table of calls.  The parts: engine_lmdb_superblock, engine_lmdb_env (environments),
 * _txn (transactions, cursors), _body (records), _place (drafts into segments), _segment
 * (files, pins), _room (the reserve), _reclaim (maintenance, compaction), _care (check).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ids.h"
#include "store/engine_lmdb_int.h"

/* Most writers wait for the disk: more shards than cores gain nothing. */
static const uint64_t SEGMENT_SIZE_DEFAULT = 64 * 1024 * 1024;
static const uint64_t SEGMENT_SIZE_MIN = 64 * 1024;
static const uint64_t SEGMENT_SIZE_MAX = (uint64_t)1 << 34; /* ids hold offset / 8 */

static uint32_t
shards_default(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	if (cores < 1)
		return 1;
	return cores > ENGINE_SHARDS_MAX ? ENGINE_SHARDS_MAX : (uint32_t)cores;
}

/* ---- open and close ---- */

static void
env_name(uint32_t index, char out[16])
{
	if (index == ENGINE_ENV_DIRECTORY)
		snprintf(out, 16, "directory");
	else if (index == ENGINE_ENV_QUEUE)
		snprintf(out, 16, "queue");
	else
		snprintf(out, 16, "shard-%02u", (index - ENGINE_ENV_SHARD) % 100);
}

static enum status
envs_open(struct lmdb_engine *engine, bool create, char **error)
{
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + engine->engine.shards; i++) {
		struct lmdb_env *env = &engine->envs[i];
		char name[16];
		env_name(i, name);
		env->engine = engine;
		env->env.engine = &engine->engine;
		env->env.index = i;
		engine_writer_init(&env->env.writer);
		engine->engine.envs[i] = &env->env;
		enum status status = lmdb_env_open(env, name, create, error);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

/* With the folder locked, so that daemons that start together make one store. */
static enum status
folder_open(struct lmdb_engine *engine, const struct engine_options *options, int dir_fd,
    char **error)
{
	bool create = options->create;
	if (create)
		mkdirat(dir_fd, "spool", 0750); /* drafts tell when it is not there */
	struct superblock superblock;
	enum status status = superblock_read(dir_fd, engine->path, &superblock, error);
	if (status == STATUS_NOT_FOUND && create) {
		uint32_t shards = options->shards ? options->shards : shards_default();
		superblock.shards =
		    shards > ENGINE_SHARDS_MAX ? ENGINE_SHARDS_MAX : shards;
		random_bytes(superblock.installation, sizeof superblock.installation);
		status = superblock_write(dir_fd, &superblock);
	} else if (status == STATUS_OK) {
		/* What is missing in a store that was made is a loss, not a start. */
		create = faccessat(dir_fd, "complete", F_OK, 0) != 0 && create;
	}
	if (status == STATUS_OK) {
		engine->engine.shards = superblock.shards;
		memcpy(engine->installation, superblock.installation,
		    sizeof engine->installation);
	}
	if (status == STATUS_OK)
		status = envs_open(engine, create, error);
	if (status == STATUS_OK && create) {
		int fd = openat(dir_fd, "complete", O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
		if (fd < 0 || fsync(dir_fd) < 0)
			status = status_from_errno(errno);
		if (fd >= 0)
			close(fd);
	}
	if (status == STATUS_OK) {
		char path[LMDB_PATH_MAX];
		snprintf(path, sizeof path, "%s/watch.map", engine->path);
		status =
		    engine_watcher_open(&engine->engine, path, &engine->engine.watcher);
	}
	if (status != STATUS_OK && !*error)
		lmdb_error(error, "%s: %s", engine->path, status_text(status));
	return status;
}

static void
lmdb_close(struct engine *base)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)base;
	ENSURE(list_is_empty(&engine->readers));
	for (uint32_t i = 0; i < ENGINE_ENVS_MAX; i++) {
		if (base->envs[i])
			lmdb_env_close(&engine->envs[i]);
	}
	pthread_mutex_destroy(&engine->readers_lock);
	free(base->spool);
	free(engine->path);
	free(engine);
}

static const struct engine_ops LMDB_OPS = {
    .close = lmdb_close,
    .reader_new = lmdb_reader_new,
    .reader_free = lmdb_reader_free,
    .reader_end = lmdb_reader_end,
    .snap = lmdb_snap,
    .get = lmdb_get,
    .put = lmdb_put,
    .del = lmdb_del,
    .raw_open = lmdb_raw_open,
    .raw_move = lmdb_raw_move,
    .raw_close = lmdb_raw_close,
    .body_attach = lmdb_body_attach,
    .body_count = lmdb_body_count,
    .body_set_derived = lmdb_body_set_derived,
    .body_stat = lmdb_body_stat,
    .body_derived = lmdb_body_derived,
    .body_open = lmdb_body_open,
    .body_mark = lmdb_body_mark,
    .body_frame = lmdb_body_frame,
    .body_each = lmdb_body_each,
    .place_release = lmdb_place_release,
    .place = lmdb_place,
    .begin = lmdb_begin,
    .abort = lmdb_abort,
    .commit = lmdb_commit,
    .maintain = lmdb_maintain,
    .compact = lmdb_compact,
    .space = lmdb_space,
    .tick = lmdb_tick,
    .backup = lmdb_backup,
    .check = lmdb_check,
    .oldest_reader_age_ms = lmdb_oldest_reader_age_ms,
    .env_last_txn = lmdb_env_last_txn,
};

enum status
engine_open(const struct engine_options *options, struct engine **out, char **error)
{
	*out = NULL;
	*error = NULL;
	if (options->create && mkdir(options->path, 0750) < 0 && errno != EEXIST) {
		int err = errno;
		lmdb_error(error, "%s: %s", options->path, strerror(err));
		return status_from_errno(err);
	}
	int dir_fd = open(options->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		int err = errno;
		lmdb_error(error, "%s: %s", options->path, strerror(err));
		return status_from_errno(err);
	}
	struct lmdb_engine *engine = xcalloc(1, sizeof *engine);
	engine_init(&engine->engine, &LMDB_OPS, 1);
	engine->path = xstrdup(options->path);
	if (asprintf(&engine->engine.spool, "%s/spool", options->path) < 0)
		abort();
	uint64_t segment =
	    options->segment_size ? options->segment_size : SEGMENT_SIZE_DEFAULT;
	if (segment < SEGMENT_SIZE_MIN)
		segment = SEGMENT_SIZE_MIN;
	engine->segment_size = segment > SEGMENT_SIZE_MAX ? SEGMENT_SIZE_MAX : segment;
	engine->map_size = options->map_size;
	engine->min_free_percent = options->min_free_percent;
	engine->sync = options->sync;
	engine->engine.packs = options->compress;
	pthread_mutex_init(&engine->readers_lock, NULL);
	list_init(&engine->readers);
	while (flock(dir_fd, LOCK_EX) < 0 && errno == EINTR)
		continue;
	enum status status = folder_open(engine, options, dir_fd, error);
	close(dir_fd); /* with it the lock goes */
	struct engine *opened = &engine->engine;
	if (status != STATUS_OK) {
		engine_close(&opened);
		return status;
	}
	*out = opened;
	return STATUS_OK;
}
