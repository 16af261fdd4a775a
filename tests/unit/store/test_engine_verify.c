/*
 * Verify: a flipped bit anywhere in a segment file or a derived record is found and
 * named; what is derived heals, a damaged message is in quarantine and its neighbours are
 * not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "text/message_index.h"
#include "unit/store/store_fixture.h"

enum { MESSAGES = 6 };

struct seen {
	unsigned count;
	struct verify_finding last;
	char login[100], mailbox[100];
};

static void
see(const struct verify_finding *finding, void *arg)
{
	struct seen *seen = arg;
	seen->count++;
	seen->last = *finding;
	snprintf(seen->login, sizeof seen->login, "%.*s", (int)finding->login.len,
	    finding->login.ptr ? finding->login.ptr : "");
	snprintf(seen->mailbox, sizeof seen->mailbox, "%.*s", (int)finding->mailbox.len,
	    finding->mailbox.ptr ? finding->mailbox.ptr : "");
}

static struct store_verify_totals
verify(struct fixture *f, bool look_only, struct seen *seen)
{
	struct store_verify_options options = {
	    .look_only = look_only, .finding = see, .arg = seen};
	struct store_verify_totals totals;
	memset(seen, 0, sizeof *seen);
	assert_int_equal(store_verify(f->store, &options, &totals), STATUS_OK);
	return totals;
}

static void
deliver_some(struct fixture *f)
{
	for (int i = 0; i < MESSAGES; i++) {
		char subject[20];
		snprintf(subject, sizeof subject, "number %d", i);
		assert_int_equal(
		    fixture_deliver(f, i % 2 ? f->amy : f->jo, "INBOX", subject, 0, NULL),
		    STATUS_OK);
	}
}

/* The one file of an environment's segments that has bytes in it, opened; -1: none. */
static int
segment_open(const struct fixture *f, const char *env, size_t *out_size)
{
	char path[600];
	snprintf(path, sizeof path, "%s/%s/bodies", f->path, env);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	int fd = -1;
	struct dirent *entry;
	while (fd < 0 && (entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".seg"))
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
	}
	closedir(dir);
	if (fd < 0)
		return -1;
	/* Up to where the allocated rest begins. */
	static char bytes[64 * 1024];
	ssize_t got = pread(fd, bytes, sizeof bytes, 0);
	assert_true(got > 0);
	while (got > 0 && bytes[got - 1] == 0)
		got--;
	*out_size = ((size_t)got + 7) / 8 * 8;
	return fd;
}

