/*
 * The search index: it never misses what a text holds, whatever is done to the mailboxes
 * and to itself meanwhile; it narrows; it heals; it goes.
 */
#include "store/search_int.h"
#include "text/encoding.h"
#include "text/message_text.h"
#include "unit/store/store_fixture.h"

static uint64_t random_state = 1;

static uint32_t
random_below(uint32_t below)
{
	random_state =
	    random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_state >> 33) % below;
}

/* ---- messages ---- */
static const char *const words[] = {"invoice", "meeting", "the", "and", "Quarterly",
    "report", "lunch",
    "Gr\xc3\xbc\xc3\x9f"
    "e",
    "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82",
    "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c", "na\xc3\xafve", "42", "a",
    "<b>bold</b>", "&amp;", "\xf0\x9f\x98\x80",
    "Stra\xc3\x9f"
    "e",
    "\xce\xa3\xce\x9f\xce\xa6\xce\x9f\xce\xa3", "foo_bar", "x=y"};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

static void
words_put(struct buf *out, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		buf_append_cstr(out, words[random_below(WORDS)]);
		if (random_below(9) == 0)
			buf_append_format(out, "%x", random_below(1 << 20));
		buf_append_byte(out, random_below(8) ? ' ' : '\n');
	}
}

static void
message_make(unsigned number, struct buf *out)
{
	AUTO_BUF struct buf text, coded;
	buf_init(&text, 1024 * 1024);
	buf_init(&coded, 1024 * 1024);
	words_put(&text, 5 + random_below(60));
	buf_append_format(&text, " unique%05u", number);
	base64_encode(buf_slice(&text), &coded);
	buf_append_format(out,
	    "From: %s <amy%u@example.org>\r\nTo: jo@example.org\r\n"
	    "Subject: %s =?utf-8?b?R3LDvMOfZQ==?= %u\r\nMessage-ID: <%u@example.org>\r\n",
	    words[random_below(6)], random_below(10), words[random_below(7)],
	    random_below(1000), number);
	if (random_below(2)) {
		buf_append_cstr(out, "Content-Type: text/html; charset=utf-8\r\n"
				     "Content-Transfer-Encoding: base64\r\n\r\n");
		buf_append(out, buf_slice(&coded));
	} else {
		buf_append_cstr(out, "Content-Type: text/plain; charset=utf-8\r\n"
				     "Content-Transfer-Encoding: 8bit\r\n\r\n");
		buf_append(out, buf_slice(&text));
	}
	buf_append_cstr(out, "\r\n");
}

static void
append(struct fixture *f, const char *mailbox, unsigned count)
{
	static unsigned number;
	arena_reset(f->arena);
	for (unsigned i = 0; i < count; i++) {
		AUTO_BUF struct buf text;
		buf_init(&text, 1024 * 1024);
		message_make(number++, &text);
		struct append_message message = {
		    .draft = body_draft_new(f->store, 1024 * 1024)};
		assert_int_equal(
		    body_draft_append(message.draft, buf_slice(&text)), STATUS_OK);
		assert_int_equal(body_draft_seal(message.draft), STATUS_OK);
		struct append_op op = {
		    .op = {.arena = f->arena},
		    .account = f->jo,
		    .mailbox = slice_from_cstr(mailbox),
		    .messages = &message,
		    .message_count = 1,
		};
		append_op_submit(f->reader, &op);
		assert_int_equal(op.op.status, STATUS_OK);
		body_draft_unref(&message.draft);
	}
}

static void
index_all(struct fixture *f)
{
	struct search_work work;
	search_work_init(&work, f->store);
	assert_int_equal(search_index_account(&work, f->jo, true, 1000), STATUS_OK);
	search_work_fini(&work);
}

/* ---- brute force ---- */
struct brute {
	struct fixture *f;
	unsigned classes;
	struct slice needle;
	uint64_t covered, held, told; /* messages */
};

static bool
class_holds(
    unsigned class, struct message_text *text, struct slice header, struct slice needle)
{
	struct header_iter it;
	struct header_field field;
	if (class == SEARCH_BODY)
		return slice_find(buf_slice(&text->body), needle) != SIZE_MAX;
	if (class == SEARCH_OTHER &&
	    slice_find(buf_slice(&text->mime), needle) != SIZE_MAX)
		return true;
	header_iter_init(&it, header);
	while (header_iter_next(&it, &field)) {
		AUTO_BUF struct buf value;
		buf_init(&value, 1024 * 1024);
		message_text_field(text, &field, &value);
		if (search_class_of(field.name) == class &&
		    slice_find(buf_slice(&value), needle) != SIZE_MAX)
			return true;
	}
	return false;
}

