/*
 * See import.h.  One thread reads the source and fills batches; the store's writers
 * commit several at once; completions come back by a queue to this thread, which then
 * reads each message back and compares it.
 *
 * Memory: 48 bytes a message that is in the mailbox, 40 a message of the source, and the
 * batches under way (a message above BODY_SPILL_BYTES is in a file meanwhile).
 */
#include "postroom/import.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/ensure.h"

enum { BATCH_ARENA_MAX = 4 * 1024 * 1024, UIDL_FORMAT_MAX = 256, READS_A_SNAPSHOT = 64 };

struct batch {
	struct import_op op;
	struct importing *owner;
	struct import_item items[IMPORT_BATCH_MESSAGES];
	struct mail_hash hashes[IMPORT_BATCH_MESSAGES];
	const char *where[IMPORT_BATCH_MESSAGES];
	size_t bytes;
	struct arena *arena;
};

/* A message that was in the mailbox before. */
struct existing {
	uint64_t size, body;
	struct mail_hash hash;
	uint32_t uid;
	bool hashed, taken;
};

/* One that this run has put there. */
struct imported {
	uint64_t size;
	struct mail_hash hash;
	uint32_t uid;
};

struct completion {
	struct completion *next;
	void (*fn)(void *arg);
	void *arg;
};

struct importing {
	struct transfer *transfer;
	struct account_id account;
	struct mail_source *source;
	const char *uidl_format;
	struct store *store;
	struct store_reader *reader;
	struct mail_hasher hasher;
	unsigned reads; /* since the snapshot began */
	/* Completions, oldest first. */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct completion *completions, **completions_end;
	unsigned under_way;
	uint64_t under_way_bytes;
	/* The folder: */
	const struct mail_folder *folder;
	bool is_inbox;
	uint32_t mailbox; /* 0: it is not there (dry run) */
	uint32_t uid_end;
	bool same_uids; /* UIDVALIDITY is the source's */
	struct transfer_counts counts;
	struct existing *existing;
	uint32_t *by_size; /* indexes into existing */
	size_t existing_count, existing_room;
	struct imported *imported;
	size_t imported_count, imported_room;
	struct batch *batch;
	enum status status; /* the first failure */
	/* The message that is read: */
	struct body_draft *draft;
	uint64_t size;
};

/* ---- the way back from the writers ---- */
/* store_post_fn, on a writer's thread */
static void
post(void *post_arg, void (*fn)(void *), void *arg)
{
	struct importing *im = post_arg;
	struct completion *completion = xcalloc(1, sizeof(*completion));
	completion->fn = fn;
	completion->arg = arg;
	pthread_mutex_lock(&im->mutex);
	*im->completions_end = completion;
	im->completions_end = &completion->next;
	pthread_cond_signal(&im->changed);
	pthread_mutex_unlock(&im->mutex);
}

static void
complete_one(struct importing *im)
{
	pthread_mutex_lock(&im->mutex);
	while (!im->completions)
		pthread_cond_wait(&im->changed, &im->mutex);
	struct completion *completion = im->completions;
	im->completions = completion->next;
	if (!im->completions)
		im->completions_end = &im->completions;
	pthread_mutex_unlock(&im->mutex);
	completion->fn(completion->arg);
	free(completion);
}

static void
complete_until(struct importing *im, unsigned left)
{
	while (im->under_way > left)
		complete_one(im);
}

struct importing *
importing_new(struct transfer *transfer, struct account_id account,
    struct mail_source *source, const char *uidl_format)
{
	struct importing *im = xcalloc(1, sizeof(*im));
	im->transfer = transfer;
	im->account = account;
	im->source = source;
	im->uidl_format = uidl_format;
	im->store = transfer->cli->store;
	im->reader = store_reader_new(im->store, post, im);
	im->completions_end = &im->completions;
	pthread_mutex_init(&im->mutex, NULL);
	pthread_cond_init(&im->changed, NULL);
	mail_hasher_init(&im->hasher);
	return im;
}

void
importing_free(struct importing **importing)
{
	struct importing *im = *importing;
	*importing = NULL;
	complete_until(im, 0);
	store_reader_free(&im->reader);
	mail_hasher_fini(&im->hasher);
	pthread_mutex_destroy(&im->mutex);
	pthread_cond_destroy(&im->changed);
	free(im->existing);
	free(im->by_size);
	free(im->imported);
	free(im);
}

