/*
 * Mailboxes, reading: names, states, keywords, usage; and the loads and saves that the
 * commit functions share.
 *
 * What a name is and what a mailbox is are kept apart: N leads from a name to a number,
 * everything else hangs on the number, so a rename touches no message.
 */
#include "store/mailbox_int.h"

#include <stdlib.h>

/* ---- load and save ---- */
enum status
account_load(struct engine_txn *txn, struct account_state *out)
{
	struct key key;
	struct slice value;
	key_begin(&key, KEY_ACCOUNT);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	if (!account_decode(value, out))
		return STATUS_CORRUPT;
	return out->removed ? STATUS_NOT_FOUND : STATUS_OK;
}

void
account_save(struct engine_txn *txn, const struct account_state *account)
{
	struct key key;
	char record[ACCOUNT_SIZE_MAX];
	key_begin(&key, KEY_ACCOUNT);
	engine_put(txn, key_slice(&key), account_encode(account, record));
}

enum status
name_load(struct engine_txn *txn, struct slice name, uint32_t *out_number)
{
	struct key key;
	struct slice value;
	if (name.len > MAILBOX_NAME_MAX)
		return STATUS_NOT_FOUND;
	key_name(&key, KEY_NAME, name);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return name_decode(value, out_number) ? STATUS_OK : STATUS_CORRUPT;
}

/* Without a copy of the name. */
static enum status
state_peek(struct engine_txn *txn, uint32_t mailbox, struct mailbox_state *out)
{
	struct key key;
	struct slice value;
	key_mailbox(&key, KEY_STATE, mailbox);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	if (!state_decode(value, out))
		return STATUS_CORRUPT;
	out->number = mailbox;
	return STATUS_OK;
}

enum status
state_load(struct engine_txn *txn, uint32_t mailbox, struct mailbox_state *out)
{
	enum status status = state_peek(txn, mailbox, out);
	if (status != STATUS_OK)
		return status;
	memcpy(out->name_bytes, out->name.ptr, out->name.len);
	out->name.ptr = out->name_bytes;
	return STATUS_OK;
}

void
state_save(struct engine_txn *txn, const struct mailbox_state *state)
{
	struct key key;
	char record[STATE_SIZE_MAX];
	key_mailbox(&key, KEY_STATE, state->number);
	size_t len = state_encode(state, record);
	engine_put(txn, key_slice(&key), slice_make(record, len));
}

enum status
keywords_load(struct engine_txn *txn, uint32_t mailbox, struct keyword_list *out)
{
	struct key key;
	struct slice value;
	key_mailbox(&key, KEY_KEYWORDS, mailbox);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND) {
		out->count = 0;
		return STATUS_OK;
	}
	if (status != STATUS_OK)
		return status;
	return keywords_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

void
keywords_save(struct engine_txn *txn, uint32_t mailbox, const struct keyword_list *list)
{
	struct key key;
	char record[KEYWORDS_SIZE_MAX];
	key_mailbox(&key, KEY_KEYWORDS, mailbox);
	size_t len = keywords_encode(list, record);
	engine_put(txn, key_slice(&key), slice_make(record, len));
}

enum status
keywords_resolve(struct keyword_list *list, const struct slice *names, size_t count,
    bool make, uint64_t *out_bits, bool *out_made)
{
	uint64_t bits = 0;
	for (size_t i = 0; i < count; i++) {
		struct slice name = names[i];
		size_t bit = 0;
		while (bit < list->count &&
		       !slice_equal_nocase(
			   name, slice_make(list->at[bit].text, list->at[bit].len)))
			bit++;
		if (bit == list->count) {
			if (!make)
				continue;
			if (name.len == 0 || name.len > MAILBOX_KEYWORD_LEN_MAX)
				return STATUS_INVALID;
			if (bit == MAILBOX_KEYWORDS_MAX)
				return STATUS_LIMIT;
			list->at[bit].len = (uint8_t)name.len;
			memcpy(list->at[bit].text, name.ptr, name.len);
			list->count++;
			*out_made = true;
		}
		bits |= UINT64_C(1) << bit;
	}
	*out_bits = bits;
	return STATUS_OK;
}

enum status
name_has_children(struct engine_txn *txn, struct slice name, bool *out)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	key_name(&from, KEY_NAME, name);
	key_bytes(&from, SLICE("/"));
	to = from;
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	enum status status = engine_cursor_next(cursor, &key, &value);
	engine_cursor_close(&cursor);
	*out = status == STATUS_OK;
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

