/*
 * One account's index brought up to date: mailboxes from where they are covered up to
 * their ends, messages in the order of their email ids (a heap over the mailboxes), so
 * that blocks are written one after the other.
 *
 * Snapshots are short: one to find the next message, another one to read it; its text is
 * made without any.  Every batch is one commit with the progress that it stands for, so
 * the work goes on from there after whatever end.
 */
#include "store/search_int.h"

#include <stdlib.h>

#include "text/message_text.h"

enum {
	LOOK_MAX = 64 * 1024, /* messages that one commit walks over */
	SNAPSHOT_LOOK = 512,  /* messages that are looked at in one snapshot */
	CACHE_BLOCKS = 64,    /* covered sets that are kept */
	INDEX_BYTES_MAX = 8 * 1024 * 1024, /* scratch: a message's derived record */
	SWEEP_INTERVAL_S = 24 * 3600,
	SWEEP_MIN = SEARCH_BLOCK_DOCS / 4, /* expunged documents worth a new block */
};

/* A mailbox with messages that are not known to be covered. */
struct source {
	uint32_t mailbox;
	uint32_t uidnext;
	uint32_t saved;               /* progress as it is stored */
	struct message_record record; /* at the front; uid == uidnext: none is left */
	bool stuck;                   /* damaged: what follows is not indexed */
};

struct cached {
	uint32_t block;
	bool filled;
	struct search_bits covered;
};

struct cycle {
	struct search_work *work;
	struct account_id account;
	struct search_state state;
	uint64_t next_email_id, account_bytes;
	struct source *sources;
	size_t source_count;
	size_t *heap; /* indexes of sources, the smallest email id first */
	size_t heap_count;
	struct vec progress; /* struct search_progress */
	struct cached *cache;
	struct arena *scratch;
	uint64_t looked, total;
};

static enum status
snapshot(struct cycle *c, struct engine_txn **out)
{
	return engine_snap(c->work->reader->engine, partition_account(c->account), out);
}

/* ---- sources ---- */
static bool
source_is_over(const struct source *source)
{
	return source->stuck || source->record.uid >= source->uidnext;
}

/* The first message at or behind `uid`. */
static enum status
source_seek(struct cycle *c, struct source *source, uint32_t uid)
{
	struct message_cursor *cursor = message_cursor_open(
	    c->work->reader, c->account, source->mailbox, uid, source->uidnext - 1);
	enum status status = message_cursor_next(cursor, &source->record);
	message_cursor_close(&cursor);
	if (status == STATUS_CORRUPT)
		source->stuck = true;
	if (status == STATUS_NOT_FOUND || status == STATUS_CORRUPT)
		source->record = (struct message_record){
		    .uid = status == STATUS_CORRUPT ? uid : source->uidnext};
	return status == STATUS_NOT_FOUND || status == STATUS_CORRUPT ? STATUS_OK
	                                                              : status;
}

static uint32_t
progress_of(struct engine_txn *txn, uint32_t mailbox)
{
	struct key key;
	struct slice value;
	key_mailbox(&key, KEY_SEARCH_MAILBOX, mailbox);
	if (engine_get(txn, key_slice(&key), &value) != STATUS_OK ||
	    value.len != SEARCH_MAILBOX_SIZE || value.ptr[0] != STORE_RECORD_VERSION)
		return 1;
	uint32_t uid = be32_get(value.ptr + SEARCH_MAILBOX_UID);
	return uid ? uid : 1;
}

/* Every mailbox with uids behind its progress; *out_pending is how many uids. */
static enum status
sources_find(struct engine_txn *txn, struct vec *out, uint64_t *out_pending)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	struct mailbox_state box;
	enum status status;
	key_begin(&from, KEY_STATE);
	key_begin(&to, KEY_STATE + 1);
	*out_pending = 0;
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		if (key.len != 5 || !state_decode(value, &box))
			continue; /* check tells */
		uint32_t mailbox = be32_get(key.ptr + 1);
		uint32_t uid = progress_of(txn, mailbox);
		if (uid >= box.uidnext)
			continue;
		struct source *source = vec_push(out, sizeof(*source));
		if (!source) {
			status = STATUS_LIMIT;
			break;
		}
		*source = (struct source){
		    .mailbox = mailbox, .uidnext = box.uidnext, .saved = uid};
		*out_pending += box.uidnext - uid;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static uint64_t
heap_id(const struct cycle *c, size_t at)
{
	return c->sources[c->heap[at]].record.email_id;
}