static bool
holds(struct brute *b, const struct message_record *record)
{
	struct message_text text;
	struct message_index index;
	struct slice bytes;
	struct body_handle body;
	bool found = false;
	message_text_init(&text);
	assert_int_equal(
	    message_body_open(b->f->reader, b->f->jo, record, &body), STATUS_OK);
	assert_int_equal(
	    message_index_bytes(b->f->reader, b->f->jo, record, text.scratch, &bytes),
	    STATUS_OK);
	assert_true(message_index_decode(bytes, &index));
	struct slice message = body_handle_bytes(&body);
	message_text_body(&text, &index, message);
	for (unsigned class = 1; class < SEARCH_ANYWHERE; class *= 2) {
		if (b->classes & class)
			found |= class_holds(class, &text,
			    slice_sub(message, 0, header_block_length(message)),
			    b->needle);
	}
	body_handle_close(&body);
	message_text_fini(&text);
	return found;
}

/* Looks at every message of a mailbox; what holds the needle must be told or not covered.
 */
static void
brute_mailbox(struct brute *b, const char *name)
{
	struct search_look *look;
	struct message_record record;
	uint64_t block;
	assert_int_equal(search_open(b->f->reader, b->f->jo, &look), STATUS_OK);
	struct message_cursor *cursor = message_cursor_open(
	    b->f->reader, b->f->jo, fixture_box(b->f, b->f->jo, name), 1, UINT32_MAX - 1);
	while (message_cursor_next(cursor, &record) == STATUS_OK) {
		struct search_bits bits = {{0}};
		unsigned at = (unsigned)(record.email_id % SEARCH_BLOCK_DOCS);
		bool covered = false;
		if (search_next(look, record.email_id / SEARCH_BLOCK_DOCS, &block) ==
			STATUS_OK &&
		    block == record.email_id / SEARCH_BLOCK_DOCS) {
			covered = search_covered(look)->w[at / 64] >> at % 64 & 1;
			search_find(look, b->classes, b->needle, &bits);
		}
		bool told = bits.w[at / 64] >> at % 64 & 1;
		bool held = holds(b, &record);
		assert_true(covered || !told);
		if (covered && held && !told)
			fail_msg("uid %u: '%.*s' is there, the index says no",
			    (unsigned)record.uid, SLICE_ARG(b->needle));
		b->covered += covered;
		b->held += held;
		b->told += told;
	}
	message_cursor_close(&cursor);
	search_close(&look);
	store_reader_end(b->f->reader);
}

static void
brute_needle(struct brute *b, struct slice needle)
{
	static char bytes[256];
	struct buf folded;
	buf_init(&folded, sizeof(bytes));
	utf8_casefold(needle, &folded);
	memcpy(bytes, folded.ptr ? folded.ptr : "", folded.len);
	b->needle = slice_make(bytes, folded.len);
	buf_fini(&folded);
}

static const char *const boxes[] = {"INBOX", "Archive"};

static struct brute
brute_all(struct fixture *f, unsigned classes, const char *needle)
{
	struct brute b = {.f = f, .classes = classes};
	brute_needle(&b, slice_from_cstr(needle));
	for (size_t i = 0; i < 2; i++)
		if (fixture_box(f, f->jo, boxes[i]))
			brute_mailbox(&b, boxes[i]);
	return b;
}

/* Needles: pieces of words, joined words, numbers, any length. */
static void
brute_random(struct fixture *f, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		AUTO_BUF struct buf text;
		char needle[128];
		buf_init(&text, 4096);
		words_put(&text, 3);
		size_t from = random_below((uint32_t)text.len - 1);
		size_t len = 1 + random_below(20);
		/* Whole characters, so that folding sees what it saw in the text. */
		while (from && ((unsigned char)text.ptr[from] & 0xc0) == 0x80)
			from--;
		while (from + len < text.len &&
		       ((unsigned char)text.ptr[from + len] & 0xc0) == 0x80)
			len++;
		slice_copy_cstr(
		    slice_sub(buf_slice(&text), from, len), needle, sizeof(needle));
		(void)brute_all(f, 1 + random_below(SEARCH_ANYWHERE), needle);
	}
}

