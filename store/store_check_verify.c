/*
 * `postroom verify` for the store: one environment after the other, every body is read
 * and compared with its checksum, so are its derived record and the frame around it. What
 * was found is named at the end of an environment, by a walk over its messages that is
 * made only then.
 *
 * Online: a snapshot is held for some bodies only, and every change is a commit that
 * looks again at what it changes.
 */
#include "store/search_int.h"
#include "store/store_check_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "text/message_index.h"

enum {
	SNAP_BODIES_MAX = 16,             /* read in one snapshot */
	SNAP_BYTES_MAX = 4 * 1024 * 1024, /* the same; one body may be larger */
	VERIFY_LOGIN_MAX = 400,           /* bytes */
};

struct found {
	uint64_t body;
	uint32_t segment;
	enum verify_what what;
	enum status status;
	bool healed;
	bool named;
};

struct verify {
	struct store *store;
	struct store_reader *reader;
	const struct store_verify_options *options;
	struct store_verify_totals *totals;
	struct partition_id part; /* some partition of the environment */
	struct vec bodies;        /* uint64_t */
	struct vec found;         /* ascending by body */
	uint64_t done;            /* bodies, of all environments */
};

static bool
body_add(uint64_t id, const struct engine_body *body, void *arg)
{
	struct verify *v = arg;
	(void)body;
	uint64_t *at = vec_push(&v->bodies, sizeof(*at));
	if (at)
		*at = id;
	return at != NULL;
}

static void
found_add(struct verify *v, uint64_t body, uint32_t segment, enum verify_what what,
    enum status status, bool healed)
{
	struct found *found = vec_push(&v->found, sizeof(*found));
	if (found)
		*found = (struct found){body, segment, what, status, healed, false};
	v->totals->findings++;
	v->totals->healed += healed;
}

/* ---- changes ---- */

struct change {
	uint64_t body;
	bool damaged;
	struct buf derived;
};

static enum status
commit_mark(struct engine_txn *txn, void *arg)
{
	const struct change *change = arg;
	return engine_body_mark(txn, change->body, change->damaged);
}

static enum status
commit_derived(struct engine_txn *txn, void *arg)
{
	const struct change *change = arg;
	return engine_body_set_derived(txn, change->body, buf_slice(&change->derived));
}

static enum status
mark(struct verify *v, uint64_t body, bool damaged)
{
	struct change change = {.body = body, .damaged = damaged};
	return engine_commit_wait(v->store->engine, v->part, commit_mark, &change, NULL);
}

/* ---- one body ---- */

/* The derived record of a body whose bytes are well. */
static void
derived_verify(struct verify *v, struct engine_txn *txn, uint64_t body, uint32_t segment)
{
	struct slice derived;
	struct message_index index;
	struct body_handle handle;
	enum status status = engine_body_derived(txn, body, &derived);
	if (status == STATUS_OK && message_index_decode(derived, &index))
		return;
	if (engine_body_open(txn, body, &handle) != STATUS_OK)
		return; /* just gone into quarantine */
	struct change change = {.body = body};
	buf_init(&change.derived, MESSAGE_INDEX_MAX);
	bool built = message_index_build(body_handle_bytes(&handle), &change.derived);
	body_handle_close(&handle);
	if (!built)
		buf_reset(&change.derived);
	/* A record that would be too large is left out, which is not damage. */
	if (!built && status == STATUS_OK && derived.len == 0) {
		buf_fini(&change.derived);
		return;
	}
	bool healed =
	    !v->options->look_only && engine_commit_wait(v->store->engine, v->part,
					  commit_derived, &change, NULL) == STATUS_OK;
	found_add(v, body, segment, VERIFY_DERIVED, STATUS_CORRUPT, healed);
	buf_fini(&change.derived);
}

static void
body_verify(struct verify *v, struct engine_txn *txn, uint64_t id, uint64_t *bytes)
{
	struct engine_body body;
	enum status status = engine_body_stat(txn, id, &body);
	if (status == STATUS_NOT_FOUND)
		return; /* released meanwhile */
	if (status == STATUS_OK)
		status = engine_body_verify(txn, id);
	v->totals->bodies++;
	v->totals->bytes += body.size;
	*bytes += body.size;
	if (status != STATUS_OK) {
		if (status != STATUS_CORRUPT && status != STATUS_IO)
			return; /* not the body's fault (descriptors, memory) */
		found_add(v, id, body.segment, VERIFY_MESSAGE, status, false);
		/* What cannot be read now may be read later: only what is known to be
		 * wrong is locked away. */
		if (status == STATUS_CORRUPT && !v->options->look_only &&
		    mark(v, id, true) == STATUS_OK)
			v->totals->quarantined++;
		return;
	}
	if (body.damaged && !v->options->look_only && mark(v, id, false) == STATUS_OK) {
		v->totals->released++;
		found_add(v, id, body.segment, VERIFY_MESSAGE, STATUS_OK, true);
	}
	if (engine_body_frame_verify(txn, id) == STATUS_CORRUPT) {
		bool healed =
		    !v->options->look_only && engine_body_mend(txn, id) == STATUS_OK;
		found_add(v, id, body.segment, VERIFY_FRAME, STATUS_CORRUPT, healed);
	}
	if (!body.damaged)
		derived_verify(v, txn, id, body.segment);
}