/* A hundred thousand reads in one snapshot would keep old pages from being used again. */
static void
read_done(struct importing *im)
{
	if (++im->reads >= READS_A_SNAPSHOT) {
		store_reader_end(im->reader);
		im->reads = 0;
	}
}

/* ---- what is there already ---- */
static int
size_compare(const void *a, const void *b, void *arg)
{
	const struct existing *all = arg;
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;
	if (all[x].size != all[y].size)
		return all[x].size < all[y].size ? -1 : 1;
	return x < y ? -1 : x > y;
}

static enum status
existing_load(struct importing *im)
{
	struct message_record record;
	enum status status;
	im->existing_count = 0;
	if (im->mailbox == 0)
		return STATUS_OK;
	struct message_cursor *cursor =
	    message_cursor_open(im->reader, im->account, im->mailbox, 1, UINT32_MAX);
	while ((status = message_cursor_next(cursor, &record)) == STATUS_OK) {
		if (im->existing_count == im->existing_room) {
			im->existing_room =
			    im->existing_room ? im->existing_room * 2 : 256;
			im->existing = xrealloc(
			    im->existing, im->existing_room * sizeof(*im->existing));
		}
		im->existing[im->existing_count++] = (struct existing){
		    .size = record.size, .body = record.body, .uid = record.uid};
	}
	message_cursor_close(&cursor);
	store_reader_end(im->reader);
	free(im->by_size);
	im->by_size = xcalloc(im->existing_count + 1, sizeof(*im->by_size));
	for (size_t i = 0; i < im->existing_count; i++)
		im->by_size[i] = (uint32_t)i;
	qsort_r(im->by_size, im->existing_count, sizeof(*im->by_size), size_compare,
	    im->existing);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
body_hash(
    struct importing *im, const struct message_record *record, struct mail_hash *out)
{
	struct body_handle handle;
	enum status status = message_body_open(im->reader, im->account, record, &handle);
	if (status != STATUS_OK)
		return status;
	mail_hash_begin(&im->hasher);
	mail_hash_add(&im->hasher, body_handle_bytes(&handle));
	mail_hash_end(&im->hasher, out);
	body_handle_close(&handle);
	read_done(im);
	return STATUS_OK;
}

static bool
existing_is(struct importing *im, struct existing *existing, uint64_t size,
    const struct mail_hash *hash)
{
	if (existing->taken || existing->size != size)
		return false;
	if (!existing->hashed) {
		const struct message_record record = {
		    .body = existing->body, .size = existing->size};
		/* One that cannot be read stands for no other. */
		if (body_hash(im, &record, &existing->hash) != STATUS_OK)
			existing->taken = true;
		existing->hashed = true;
	}
	return !existing->taken && mail_hash_equal(&existing->hash, hash);
}

static struct existing *
existing_by_uid(struct importing *im, uint32_t uid)
{
	size_t low = 0;
	size_t high = im->existing_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (im->existing[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < im->existing_count && im->existing[low].uid == uid
	           ? &im->existing[low]
	           : NULL;
}

static bool
existing_take(struct importing *im, uint32_t uid, const struct mail_hash *hash)
{
	struct existing *found = im->same_uids && uid ? existing_by_uid(im, uid) : NULL;
	if (found && !existing_is(im, found, im->size, hash))
		found = NULL;
	size_t low = 0;
	size_t high = found ? 0 : im->existing_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (im->existing[im->by_size[middle]].size < im->size)
			low = middle + 1;
		else
			high = middle;
	}
	for (; !found && low < im->existing_count; low++) {
		struct existing *at = &im->existing[im->by_size[low]];
		if (at->size != im->size)
			break;
		if (existing_is(im, at, im->size, hash))
			found = at;
	}
	if (!found)
		return false;
	found->taken = true;
	im->counts.uids_kept += im->same_uids && found->uid == uid;
	return true;
}

/* ---- batches ---- */
static void
item_done(struct importing *im, struct batch *batch, size_t i)
{
	struct import_item *item = &batch->items[i];
	char text[160];
	enum status status =
	    batch->op.op.status == STATUS_OK ? item->status : batch->op.op.status;
	if (status == STATUS_OK) {
		im->counts.done++;
		im->counts.uids_kept += item->uid_kept;
		if (!item->keywords_kept)
			transfer_problem(batch->where[i],
			    "warning: not all its keywords have room in the mailbox",
			    im->transfer);
		if (item->uidl.ptr && !item->uidl_kept) {
			snprintf(text, sizeof(text),
			    "warning: its POP3 unique id %.*s could not be kept",
			    SLICE_ARG(item->uidl));
			transfer_problem(batch->where[i], text, im->transfer);
		}
		if (im->imported_count == im->imported_room) {
			im->imported_room =
			    im->imported_room ? im->imported_room * 2 : 256;
			im->imported = xrealloc(
			    im->imported, im->imported_room * sizeof(*im->imported));
		}
		im->imported[im->imported_count++] = (struct imported){
		    body_draft_size(item->draft), batch->hashes[i], item->uid};
		return;
	}
	im->counts.failed++;
	if (im->status == STATUS_OK)
		im->status = status;
	if (status != STATUS_QUOTA) { /* which is told once */
		snprintf(
		    text, sizeof(text), "could not be stored: %s", status_text(status));
		transfer_problem(batch->where[i], text, im->transfer);
	}
}

/* store_done_fn, on this thread */
static void
batch_done(struct store_op *op)
{
	struct batch *batch = op->user;
	struct importing *im = batch->owner;
	for (size_t i = 0; i < batch->op.item_count; i++)
		item_done(im, batch, i);
	/* Backwards: the first one's chain owns references on the others. */
	for (size_t i = batch->op.item_count; i-- > 0;)
		body_draft_unref(&batch->items[i].draft);
	uint64_t bytes = batch->bytes;
	arena_free(&batch->arena);
	free(batch);
	im->under_way--;
	im->under_way_bytes -= bytes;
}

static void
batch_submit(struct importing *im)
{
	struct batch *batch = im->batch;
	im->batch = NULL;
	if (!batch)
		return;
	struct account_usage usage;
	complete_until(im, IMPORT_BATCHES_MAX - 1);
	/* Where the quota may end, one at a time: what is behind a message that does not
	 * fit must not get in before it (its UID would be lost). */
	if (account_usage_get(im->reader, im->account, &usage) == STATUS_OK &&
	    (account_usage_is_passed(&usage, im->under_way_bytes + batch->bytes,
		(im->under_way + 1) * (uint64_t)IMPORT_BATCH_MESSAGES)))
		complete_until(im, 0);
	store_reader_end(im->reader);
	if (im->status != STATUS_OK) {
		batch->op.op = (struct store_op){.user = batch, .status = im->status};
		im->under_way++;
		im->under_way_bytes += batch->bytes;
		batch_done(&batch->op.op);
		return;
	}
	im->under_way++;
	im->under_way_bytes += batch->bytes;
	batch->op.op =
	    (struct store_op){.done = batch_done, .user = batch, .arena = batch->arena};
	batch->op.account = im->account;
	batch->op.mailbox = im->mailbox;
	batch->op.items = batch->items;
	import_op_submit(im->reader, &batch->op);
}

/* "%08Xu%08Xv" and the like: u and v are UID and UIDVALIDITY, X is hexadecimal, f the
 * file's name.  The null slice when it gives no unique id. */
static struct slice
uidl_make(struct importing *im, const struct mail_item *item, struct arena *arena)
{
	struct buf out AUTO_BUF;
	buf_init(&out, UIDL_FORMAT_MAX);
	for (const char *p = im->uidl_format; *p; p++) {
		if (*p != '%') {
			buf_append_byte(&out, *p);
			continue;
		}
		char *end;
		long width = strtol(p + 1, &end, 10);
		bool hex = *end == 'X';
		end += hex;
		width = width < 0 || width > 16 ? 0 : width;
		uint32_t number = *end == 'v' ? im->folder->uidvalidity : item->uid;
		if (*end == 'f')
			buf_append(&out, item->base);
		else if (*end == 'u' || *end == 'v')
			buf_append_format(
			    &out, hex ? "%0*" PRIx32 : "%0*" PRIu32, (int)width, number);
		else
			return SLICE_NULL;
		p = end;
	}
	return buf_ok(&out) && item->uid ? arena_copy(arena, buf_slice(&out))
	                                 : SLICE_NULL;
}

/* RFC 9051 section 9: an atom. */
static bool
is_keyword(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c <= ' ' || c > '~' || strchr("(){%*\"\\]", c))
			return false;
	}
	return text.len > 0 && text.len <= MAILBOX_KEYWORD_LEN_MAX;
}

