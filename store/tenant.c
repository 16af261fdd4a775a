/*
 * Tenants; see tenant.h.  One n key each and one w key a member, so that whose an account
 * or domain is, is one look.
 */
#include "store/tenant.h"

#include "store/store_codec_int.h"
#include "store/store_int.h"

bool
tenant_name_is_good(struct slice name)
{
	char folded[TENANT_NAME_MAX + 1];
	return tenant_name_fold(name, folded) &&
	       slice_equal(name, slice_from_cstr(folded));
}

bool
tenant_name_fold(struct slice name, char out[TENANT_NAME_MAX + 1])
{
	if (name.len == 0 || name.len > TENANT_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) &&
		    (i == 0 || (c != '-' && c != '_' && c != '.')))
			return false;
		out[i] = ascii_lower(c);
	}
	out[name.len] = '\0';
	return true;
}

static bool
key_tenant(struct key *key, struct slice name)
{
	char folded[TENANT_NAME_MAX + 1];
	if (!tenant_name_fold(name, folded))
		return false;
	key_begin(key, KEY_TENANT);
	key_bytes(key, slice_from_cstr(folded));
	return true;
}

static bool
key_member(struct key *key, struct slice member)
{
	if (member.len == 0 || member.len > TENANT_MEMBER_MAX)
		return false;
	key_begin(key, KEY_TENANT_MEMBER);
	for (size_t i = 0; i < member.len; i++) {
		char c = ascii_lower(member.ptr[i]);
		if ((unsigned char)c <= ' ' || c == 0x7f)
			return false;
		key_bytes(key, slice_make(&c, 1));
	}
	return true;
}

/* ---- reading ---- */