static void
flip(int fd, size_t at, unsigned bit)
{
	unsigned char byte;
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= (unsigned char)(1u << bit);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static void
test_every_byte_of_a_segment(void **state)
{
	(void)state;
	struct fixture f;
	struct seen seen;
	size_t flips = 0;
	fixture_init(&f, 0);
	deliver_some(&f);
	assert_int_equal(verify(&f, true, &seen).findings, 0);
	for (int shard = 0; shard < 2; shard++) {
		char env[20];
		size_t size;
		snprintf(env, sizeof env, "shard-%02d", shard);
		int fd = segment_open(&f, env, &size);
		if (fd < 0)
			continue;
		for (size_t at = 0; at < size; at++, flips++) {
			flip(fd, at, at % 8);
			verify(&f, true, &seen);
			if (seen.count == 0)
				fail_msg("%s: a flip at %zu was not found", env, at);
			assert_true(strstr(seen.login, "@example.org") != NULL);
			assert_string_equal(seen.mailbox, "INBOX");
			assert_true(seen.last.uid > 0);
			flip(fd, at, at % 8);
		}
		close(fd);
	}
	printf("%zu flips, all found\n", flips);
	assert_true(flips > 500);
	assert_int_equal(verify(&f, true, &seen).findings, 0);
	fixture_fini(&f);
}

static struct message_record
first_message(struct fixture *f, struct account_id account)
{
	struct message_record message;
	assert_int_equal(message_get(f->reader, account, fixture_box(f, account, "INBOX"),
			     1, &message),
	    STATUS_OK);
	return message;
}

static void
test_quarantine(void **state)
{
	(void)state;
	struct fixture f;
	struct seen seen;
	struct body_handle handle;
	struct engine_txn *txn;
	struct engine_body body;
	size_t size;
	char env[20];
	fixture_init(&f, 0);
	deliver_some(&f);
	struct message_record message = first_message(&f, f.jo);
	assert_int_equal(
	    engine_snap(f.reader->engine, partition_account(f.jo), &txn), STATUS_OK);
	assert_int_equal(engine_body_stat(txn, message.body, &body), STATUS_OK);
	store_reader_end(f.reader);
	snprintf(env, sizeof env, "shard-%02u",
	    engine_shard_of(f.store->engine, partition_account(f.jo)));
	int fd = segment_open(&f, env, &size);
	size_t at = (size_t)body.offset + 10;
	flip(fd, at, 3);
	/* Looking only changes nothing. */
	assert_int_equal(verify(&f, true, &seen).quarantined, 0);
	assert_int_equal(seen.last.what, VERIFY_MESSAGE);
	assert_int_equal(message_body_open(f.reader, f.jo, &message, &handle), STATUS_OK);
	body_handle_close(&handle);
	store_reader_end(f.reader);
	assert_int_equal(verify(&f, false, &seen).quarantined, 1);
	assert_string_equal(seen.login, "jo@example.org");
	assert_int_equal(seen.last.uid, 1);
	assert_int_equal(
	    message_body_open(f.reader, f.jo, &message, &handle), STATUS_CORRUPT);
	/* Its list entry and its neighbours are there. */
	struct slice index;
	assert_int_equal(
	    message_index_bytes(f.reader, f.jo, &message, f.arena, &index), STATUS_OK);
	for (uint32_t uid = 2; uid <= MESSAGES / 2; uid++) {
		assert_int_equal(message_get(f.reader, f.jo,
				     fixture_box(&f, f.jo, "INBOX"), uid, &message),
		    STATUS_OK);
		assert_int_equal(
		    message_body_open(f.reader, f.jo, &message, &handle), STATUS_OK);
		body_handle_close(&handle);
	}
	store_reader_end(f.reader);
	/* It stays there until it reads well again. */
	assert_int_equal(verify(&f, false, &seen).quarantined, 1);
	flip(fd, at, 3);
	assert_int_equal(verify(&f, false, &seen).released, 1);
	assert_int_equal(verify(&f, false, &seen).findings, 0);
	message = first_message(&f, f.jo);
	assert_int_equal(message_body_open(f.reader, f.jo, &message, &handle), STATUS_OK);
	body_handle_close(&handle);
	/* Frame and head heal. */
	store_reader_end(f.reader);
	flip(fd, (size_t)body.offset - 3, 1);
	flip(fd, 20, 1);
	struct store_verify_totals totals = verify(&f, false, &seen);
	assert_true(totals.findings >= 1 && totals.healed >= 1);
	assert_int_equal(seen.last.what, VERIFY_FRAME);
	assert_int_equal(verify(&f, false, &seen).findings, 0);
	close(fd);
	fixture_fini(&f);
}

struct set_derived {
	uint64_t body;
	struct slice bytes;
};

static enum status
commit_set(struct engine_txn *txn, void *arg)
{
	const struct set_derived *set = arg;
	return engine_body_set_derived(txn, set->body, set->bytes);
}

/* Every byte of a derived record; over all engines. */
static void
case_derived(struct fixture *f)
{
	struct seen seen;
	struct slice index;
	deliver_some(f);
	struct message_record message = first_message(f, f->jo);
	assert_int_equal(
	    message_index_bytes(f->reader, f->jo, &message, f->arena, &index), STATUS_OK);
	struct slice kept = arena_copy(f->arena, index);
	char *bytes = xmalloc(kept.len);
	store_reader_end(f->reader);
	for (size_t at = 0; at < kept.len; at += f->backend ? 7 : 1) {
		struct set_derived set = {message.body, slice_make(bytes, kept.len)};
		memcpy(bytes, kept.ptr, kept.len);
		bytes[at] ^= (char)(1 << at % 8);
		assert_int_equal(store_commit_wait(f->reader, partition_account(f->jo),
				     commit_set, &set),
		    STATUS_OK);
		struct store_verify_totals totals = verify(f, false, &seen);
		assert_int_equal(totals.findings, 1);
		assert_int_equal(totals.healed, 1);
		assert_int_equal(seen.last.what, VERIFY_DERIVED);
		assert_string_equal(seen.login, "jo@example.org");
		assert_int_equal(seen.last.uid, 1);
		assert_int_equal(
		    message_index_bytes(f->reader, f->jo, &message, f->arena, &index),
		    STATUS_OK);
		assert_true(slice_equal(index, kept));
		store_reader_end(f->reader);
	}
	free(bytes);
	assert_int_equal(verify(f, false, &seen).findings, 0);
}

static void
test_derived(void **state)
{
	(void)state;
	fixture_each(case_derived);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_byte_of_a_segment),
	    cmocka_unit_test(test_quarantine),
	    cmocka_unit_test(test_derived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