static void
heap_down(struct cycle *c, size_t at)
{
	for (;;) {
		size_t least = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
			if (child < c->heap_count &&
			    heap_id(c, child) < heap_id(c, least))
				least = child;
		}
		if (least == at)
			return;
		size_t swap = c->heap[at];
		c->heap[at] = c->heap[least];
		c->heap[least] = swap;
		at = least;
	}
}

static enum status
heap_make(struct cycle *c)
{
	enum status status = STATUS_OK;
	for (size_t i = 0; i < c->source_count && status == STATUS_OK; i++) {
		status = source_seek(c, &c->sources[i], c->sources[i].saved);
		if (!source_is_over(&c->sources[i]))
			c->heap[c->heap_count++] = i;
		if (i % SNAPSHOT_LOOK == SNAPSHOT_LOOK - 1)
			store_reader_end(c->work->reader);
	}
	for (size_t i = c->heap_count / 2; i-- > 0;)
		heap_down(c, i);
	store_reader_end(c->work->reader);
	return status;
}

/* The front message is done with. */
static enum status
heap_step(struct cycle *c)
{
	struct source *source = &c->sources[c->heap[0]];
	enum status status = source_seek(c, source, source->record.uid + 1);
	if (source_is_over(source))
		c->heap[0] = c->heap[--c->heap_count];
	heap_down(c, 0);
	return status;
}

/* ---- what is covered ---- */
static enum status
cache_of(struct cycle *c, uint32_t block, struct cached **out)
{
	struct cached *cached = &c->cache[block % CACHE_BLOCKS];
	struct search_record record;
	struct engine_txn *txn;
	*out = cached;
	if (cached->filled && cached->block == block)
		return STATUS_OK;
	enum status status = snapshot(c, &txn);
	if (status == STATUS_OK)
		status = search_record_load(txn, block, &record);
	if (status == STATUS_CORRUPT)
		search_block_heal(c->work->store, c->account, block);
	if (status != STATUS_OK)
		return status;
	*cached =
	    (struct cached){.block = block, .filled = true, .covered = record.covered};
	return STATUS_OK;
}

static void
cache_forget(struct cycle *c)
{
	for (size_t i = 0; i < CACHE_BLOCKS; i++)
		c->cache[i].filled = false;
}

/* ---- a message into the batch ---- */
static enum status
document_add(struct cycle *c, const struct message_record *record)
{
	struct search_work *work = c->work;
	struct message_index index;
	struct body_handle body;
	struct slice bytes;
	uint32_t doc = (uint32_t)record->email_id;
	arena_reset(c->scratch);
	enum status status = message_body_open(work->reader, c->account, record, &body);
	bool open = status == STATUS_OK;
	if (open)
		status = message_index_bytes(
		    work->reader, c->account, record, c->scratch, &bytes);
	if (status == STATUS_OK)
		bytes = arena_copy(c->scratch, bytes);
	store_reader_end(work->reader);
	if (status == STATUS_OK && (!bytes.ptr || !message_index_decode(bytes, &index)))
		status = STATUS_CORRUPT;
	if (status == STATUS_OK)
		search_batch_add(
		    work->batch, doc, work->text, &index, body_handle_bytes(&body));
	else if (status == STATUS_CORRUPT || status == STATUS_LIMIT)
		search_batch_add_unread(work->batch, doc);
	if (open)
		body_handle_close(&body);
	/* Gone meanwhile: nothing to cover. */
	return status == STATUS_CORRUPT || status == STATUS_LIMIT ||
	               status == STATUS_NOT_FOUND
	           ? STATUS_OK
	           : status;
}

/* The message at the front; *out_full: it needs a new batch and was not taken. */
static enum status
front_take(struct cycle *c, bool *out_full)
{
	const struct message_record *record = &c->sources[c->heap[0]].record;
	struct cached *cached;
	*out_full = false;
	if (record->email_id <= SEARCH_DOC_MAX) {
		uint32_t block = (uint32_t)(record->email_id / SEARCH_BLOCK_DOCS);
		unsigned at = (unsigned)(record->email_id % SEARCH_BLOCK_DOCS);
		enum status status = cache_of(c, block, &cached);
		if (status != STATUS_OK)
			return status;
		if (!(cached->covered.w[at / 64] >> at % 64 & 1)) {
			if (!search_batch_takes(c->work->batch, block)) {
				*out_full = true;
				return STATUS_OK;
			}
			status = document_add(c, record);
			if (status != STATUS_OK)
				return status;
			search_bits_set(&cached->covered, at);
		}
	}
	c->looked++;
	return heap_step(c);
}