/* ---- cases ---- */
static void
finds(struct fixture *f)
{
	append(f, "INBOX", 150);
	struct brute none = brute_all(f, SEARCH_ANYWHERE, "invoice");
	assert_int_equal(none.covered, 0);
	assert_true(search_is_pending(f->reader, f->jo));
	store_reader_end(f->reader);
	index_all(f);
	assert_false(search_is_pending(f->reader, f->jo));
	store_reader_end(f->reader);
	struct search_totals totals;
	assert_int_equal(search_totals(f->reader, f->jo, &totals), STATUS_OK);
	assert_int_equal(totals.documents, 150);
	assert_true(totals.text_bytes > 150 * 100);
	struct brute one = brute_all(f, SEARCH_BODY, "unique00077");
	assert_int_equal(one.covered, 150);
	assert_true(one.told < 20);
	/* Not in the body, but in every header. */
	struct brute header = brute_all(f, SEARCH_BODY, "message-id");
	assert_int_equal(header.told, 0);
	assert_int_equal(brute_all(f, SEARCH_OTHER, "message-id: <").told, 150);
	assert_int_equal(brute_all(f, SEARCH_SUBJECT, "GR\xc3\x9cSSE").told, 150);
	assert_int_equal(brute_all(f, SEARCH_FROM, "jo@example").told, 0);
	assert_int_equal(brute_all(f, SEARCH_TO, "jo@example").told, 150);
	assert_int_equal(brute_all(f, SEARCH_TO, "jo@exampel").told, 0);
	assert_int_equal(brute_all(f, SEARCH_TO, "jp").told, 0);
	brute_random(f, 12);
}

static void
follows(struct fixture *f)
{
	struct uid_range some = {10, 30};
	append(f, "INBOX", 70);
	index_all(f);
	/* A copy is covered at once. */
	struct copy_op copy = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .ranges = &some,
	    .range_count = 1,
	    .target = SLICE("Archive"),
	    .move = true};
	copy_op_submit(f->reader, &copy);
	assert_int_equal(copy.op.status, STATUS_OK);
	assert_int_equal(brute_all(f, SEARCH_ANYWHERE, "report").covered, 70);
	append(f, "Archive", 40);
	append(f, "INBOX", 40);
	struct brute some_new = brute_all(f, SEARCH_ANYWHERE, "report");
	assert_int_equal(some_new.covered, 70);
	index_all(f);
	assert_int_equal(brute_all(f, SEARCH_ANYWHERE, "report").covered, 150);
	/* Expunged before it was indexed, brought back afterwards. */
	append(f, "INBOX", 3);
	struct uid_range gone = {1, 200};
	struct expunge_op expunge = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .ranges = &gone,
	    .range_count = 1};
	expunge_op_submit(f->reader, &expunge);
	assert_int_equal(expunge.op.status, STATUS_OK);
	append(f, "INBOX", 5);
	index_all(f);
	uint64_t back;
	assert_int_equal(message_undelete(f->reader, f->jo, 0, &back), STATUS_OK);
	assert_int_equal(back, expunge.out_count);
	brute_random(f, 3);
	index_all(f);
	assert_int_equal(brute_all(f, SEARCH_ANYWHERE, "report").covered, 158);
	brute_random(f, 6);
}

static void
grows(struct fixture *f)
{
	/* Many small segments: merged, still right. */
	for (unsigned i = 0; i < 40; i++) {
		append(f, "INBOX", 1 + random_below(5));
		index_all(f);
		fixture_check(f);
	}
	struct engine_txn *txn;
	struct search_record record;
	assert_int_equal(
	    engine_snap(f->reader->engine, partition_account(f->jo), &txn), STATUS_OK);
	assert_int_equal(search_record_load(txn, 0, &record), STATUS_OK);
	assert_true(record.segment_count < SEARCH_SEGMENTS_MERGE);
	store_reader_end(f->reader);
	brute_random(f, 6);
}

/* ---- damage ---- */
static enum status
commit_damage(struct engine_txn *txn, void *arg)
{
	const char *class = arg;
	struct key from;
	struct slice key;
	struct slice value;
	char bytes[8192];
	key_begin(&from, *class);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), SLICE_NULL, false);
	enum status status = engine_cursor_next(cursor, &key, &value);
	ENSURE(status == STATUS_OK && key.ptr[0] == *class && value.len <= sizeof(bytes));
	memcpy(bytes, value.ptr, value.len);
	bytes[value.len / 2] = (char)(bytes[value.len / 2] ^ 0x10);
	key_bytes(&from, slice_from(key, 1));
	size_t len = value.len - (*class == KEY_SEARCH_STATE);
	engine_cursor_close(&cursor);
	engine_put(txn, key_slice(&from), slice_make(bytes, len));
	return engine_txn_status(txn);
}

