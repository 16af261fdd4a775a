/*
 * Room: what is kept back of the disk and of the map so that flags, deletions and
 * maintenance still commit when there is no room for new mail (decision 0045).
 *
 * Disk: blocks behind the end of data.mdb are allocated ahead, without changing its size
 * (fallocate KEEP_SIZE).  LMDB's writes land in them, so nobody else on the disk can take
 * them away.  When they cannot be allocated any more the environment is *low*.
 *
 * Map: when pages that were never used come to their end, the free ones inside are
 * counted; with less than the reserve of both the environment is low too.
 *
 * A low environment refuses (FULL) commits that bring bodies or say that they grow,
 * before anything of them is placed; all others go on and may use the reserve.  The
 * reserve is made anew by the first placing that finds room, in any process, without a
 * restart.
 *
 * Thread: the one that places, under place_lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/engine_lmdb_int.h"

enum {
	ROOM_CHECK_MS = 200,   /* between two counts of a map's free pages */
	SPACE_CHECK_MS = 1000, /* between two looks at the whole disk's share */
	ROOM_MAP_DIVISOR = 8,  /* of a small map, at most so much of it */
};

/* Ahead of the file: an eighth of it within these bounds; a command over many messages
 * copies a share of the pages. */
static const uint64_t ROOM_BYTES_MIN = 4 * 1024 * 1024;
static const uint64_t ROOM_BYTES_MAX = 32 * 1024 * 1024;

/* No other result of a write means that there is no room. */
static bool
errno_is_full(int err)
{
	return err == ENOSPC || err == EDQUOT || err == EFBIG;
}

/* fallocate does not look at the limit when it keeps the size. */
static bool
limit_allows(uint64_t size)
{
	struct rlimit limit;
	return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	       size <= limit.rlim_cur;
}

bool
lmdb_file_can_grow(struct lmdb_env *env)
{
	enum { ROOM = 1024 * 1024 };
	mdb_filehandle_t fd;
	struct stat st;
	if (mdb_env_get_fd(env->mdb, &fd) != 0 || fstat(fd, &st) < 0)
		return true;
	if (!limit_allows((uint64_t)st.st_size + ROOM))
		return false;
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, st.st_size, ROOM) == 0 ||
	       !errno_is_full(errno);
}

/* ---- the disk's reserve ---- */

static bool
disk_is_low(struct lmdb_env *env, uint64_t used)
{
	uint64_t ahead = used / 8;
	if (ahead < ROOM_BYTES_MIN)
		ahead = ROOM_BYTES_MIN;
	if (ahead > ROOM_BYTES_MAX)
		ahead = ROOM_BYTES_MAX;
	if (used + ahead / 2 <= env->room_end)
		return false;
	mdb_filehandle_t fd;
	if (mdb_env_get_fd(env->mdb, &fd) != 0)
		return false;
	if (!limit_allows(used + ahead))
		return true;
	/* What is allocated already costs nothing. */
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)used, (off_t)ahead) < 0)
		return errno_is_full(errno); /* else not offered here: no reserve */
	env->room_end = used + ahead;
	return false;
}

/* ---- the map's ---- */

static bool
free_bytes(struct lmdb_env *env, uint64_t page_size, uint64_t *out)
{
	enum { FREE_DBI = 0 };
	MDB_txn *txn = NULL;
	MDB_cursor *cursor;
	MDB_val key, value;
	size_t pages = 0;
	if (lmdb_txn_enter(env, MDB_RDONLY, &txn) != STATUS_OK)
		return false;
	int rc = mdb_cursor_open(txn, FREE_DBI, &cursor);
	if (rc == 0) {
		while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
			size_t count = 0; /* the record's first word */
			if (value.mv_size >= sizeof count)
				memcpy(&count, value.mv_data, sizeof count);
			pages += count;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	lmdb_txn_leave(env);
	*out = pages * page_size;
	return rc == MDB_NOTFOUND;
}

static bool
map_is_low(struct lmdb_env *env, uint64_t used, uint64_t map_size, uint64_t page_size)
{
	uint64_t reserve = map_size / ROOM_MAP_DIVISOR, inside;
	if (reserve > ROOM_BYTES_MAX)
		reserve = ROOM_BYTES_MAX;
	if (used + reserve <= map_size)
		return false;
	return free_bytes(env, page_size, &inside) && used + reserve > map_size + inside;
}

/* ---- both ---- */

static void
room_say(struct lmdb_env *env, enum lmdb_room room, uint64_t used)
{
	static const char *const WHAT[] = {
	    [LMDB_ROOM_ENOUGH] = "",
	    [LMDB_ROOM_DISK_LOW] = "the disk is full",
	    [LMDB_ROOM_MAP_LOW] = "store.map_size is used up",
	    [LMDB_ROOM_SHARE_LOW] = "less of the disk is free than store.min_free",
	};
	if (room == env->room)
		return;
	env->room = room;
	if (room == LMDB_ROOM_ENOUGH)
		LOG_INFO("store.room", LF_STR("env", env->path));
	else
		LOG_ERROR("store.low", LF_STR("env", env->path),
		    LF_STR("why", WHAT[room]),
		    LF_STR("effect", "new mail is put off, deletions and flags go on"),
		    LF_U64("index_bytes", used));
}

static bool
share_is_low(struct lmdb_env *env, uint64_t now_ms)
{
	uint32_t percent = env->engine->min_free_percent;
	if (percent == 0)
		return false;
	bool low = env->room == LMDB_ROOM_SHARE_LOW;
	/* Room that is made counts at once; that it was low is not remembered. */
	if (!low && env->share_checked_ms != 0 &&
	    now_ms - env->share_checked_ms < SPACE_CHECK_MS)
		return false;
	struct statvfs fs;
	env->share_checked_ms = now_ms;
	return fstatvfs(env->bodies_fd, &fs) == 0 && fs.f_blocks > 0 &&
	       (uint64_t)fs.f_bavail * 100 < (uint64_t)fs.f_blocks * percent;
}

bool
lmdb_room_is_low(struct lmdb_env *env)
{
	uint64_t now_ms = clock_mono_ms();
	/* Counting free pages reads the list of them. */
	if (env->room == LMDB_ROOM_MAP_LOW &&
	    now_ms - env->room_checked_ms < ROOM_CHECK_MS)
		return true;
	MDB_envinfo info;
	MDB_stat stat;
	lmdb_gate_enter(env); /* the map must not move away */
	mdb_env_info(env->mdb, &info);
	mdb_env_stat(env->mdb, &stat);
	lmdb_txn_leave(env);
	uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
	enum lmdb_room room = LMDB_ROOM_ENOUGH;
	if (disk_is_low(env, used))
		room = LMDB_ROOM_DISK_LOW;
	else if (map_is_low(env, used, info.me_mapsize, stat.ms_psize))
		room = LMDB_ROOM_MAP_LOW;
	else if (share_is_low(env, now_ms))
		room = LMDB_ROOM_SHARE_LOW;
	env->room_checked_ms = now_ms;
	room_say(env, room, used);
	return room != LMDB_ROOM_ENOUGH;
}
