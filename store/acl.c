/*
 * Access control lists: rights and their letters, reading, the op, and who shares.
 *
 * A change is two commits: first the directory's KEY_SHARE, then the list in the owner's
 * partition.  After a crash between them KEY_SHARE leads to a list without the entry,
 * which costs a look-up and nothing else; the other order could hide a mailbox from
 * somebody who may see it.
 */
#include "store/acl.h"

#include "base/hashmap.h"
#include "store/directory_int.h"
#include "store/mailbox_int.h"

#include <stdlib.h>

/* ---- letters ---- */
static const char letters[] = "lrswipkxtea";
_Static_assert(1 << (sizeof(letters) - 1) == ACL_ALL + 1, "a letter a right");

void
acl_rights_write(uint16_t rights, char out[ACL_RIGHTS_TEXT_MAX])
{
	size_t len = 0;
	for (size_t i = 0; letters[i]; i++)
		if (rights >> i & 1)
			out[len++] = letters[i];
	if (rights & (ACL_CREATE | ACL_DELETE))
		out[len++] = 'c';
	if (rights & (ACL_TRASH | ACL_EXPUNGE))
		out[len++] = 'd';
	out[len] = '\0';
}

bool
acl_rights_read(struct slice text, uint16_t *out)
{
	uint16_t rights = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *at = text.ptr[i] ? strchr(letters, text.ptr[i]) : NULL;
		if (at)
			rights |= (uint16_t)(1 << (at - letters));
		else if (text.ptr[i] == 'c')
			rights |= ACL_CREATE | ACL_DELETE;
		else if (text.ptr[i] == 'd')
			rights |= ACL_TRASH | ACL_EXPUNGE;
		else
			return false;
	}
	*out = rights;
	return true;
}

void
acl_who_read(struct slice text, struct acl_entry *out, struct slice *out_login)
{
	*out = (struct acl_entry){.who = ACL_WHO_ACCOUNT};
	if (text.len > 0 && text.ptr[0] == '-') {
		out->negative = true;
		text = slice_from(text, 1);
	}
	if (slice_equal_nocase(text, SLICE("anyone")))
		out->who = ACL_WHO_ANYONE;
	else if (slice_equal_nocase(text, SLICE("authenticated")))
		out->who = ACL_WHO_AUTHENTICATED;
	*out_login = text;
}

bool
acl_change_read(struct slice text, enum acl_mode *out_mode, uint16_t *out_rights)
{
	*out_mode = ACL_MODE_SET;
	if (text.len > 0 && (text.ptr[0] == '+' || text.ptr[0] == '-')) {
		*out_mode = text.ptr[0] == '+' ? ACL_MODE_ADD : ACL_MODE_REMOVE;
		text = slice_from(text, 1);
	}
	return acl_rights_read(text, out_rights);
}

static bool
same_id(struct account_id a, struct account_id b)
{
	return memcmp(a.v, b.v, sizeof(a.v)) == 0;
}

uint16_t
acl_rights(const struct acl *acl, struct account_id user, bool same_domain)
{
	uint16_t given = 0;
	uint16_t taken = 0;
	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->at[i];
		if (e->who == ACL_WHO_ACCOUNT ? !same_id(e->id, user) : !same_domain)
			continue;
		if (e->negative)
			taken |= e->rights;
		else
			given |= e->rights;
	}
	return given & (uint16_t)~taken;
}