static enum status
tenant_load(struct engine_txn *txn, const struct key *key, struct tenant *out)
{
	struct slice value;
	enum status status = engine_get(txn, key_slice(key), &value);
	if (status != STATUS_OK)
		return status;
	return tenant_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

static enum status
member_load(struct engine_txn *txn, const struct key *key, struct slice *out_tenant)
{
	struct slice value;
	enum status status = engine_get(txn, key_slice(key), &value);
	if (status != STATUS_OK)
		return status;
	return tenant_member_decode(value, out_tenant) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
tenant_get(struct store_reader *reader, struct slice name, struct tenant *out)
{
	struct engine_txn *txn;
	struct key key;
	struct tenant tenant = {.name = name};
	if (!key_tenant(&key, name))
		return STATUS_NOT_FOUND;
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status == STATUS_OK)
		status = tenant_load(txn, &key, &tenant);
	if (status == STATUS_OK)
		*out = tenant;
	return status;
}

/* Walks a class of keys; fn returns a status other than OK to stop, CLOSED: without an
 * error. */
static enum status
class_each(struct engine_txn *txn, char class,
    enum status (*fn)(struct slice name, struct slice value, void *arg), void *arg)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	key_begin(&from, class);
	key_begin(&to, (char)(class + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		status = fn(slice_from(key, 1), value, arg);
		if (status != STATUS_OK)
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND || status == STATUS_CLOSED ? STATUS_OK : status;
}

struct tenant_walk {
	bool (*fn)(const struct tenant *tenant, void *arg);
	void *arg;
};

static enum status
tenant_one(struct slice name, struct slice value, void *arg)
{
	const struct tenant_walk *walk = arg;
	struct tenant tenant = {.name = name};
	if (!tenant_decode(value, &tenant))
		return STATUS_CORRUPT;
	return walk->fn(&tenant, walk->arg) ? STATUS_OK : STATUS_CLOSED;
}

enum status
tenant_each(struct store_reader *reader,
    bool (*fn)(const struct tenant *tenant, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct tenant_walk walk = {fn, arg};
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	return status == STATUS_OK ? class_each(txn, KEY_TENANT, tenant_one, &walk)
	                           : status;
}

enum status
tenant_member_find(
    struct store_reader *reader, struct slice member, struct slice *out_tenant)
{
	struct engine_txn *txn;
	struct key key;
	if (!key_member(&key, member))
		return STATUS_NOT_FOUND;
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	return status == STATUS_OK ? member_load(txn, &key, out_tenant) : status;
}

struct member_walk {
	bool (*fn)(struct slice member, struct slice tenant, void *arg);
	void *arg;
};

static enum status
member_one(struct slice name, struct slice value, void *arg)
{
	const struct member_walk *walk = arg;
	struct slice tenant;
	if (!tenant_member_decode(value, &tenant))
		return STATUS_CORRUPT;
	return walk->fn(name, tenant, walk->arg) ? STATUS_OK : STATUS_CLOSED;
}

enum status
tenant_member_each(struct store_reader *reader,
    bool (*fn)(struct slice member, struct slice tenant, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct member_walk walk = {fn, arg};
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	return status == STATUS_OK ? class_each(txn, KEY_TENANT_MEMBER, member_one, &walk)
	                           : status;
}

/* ---- writing ---- */

static bool
text_is_good(struct slice text)
{
	return text.len <= TENANT_TEXT_MAX;
}

static bool
change_is_good(struct tenant_change *change)
{
	struct key key;
	if (!key_tenant(&key, change->to.name) || !text_is_good(change->to.pool) ||
	    !text_is_good(change->to.dkim_domain) ||
	    change->add_count > TENANT_CHANGE_MAX ||
	    change->remove_count > TENANT_CHANGE_MAX)
		return false;
	for (size_t i = 0; i < change->add_count + change->remove_count; i++) {
		change->at = i < change->add_count
		                 ? change->add[i]
		                 : change->remove[i - change->add_count];
		if (!key_member(&key, change->at))
			return false;
	}
	change->at = SLICE_NULL;
	return true;
}

/* May the members come and go?  Nothing is written yet. */
static enum status
members_check(struct engine_txn *txn, struct tenant_change *change)
{
	struct key key;
	struct slice tenant;
	for (size_t i = 0; i < change->add_count; i++) {
		change->at = change->add[i];
		ENSURE(key_member(&key, change->at));
		enum status status = member_load(txn, &key, &tenant);
		if (status == STATUS_OK && !slice_equal_nocase(tenant, change->to.name))
			return STATUS_EXISTS;
		if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			return status;
	}
	for (size_t i = 0; i < change->remove_count; i++) {
		change->at = change->remove[i];
		ENSURE(key_member(&key, change->at));
		enum status status = member_load(txn, &key, &tenant);
		if (status == STATUS_OK && !slice_equal_nocase(tenant, change->to.name))
			return STATUS_NOT_FOUND;
		if (status != STATUS_OK)
			return status;
	}
	change->at = SLICE_NULL;
	return STATUS_OK;
}

static void
members_put(struct engine_txn *txn, const struct tenant_change *change)
{
	struct key key;
	char folded[TENANT_NAME_MAX + 1];
	AUTO_BUF struct buf record;
	buf_init(&record, TENANT_RECORD_MAX);
	ENSURE(tenant_name_fold(change->to.name, folded));
	tenant_member_encode(slice_from_cstr(folded), &record);
	ENSURE(buf_ok(&record));
	for (size_t i = 0; i < change->remove_count; i++) {
		ENSURE(key_member(&key, change->remove[i]));
		engine_del(txn, key_slice(&key));
	}
	for (size_t i = 0; i < change->add_count; i++) {
		ENSURE(key_member(&key, change->add[i]));
		engine_put(txn, key_slice(&key), buf_slice(&record));
	}
}

static enum status
commit_change(struct engine_txn *txn, void *arg)
{
	struct tenant_change *change = arg;
	struct key key;
	struct tenant tenant = {.pool = SLICE(""), .dkim_domain = SLICE("")};
	AUTO_BUF struct buf record;
	buf_init(&record, TENANT_RECORD_MAX);
	change->at = SLICE_NULL;
	ENSURE(key_tenant(&key, change->to.name));
	enum status status = tenant_load(txn, &key, &tenant);
	if (change->create && status == STATUS_OK)
		return STATUS_EXISTS;
	if (status != STATUS_OK && !(change->create && status == STATUS_NOT_FOUND))
		return status;
	status = members_check(txn, change);
	if (status != STATUS_OK)
		return status;
	if (change->create)
		tenant.created_s = change->to.created_s;
	if (change->fields & TENANT_SET_MAX_QUEUED)
		tenant.max_queued = change->to.max_queued;
	if (change->fields & TENANT_SET_POOL)
		tenant.pool = change->to.pool;
	if (change->fields & TENANT_SET_DKIM_DOMAIN)
		tenant.dkim_domain = change->to.dkim_domain;
	/* Before the first write: the texts may lie in the old record. */
	tenant_encode(&tenant, &record);
	ENSURE(buf_ok(&record));
	engine_put(txn, key_slice(&key), buf_slice(&record));
	members_put(txn, change);
	return engine_txn_status(txn);
}

enum status
tenant_change(struct store_reader *reader, struct tenant_change *change)
{
	if (!change_is_good(change))
		return STATUS_INVALID;
	return store_commit_wait(reader, partition_queue(), commit_change, change);
}

struct removal {
	struct key key;
	struct slice name;
	struct vec members; /* struct key */
};

static enum status
member_gather(struct slice member, struct slice value, void *arg)
{
	struct removal *removal = arg;
	struct slice tenant;
	if (!tenant_member_decode(value, &tenant))
		return STATUS_CORRUPT;
	if (!slice_equal_nocase(tenant, removal->name))
		return STATUS_OK;
	struct key *key = vec_push(&removal->members, sizeof(*key));
	return key && key_member(key, member) ? STATUS_OK : STATUS_LIMIT;
}

static enum status
commit_remove(struct engine_txn *txn, void *arg)
{
	struct removal *removal = arg;
	struct tenant tenant;
	enum status status = tenant_load(txn, &removal->key, &tenant);
	removal->members.count = 0;
	if (status == STATUS_OK)
		status = class_each(txn, KEY_TENANT_MEMBER, member_gather, removal);
	if (status != STATUS_OK)
		return status;
	engine_del(txn, key_slice(&removal->key));
	const struct key *keys = removal->members.ptr;
	for (size_t i = 0; i < removal->members.count; i++)
		engine_del(txn, key_slice(&keys[i]));
	return engine_txn_status(txn);
}

enum status
tenant_remove(struct store_reader *reader, struct slice name)
{
	struct removal removal = {.name = name};
	if (!key_tenant(&removal.key, name))
		return STATUS_NOT_FOUND;
	enum status status =
	    store_commit_wait(reader, partition_queue(), commit_remove, &removal);
	vec_fini(&removal.members);
	return status;
}