static void
damage(struct fixture *f, char class)
{
	assert_int_equal(
	    store_commit_wait(f->reader, partition_account(f->jo), commit_damage, &class),
	    STATUS_OK);
}

static void
heals(struct fixture *f)
{
	uint64_t damaged;
	append(f, "INBOX", 100);
	index_all(f);
	static const char classes[] = {
	    KEY_SEARCH_PAGE, KEY_SEARCH_BLOCK, KEY_SEARCH_STATE, KEY_SEARCH_MAILBOX};
	for (size_t i = 0; i < sizeof(classes); i++) {
		damage(f, classes[i]);
		/* Nobody is told anything wrong; the damage is found on the way. */
		brute_random(f, 2);
		for (unsigned class = 0; class < SEARCH_CLASSES; class ++)
			(void)brute_all(f, 1u << class, "ab");
		/* What no needle has led to: verify. */
		assert_int_equal(
		    search_verify(f->reader, f->jo, false, &damaged), STATUS_OK);
		struct search_reindex_options options = {.keep = true};
		struct search_totals totals;
		assert_int_equal(
		    search_reindex(f->store, f->jo, &options, &totals), STATUS_OK);
		assert_int_equal(totals.documents, 100);
		assert_int_equal(brute_all(f, SEARCH_ANYWHERE, "report").covered, 100);
		fixture_check(f);
	}
	/* Verify finds it without anybody asking. */
	damage(f, KEY_SEARCH_PAGE);
	assert_int_equal(search_verify(f->reader, f->jo, true, &damaged), STATUS_OK);
	assert_int_equal(damaged, 1);
	assert_int_equal(search_verify(f->reader, f->jo, false, &damaged), STATUS_OK);
	assert_int_equal(search_verify(f->reader, f->jo, false, &damaged), STATUS_OK);
	assert_int_equal(damaged, 0);
	index_all(f);
	assert_int_equal(brute_all(f, SEARCH_ANYWHERE, "report").covered, 100);
}

static void
sweeps(struct fixture *f)
{
	struct search_work work;
	append(f, "INBOX", 120);
	index_all(f);
	struct uid_range gone = {1, 120};
	struct expunge_op expunge = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .ranges = &gone,
	    .range_count = 1};
	expunge_op_submit(f->reader, &expunge);
	assert_int_equal(expunge.op.status, STATUS_OK);
	/* All of a block's documents gone: it goes when it is swept. */
	search_work_init(&work, f->store);
	assert_int_equal(
	    search_sweep_account(&work, f->jo, INT64_C(100) * 24 * 3600), STATUS_OK);
	struct search_totals totals;
	assert_int_equal(search_totals(f->reader, f->jo, &totals), STATUS_OK);
	assert_int_equal(totals.documents, 120); /* they can come back */
	store_reader_end(f->reader);
	while (store_maintain(f->store, INT64_C(4000000000)))
		continue;
	assert_int_equal(
	    search_sweep_account(&work, f->jo, INT64_C(100) * 24 * 3600), STATUS_OK);
	search_work_fini(&work);
	assert_int_equal(search_totals(f->reader, f->jo, &totals), STATUS_OK);
	assert_int_equal(totals.documents, 0);
	assert_int_equal(totals.index_bytes, 0);
	store_reader_end(f->reader);
	append(f, "INBOX", 20);
	index_all(f);
	assert_int_equal(brute_all(f, SEARCH_ANYWHERE, "report").covered, 20);
}

static bool
stop_after_one(uint64_t done, uint64_t total, void *arg)
{
	unsigned *calls = arg;
	assert_true(done <= total);
	return ++*calls < 1;
}

