/*
 * One LMDB environment: open with its databases, the gate that lets a remap wait for
 * this process's transactions, and the mapping of LMDB's results.
 *
 * LMDB keeps its promises only on a local file system and when a process opens an
 * environment once; both are checked here.  Sizes: decision 0006.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/engine_lmdb_int.h"

enum status
lmdb_status(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return STATUS_OK;
	case MDB_NOTFOUND:
		return STATUS_NOT_FOUND;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case EFBIG: /* RLIMIT_FSIZE */
		return STATUS_FULL;
	case MDB_READERS_FULL:
	case MDB_MAP_RESIZED:
		return STATUS_BUSY;
	case MDB_BAD_VALSIZE:
		return STATUS_LIMIT;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return STATUS_CORRUPT;
	default:
		return rc > 0 ? status_from_errno(rc) : STATUS_IO;
	}
}

void
lmdb_fatal(const char *what, int err)
{
	/* After a failed sync nobody knows what is on disk, and a second sync would say
	 * that all is well: the only safe thing is to start again from the disk. */
	LOG_ERROR(
	    "store.fatal", LF_STR("what", what), LF_STR("error", mdb_strerror(err)));
	abort();
}

void
lmdb_writable_say(struct lmdb_env *env, bool writable)
{
	if (atomic_exchange(&env->read_only, !writable) == !writable)
		return;
	if (writable)
		LOG_INFO("store.writable", LF_STR("env", env->path));
	else
		LOG_ERROR("store.read_only", LF_STR("env", env->path),
		    LF_STR("effect", "the file system refuses writes; mail is readable"));
}

/* ---- slots of readers ---- */

static int
readers_clear(struct lmdb_env *env)
{
	int cleared = 0;
	if (mdb_reader_check(env->mdb, &cleared) != 0 || cleared < 0)
		cleared = 0;
	atomic_fetch_add_explicit(&env->engine->engine.readers_cleared, (uint64_t)cleared,
	    memory_order_relaxed);
	return cleared;
}

/* Once a second at most. */
static void
readers_full_say(struct lmdb_env *env)
{
	enum { SAY_MS = 1000 };
	uint64_t now_ms = clock_mono_ms(), said_ms = atomic_load(&env->readers_said_ms);
	if ((said_ms == 0 || now_ms - said_ms >= SAY_MS) &&
	    atomic_compare_exchange_strong(&env->readers_said_ms, &said_ms, now_ms))
		LOG_ERROR("store.readers_full", LF_STR("env", env->path),
		    LF_U64("slots", LMDB_READERS_MAX),
		    LF_STR("effect", "commands are answered with: busy, try again"));
}

enum status
lmdb_txn_commit(struct lmdb_env *env, MDB_txn *txn)
{
	int rc = mdb_txn_commit(txn);
	enum status status = lmdb_status(rc);
	/* Without room the old meta page stands and nothing has happened; had writing the
	 * meta page failed, the next transaction would not begin (MDB_PANIC).  LMDB says
	 * EIO for a write that was cut short, which is how a full disk looks first:
	 * whether the file can grow tells it from a failed sync.  A disk that has become
	 * read-only refuses the first write (EROFS) and keeps what it had. */
	if (rc == EIO && !lmdb_file_can_grow(env))
		status = STATUS_FULL;
	if (status != STATUS_OK && status != STATUS_FULL && status != STATUS_READ_ONLY)
		lmdb_fatal("a commit", rc);
	lmdb_writable_say(env, status != STATUS_READ_ONLY);
	return status;
}

void
lmdb_error(char **error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	if (vasprintf(error, format, args) < 0)
		*error = NULL;
	va_end(args);
}

/* ---- environments open in this process ---- */

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lmdb_env *open_envs[8 * ENGINE_ENVS_MAX];