void
info_from_state(const struct mailbox_state *state, struct mailbox_info *out)
{
	*out = (struct mailbox_info){
	    .number = state->number,
	    .name = state->name,
	    .uidvalidity = state->uidvalidity,
	    .uidnext = state->uidnext,
	    .exists = state->exists,
	    .unseen = state->unseen,
	    .deleted = state->deleted,
	    .first_recent = state->first_recent,
	    .modseq = state->modseq,
	    .bytes = state->bytes,
	    .use = state->use,
	};
}

/* ---- the public readers ---- */
enum status
account_snap(struct store_reader *reader, struct account_id account,
    struct engine_txn **out_txn, struct account_state *out)
{
	struct account_state unused;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), out_txn);
	return status == STATUS_OK ? account_load(*out_txn, out ? out : &unused) : status;
}

static enum status
is_subscribed(struct engine_txn *txn, struct slice name, bool *out)
{
	struct key key;
	struct slice value;
	key_name(&key, KEY_SUBSCRIBED, name);
	enum status status = engine_get(txn, key_slice(&key), &value);
	*out = status == STATUS_OK;
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
info_load(struct engine_txn *txn, uint32_t number, struct mailbox_info *out)
{
	struct mailbox_state state;
	struct mailbox_info info;
	enum status status = state_peek(txn, number, &state);
	if (status != STATUS_OK)
		return status;
	info_from_state(&state, &info);
	status = is_subscribed(txn, info.name, &info.subscribed);
	if (status == STATUS_OK)
		status = name_has_children(txn, info.name, &info.has_children);
	if (status == STATUS_OK)
		*out = info;
	return status;
}

enum status
mailbox_find(struct store_reader *reader, struct account_id account, struct slice name,
    struct mailbox_info *out)
{
	struct engine_txn *txn;
	struct account_state state;
	uint32_t number;
	enum status status = account_snap(reader, account, &txn, &state);
	if (status == STATUS_OK)
		status = name_load(txn, name, &number);
	if (status != STATUS_OK)
		return status;
	status = info_load(txn, number, out);
	return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
}

enum status
mailbox_by_number(struct store_reader *reader, struct account_id account, uint32_t number,
    struct mailbox_info *out)
{
	struct engine_txn *txn;
	struct account_state state;
	enum status status = account_snap(reader, account, &txn, &state);
	return status == STATUS_OK ? info_load(txn, number, out) : status;
}

enum status
account_usage_get(
    struct store_reader *reader, struct account_id account, struct account_usage *out)
{
	struct engine_txn *txn;
	struct account_state state;
	enum status status = account_snap(reader, account, &txn, &state);
	if (status != STATUS_OK)
		return status;
	*out = (struct account_usage){
	    .bytes = state.bytes,
	    .messages = state.messages,
	    .quota = state.quota,
	    .mailboxes = state.mailboxes,
	};
	return STATUS_OK;
}

static bool
limit_is_passed(uint64_t limit, uint64_t used, uint64_t more)
{
	return limit && more && (used >= limit || more > limit - used);
}

bool
account_usage_is_passed(
    const struct account_usage *usage, uint64_t bytes, uint64_t messages)
{
	return limit_is_passed(usage->quota.bytes, usage->bytes, bytes) ||
	       limit_is_passed(usage->quota.messages, usage->messages, messages);
}

bool
quota_is_passed(const struct account_state *account, uint64_t bytes, uint64_t messages)
{
	const struct account_usage usage = {.bytes = account->bytes,
	    .messages = account->messages,
	    .quota = account->quota};
	return account_usage_is_passed(&usage, bytes, messages);
}

size_t
mailbox_keywords(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    struct slice out[MAILBOX_KEYWORDS_MAX])
{
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	size_t count;
	key_mailbox(&key, KEY_KEYWORDS, mailbox);
	if (engine_snap(reader->engine, partition_account(account), &txn) != STATUS_OK ||
	    engine_get(txn, key_slice(&key), &value) != STATUS_OK ||
	    !keywords_peek(value, out, &count))
		return 0;
	return count;
}

/* ---- all names in order ---- */
struct listed {
	struct slice name;
	uint32_t number; /* 0: no mailbox of that name */
	bool subscribed;
	bool has_children;
};

static int
listed_compare(const void *a, const void *b)
{
	const struct listed *x = a;
	const struct listed *y = b;
	int by_name = slice_compare(x->name, y->name);
	if (by_name)
		return by_name;
	/* Of doubles the mailbox comes first. */
	return (y->number != 0) - (x->number != 0);
}

/* Adds the names of one class (N or U) and all their parents' names. */
static enum status
list_names(struct engine_txn *txn, char class, struct vec *out)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	struct slice last = SLICE_NULL;
	key_begin(&from, class);
	key_begin(&to, (char)(class + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		uint32_t number = 0;
		struct slice name = slice_from(key, 1);
		if (class == KEY_NAME && !name_decode(value, &number)) {
			status = STATUS_CORRUPT;
			break;
		}
		struct slice parent = mailbox_name_parent(name);
		struct listed *at = vec_push(out, sizeof(*at));
		if (!at) {
			status = STATUS_LIMIT;
			break;
		}
		*at = (struct listed){name, number, class == KEY_SUBSCRIBED, false};
		/* A parent that the name before this one has too is there already. */
		while (class == KEY_NAME && parent.ptr && !slice_equal(parent, last) &&
		       !mailbox_name_is_below(last, parent)) {
			at = vec_push(out, sizeof(*at));
			if (!at)
				break;
			*at = (struct listed){parent, 0, false, true};
			parent = mailbox_name_parent(parent);
		}
		last = name;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static int
listed_compare_name(const void *a, const void *b)
{
	return slice_compare(
	    ((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

/* Makes one entry of those with the same name. */
static void
list_merge_doubles(struct vec *list)
{
	struct listed *all = list->ptr;
	size_t kept = 0;
	for (size_t i = 0; i < list->count; i++) {
		if (kept && slice_equal(all[kept - 1].name, all[i].name)) {
			all[kept - 1].subscribed |= all[i].subscribed;
			all[kept - 1].has_children |= all[i].has_children;
		} else {
			all[kept++] = all[i];
		}
	}
	list->count = kept;
}

static void
list_mark_children(struct vec *list)
{
	struct listed *all = list->ptr;
	for (size_t i = 0; i < list->count; i++) {
		struct slice parent = mailbox_name_parent(all[i].name);
		if (all[i].number == 0 || !parent.ptr)
			continue;
		struct listed want = {.name = parent};
		struct listed *at =
		    bsearch(&want, all, list->count, sizeof(want), listed_compare_name);
		if (at)
			at->has_children = true;
	}
}

static enum status
list_tell(struct engine_txn *txn, const struct listed *listed,
    bool (*fn)(const struct mailbox_info *info, void *arg), void *arg, bool *out_go_on)
{
	struct mailbox_info info = {.name = listed->name, .exists_not = true};
	struct mailbox_state state;
	if (listed->number) {
		enum status status = state_peek(txn, listed->number, &state);
		if (status != STATUS_OK)
			return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
		info_from_state(&state, &info);
		info.name = listed->name;
	}
	info.subscribed = listed->subscribed;
	info.has_children = listed->has_children;
	*out_go_on = fn(&info, arg);
	return STATUS_OK;
}

enum status
mailbox_each(struct store_reader *reader, struct account_id account,
    bool (*fn)(const struct mailbox_info *info, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct account_state state;
	struct vec list = {NULL, 0, 0};
	bool go_on = true;
	enum status status = account_snap(reader, account, &txn, &state);
	if (status == STATUS_OK)
		status = list_names(txn, KEY_NAME, &list);
	if (status == STATUS_OK)
		status = list_names(txn, KEY_SUBSCRIBED, &list);
	if (status != STATUS_OK)
		goto out;
	if (list.count)
		qsort(list.ptr, list.count, sizeof(struct listed), listed_compare);
	list_merge_doubles(&list);
	list_mark_children(&list);

	const struct listed *all = list.ptr;
	size_t inbox = SIZE_MAX;
	for (size_t i = 0; i < list.count && inbox == SIZE_MAX; i++)
		if (slice_equal(all[i].name, mailbox_inbox))
			inbox = i;
	if (inbox != SIZE_MAX)
		status = list_tell(txn, &all[inbox], fn, arg, &go_on);
	for (size_t i = 0; i < list.count && status == STATUS_OK && go_on; i++)
		if (i != inbox)
			status = list_tell(txn, &all[i], fn, arg, &go_on);
out:
	vec_fini(&list);
	return status;
}