/* ---- names ---- */

static struct found *
found_of(struct verify *v, uint64_t body)
{
	struct found *rows = v->found.ptr;
	size_t low = 0, high = v->found.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (rows[middle].body < body)
			low = middle + 1;
		else
			high = middle;
	}
	return low < v->found.count && rows[low].body == body ? &rows[low] : NULL;
}

/* All that was found of one body. */
static void
tell(struct verify *v, struct found *found, struct verify_finding finding)
{
	const struct found *end = (struct found *)v->found.ptr + v->found.count;
	for (uint64_t body = found->body; found < end && found->body == body; found++) {
		found->named = true;
		finding.what = found->what;
		finding.status = found->status;
		finding.healed = found->healed;
		finding.body = found->body;
		finding.segment = found->segment;
		v->options->finding(&finding, v->options->arg);
	}
}

/* "user@domain" of an account, or its number when the directory does not know it. */
static struct slice
login_of(struct verify *v, struct partition_id part, char out[VERIFY_LOGIN_MAX])
{
	struct engine_txn *txn;
	struct slice value = SLICE_NULL;
	struct key key;
	key_name(&key, KEY_LOGIN_BACK, slice_make((const char *)part.v, sizeof(part.v)));
	int len = 0;
	if (engine_snap(v->reader->engine, partition_directory(), &txn) == STATUS_OK &&
	    engine_get(txn, key_slice(&key), &value) == STATUS_OK && value.len > 1) {
		/* domain NUL local */
		struct slice rest = slice_from(value, 1);
		const char *nul = memchr(rest.ptr, 0, rest.len);
		size_t domain = nul ? (size_t)(nul - rest.ptr) : rest.len;
		struct slice local =
		    nul ? slice_from(rest, domain + 1) : slice_make(rest.ptr, 0);
		len = snprintf(out, VERIFY_LOGIN_MAX, "%.*s@%.*s", (int)local.len,
		    local.ptr, (int)domain, rest.ptr);
	} else {
		for (size_t i = 0; i < sizeof(part.v); i++)
			len += snprintf(out + len, 3, "%02x", part.v[i]);
	}
	return slice_make(
	    out, len < VERIFY_LOGIN_MAX ? (size_t)len : VERIFY_LOGIN_MAX - 1);
}