static enum status
open_register(struct lmdb_env *env)
{
	enum status status = STATUS_LIMIT;
	size_t free_at = SIZE_MAX;
	pthread_mutex_lock(&open_lock);
	for (size_t i = 0; i < sizeof open_envs / sizeof open_envs[0]; i++) {
		if (!open_envs[i]) {
			free_at = i;
		} else if (open_envs[i]->dev == env->dev &&
			   open_envs[i]->ino == env->ino) {
			status = STATUS_EXISTS;
			free_at = SIZE_MAX;
			break;
		}
	}
	if (free_at != SIZE_MAX) {
		open_envs[free_at] = env;
		status = STATUS_OK;
	}
	pthread_mutex_unlock(&open_lock);
	return status;
}

static void
open_unregister(const struct lmdb_env *env)
{
	pthread_mutex_lock(&open_lock);
	for (size_t i = 0; i < sizeof open_envs / sizeof open_envs[0]; i++) {
		if (open_envs[i] == env)
			open_envs[i] = NULL;
	}
	pthread_mutex_unlock(&open_lock);
}

/* ---- open ---- */

/* LMDB's lock file and its map need one kernel that sees all of it. */
static bool
is_network_filesystem(int fd)
{
	static const long MAGICS[] = {
	    0x6969,     /* NFS */
	    0x517b,     /* SMB */
	    0xff534d42, /* CIFS */
	    0xfe534d42, /* SMB2 */
	    0x01021997, /* 9P */
	    0x00c36400, /* Ceph */
	    0x5346414f, /* AFS */
	    0x73757245, /* Coda */
	};
	struct statfs fs;
	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof MAGICS / sizeof MAGICS[0]; i++) {
		if ((fs.f_type & 0xffffffffL) == MAGICS[i])
			return true;
	}
	return false;
}

