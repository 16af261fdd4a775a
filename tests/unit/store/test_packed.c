/*
 * A store that compresses (decision 0076), at every size around the limits: what is read
 * is what came, through reopening with and without compression, compaction, and verify; a
 * flip in any byte of a packed frame is found, refused by open and put into quarantine; a
 * record that lies about a packed body is damage.
 */
#include <fcntl.h>

#include <sys/stat.h>

#include "store/body_pack.h"
#include "store/engine_lmdb_int.h"
#include "unit/store/store_fixture.h"

struct sample {
	size_t size;
	bool noise; /* cannot be compressed */
	bool packed;
};

static const struct sample samples[] = {
    {100,		       false, false},
    {BODY_PACK_RAW_MIN - 1,     false, false},
    {BODY_PACK_RAW_MIN,         false, true },
    {5000,		      false, true },
    {5000,		      true,  false},
    {16384,		     false, true },
    {16385,		     false, true },
    {100000,		    false, true },
    {60000,		     true,  false},
    {BODY_PACK_RAW_MAX,         false, true },
    {BODY_PACK_RAW_MAX + 1,     false, false},
    {BODY_SPILL_BYTES + 100000, false, false},
};

enum { SAMPLES = sizeof samples / sizeof *samples, SAMPLE_MAX = 4 * 1024 * 1024 };

static size_t
sample_make(size_t i, char *out)
{
	uint32_t random = (uint32_t)i + 1;
	int len = snprintf(out, SAMPLE_MAX, "Subject: %zu\r\n\r\n", i);
	for (size_t at = (size_t)len; at < samples[i].size; at++) {
		random = random * 1664525 + 1013904223;
		out[at] = (char)(samples[i].noise ? random >> 24
						  : 'a' + (at / 3 + (random >> 31)) % 26);
	}
	return samples[i].size;
}

static void
deliver_sample(struct fixture *f, size_t i)
{
	char *bytes = xmalloc(SAMPLE_MAX);
	struct deliver_recipient to = {.account = f->jo};
	struct deliver_op op = {.op = {.arena = f->arena},
	    .draft = body_draft_new(f->store, SAMPLE_MAX),
	    .recipients = &to,
	    .recipient_count = 1};
	assert_int_equal(
	    body_draft_append(op.draft, slice_make(bytes, sample_make(i, bytes))),
	    STATUS_OK);
	assert_int_equal(body_draft_seal(op.draft), STATUS_OK);
	deliver_op_submit(f->reader, &op);
	body_draft_unref(&op.draft);
	assert_int_equal(op.op.status, STATUS_OK);
	free(bytes);
}

static struct message_record
message_of(struct fixture *f, uint32_t uid)
{
	struct message_record record;
	assert_int_equal(
	    message_get(f->reader, f->jo, fixture_box(f, f->jo, "INBOX"), uid, &record),
	    STATUS_OK);
	return record;
}

/* Stat and bytes are right; whether it is packed depends on `compress`. */
static void
sample_look(struct fixture *f, size_t i, uint32_t uid, bool compress)
{
	char *bytes = xmalloc(SAMPLE_MAX);
	size_t size = sample_make(i, bytes);
	struct message_record record = message_of(f, uid);
	struct body_handle handle;
	struct engine_txn *txn;
	struct engine_body body;
	assert_int_equal(record.size, size);
	assert_int_equal(
	    engine_snap(f->reader->engine, partition_account(f->jo), &txn), STATUS_OK);
	assert_int_equal(engine_body_stat(txn, record.body, &body), STATUS_OK);
	assert_int_equal(body.size, size);
	assert_int_equal(body.stored < size, compress && samples[i].packed);
	if (body.stored < size)
		assert_true(body.stored <= size - size / BODY_PACK_SAVES);
	assert_int_equal(
	    message_body_open(f->reader, f->jo, &record, &handle), STATUS_OK);
	store_reader_end(f->reader); /* the handle does not need it */
	assert_int_equal(handle.size, size);
	assert_memory_equal(handle.map, bytes, size);
	assert_int_equal(handle.fd < 0, body.stored < size);
	struct body_handle other;
	body_handle_dup(&handle, &other);
	body_handle_close(&other);
	if (handle.fd >= 0) {
		char *again = xmalloc(size);
		assert_int_equal(
		    pread(handle.fd, again, size, (off_t)handle.offset), (ssize_t)size);
		assert_memory_equal(again, bytes, size);
		free(again);
	}
	body_handle_close(&handle);
	assert_int_equal(handle.fd, -1);
	free(bytes);
}

