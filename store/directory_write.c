/*
 * Domains, accounts and aliases, writing: the command line's.
 *
 * An account is two things in two environments: its partition and its directory entry.
 * Making: partition first, entry second, so a login that is found always has its
 * mailboxes; what is left without an entry by a crash is swept by store_maintain.
 * Removing: the entry goes first, in the same commit that leaves a G mark; from then on
 * nobody can log in or receive.  Then the partition is marked and emptied in bounded
 * steps, by store_maintain if need be.
 */
#include "store/directory_int.h"

#include "base/clock.h"
#include "store/mailbox_int.h"
#include "store/store_maintain_int.h"

enum { REMOVE_STEPS_AT_ONCE = 20 };

static const struct account_id no_account;

static void
domain_save(struct engine_txn *txn, const struct key *key, const struct domain_record *d)
{
	char record[DOMAIN_SIZE_MAX];
	size_t len = domain_encode(d, record);
	engine_put(txn, key_slice(key), slice_make(record, len));
}

/* Is there a record at this key? */
static enum status
key_exists(struct engine_txn *txn, const struct key *key, bool *out)
{
	struct slice value;
	enum status status = engine_get(txn, key_slice(key), &value);
	*out = status == STATUS_OK;
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- domains ---- */
static enum status
commit_domain_add(struct engine_txn *txn, void *arg)
{
	const struct key *key = arg;
	const struct domain_record fresh = {
	    .pop3 = {POP3_POLICY_DEFAULT, 0}
        };
	bool exists;
	enum status status = key_exists(txn, key, &exists);
	if (status != STATUS_OK || exists)
		return status == STATUS_OK ? STATUS_EXISTS : status;
	domain_save(txn, key, &fresh);
	return engine_txn_status(txn);
}

enum status
directory_domain_add(struct store_reader *reader, struct slice domain)
{
	struct key key;
	if (!key_domain(&key, domain))
		return STATUS_INVALID;
	return store_commit_wait(reader, partition_directory(), commit_domain_add, &key);
}

static bool
pop3_rule_is_valid(struct pop3_rule rule)
{
	return rule.policy == POP3_POLICY_DAYS
	           ? rule.days > 0 && rule.days <= POP3_DAYS_MAX
	           : rule.days == 0;
}

struct domain_change {
	struct key key;
	struct pop3_rule rule;
};

static enum status
commit_domain_set(struct engine_txn *txn, void *arg)
{
	const struct domain_change *change = arg;
	struct domain_record record;
	enum status status =
	    domain_load(txn, slice_from(key_slice(&change->key), 1), &record);
	if (status != STATUS_OK)
		return status;
	record.pop3 = change->rule;
	domain_save(txn, &change->key, &record);
	return engine_txn_status(txn);
}

enum status
directory_domain_set_pop3(
    struct store_reader *reader, struct slice domain, struct pop3_rule rule)
{
	struct domain_change change = {.rule = rule};
	if (!pop3_rule_is_valid(rule))
		return STATUS_INVALID;
	if (!key_domain(&change.key, domain))
		return STATUS_NOT_FOUND;
	return store_commit_wait(
	    reader, partition_directory(), commit_domain_set, &change);
}

static enum status
commit_domain_remove(struct engine_txn *txn, void *arg)
{
	const struct key *key = arg;
	struct domain_record record;
	enum status status = domain_load(txn, slice_from(key_slice(key), 1), &record);
	if (status != STATUS_OK)
		return status;
	if (record.accounts || record.aliases)
		return STATUS_BUSY;
	engine_del(txn, key_slice(key));
	struct key journal_key;
	key_begin(&journal_key, KEY_JOURNAL);
	key_bytes(&journal_key, slice_from(key_slice(key), 1));
	engine_del(txn, key_slice(&journal_key));
	return engine_txn_status(txn);
}

enum status
directory_domain_remove(struct store_reader *reader, struct slice domain)
{
	struct key key;
	if (!key_domain(&key, domain))
		return STATUS_NOT_FOUND;
	return store_commit_wait(
	    reader, partition_directory(), commit_domain_remove, &key);
}

/* ---- accounts ---- */
struct account_change {
	struct key domain_key, login_key, alias_key, back_key;
	struct slice login; /* lower case */
	struct slice credential;
	struct account_quota quota;
	int64_t now_s;
	struct account_id id;
	const struct directory_account_change *set;
	char login_bytes[DIRECTORY_LOCAL_MAX + 1 + DIRECTORY_DOMAIN_MAX];
};

static bool
account_change_init(struct account_change *change, struct slice login)
{
	struct slice local;
	struct slice domain;
	memset(change, 0, sizeof(*change));
	if (!address_cut(login, false, &local, &domain) ||
	    !key_domain(&change->domain_key, domain) ||
	    !key_address(&change->login_key, KEY_LOGIN, local, domain) ||
	    !key_address(&change->alias_key, KEY_ALIAS, local, domain))
		return false;
	for (size_t i = 0; i < login.len; i++)
		change->login_bytes[i] = ascii_lower(login.ptr[i]);
	change->login = slice_make(change->login_bytes, login.len);
	change->now_s = clock_wall_s();
	return true;
}

static enum status
login_save(
    struct engine_txn *txn, const struct key *key, const struct login_record *login)
{
	AUTO_BUF struct buf record;
	buf_init(&record, LOGIN_RECORD_MAX);
	login_encode(login, &record);
	if (!buf_ok(&record))
		return STATUS_LIMIT;
	engine_put(txn, key_slice(key), buf_slice(&record));
	return engine_txn_status(txn);
}

static enum status
account_add_check(
    struct engine_txn *txn, struct account_change *change, struct domain_record *out)
{
	bool login_exists;
	bool alias_exists;
	enum status status =
	    domain_load(txn, slice_from(key_slice(&change->domain_key), 1), out);
	if (status == STATUS_OK)
		status = key_exists(txn, &change->login_key, &login_exists);
	if (status == STATUS_OK)
		status = key_exists(txn, &change->alias_key, &alias_exists);
	if (status != STATUS_OK)
		return status;
	return login_exists || alias_exists ? STATUS_EXISTS : STATUS_OK;
}

static enum status
commit_account_entry(struct engine_txn *txn, void *arg)
{
	struct account_change *change = arg;
	struct domain_record domain;
	struct buf back;
	enum status status = account_add_check(txn, change, &domain);
	if (status != STATUS_OK)
		return status;
	const struct login_record login = {
	    .id = change->id,
	    .created_s = change->now_s,
	    .login = change->login,
	    .credential = change->credential,
	};
	domain.accounts++;
	if (memcmp(&domain.postmaster, &no_account, sizeof(no_account)) == 0)
		domain.postmaster = change->id;
	domain_save(txn, &change->domain_key, &domain);
	buf_init(&back, ENGINE_KEY_MAX);
	buf_append_byte(&back, STORE_RECORD_VERSION);
	buf_append(&back, slice_from(key_slice(&change->login_key), 1));
	engine_put(txn, key_slice(&change->back_key), buf_slice(&back));
	buf_fini(&back);
	return login_save(txn, &change->login_key, &login);
}

static enum status
commit_account_partition(struct engine_txn *txn, void *arg)
{
	const struct account_change *change = arg;
	return account_make(txn, &change->quota, change->now_s);
}

/* The partition of an account that did not come about: it holds no bodies yet. */
static enum status
commit_account_unmake(struct engine_txn *txn, void *arg)
{
	(void)arg;
	engine_del_range(txn, slice_make("", 1), SLICE_NULL);
	return engine_txn_status(txn);
}

enum status
directory_account_add(struct store_reader *reader, struct slice login,
    struct slice credential, const struct account_quota *quota, struct account_id *out)
{
	struct account_change change;
	struct domain_record domain;
	struct engine_txn *txn;
	if (!account_change_init(&change, login) || credential.len > LOGIN_RECORD_MAX / 2)
		return STATUS_INVALID;
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = account_add_check(txn, &change, &domain);
	store_reader_end(reader);
	if (status != STATUS_OK)
		return status;
	random_bytes(change.id.v, sizeof(change.id.v));
	change.id.v[0] = PARTITION_ACCOUNT;
	change.credential = credential;
	if (quota)
		change.quota = *quota;
	key_id(&change.back_key, KEY_LOGIN_BACK, change.id);
	struct partition_id part = partition_account(change.id);
	status = store_commit_wait(reader, part, commit_account_partition, &change);
	if (status != STATUS_OK)
		return status;
	status = store_commit_wait(
	    reader, partition_directory(), commit_account_entry, &change);
	if (status == STATUS_OK) {
		*out = change.id;
	} else if (status != STATUS_UNKNOWN) {
		enum status undo =
		    store_commit_wait(reader, part, commit_account_unmake, NULL);
		/* Else store_maintain finds it. */
		(void)undo;
	}
	return status;
}

/* The oldest account of the domain but `except`. */
static enum status
oldest_account(struct engine_txn *txn, struct slice domain, struct account_id except,
    struct account_id *out)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	int64_t oldest_s = INT64_MAX;
	*out = no_account;
	(void)key_address(&from, KEY_LOGIN, SLICE_NULL, domain);
	to = from;
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct login_record login;
		if (!login_decode(value, &login)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (login.created_s < oldest_s &&
		    memcmp(&login.id, &except, sizeof(except)) != 0) {
			oldest_s = login.created_s;
			*out = login.id;
		}
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
commit_account_leave(struct engine_txn *txn, void *arg)
{
	struct account_change *change = arg;
	struct slice domain_name = slice_from(key_slice(&change->domain_key), 1);
	struct domain_record domain;
	struct login_record login;
	struct slice value;
	struct key key;
	char version = STORE_RECORD_VERSION;
	enum status status = engine_get(txn, key_slice(&change->login_key), &value);
	if (status != STATUS_OK)
		return status;
	if (!login_decode(value, &login))
		return STATUS_CORRUPT;
	change->id = login.id;
	status = domain_load(txn, domain_name, &domain);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	if (memcmp(&domain.postmaster, &change->id, sizeof(change->id)) == 0)
		status = oldest_account(txn, domain_name, change->id, &domain.postmaster);
	if (status != STATUS_OK)
		return status;
	domain.accounts -= domain.accounts > 0;
	domain_save(txn, &change->domain_key, &domain);
	engine_del(txn, key_slice(&change->login_key));
	apop_change(txn, &change->login_key, &domain, SLICE_NULL);
	key_id(&key, KEY_LOGIN_BACK, change->id);
	engine_del(txn, key_slice(&key));
	key_id(&key, KEY_SEND_AS, change->id);
	engine_del(txn, key_slice(&key));
	key_id(&key, KEY_IMAP_WITHOUT, change->id);
	engine_del(txn, key_slice(&key));
	key_id(&key, KEY_FORWARD, change->id);
	engine_del(txn, key_slice(&key));
	key_id(&key, KEY_GONE, change->id);
	engine_put(txn, key_slice(&key), slice_make(&version, 1));
	return engine_txn_status(txn);
}

enum status
directory_account_remove(struct store_reader *reader, struct slice login)
{
	struct account_change change;
	bool more = true;
	if (!account_change_init(&change, login))
		return STATUS_NOT_FOUND;
	enum status status = store_commit_wait(
	    reader, partition_directory(), commit_account_leave, &change);
	if (status != STATUS_OK)
		return status;
	for (int i = 0; i < REMOVE_STEPS_AT_ONCE && more && status == STATUS_OK; i++)
		status = account_empty_step(reader->store, change.id, &more);
	store_reader_end(reader);
	/* What fails here stays in the lists and gives nothing: ids are never reused. */
	(void)!acl_forget(reader, change.id);
	/* The account is gone for everybody; what is left is store_maintain's work. */
	return STATUS_OK;
}

static enum status
commit_account_set(struct engine_txn *txn, void *arg)
{
	struct account_change *change = arg;
	const struct directory_account_change *set = change->set;
	struct login_record login;
	struct slice value;
	enum status status = engine_get(txn, key_slice(&change->login_key), &value);
	if (status != STATUS_OK)
		return status;
	if (!login_decode(value, &login))
		return STATUS_CORRUPT;
	change->id = login.id;
	if (!set->set_credential && !set->set_disabled && !set->set_pop3)
		return STATUS_OK;
	if (set->set_credential) {
		struct domain_record domain;
		status = domain_load(
		    txn, slice_from(key_slice(&change->domain_key), 1), &domain);
		if (status != STATUS_OK)
			return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
		login.credential = set->credential;
		apop_change(txn, &change->login_key, &domain, set->secret);
	}
	if (set->set_disabled)
		login.disabled = set->disabled;
	if (set->set_pop3)
		login.pop3 = set->pop3;
	return login_save(txn, &change->login_key, &login);
}

static enum status
commit_account_quota(struct engine_txn *txn, void *arg)
{
	const struct account_change *change = arg;
	struct account_state account;
	enum status status = account_load(txn, &account);
	if (status != STATUS_OK)
		return status;
	if (change->set->set_quota)
		account.quota.bytes = change->set->quota_bytes;
	if (change->set->set_quota_messages)
		account.quota.messages = change->set->quota_messages;
	account_save(txn, &account);
	return engine_txn_status(txn);
}

enum status
directory_account_set(struct store_reader *reader, struct slice login,
    const struct directory_account_change *set)
{
	struct account_change change;
	if (!account_change_init(&change, login))
		return STATUS_NOT_FOUND;
	if (set->set_credential && (set->credential.len > LOGIN_RECORD_MAX / 2 ||
				       set->secret.len > DIRECTORY_APOP_SECRET_MAX))
		return STATUS_INVALID;
	if (set->set_pop3 && !pop3_rule_is_valid(set->pop3))
		return STATUS_INVALID;
	if (set->quota_messages > DIRECTORY_QUOTA_MESSAGES_MAX)
		return STATUS_INVALID;
	change.set = set;
	enum status status =
	    store_commit_wait(reader, partition_directory(), commit_account_set, &change);
	if (status == STATUS_OK && (set->set_quota || set->set_quota_messages))
		status = store_commit_wait(
		    reader, partition_account(change.id), commit_account_quota, &change);
	return status;
}

/* ---- aliases ---- */
struct alias_change {
	struct key domain_key, login_key, alias_key;
	const struct slice *to;
	size_t count;
};

static bool
alias_change_init(struct alias_change *change, struct slice from)
{
	struct slice local;
	struct slice domain;
	return address_cut(from, true, &local, &domain) &&
	       key_domain(&change->domain_key, domain) &&
	       key_address(&change->login_key, KEY_LOGIN, local, domain) &&
	       key_address(&change->alias_key, KEY_ALIAS, local, domain);
}

static bool
alias_has(const struct slice *targets, size_t count, struct slice target)
{
	for (size_t i = 0; i < count; i++)
		if (slice_equal_nocase(targets[i], target))
			return true;
	return false;
}

static enum status
commit_alias_add(struct engine_txn *txn, void *arg)
{
	const struct alias_change *change = arg;
	struct domain_record domain;
	struct slice targets[DIRECTORY_ALIAS_TARGETS_MAX];
	struct slice value;
	size_t count = 0;
	bool login_exists;
	enum status status =
	    domain_load(txn, slice_from(key_slice(&change->domain_key), 1), &domain);
	if (status == STATUS_OK)
		status = key_exists(txn, &change->login_key, &login_exists);
	if (status != STATUS_OK)
		return status;
	if (login_exists)
		return STATUS_EXISTS;
	status = engine_get(txn, key_slice(&change->alias_key), &value);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	bool is_new = status == STATUS_NOT_FOUND;
	if (!is_new && !alias_decode(value, targets, &count))
		return STATUS_CORRUPT;
	for (size_t i = 0; i < change->count; i++) {
		if (alias_has(targets, count, change->to[i]))
			continue;
		if (count == DIRECTORY_ALIAS_TARGETS_MAX)
			return STATUS_LIMIT;
		targets[count++] = change->to[i];
	}
	AUTO_BUF struct buf record;
	buf_init(&record, ALIAS_RECORD_MAX);
	alias_encode(targets, count, &record);
	if (!buf_ok(&record))
		return STATUS_LIMIT;
	engine_put(txn, key_slice(&change->alias_key), buf_slice(&record));
	if (is_new) {
		domain.aliases++;
		domain_save(txn, &change->domain_key, &domain);
	}
	return engine_txn_status(txn);
}

enum status
directory_alias_add(
    struct store_reader *reader, struct slice from, const struct slice *to, size_t count)
{
	struct alias_change change = {.to = to, .count = count};
	if (count == 0 || !alias_change_init(&change, from))
		return STATUS_INVALID;
	if (count > DIRECTORY_ALIAS_TARGETS_MAX)
		return STATUS_LIMIT;
	for (size_t i = 0; i < count; i++) {
		struct slice local;
		struct slice domain;
		struct key key;
		if (!address_cut(to[i], false, &local, &domain) ||
		    !key_address(&key, KEY_ALIAS, local, domain))
			return STATUS_INVALID;
	}
	return store_commit_wait(
	    reader, partition_directory(), commit_alias_add, &change);
}

static enum status
commit_alias_remove(struct engine_txn *txn, void *arg)
{
	const struct alias_change *change = arg;
	struct domain_record domain;
	bool exists;
	enum status status = key_exists(txn, &change->alias_key, &exists);
	if (status == STATUS_OK && !exists)
		return STATUS_NOT_FOUND;
	if (status == STATUS_OK)
		status = domain_load(
		    txn, slice_from(key_slice(&change->domain_key), 1), &domain);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	domain.aliases -= domain.aliases > 0;
	domain_save(txn, &change->domain_key, &domain);
	engine_del(txn, key_slice(&change->alias_key));
	return engine_txn_status(txn);
}

enum status
directory_alias_remove(struct store_reader *reader, struct slice from)
{
	struct alias_change change = {.to = NULL};
	if (!alias_change_init(&change, from))
		return STATUS_NOT_FOUND;
	return store_commit_wait(
	    reader, partition_directory(), commit_alias_remove, &change);
}