static void
name_in_account(
    struct verify *v, struct engine_txn *txn, struct partition_id part, char class)
{
	struct key from, to;
	struct slice key, value;
	key_begin(&from, class);
	key_begin(&to, (char)(class + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while (engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		struct message_record message;
		struct mailbox_state box;
		char login[VERIFY_LOGIN_MAX];
		if (key.len != 9 ||
		    !message_decode(slice_sub(value, 0, MESSAGE_SIZE), 0, &message))
			continue; /* a check tells */
		struct found *found = found_of(v, message.body);
		if (!found)
			continue;
		struct verify_finding finding = {
		    .login = login_of(v, part, login),
		    .mailbox = SLICE("(removed)"),
		    .uid = be32_get(key.ptr + 5),
		    .expunged = class == KEY_EXPUNGED,
		};
		if (state_load(txn, be32_get(key.ptr + 1), &box) == STATUS_OK)
			finding.mailbox = box.name;
		tell(v, found, finding);
	}
	engine_cursor_close(&cursor);
}

static void
name_in_queue(struct verify *v, struct engine_txn *txn)
{
	struct key from, to;
	struct slice key, value;
	key_begin(&from, KEY_QMESSAGE);
	key_begin(&to, KEY_QMESSAGE + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while (engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		struct queue_message message;
		if (!queue_message_decode(value, slice_from(key, 1), &message))
			continue;
		struct found *found = found_of(v, message.body);
		if (found)
			tell(v, found,
			    (struct verify_finding){.queue_id = slice_from(key, 1)});
	}
	engine_cursor_close(&cursor);
}

static void
name_all(struct verify *v, const struct vec *parts, uint32_t shard)
{
	const struct partition_id *ids = parts ? parts->ptr : NULL;
	struct engine *engine = v->store->engine;
	struct engine_txn *txn;
	for (size_t i = 0; parts && i < parts->count; i++) {
		if (engine_shard_of(engine, ids[i]) == shard &&
		    engine_snap(v->reader->engine, ids[i], &txn) == STATUS_OK) {
			name_in_account(v, txn, ids[i], KEY_MESSAGE);
			name_in_account(v, txn, ids[i], KEY_EXPUNGED);
		}
		store_reader_end(v->reader);
	}
	if (!parts && engine_snap(v->reader->engine, v->part, &txn) == STATUS_OK)
		name_in_queue(v, txn);
	store_reader_end(v->reader);
	struct found *rows = v->found.ptr;
	for (size_t i = 0; i < v->found.count; i++) {
		if (!rows[i].named)
			tell(v, &rows[i], (struct verify_finding){0});
	}
}

/* ---- one environment ---- */

static enum status
env_verify(struct verify *v, const struct vec *parts, uint32_t shard)
{
	struct engine_txn *txn;
	enum status status = engine_snap(v->reader->engine, v->part, &txn);
	v->bodies.count = v->found.count = 0;
	if (status == STATUS_OK)
		status = engine_body_each(txn, body_add, v);
	/* A damaged record is for a check; the others are looked at. */
	if (status == STATUS_CORRUPT)
		status = STATUS_OK;
	store_reader_end(v->reader);
	const uint64_t *ids = v->bodies.ptr;
	uint64_t total = v->done + v->bodies.count;
	uint64_t bytes = 0;
	for (size_t i = 0, held = 0; i < v->bodies.count && status == STATUS_OK; i++) {
		if (held++ == SNAP_BODIES_MAX || bytes > SNAP_BYTES_MAX) {
			store_reader_end(v->reader);
			held = bytes = 0;
			if (v->options->progress)
				v->options->progress(v->done, total, v->options->arg);
		}
		status = engine_snap(v->reader->engine, v->part, &txn);
		if (status == STATUS_OK)
			body_verify(v, txn, ids[i], &bytes);
		v->done++;
	}
	store_reader_end(v->reader);
	if (status == STATUS_OK && v->found.count > 0)
		name_all(v, parts, shard);
	return status;
}

/* A partition that lives in the shard; none: there are no bodies in it either. */
static bool
part_of_shard(const struct verify *v, const struct vec *parts, uint32_t shard,
    struct partition_id *out)
{
	const struct partition_id *ids = parts->ptr;
	for (size_t i = 0; i < parts->count; i++) {
		if (engine_shard_of(v->store->engine, ids[i]) == shard) {
			*out = ids[i];
			return true;
		}
	}
	return false;
}

/* The search indexes of all accounts. */
static enum status
search_verify_all(struct verify *v, const struct vec *parts)
{
	const struct partition_id *ids = parts->ptr;
	enum status status = STATUS_OK;
	for (size_t i = 0; i < parts->count && status == STATUS_OK; i++) {
		struct account_id id;
		char login[VERIFY_LOGIN_MAX];
		uint64_t damaged;
		memcpy(id.v, ids[i].v, sizeof(id.v));
		status = search_verify(v->reader, id, v->options->look_only, &damaged);
		if (status != STATUS_OK || damaged == 0)
			continue;
		struct verify_finding finding = {
		    .what = VERIFY_SEARCH,
		    .status = STATUS_CORRUPT,
		    .healed = !v->options->look_only,
		    .login = login_of(v, ids[i], login),
		};
		v->totals->findings++;
		v->totals->healed += finding.healed;
		if (v->options->finding)
			v->options->finding(&finding, v->options->arg);
		store_reader_end(v->reader);
	}
	return status;
}

enum status
store_verify(struct store *store, const struct store_verify_options *options,
    struct store_verify_totals *out)
{
	struct store_verify_totals totals = {0};
	struct verify v = {.store = store, .options = options, .totals = &totals};
	struct vec parts = {NULL, 0, 0};
	v.reader = store_reader_new(store, NULL, NULL);
	struct check check = {.store = store, .reader = v.reader};
	enum status status = check_partitions(&check, &parts);
	store_reader_end(v.reader);
	for (uint32_t shard = 0;
	     shard < engine_shards(store->engine) && status == STATUS_OK; shard++) {
		if (part_of_shard(&v, &parts, shard, &v.part))
			status = env_verify(&v, &parts, shard);
	}
	if (status == STATUS_OK)
		status = search_verify_all(&v, &parts);
	v.part = partition_queue();
	if (status == STATUS_OK)
		status = env_verify(&v, NULL, 0);
	store_reader_free(&v.reader);
	vec_fini(&parts);
	vec_fini(&v.bodies);
	vec_fini(&v.found);
	*out = totals;
	return status;
}