static enum status
batch_gather(struct cycle *c)
{
	struct search_work *work = c->work;
	uint64_t looked = c->looked;
	enum status status = STATUS_OK;
	bool full = false;
	search_batch_reset(work->batch);
	while (status == STATUS_OK && !full && c->heap_count &&
	       !search_batch_is_full(work->batch) && c->looked - looked < LOOK_MAX) {
		status = front_take(c, &full);
		if (c->looked % SNAPSHOT_LOOK == 0)
			store_reader_end(work->reader);
	}
	store_reader_end(work->reader);
	return status;
}

/* ---- the commit ---- */
static enum status
progress_gather(struct cycle *c)
{
	c->progress.count = 0;
	for (size_t i = 0; i < c->source_count; i++) {
		struct source *source = &c->sources[i];
		if (source->record.uid == source->saved)
			continue;
		struct search_progress *at = vec_push(&c->progress, sizeof(*at));
		if (!at)
			return STATUS_LIMIT;
		*at = (struct search_progress){
		    .mailbox = source->mailbox, .uid = source->record.uid};
	}
	return STATUS_OK;
}

static enum status
batch_commit(struct cycle *c)
{
	struct search_work *work = c->work;
	struct search_change change = {.sequence = c->state.sequence};
	enum status status = progress_gather(c);
	if (status != STATUS_OK)
		return status;
	search_batch_finish(work->batch, &change);
	change.progress = c->progress.ptr;
	change.progress_count = c->progress.count;
	change.complete = c->heap_count == 0;
	change.email_id = c->next_email_id;
	change.bytes = c->account_bytes;
	status = search_change_commit(work->reader, c->account, &change);
	if (status != STATUS_OK)
		return status;
	c->state.sequence = change.sequence;
	for (size_t i = 0; i < c->source_count; i++)
		c->sources[i].saved = c->sources[i].record.uid;
	work->documents += search_batch_documents(work->batch);
	work->text_bytes += search_batch_text_bytes(work->batch);
	work->batches++;
	return STATUS_OK;
}

/* ---- merging and sweeping ---- */
static enum status
block_merge(struct cycle *c, uint32_t block, unsigned segments_min,
    const struct search_bits *keep)
{
	struct search_work *work = c->work;
	struct search_record record;
	struct search_block_change block_change;
	struct engine_txn *txn;
	enum status status = snapshot(c, &txn);
	if (status == STATUS_OK)
		status = search_record_load(txn, block, &record);
	if (status == STATUS_OK && !keep && record.segment_count < segments_min)
		status = STATUS_NOT_FOUND;
	if (status == STATUS_OK)
		status =
		    search_merge(txn, block, &record, keep, &work->pages, &block_change);
	store_reader_end(work->reader);
	if (status == STATUS_CORRUPT)
		search_block_heal(work->store, c->account, block);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	struct search_change change = {
	    .sequence = c->state.sequence,
	    .pages = &work->pages,
	    .blocks = &block_change,
	    .block_count = 1,
	};
	status = search_change_commit(work->reader, c->account, &change);
	c->state.sequence = change.sequence;
	return status;
}

/* The blocks that there are, from `from` on: the first one. */
static enum status
block_next(struct cycle *c, uint64_t from, uint32_t *out)
{
	struct engine_txn *txn;
	struct key first;
	struct key to;
	struct slice key;
	struct slice value;
	if (from > UINT32_MAX)
		return STATUS_NOT_FOUND;
	enum status status = snapshot(c, &txn);
	if (status != STATUS_OK)
		return status;
	key_search_block(&first, (uint32_t)from);
	key_begin(&to, KEY_SEARCH_BLOCK + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&first), key_slice(&to), false);
	status = engine_cursor_next(cursor, &key, &value);
	if (status == STATUS_OK && key.len != 5)
		status = STATUS_CORRUPT;
	if (status == STATUS_OK)
		*out = be32_get(key.ptr + 1);
	engine_cursor_close(&cursor);
	return status;
}