static enum status
folders_open(struct lmdb_env *env, const char *name, bool create, char **error)
{
	if (asprintf(&env->path, "%s/%s", env->engine->path, name) < 0)
		abort();
	if (create && mkdir(env->path, 0750) < 0 && errno != EEXIST) {
		lmdb_error(error, "%s: %s", env->path, strerror(errno));
		return status_from_errno(errno);
	}
	int fd = open(env->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = errno;
		lmdb_error(error, "%s: %s", env->path, strerror(err));
		if (fd >= 0)
			close(fd);
		return status_from_errno(err);
	}
	env->dev = st.st_dev;
	env->ino = st.st_ino;
	bool network = is_network_filesystem(fd);
	if (create && !network)
		mkdirat(fd, "bodies", 0750); /* openat tells when it is not there */
	env->bodies_fd = openat(fd, "bodies", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = errno;
	if (create && !network && fsync(fd) < 0)
		lmdb_fatal("fsync of an environment's folder", errno);
	close(fd);
	if (network) {
		lmdb_error(error, "%s: the store needs a local file system", env->path);
		return STATUS_INVALID;
	}
	if (env->bodies_fd < 0) {
		lmdb_error(error, "%s/bodies: %s", env->path, strerror(err));
		return status_from_errno(err);
	}
	return STATUS_OK;
}

/* Checks that the environment is of our format and of this installation, or says so in a
 * new one. */
static int
meta_check(struct lmdb_env *env, MDB_txn *txn, char **error)
{
	MDB_val format_key = {6, (void *)(uintptr_t) "format"};
	MDB_val id_key = {12, (void *)(uintptr_t) "installation"};
	char format[4];
	MDB_val value;
	int rc = mdb_get(txn, env->meta, &format_key, &value);
	if (rc == MDB_NOTFOUND) {
		be32_put(format, LMDB_FORMAT);
		value = (MDB_val){sizeof format, format};
		rc = mdb_put(txn, env->meta, &format_key, &value, 0);
		if (rc != 0)
			return rc;
		value = (MDB_val){LMDB_INSTALLATION_SIZE, env->engine->installation};
		return mdb_put(txn, env->meta, &id_key, &value, 0);
	}
	if (rc != 0)
		return rc;
	if (value.mv_size != 4 || be32_get(value.mv_data) != LMDB_FORMAT) {
		lmdb_error(error, "%s: format %u, this program knows %u", env->path,
		    value.mv_size == 4 ? be32_get(value.mv_data) : 0, LMDB_FORMAT);
		return MDB_VERSION_MISMATCH;
	}
	rc = mdb_get(txn, env->meta, &id_key, &value);
	if (rc == 0 &&
	    (value.mv_size != LMDB_INSTALLATION_SIZE ||
		memcmp(value.mv_data, env->engine->installation, value.mv_size) != 0)) {
		lmdb_error(error, "%s: belongs to another installation", env->path);
		return MDB_INVALID;
	}
	return rc;
}

static int
databases_open(struct lmdb_env *env, char **error)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
	if (rc != 0)
		return rc;
	const struct {
		const char *name;
		MDB_dbi *dbi;
	} databases[] = {
	    {"kv",      &env->kv     },
            {"body",    &env->body   },
            {"derived", &env->derived},
	    {"moved",   &env->moved  },
            {"seg",     &env->seg    },
            {"meta",    &env->meta   },
	    {"redo",    &env->redo   }
        };
	for (size_t i = 0; i < sizeof databases / sizeof databases[0] && rc == 0; i++)
		rc = mdb_dbi_open(txn, databases[i].name, MDB_CREATE, databases[i].dbi);
	if (rc == 0)
		rc = meta_check(env, txn, error);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

/* LMDB maps its table of readers from a file with holes, where a full disk would make the
 * first use of a slot a signal: the blocks are made before.  Only before this process has
 * it open: closing a descriptor of it would let LMDB's locks go. */
static void
readers_allocate(struct lmdb_env *env)
{
	enum { SLOT_SIZE = 64, HEAD_SIZE = 4096 };
	char path[LMDB_PATH_MAX];
	snprintf(path, sizeof path, "%s/lock.mdb", env->path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return; /* LMDB tells */
	if (fallocate(
		fd, FALLOC_FL_KEEP_SIZE, 0, HEAD_SIZE + SLOT_SIZE * LMDB_READERS_MAX) < 0)
		errno = 0; /* then as before */
	close(fd);
}

static int
lmdb_files_open(struct lmdb_env *env, char **error)
{
	readers_allocate(env);
	int rc = mdb_env_create(&env->mdb);
	if (rc != 0)
		return rc;
	mdb_env_set_maxdbs(env->mdb, 8);
	mdb_env_set_maxreaders(env->mdb, LMDB_READERS_MAX);
	if (env->engine->map_size > 0)
		rc = mdb_env_set_mapsize(env->mdb, env->engine->map_size);
	/* NOTLS: a reader's transaction may move between threads.  NORDAHEAD: pages are
	 * hit at random when the store is larger than memory.  NOMEMINIT stays off, as
	 * unused page ends would write old heap bytes to disk. */
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
	if (!env->engine->sync)
		flags |= MDB_NOSYNC;
	if (rc == 0)
		rc = mdb_env_open(env->mdb, env->path, flags, 0640);
	if (rc != 0)
		return rc;
	(void)readers_clear(env);
	rc = databases_open(env, error);
	return rc == 0 ? redo_recover(env) : rc;
}

enum status
lmdb_env_open(struct lmdb_env *env, const char *name, bool create, char **error)
{
	env->bodies_fd = -1;
	pthread_mutex_init(&env->gate_lock, NULL);
	pthread_cond_init(&env->gate_changed, NULL);
	pthread_mutex_init(&env->pin_lock, NULL);
	pthread_mutex_init(&env->reclaim_lock, NULL);
	pthread_mutex_init(&env->redo_lock, NULL);
	for (size_t i = 0; i < LMDB_PIN_BUCKETS; i++)
		list_init(&env->pins[i]);
	list_init(&env->pins_idle);
	enum status status = folders_open(env, name, create, error);
	if (status != STATUS_OK)
		return status;
	status = open_register(env);
	if (status != STATUS_OK) {
		lmdb_error(error, "%s: %s", env->path,
		    status == STATUS_EXISTS ? "is open in this process already"
					    : "too many stores in this process");
		return status;
	}
	int rc = lmdb_files_open(env, error);
	if (rc != 0) {
		if (!*error)
			lmdb_error(error, "%s: %s", env->path, mdb_strerror(rc));
		open_unregister(env);
		mdb_env_close(env->mdb);
		env->mdb = NULL;
		return lmdb_status(rc);
	}
	return STATUS_OK;
}

void
lmdb_env_close(struct lmdb_env *env)
{
	segment_unref(&env->current);
	segment_unref(&env->compacted);
	pins_trim(env, true);
	if (env->mdb) {
		open_unregister(env);
		mdb_env_close(env->mdb);
	}
	if (env->bodies_fd >= 0)
		close(env->bodies_fd);
	free(env->path);
	pthread_mutex_destroy(&env->gate_lock);
	pthread_cond_destroy(&env->gate_changed);
	pthread_mutex_destroy(&env->pin_lock);
	pthread_mutex_destroy(&env->reclaim_lock);
	pthread_mutex_destroy(&env->redo_lock);
}

/* ---- the gate ---- */

void
lmdb_gate_enter(struct lmdb_env *env)
{
	pthread_mutex_lock(&env->gate_lock);
	while (env->gate_closed)
		pthread_cond_wait(&env->gate_changed, &env->gate_lock);
	env->gate_inside++;
	pthread_mutex_unlock(&env->gate_lock);
}

void
lmdb_txn_leave(struct lmdb_env *env)
{
	pthread_mutex_lock(&env->gate_lock);
	ENSURE(env->gate_inside > 0);
	if (--env->gate_inside == 0)
		pthread_cond_broadcast(&env->gate_changed);
	pthread_mutex_unlock(&env->gate_lock);
}

/* Another process has grown the map: takes its size over, when no transaction of this
 * process is open.  False when they do not end in time. */
static bool
gate_remap(struct lmdb_env *env)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LMDB_GATE_WAIT_MS / 1000;
	bool done = false;
	pthread_mutex_lock(&env->gate_lock);
	if (env->gate_closed) { /* somebody else is at it */
		while (env->gate_closed)
			pthread_cond_wait(&env->gate_changed, &env->gate_lock);
		pthread_mutex_unlock(&env->gate_lock);
		return true;
	}
	env->gate_closed = true;
	int rc = 0;
	while (env->gate_inside > 0 && rc == 0)
		rc = pthread_cond_timedwait(&env->gate_changed, &env->gate_lock, &until);
	if (env->gate_inside == 0)
		done = mdb_env_set_mapsize(env->mdb, 0) == 0;
	env->gate_closed = false;
	pthread_cond_broadcast(&env->gate_changed);
	pthread_mutex_unlock(&env->gate_lock);
	return done;
}

enum status
lmdb_txn_enter(struct lmdb_env *env, unsigned flags, MDB_txn **txn)
{
	enum { TRIES_MAX = 3 };
	int rc = 0;
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		lmdb_gate_enter(env);
		rc = *txn ? mdb_txn_renew(*txn)
		          : mdb_txn_begin(env->mdb, NULL, flags, txn);
		if (rc == 0)
			return STATUS_OK;
		lmdb_txn_leave(env);
		if (rc == MDB_READERS_FULL) {
			if (readers_clear(env) == 0) {
				readers_full_say(env);
				break;
			}
		} else if (rc != MDB_MAP_RESIZED || !gate_remap(env)) {
			break;
		}
	}
	if (rc == MDB_PANIC)
		lmdb_fatal("a write of LMDB's meta page had failed", rc);
	return lmdb_status(rc);
}

uint64_t
lmdb_env_last_txn(struct engine_env *base)
{
	MDB_envinfo info;
	mdb_env_info(((struct lmdb_env *)base)->mdb, &info);
	return info.me_last_txnid;
}
