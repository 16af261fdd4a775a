/*
 * Where a serving daemon may write, by Landlock (Linux 5.13): below the folders that it
 * is given, and nowhere else; programs cannot be run from anywhere.  Reading stays with
 * the permissions of the daemon's user, because libraries read at odd times (character
 * sets, certificates, time zones) and the paths of a reloaded configuration are not
 * known.
 *
 * It holds for the calling thread and for those that it starts later: call it before the
 * first.  What is open already stays usable.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ensure.h"
#include "net/daemon.h"

/* Newer than Debian 12's header; the kernel's version says whether it knows them. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13) /* version 2 */
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* version 3 */
#endif

static const uint64_t change_file = LANDLOCK_ACCESS_FS_WRITE_FILE;
static const uint64_t change_folder =
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;

static uint64_t
changes_known(long version)
{
	uint64_t changes = change_file | change_folder;
	if (version >= 2)
		changes |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		changes |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return changes;
}

static bool
folder_allow(int rules, const char *folder, uint64_t changes)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = changes};
	rule.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == EACCES; /* then nobody writes there */
	long result =
	    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return result == 0;
}

enum status
daemon_write_only_below(const char *const *folders, size_t count)
{
	long version = syscall(
	    SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 1)
		return STATUS_NOT_FOUND;
	uint64_t changes = changes_known(version);
	struct landlock_ruleset_attr attr = {
	    .handled_access_fs = changes | LANDLOCK_ACCESS_FS_EXECUTE};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		return STATUS_IO;
	/* /dev/null and the terminal are written to, nothing is made there. */
	bool done = folder_allow(
	    rules, "/dev", changes & (change_file | LANDLOCK_ACCESS_FS_TRUNCATE));
	for (size_t i = 0; done && i < count; i++)
		done = folder_allow(rules, folders[i], changes);
	done = done && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       syscall(SYS_landlock_restrict_self, rules, 0) == 0;
	close(rules);
	return done ? STATUS_OK : STATUS_IO;
}