static void
reopen(struct fixture *f, bool compress)
{
	store_reader_free(&f->reader);
	store_close(&f->store);
	fixture_compress = compress;
	fixture_open_store(f);
}

static void
test_sizes(void **state)
{
	(void)state;
	struct fixture f;
	fixture_compress = true;
	fixture_init(&f, 0);
	for (size_t i = 0; i < SAMPLES; i++)
		deliver_sample(&f, i);
	for (size_t i = 0; i < SAMPLES; i++)
		sample_look(&f, i, (uint32_t)i + 1, true);
	fixture_check(&f);
	/* Without the setting what is packed stays so, and new mail is not. */
	reopen(&f, false);
	for (size_t i = 0; i < SAMPLES; i++) {
		sample_look(&f, i, (uint32_t)i + 1, true);
		deliver_sample(&f, i);
		sample_look(&f, i, SAMPLES + (uint32_t)i + 1, false);
	}
	fixture_check(&f);
	reopen(&f, true);
	for (size_t i = 0; i < SAMPLES; i++)
		sample_look(&f, i, SAMPLES + (uint32_t)i + 1, false);
	fixture_fini(&f);
	fixture_compress = false;
}

/* Every other message goes, the rest moves to another segment as it is. */
static void
test_compaction(void **state)
{
	(void)state;
	struct fixture f;
	struct uid_range ranges[SAMPLES / 2];
	struct engine_reclaim reclaim = {0};
	fixture_compress = true;
	fixture_init(&f, 0);
	for (size_t i = 0; i < SAMPLES; i++)
		deliver_sample(&f, i);
	for (size_t i = 0; i < SAMPLES / 2; i++)
		ranges[i] = (struct uid_range){2 * (uint32_t)i + 1, 2 * (uint32_t)i + 1};
	struct expunge_op op = {.op = {.arena = f.arena},
	    .account = f.jo,
	    .mailbox = fixture_box(&f, f.jo, "INBOX"),
	    .ranges = ranges,
	    .range_count = SAMPLES / 2};
	expunge_op_submit(f.reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	store_reader_end(f.reader);
	for (int i = 0; i < 100 && store_maintain(f.store, INT32_MAX); i++)
		;
	reopen(&f, true); /* the segment that it appended to is another's then */
	assert_int_equal(
	    engine_compact(f.store->engine, UINT64_MAX, 0, &reclaim), STATUS_OK);
	assert_true(reclaim.moved_bodies >= 4);
	for (size_t i = 1; i < SAMPLES; i += 2)
		sample_look(&f, i, (uint32_t)i + 1, true);
	fixture_fini(&f);
	fixture_compress = false;
}

static int
segment_of(struct fixture *f, const struct engine_body *body)
{
	char path[600];
	snprintf(path, sizeof path, "%s/shard-%02u/bodies/%08x.seg", f->path,
	    engine_shard_of(f->store->engine, partition_account(f->jo)), body->segment);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void
flip(int fd, uint64_t at)
{
	unsigned char byte;
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= (unsigned char)(1u << at % 8);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static void
see(const struct verify_finding *finding, void *arg)
{
	(void)arg;
	assert_int_equal(finding->uid, 1);
}

static void
test_damage(void **state)
{
	(void)state;
	struct fixture f;
	struct engine_txn *txn;
	struct engine_body body;
	struct body_handle handle;
	fixture_compress = true;
	fixture_init(&f, 0);
	deliver_sample(&f, 2);
	struct message_record record = message_of(&f, 1);
	assert_int_equal(
	    engine_snap(f.reader->engine, partition_account(f.jo), &txn), STATUS_OK);
	assert_int_equal(engine_body_stat(txn, record.body, &body), STATUS_OK);
	assert_true(body.stored < body.size);
	store_reader_end(f.reader);
	int fd = segment_of(&f, &body);
	for (uint64_t at = body.offset; at < body.offset + body.stored; at++) {
		flip(fd, at);
		assert_int_equal(
		    message_body_open(f.reader, f.jo, &record, &handle), STATUS_CORRUPT);
		store_reader_end(f.reader);
		flip(fd, at);
	}
	/* Into quarantine, and out of it when it reads well again. */
	struct store_verify_options options = {.finding = see};
	struct store_verify_totals totals;
	flip(fd, body.offset + body.stored - 1);
	assert_int_equal(store_verify(f.store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.quarantined, 1);
	flip(fd, body.offset + body.stored - 1);
	assert_int_equal(
	    message_body_open(f.reader, f.jo, &record, &handle), STATUS_CORRUPT);
	store_reader_end(f.reader);
	assert_int_equal(store_verify(f.store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.released, 1);
	/* The frame's header heals. */
	flip(fd, body.offset - 3);
	assert_int_equal(store_verify(f.store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.healed, 1);
	assert_int_equal(store_verify(f.store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.findings, 0);
	sample_look(&f, 2, 1, true);
	/* Cut off: an error, not a signal. */
	struct stat st;
	char rest[1024];
	uint64_t end = body.offset + body.stored - 10;
	assert_int_equal(fstat(fd, &st), 0);
	ssize_t kept = pread(fd, rest, sizeof rest, (off_t)end);
	assert_true(kept > 0);
	assert_int_equal(ftruncate(fd, (off_t)end), 0);
	assert_int_equal(
	    message_body_open(f.reader, f.jo, &record, &handle), STATUS_CORRUPT);
	store_reader_end(f.reader);
	assert_int_equal(pwrite(fd, rest, (size_t)kept, (off_t)end), kept);
	assert_int_equal(ftruncate(fd, st.st_size), 0);
	sample_look(&f, 2, 1, true);
	close(fd);
	fixture_fini(&f);
	fixture_compress = false;
}

struct lie {
	uint64_t body;
	struct body_record record;
};

static enum status
commit_record(struct engine_txn *txn, void *arg)
{
	struct lie *lie = arg;
	txn->writes++;
	return body_record_put((struct lmdb_env *)txn->env, ((struct lmdb_txn *)txn)->mdb,
	    lie->body, &lie->record);
}

static enum status
commit_look(struct engine_txn *txn, void *arg)
{
	struct lie *lie = arg;
	return body_record_get((struct lmdb_env *)txn->env, ((struct lmdb_txn *)txn)->mdb,
	    lie->body, &lie->record);
}

static void
test_lies(void **state)
{
	(void)state;
	struct fixture f;
	struct body_handle handle;
	fixture_compress = true;
	fixture_init(&f, 0);
	deliver_sample(&f, 3);
	struct message_record record = message_of(&f, 1);
	store_reader_end(f.reader);
	struct partition_id part = partition_account(f.jo);
	struct lie truth = {.body = record.body};
	assert_int_equal(
	    store_commit_wait(f.reader, part, commit_look, &truth), STATUS_OK);
	assert_int_equal(truth.record.flags, BODY_RECORD_PACKED);
	const struct body_record r = truth.record;
	struct body_record lies[] = {r, r, r, r, r, r, r};
	lies[0].raw_size++;
	lies[1].raw_size--;
	lies[2].raw_crc++;
	lies[3].raw_size = 0;
	lies[4].raw_size = UINT64_MAX;
	lies[5].raw_size = BODY_PACK_RAW_MAX + 1;
	lies[6].size = r.raw_size; /* packed, and no smaller */
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		struct lie lie = {record.body, lies[i]};
		assert_int_equal(
		    store_commit_wait(f.reader, part, commit_record, &lie), STATUS_OK);
		assert_int_equal(
		    message_body_open(f.reader, f.jo, &record, &handle), STATUS_CORRUPT);
		store_reader_end(f.reader);
		assert_int_equal(
		    store_commit_wait(f.reader, part, commit_record, &truth), STATUS_OK);
	}
	sample_look(&f, 3, 1, true);
	fixture_fini(&f);
	fixture_compress = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_compaction),
	    cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_lies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
