/*
 * Formats: an older store is read as it is, a dry run changes nothing, migrating keeps
 * everything, a newer or damaged superblock is refused with a sentence.
 */
#include "base/file.h"
#include "unit/store/store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store/store_backup.h"
#include "store/store_migrate.h"

enum { TEXT_MAX = 512 };

static void
superblock_get(struct fixture *f, char out[TEXT_MAX])
{
	char path[300];
	snprintf(path, sizeof(path), "%s/superblock", f->path);
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	ssize_t len = read(fd, out, TEXT_MAX - 1);
	assert_true(len > 0);
	out[len] = '\0';
	close(fd);
}

static void
superblock_set(struct fixture *f, const char *text)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/superblock", f->path);
	int fd = open(path, O_WRONLY | O_TRUNC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* What format 1 had. */
static void
make_old(struct fixture *f)
{
	char text[TEXT_MAX];
	superblock_get(f, text);
	char *crc = strstr(text, "crc ");
	assert_non_null(crc);
	*crc = '\0';
	text[strlen("postroom-store ")] = '1';
	superblock_set(f, text);
}

static void
close_store(struct fixture *f)
{
	store_reader_free(&f->reader);
	store_close(&f->store);
}

static void
count_step(unsigned from, const char *what, void *arg)
{
	assert_true(from >= 1 && what[0] != '\0');
	++*(unsigned *)arg;
}

static struct store_migration
migrate(struct fixture *f, bool dry_run, unsigned steps)
{
	struct store_migration out;
	unsigned seen = 0;
	char *error = NULL;
	assert_int_equal(
	    store_migrate(f->path, dry_run, count_step, &seen, &out, &error), STATUS_OK);
	assert_null(error);
	assert_int_equal(seen, steps);
	return out;
}

static void
backup_again(struct fixture *f, const char *dir)
{
	struct store_backup_options options = {NULL, NULL};
	struct store_backup_totals totals;
	char *error = NULL;
	enum status status = store_backup(f->store, dir, &options, &totals, &error);
	if (status != STATUS_OK)
		fail_msg("backup: %s", error);
}

static void
test_migrate(void **state)
{
	(void)state;
	struct fixture f;
	char before[TEXT_MAX], after[TEXT_MAX], dir[260];
	fixture_init(&f, 0);
	snprintf(dir, sizeof(dir), "%s-backup", f.path);
	assert_int_equal(fixture_deliver(&f, f.jo, NULL, "old", 0, NULL), STATUS_OK);
	superblock_get(&f, before);
	close_store(&f);
	make_old(&f);
	/* Read and written as it is. */
	fixture_open_store(&f);
	assert_int_equal(fixture_deliver(&f, f.jo, NULL, "still", 0, NULL), STATUS_OK);
	backup_again(&f, dir);
	superblock_get(&f, after);
	assert_memory_equal(after, "postroom-store 1\n", 17);
	struct store_migration m = migrate(&f, true, 1);
	assert_true(m.found == 1 && m.now == 1 && m.newest == 2);
	superblock_get(&f, after);
	assert_memory_equal(after, "postroom-store 1\n", 17);
	/* While it is open. */
	m = migrate(&f, false, 1);
	assert_true(m.found == 1 && m.now == 2);
	superblock_get(&f, after);
	assert_string_equal(after, before);
	assert_int_equal(fixture_deliver(&f, f.jo, NULL, "on", 0, NULL), STATUS_OK);
	/* A backup of before goes on. */
	backup_again(&f, dir);
	close_store(&f);
	fixture_open_store(&f);
	assert_int_equal(fixture_info(&f, f.jo, "INBOX").exists, 3);
	store_reader_end(f.reader);
	m = migrate(&f, false, 0);
	assert_true(m.found == 2 && m.now == 2);
	fixture_fini(&f);
	file_tree_remove(dir);
}

static void
refused(struct fixture *f, const char *text, const char *why)
{
	struct store_options options = {.path = f->path, .map_size = 1 << 26};
	struct store_migration m;
	struct store *store;
	char *error = NULL;
	superblock_set(f, text);
	assert_int_equal(store_open(&options, &store, &error), STATUS_CORRUPT);
	if (!strstr(error, why))
		fail_msg("\"%s\" does not say \"%s\"", error, why);
	free(error);
	error = NULL;
	assert_int_equal(
	    store_migrate(f->path, false, NULL, NULL, &m, &error), STATUS_CORRUPT);
	assert_non_null(strstr(error, why));
	free(error);
}

static void
test_refused(void **state)
{
	(void)state;
	struct fixture f;
	char good[TEXT_MAX], text[TEXT_MAX];
	fixture_init(&f, 0);
	superblock_get(&f, good);
	close_store(&f);
	refused(&f, "postroom-store 3\nanything",
	    "a newer Postroom made this store (format 3");
	refused(&f, "postroom-store 0\n", "not a superblock");
	refused(&f, "", "not a superblock");
	/* Every byte that is changed is noticed. */
	for (size_t i = 0; i < strlen(good); i++) {
		memcpy(text, good, sizeof(text));
		text[i] ^= 1;
		if (i != strlen("postroom-store ")) /* the format is another then */
			refused(&f, text, "superblock");
	}
	memcpy(text, good, sizeof(text));
	text[strlen(text) - 3] = '\0';
	refused(&f, text, "superblock");
	superblock_set(&f, good);
	fixture_open_store(&f);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_migrate),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