/* Blocks that get no more documents become one segment; the last one when it has many. */
static enum status
blocks_merge(struct cycle *c)
{
	uint32_t last = (uint32_t)((c->next_email_id - 1) / SEARCH_BLOCK_DOCS);
	uint32_t block = 0;
	enum status status;
	uint64_t from = 0;
	while ((status = block_next(c, from, &block)) == STATUS_OK) {
		unsigned min = block < last ? 2 : SEARCH_SEGMENTS_MERGE;
		status = block_merge(c, block, min, NULL);
		if (status != STATUS_OK)
			return status;
		from = (uint64_t)block + 1;
	}
	store_reader_end(c->work->reader);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Sets a bit for each document of the block that the account still has or can get back.
 */
struct living {
	uint32_t first_block;
	struct search_bits *bits; /* SEARCH_BATCH_BLOCKS of them */
};

static enum status
living_find(struct cycle *c, char class, struct living *living)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	struct message_record record;
	uint64_t base = (uint64_t)living->first_block * SEARCH_BLOCK_DOCS;
	enum status status = snapshot(c, &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, class);
	key_begin(&to, (char)(class + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		if (!message_decode(slice_sub(value, 0, MESSAGE_SIZE), 0, &record)) {
			status = STATUS_CORRUPT;
			break;
		}
		uint64_t at = record.email_id - base;
		if (record.email_id >= base &&
		    at < (uint64_t)SEARCH_BATCH_BLOCKS * SEARCH_BLOCK_DOCS)
			search_bits_set(&living->bits[at / SEARCH_BLOCK_DOCS],
			    (unsigned)(at % SEARCH_BLOCK_DOCS));
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Writes the block anew without what is gone, when that is a good part of it. */
static enum status
block_sweep(struct cycle *c, uint32_t block, const struct search_bits *living)
{
	struct search_record record;
	struct engine_txn *txn;
	struct search_bits keep;
	enum status status = snapshot(c, &txn);
	if (status == STATUS_OK)
		status = search_record_load(txn, block, &record);
	if (status != STATUS_OK)
		return status == STATUS_CORRUPT ? STATUS_OK : status;
	for (size_t i = 0; i < SEARCH_BITS_WORDS; i++)
		keep.w[i] = record.covered.w[i] & living->w[i];
	unsigned covered = search_bits_count(&record.covered);
	unsigned kept = search_bits_count(&keep);
	if (covered - kept < SWEEP_MIN && (kept || !covered))
		return STATUS_OK;
	return block_merge(c, block, 0, &keep);
}

static enum status
sweep(struct cycle *c, int64_t now_s)
{
	struct living living = {
	    .bits = xcalloc(SEARCH_BATCH_BLOCKS, sizeof(*living.bits))};
	uint32_t block = 0;
	uint64_t from = 0;
	enum status status;
	/* A window of blocks at a time, each with one walk over the records. */
	while ((status = block_next(c, from, &block)) == STATUS_OK) {
		living.first_block = block;
		memset(living.bits, 0, SEARCH_BATCH_BLOCKS * sizeof(*living.bits));
		status = living_find(c, KEY_MESSAGE, &living);
		if (status == STATUS_OK)
			status = living_find(c, KEY_EXPUNGED, &living);
		store_reader_end(c->work->reader);
		from = (uint64_t)block + SEARCH_BATCH_BLOCKS;
		while (status == STATUS_OK && block < from) {
			status = block_sweep(
			    c, block, &living.bits[block - living.first_block]);
			if (status != STATUS_OK)
				break;
			status = block_next(c, (uint64_t)block + 1, &block);
		}
		if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			break;
	}
	free(living.bits);
	store_reader_end(c->work->reader);
	if (status != STATUS_NOT_FOUND)
		return status;
	struct search_change change = {
	    .sequence = c->state.sequence, .swept = true, .swept_s = now_s};
	status = search_change_commit(c->work->reader, c->account, &change);
	c->state.sequence = change.sequence;
	return status;
}

/* ---- the account ---- */
static enum status
cycle_run(struct cycle *c)
{
	struct search_work *work = c->work;
	enum status status = heap_make(c);
	while (status == STATUS_OK) {
		status = batch_gather(c);
		bool any = c->heap_count == 0 || search_batch_documents(work->batch);
		for (size_t i = 0; i < c->source_count && !any; i++)
			any = c->sources[i].saved != c->sources[i].record.uid;
		if (status != STATUS_OK || !any)
			break;
		status = batch_commit(c);
		if (status == STATUS_LIMIT) {
			/* A block has as many segments as it can. */
			cache_forget(c);
			status = blocks_merge(c);
			if (status == STATUS_OK)
				status = batch_commit(c);
		}
		if (status != STATUS_OK || c->heap_count == 0)
			break;
		if (work->go_on && !work->go_on(work, work->arg))
			return STATUS_CONFLICT;
	}
	return status == STATUS_OK ? blocks_merge(c) : status;
}

static bool
is_much(const struct cycle *c, struct engine_txn *txn, uint64_t pending)
{
	struct message_record record;
	uint64_t bytes = 0;
	if (pending >= SEARCH_PENDING_MIN)
		return true;
	for (size_t i = 0; i < c->source_count; i++) {
		const struct source *source = &c->sources[i];
		for (uint32_t uid = source->saved; uid < source->uidnext; uid++) {
			if (message_load(txn, source->mailbox, uid, &record) == STATUS_OK)
				bytes += record.size;
		}
	}
	return bytes >= SEARCH_PENDING_BYTES;
}

static enum status
cycle_begin(struct cycle *c, bool all, bool *out_work, bool *out_sweep, int64_t now_s)
{
	struct engine_txn *txn;
	struct account_state account;
	struct vec sources = {NULL, 0, 0};
	uint64_t pending = 0;
	enum status status = snapshot(c, &txn);
	if (status == STATUS_OK)
		status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = search_state_load(txn, &c->state);
	if (status == STATUS_OK)
		status = sources_find(txn, &sources, &pending);
	c->sources = sources.ptr;
	c->source_count = sources.count;
	if (status == STATUS_OK) {
		c->next_email_id = account.next_email_id;
		c->account_bytes = account.bytes;
		*out_work = pending && (all || is_much(c, txn, pending));
		*out_sweep =
		    c->state.documents > 2 * account.messages + SEARCH_BLOCK_DOCS &&
		    c->state.swept_s + SWEEP_INTERVAL_S < now_s;
	}
	store_reader_end(c->work->reader);
	return status;
}

enum need {
	NEED_MUCH,  /* when there is enough to do */
	NEED_ALL,   /* whatever there is */
	NEED_SWEEP, /* no indexing, sweeping in any case */
};

static enum status
account_work(
    struct search_work *work, struct account_id account, enum need need, int64_t now_s)
{
	struct cycle c = {.work = work, .account = account};
	bool pending = false;
	bool sweeping = false;
	enum status status =
	    cycle_begin(&c, need == NEED_ALL, &pending, &sweeping, now_s);
	if (need == NEED_SWEEP) {
		pending = false;
		sweeping = true;
	}
	if (status == STATUS_OK && (pending || sweeping)) {
		c.heap = xcalloc(c.source_count + 1, sizeof(*c.heap));
		c.cache = xcalloc(CACHE_BLOCKS, sizeof(*c.cache));
		c.scratch = arena_new(INDEX_BYTES_MAX);
		if (pending)
			status = cycle_run(&c);
		if (status == STATUS_OK && sweeping)
			status = sweep(&c, now_s);
		arena_free(&c.scratch);
		free(c.cache);
		free(c.heap);
	}
	free(c.sources);
	vec_fini(&c.progress);
	store_reader_end(work->reader);
	return status;
}

/* What a drop has left that was cut short must not get among new pages. */
static enum status
leftovers_drop(struct search_work *work, struct account_id account)
{
	struct engine_txn *txn;
	enum status status =
	    engine_snap(work->reader->engine, partition_account(account), &txn);
	bool left = status == STATUS_OK && search_is_half_dropped(txn);
	store_reader_end(work->reader);
	return left ? search_drop(work->reader, account) : status;
}

enum status
search_index_account(
    struct search_work *work, struct account_id account, bool all, int64_t now_s)
{
	enum status status = leftovers_drop(work, account);
	return status == STATUS_OK
	           ? account_work(work, account, all ? NEED_ALL : NEED_MUCH, now_s)
	           : status;
}

enum status
search_sweep_account(struct search_work *work, struct account_id account, int64_t now_s)
{
	return account_work(work, account, NEED_SWEEP, now_s);
}

bool
search_is_pending(struct store_reader *reader, struct account_id account)
{
	struct engine_txn *txn;
	struct account_state state;
	struct search_state search;
	if (engine_snap(reader->engine, partition_account(account), &txn) != STATUS_OK ||
	    account_load(txn, &state) != STATUS_OK)
		return false;
	if (search_state_load(txn, &search) != STATUS_OK)
		return true;
	uint64_t bytes = state.bytes > search.bytes ? state.bytes - search.bytes
	                                            : search.bytes - state.bytes;
	return state.next_email_id >= search.email_id + SEARCH_PENDING_MIN ||
	       (state.next_email_id > search.email_id && bytes >= SEARCH_PENDING_BYTES) ||
	       search.documents > 2 * state.messages + SEARCH_BLOCK_DOCS;
}

void
search_work_init(struct search_work *work, struct store *store)
{
	*work = (struct search_work){.store = store};
	work->reader = store_reader_new(store, NULL, NULL);
	work->batch = search_batch_new();
	work->text = xmalloc(sizeof(*work->text));
	message_text_init(work->text);
	search_pages_init(&work->pages);
}

void
search_work_fini(struct search_work *work)
{
	search_pages_fini(&work->pages);
	message_text_fini(work->text);
	free(work->text);
	search_batch_free(&work->batch);
	store_reader_free(&work->reader);
}