static void
batch_add(
    struct importing *im, const struct mail_item *mail, const struct mail_hash *hash)
{
	if (!im->batch) {
		im->batch = xcalloc(1, sizeof(*im->batch));
		im->batch->owner = im;
		im->batch->arena = arena_new(BATCH_ARENA_MAX);
	}
	struct batch *batch = im->batch;
	struct import_item *item = &batch->items[batch->op.item_count];
	struct slice *keywords =
	    ARENA_ARRAY(batch->arena, struct slice, mail->keyword_count + 1);
	ENSURE(keywords);
	size_t keyword_count = 0;
	for (size_t i = 0; i < mail->keyword_count; i++) {
		if (is_keyword(mail->keywords[i]))
			keywords[keyword_count++] =
			    arena_copy(batch->arena, mail->keywords[i]);
		else
			transfer_problem(mail->where,
			    "warning: one of its keywords can be none in IMAP",
			    im->transfer);
	}
	*item = (struct import_item){
	    .draft = im->draft,
	    .want_uid = im->folder->uidvalidity ? mail->uid : 0,
	    .flags = mail->flags,
	    .keywords = keywords,
	    .keyword_count = keyword_count,
	    .internaldate_s = mail->internaldate_s,
	    .internaldate_zone_min = mail->internaldate_zone_min,
	};
	if (im->is_inbox && mail->uidl.ptr)
		item->uidl = arena_copy(batch->arena, mail->uidl);
	else if (im->is_inbox && im->uidl_format)
		item->uidl = uidl_make(im, mail, batch->arena);
	batch->hashes[batch->op.item_count] = *hash;
	batch->where[batch->op.item_count] =
	    arena_cstr(batch->arena, slice_from_cstr(mail->where));
	ENSURE(batch->where[batch->op.item_count]);
	batch->op.item_count++;
	batch->bytes += im->size;
	im->draft = NULL;
	if (batch->op.item_count == IMPORT_BATCH_MESSAGES ||
	    batch->bytes >= IMPORT_BATCH_BYTES)
		batch_submit(im);
}