/* ---- lists ---- */
static enum status
acl_load(struct engine_txn *txn, uint32_t mailbox, struct acl *out)
{
	struct key key;
	struct slice value;
	key_mailbox(&key, KEY_ACL, mailbox);
	out->count = 0;
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	return acl_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

static void
acl_save(struct engine_txn *txn, uint32_t mailbox, const struct acl *acl)
{
	struct key key;
	char record[ACL_RECORD_MAX];
	key_mailbox(&key, KEY_ACL, mailbox);
	if (acl->count == 0)
		engine_del(txn, key_slice(&key));
	else
		engine_put(
		    txn, key_slice(&key), slice_make(record, acl_encode(acl, record)));
}

enum status
acl_inherit(struct engine_txn *txn, struct slice name, uint32_t mailbox)
{
	struct slice parent = mailbox_name_parent(name);
	uint32_t number;
	struct key key;
	struct slice value;
	if (!parent.ptr)
		return STATUS_OK;
	enum status status = name_load(txn, parent, &number);
	if (status == STATUS_OK) {
		key_mailbox(&key, KEY_ACL, number);
		status = engine_get(txn, key_slice(&key), &value);
	}
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	char record[ACL_RECORD_MAX];
	if (value.len > sizeof(record))
		return STATUS_CORRUPT;
	memcpy(record, value.ptr, value.len); /* it borrows what a put may move */
	key_mailbox(&key, KEY_ACL, mailbox);
	engine_put(txn, key_slice(&key), slice_make(record, value.len));
	return STATUS_OK;
}

enum status
acl_get(struct store_reader *reader, struct account_id owner, uint32_t mailbox,
    struct acl *out)
{
	struct engine_txn *txn;
	enum status status = account_snap(reader, owner, &txn, NULL);
	return status == STATUS_OK ? acl_load(txn, mailbox, out) : status;
}

enum status
acl_each(struct store_reader *reader, struct account_id owner,
    bool (*fn)(uint32_t mailbox, const struct acl *acl, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct acl acl;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = account_snap(reader, owner, &txn, NULL);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_ACL);
	key_begin(&to, KEY_ACL + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		if (key.len != 5 || !acl_decode(value, &acl)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (!fn(be32_get(key.ptr + 1), &acl, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- who shares with whom ---- */
/* What stands for all accounts of a domain: no account's id begins so. */
static struct account_id
domain_grantee(struct slice domain)
{
	char lower[DIRECTORY_DOMAIN_MAX];
	struct account_id id = {{PARTITION_DIRECTORY}};
	size_t len = domain.len < sizeof(lower) ? domain.len : sizeof(lower);
	for (size_t i = 0; i < len; i++)
		lower[i] = ascii_lower(domain.ptr[i]);
	be64_put(id.v + 8, hash_stable(slice_make(lower, len)));
	return id;
}

static void
key_share(struct key *key, struct account_id grantee, const struct account_id *owner)
{
	key_id(key, KEY_SHARE, grantee);
	if (owner)
		key_bytes(key, slice_make((const char *)owner->v, sizeof(owner->v)));
}

static enum status
share_walk(struct engine_txn *txn, struct account_id grantee,
    const struct account_id *but_not, bool (*fn)(struct account_id owner, void *arg),
    void *arg, bool *go_on)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = STATUS_OK;
	key_share(&from, grantee, NULL);
	to = from;
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while (
	    *go_on && (status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct account_id owner;
		if (key.len != SHARE_KEY_SIZE) {
			status = STATUS_CORRUPT;
			break;
		}
		memcpy(owner.v, key.ptr + 1 + sizeof(owner.v), sizeof(owner.v));
		if (but_not) {
			struct key other;
			key_share(&other, *but_not, &owner);
			if (engine_get(txn, key_slice(&other), &value) == STATUS_OK)
				continue;
		}
		*go_on = fn(owner, arg);
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
acl_sharers_each(struct store_reader *reader, struct account_id user, struct slice domain,
    bool (*fn)(struct account_id owner, void *arg), void *arg)
{
	struct engine_txn *txn;
	bool go_on = true;
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = share_walk(txn, user, NULL, fn, arg, &go_on);
	if (status == STATUS_OK)
		status = share_walk(txn, domain_grantee(domain), &user, fn, arg, &go_on);
	return status;
}

/* ---- the op ---- */
struct acl_state {
	struct store_op_state base; /* its commit is the directory's */
	struct engine_commit list;  /* the owner's */
	struct acl acl;
};

static enum status
commit_share(struct engine_txn *txn, void *arg)
{
	struct acl_state *state = arg;
	const struct acl_op *op = (const struct acl_op *)state->base.op;
	struct key key;
	struct slice value;
	char version = STORE_RECORD_VERSION;
	key_share(&key,
	    op->entry.who == ACL_WHO_ACCOUNT ? op->entry.id : domain_grantee(op->domain),
	    &op->account);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_NOT_FOUND)
		return status;
	engine_put(txn, key_slice(&key), slice_make(&version, 1));
	return engine_txn_status(txn);
}

static uint16_t
rights_change(uint16_t old, uint16_t given, enum acl_mode mode)
{
	switch (mode) {
	case ACL_MODE_SET:
		return given;
	case ACL_MODE_ADD:
		return old | given;
	case ACL_MODE_REMOVE:
		return old & (uint16_t)~given;
	}
	return old;
}

static enum status
commit_acl(struct engine_txn *txn, void *arg)
{
	struct acl_state *state = arg;
	const struct acl_op *op = (const struct acl_op *)state->base.op;
	struct acl *acl = &state->acl;
	struct account_state account;
	struct mailbox_state box;
	size_t i = 0;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, &box);
	if (status == STATUS_OK)
		status = acl_load(txn, op->mailbox, acl);
	if (status != STATUS_OK)
		return status;
	while (i < acl->count && (acl->at[i].who != op->entry.who ||
				     acl->at[i].negative != op->entry.negative ||
				     !same_id(acl->at[i].id, op->entry.id)))
		i++;
	if (i == acl->count) {
		if (op->mode == ACL_MODE_REMOVE || op->entry.rights == 0)
			return STATUS_OK;
		if (acl->count == ACL_ENTRIES_MAX)
			return STATUS_LIMIT;
		acl->at[acl->count] = op->entry;
		acl->at[acl->count++].rights = 0;
	}
	acl->at[i].rights = rights_change(acl->at[i].rights, op->entry.rights, op->mode);
	if (acl->at[i].rights == 0) {
		acl->count--;
		memmove(
		    &acl->at[i], &acl->at[i + 1], (acl->count - i) * sizeof(acl->at[0]));
	}
	acl_save(txn, op->mailbox, acl);
	return engine_txn_status(txn);
}

static void
list_done(struct engine_commit *commit, enum status status)
{
	struct acl_state *state = LIST_ENTRY(commit, struct acl_state, list);
	op_finished(&state->base, status);
}

static void
list_submit(struct acl_state *state)
{
	const struct acl_op *op = (const struct acl_op *)state->base.op;
	state->list.part = partition_account(op->account);
	state->list.fn = commit_acl;
	state->list.arg = state;
	state->list.done = list_done;
	engine_submit(op->op.reader->store->engine, &state->list);
}

static void
share_done(struct engine_commit *commit, enum status status)
{
	struct acl_state *state = LIST_ENTRY(commit, struct acl_state, base.commit);
	if (status == STATUS_OK)
		list_submit(state);
	else
		op_finished(&state->base, status);
}

void
acl_op_submit(struct store_reader *reader, struct acl_op *op)
{
	static const struct account_id nobody;
	struct acl_state *state = op_state_new(reader, &op->op, sizeof(*state));
	bool wait = !reader->post;
	if (op->entry.who != ACL_WHO_ACCOUNT)
		op->entry.id = nobody;
	if (op->entry.rights & ~ACL_ALL) {
		op_refuse(&state->base, STATUS_INVALID);
		return;
	}
	if (op->mode == ACL_MODE_REMOVE || op->entry.rights == 0 || op->entry.negative) {
		list_submit(state);
	} else {
		state->list.grows = true;
		state->base.commit.grows = true;
		state->base.commit.part = partition_directory();
		state->base.commit.fn = commit_share;
		state->base.commit.arg = state;
		state->base.commit.done = share_done;
		engine_submit(reader->store->engine, &state->base.commit);
	}
	if (wait)
		op_wait(&state->base);
}

/* ---- an account goes ---- */
struct forgetting {
	struct account_id user;
	struct vec owners; /* struct account_id */
	struct acl acl;
};

static bool
owner_add(struct account_id owner, void *arg)
{
	struct forgetting *f = arg;
	struct account_id *at = vec_push(&f->owners, sizeof(*at));
	if (at)
		*at = owner;
	return at != NULL;
}

/* KEY_SHARE of the account on either side. */
static enum status
commit_share_forget(struct engine_txn *txn, void *arg)
{
	struct forgetting *f = arg;
	struct vec keys = {NULL, 0, 0};
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	bool go_on = true;
	f->owners.count = 0;
	status = share_walk(txn, f->user, NULL, owner_add, f, &go_on);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_SHARE);
	key_begin(&to, KEY_SHARE + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		if (key.len != SHARE_KEY_SIZE ||
		    (memcmp(key.ptr + 1, f->user.v, 16) != 0 &&
			memcmp(key.ptr + 17, f->user.v, 16) != 0))
			continue;
		char *at = vec_push(&keys, SHARE_KEY_SIZE);
		if (at)
			memcpy(at, key.ptr, SHARE_KEY_SIZE);
	}
	engine_cursor_close(&cursor);
	for (size_t i = 0; status == STATUS_NOT_FOUND && i < keys.count; i++)
		engine_del(txn, slice_make((const char *)keys.ptr + i * SHARE_KEY_SIZE,
				    SHARE_KEY_SIZE));
	vec_fini(&keys);
	return status == STATUS_NOT_FOUND ? engine_txn_status(txn) : status;
}

static enum status
commit_acl_forget(struct engine_txn *txn, void *arg)
{
	struct forgetting *f = arg;
	struct vec numbers = {NULL, 0, 0};
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	key_begin(&from, KEY_ACL);
	key_begin(&to, KEY_ACL + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		uint32_t *at = key.len == 5 ? vec_push(&numbers, sizeof(uint32_t)) : NULL;
		if (at)
			*at = be32_get(key.ptr + 1);
	}
	engine_cursor_close(&cursor);
	if (status == STATUS_NOT_FOUND)
		status = STATUS_OK;
	for (size_t n = 0; status == STATUS_OK && n < numbers.count; n++) {
		uint32_t mailbox = ((const uint32_t *)numbers.ptr)[n];
		struct acl *acl = &f->acl;
		size_t kept = 0;
		status = acl_load(txn, mailbox, acl);
		if (status != STATUS_OK)
			break;
		for (size_t i = 0; i < acl->count; i++)
			if (acl->at[i].who != ACL_WHO_ACCOUNT ||
			    !same_id(acl->at[i].id, f->user))
				acl->at[kept++] = acl->at[i];
		if (kept == acl->count)
			continue;
		acl->count = kept;
		acl_save(txn, mailbox, acl);
	}
	vec_fini(&numbers);
	return status == STATUS_OK ? engine_txn_status(txn) : status;
}

enum status
acl_forget(struct store_reader *reader, struct account_id user)
{
	struct forgetting f = {.user = user};
	enum status status =
	    store_commit_wait(reader, partition_directory(), commit_share_forget, &f);
	const struct account_id *owners = f.owners.ptr;
	for (size_t i = 0; status == STATUS_OK && i < f.owners.count; i++)
		status = store_commit_wait(
		    reader, partition_account(owners[i]), commit_acl_forget, &f);
	vec_fini(&f.owners);
	return status;
}