static void
reindexes(struct fixture *f)
{
	unsigned calls = 0;
	struct search_reindex_options options = {
	    .progress = stop_after_one, .arg = &calls};
	struct search_totals totals;
	append(f, "INBOX", 80);
	/* Over before it is asked for the first time. */
	assert_int_equal(search_reindex(f->store, f->jo, &options, &totals), STATUS_OK);
	assert_int_equal(calls, 1);
	assert_int_equal(totals.documents, 80);
	brute_random(f, 3);
	/* An account that goes takes its index with it. */
	assert_int_equal(
	    directory_account_remove(f->reader, SLICE("jo@example.org")), STATUS_OK);
	while (store_maintain(f->store, INT64_C(8000000000)))
		continue;
	assert_int_equal(
	    search_reindex(f->store, f->jo, &options, &totals), STATUS_NOT_FOUND);
}

static void
background(struct fixture *f)
{
	append(f, "INBOX", SEARCH_PENDING_MIN + 6);
	struct search_indexer *indexer = search_indexer_start(f->store);
	struct search_totals totals = {0};
	for (unsigned i = 0; i < 300 && totals.documents == 0; i++) {
		usleep(20000);
		assert_int_equal(search_totals(f->reader, f->jo, &totals), STATUS_OK);
		store_reader_end(f->reader);
	}
	assert_int_equal(totals.documents, SEARCH_PENDING_MIN + 6);
	search_indexer_stop(&indexer);
}

static enum status
commit_drop_step(struct engine_txn *txn, void *arg)
{
	(void)arg;
	assert_true(search_drop_step(txn));
	return engine_txn_status(txn);
}

/* A drop that was cut short behind its first step: no old page gets among the new. */
static void
half_dropped(struct fixture *f)
{
	struct engine_txn *txn;
	append(f, "INBOX", 60);
	index_all(f);
	append(f, "INBOX", 60);
	index_all(f);
	assert_int_equal(store_commit_wait(
			     f->reader, partition_account(f->jo), commit_drop_step, NULL),
	    STATUS_OK);
	assert_int_equal(
	    engine_snap(f->reader->engine, partition_account(f->jo), &txn), STATUS_OK);
	assert_true(search_is_half_dropped(txn));
	store_reader_end(f->reader);
	fixture_check(f);
	brute_random(f, 2);
	index_all(f);
	fixture_check(f);
	assert_int_equal(brute_all(f, SEARCH_ANYWHERE, "report").covered, 120);
	brute_random(f, 4);
}

/* A message with more keys than are kept, and one that cannot be read. */
static void
oddities(struct fixture *f)
{
	struct append_message message = {
	    .draft = body_draft_new(f->store, 16 * 1024 * 1024)};
	AUTO_BUF struct buf text;
	buf_init(&text, 16 * 1024 * 1024);
	buf_append_cstr(&text, "Subject: noise\r\n\r\n");
	for (unsigned i = 0; i < 400000; i++)
		buf_append_byte(&text, (char)(33 + random_below(90)));
	assert_int_equal(body_draft_append(message.draft, buf_slice(&text)), STATUS_OK);
	assert_int_equal(body_draft_seal(message.draft), STATUS_OK);
	struct append_op op = {
	    .op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("INBOX"),
	    .messages = &message,
	    .message_count = 1,
	};
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&message.draft);
	append(f, "INBOX", 10);
	index_all(f);
	struct brute b = brute_all(f, SEARCH_ANYWHERE, "nowhere at all");
	assert_int_equal(b.covered, 11);
	assert_int_equal(b.told, 1);
	brute_random(f, 3);
}

/* Over LMDB, and over the memory engine with re-runs. */
static void
few(void (*fn)(struct fixture *f))
{
	for (int backend = 0; backend < 3; backend += 2) {
		struct fixture f;
		fixture_init(&f, backend);
		fn(&f);
		fixture_fini(&f);
	}
}

#define CASE(name)                                                                       \
	static void case_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		few(name);                                                               \
	}
CASE(finds)
CASE(follows)
CASE(grows)
CASE(heals)
CASE(sweeps)
CASE(reindexes)
CASE(background)
CASE(half_dropped)
CASE(oddities)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(case_finds),
	    cmocka_unit_test(case_follows),
	    cmocka_unit_test(case_grows),
	    cmocka_unit_test(case_heals),
	    cmocka_unit_test(case_sweeps),
	    cmocka_unit_test(case_reindexes),
	    cmocka_unit_test(case_background),
	    cmocka_unit_test(case_half_dropped),
	    cmocka_unit_test(case_oddities),
	};
#if defined(__SANITIZE_THREAD__)
	/* The one with a second thread; all of them would take minutes. */
	cmocka_set_test_filter("case_background");
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