/* ---- one message ---- */
static bool
message_bytes(struct slice bytes, void *arg)
{
	struct importing *im = arg;
	im->size += bytes.len;
	mail_hash_add(&im->hasher, bytes);
	if (im->draft)
		im->status = body_draft_append(im->draft, bytes);
	return im->status == STATUS_OK;
}

static void
message_import(struct importing *im, const struct mail_item *mail)
{
	struct mail_hash hash;
	im->size = 0;
	im->draft = im->transfer->dry_run
	                ? NULL
	                : body_draft_new(im->store, MAIL_MESSAGE_BYTES_MAX + UINT64_C(1) +
							MAIL_MESSAGE_BYTES_MAX);
	mail_hash_begin(&im->hasher);
	im->counts.messages++;
	bool good = mail_source_read(im->source, message_bytes, im);
	mail_hash_end(&im->hasher, &hash);
	im->counts.bytes += im->size;
	if (!good)
		im->counts.failed++;
	else if (existing_take(im, im->folder->uidvalidity ? mail->uid : 0, &hash)) {
		im->counts.already++;
		im->counts.verified++; /* byte for byte, just now */
	} else if (!im->draft) {
		im->counts.done++;
		im->counts.uids_kept += mail->uid && mail->uid < im->uid_end;
	} else {
		im->status = body_draft_seal(im->draft);
		if (im->status == STATUS_OK)
			batch_add(im, mail, &hash);
	}
	body_draft_unref(&im->draft);
}

/* ---- afterwards ---- */
static void
imported_verify(struct importing *im)
{
	for (size_t i = 0; i < im->imported_count; i++) {
		const struct imported *imported = &im->imported[i];
		struct message_record record;
		struct mail_hash hash;
		char text[160];
		enum status status = message_get(
		    im->reader, im->account, im->mailbox, imported->uid, &record);
		if (status == STATUS_OK)
			status = body_hash(im, &record, &hash);
		if (status == STATUS_OK && (record.size != imported->size ||
					       !mail_hash_equal(&hash, &imported->hash)))
			status = STATUS_CORRUPT;
		if (status == STATUS_OK) {
			im->counts.verified++;
			continue;
		}
		snprintf(text, sizeof(text), "message with UID %" PRIu32 ": %s",
		    imported->uid,
		    status == STATUS_NOT_FOUND ? "was expunged meanwhile"
					       : "is not what was read");
		char *name = slice_to_cstr(im->folder->name);
		transfer_problem(name, text, im->transfer);
		free(name);
	}
	store_reader_end(im->reader);
	im->reads = 0;
}

/* The mailbox as it is, for a dry run. */
static enum status
box_look(struct importing *im)
{
	struct mailbox_info info;
	const struct mail_folder *folder = im->folder;
	enum status status = mailbox_find(im->reader, im->account, folder->name, &info);
	bool fresh = status == STATUS_NOT_FOUND;
	if (status == STATUS_OK) {
		im->mailbox = info.number;
		im->same_uids = info.uidvalidity == folder->uidvalidity;
		fresh = info.uidnext == 1;
	} else if (fresh) {
		status = STATUS_OK;
	}
	store_reader_end(im->reader);
	if (folder->uidvalidity && folder->uidvalidity <= IMPORT_UIDVALIDITY_MAX &&
	    (fresh || im->same_uids))
		im->uid_end = folder->uidnext;
	return status;
}

static enum status
box_make(struct importing *im)
{
	struct import_box_op op = {
	    .account = im->account,
	    .mailbox = im->folder->name,
	    .uidvalidity = im->folder->uidvalidity,
	    .uidnext = im->folder->uidnext,
	};
	struct store_reader *reader = im->transfer->cli->reader; /* waits */
	import_box_submit(reader, &op);
	if (op.op.status != STATUS_OK)
		return op.op.status;
	im->mailbox = op.out_mailbox;
	im->uid_end = op.out_uid_end;
	im->same_uids = op.out_uidvalidity == im->folder->uidvalidity;
	if (!im->folder->subscribed)
		return STATUS_OK;
	struct mailbox_op subscribe = {.account = im->account,
	    .change = MAILBOX_SUBSCRIBE,
	    .name = im->folder->name};
	mailbox_op_submit(reader, &subscribe);
	return subscribe.op.status == STATUS_EXISTS ? STATUS_OK : subscribe.op.status;
}

static void
folder_tell(struct importing *im)
{
	char text[160];
	const struct transfer_counts *c = &im->counts;
	uint64_t others = c->done + c->already - c->uids_kept;
	if (im->folder->uidvalidity == 0)
		snprintf(text, sizeof(text), "new UIDs: the source knows none");
	else if (im->uid_end == 0 && im->same_uids)
		snprintf(text, sizeof(text),
		    "those that are there keep their UIDs, others get new ones");
	else if (im->uid_end == 0)
		snprintf(text, sizeof(text),
		    "new UIDs: the mailbox has had other mail than the source's before");
	else if (others == 0)
		snprintf(text, sizeof(text), "all UIDs kept");
	else
		snprintf(text, sizeof(text),
		    "UIDs kept but for %" PRIu64
		    " messages, which had none or one that was given out before",
		    others);
	transfer_folder(im->transfer, im->folder->name, im->folder->uidvalidity, c, text);
}

enum status
importing_folder(struct importing *im, const struct mail_folder *folder)
{
	struct mail_item mail;
	im->folder = folder;
	im->is_inbox = slice_equal(folder->name, SLICE("INBOX"));
	im->mailbox = im->uid_end = 0;
	im->same_uids = false;
	im->counts = (struct transfer_counts){0};
	im->imported_count = 0;
	im->status = im->transfer->dry_run ? box_look(im) : box_make(im);
	if (im->status == STATUS_OK)
		im->status = existing_load(im);
	if (im->status != STATUS_OK)
		return im->status;
	while (im->status == STATUS_OK && mail_source_message(im->source, &mail)) {
		message_import(im, &mail);
		transfer_progress(
		    im->transfer, folder->name, &im->counts, folder->messages);
	}
	batch_submit(im);
	complete_until(im, 0);
	imported_verify(im);
	folder_tell(im);
	return im->status;
}
