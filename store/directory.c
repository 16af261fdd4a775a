/*
 * Domains, accounts and aliases, reading.  Logins and RCPT wait for these: a login costs
 * three gets (L, D and the account's A, which alone knows the quota) and no scan.
 */
#include "store/directory_int.h"

#include "store/mailbox_int.h"

/* ---- keys and loads ---- */
bool
address_cut(struct slice address, bool catch_all, struct slice *out_local,
    struct slice *out_domain)
{
	size_t at = slice_rindex(address, '@');
	if (at == SIZE_MAX || at > DIRECTORY_LOCAL_MAX || (at == 0 && !catch_all))
		return false;
	*out_local = slice_sub(address, 0, at);
	*out_domain = slice_from(address, at + 1);
	return out_domain->len > 0 && out_domain->len <= DIRECTORY_DOMAIN_MAX;
}

static bool
is_plain(struct slice text, bool spaces)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c < (spaces ? 0x20 : 0x21) || c == 0x7f)
			return false;
	}
	return true;
}

static void
key_folded(struct key *key, struct slice text)
{
	size_t start = key->len;
	key_bytes(key, text);
	for (size_t i = start; i < key->len; i++)
		key->b[i] = ascii_lower(key->b[i]);
}

bool
key_domain(struct key *key, struct slice domain)
{
	if (domain.len == 0 || domain.len > DIRECTORY_DOMAIN_MAX ||
	    !is_plain(domain, false) || slice_index(domain, '@') != SIZE_MAX)
		return false;
	key_begin(key, KEY_DOMAIN);
	key_folded(key, domain);
	return true;
}

bool
key_address(struct key *key, char class, struct slice local, struct slice domain)
{
	if (!key_domain(key, domain) || local.len > DIRECTORY_LOCAL_MAX ||
	    !is_plain(local, true))
		return false;
	key->b[0] = class;
	key_bytes(key, slice_make("", 1));
	key_folded(key, local);
	return true;
}

void
key_id(struct key *key, char class, struct account_id id)
{
	key_begin(key, class);
	key_bytes(key, slice_make((const char *)id.v, sizeof(id.v)));
}

enum status
directory_snap(struct store_reader *reader, struct engine_txn **out)
{
	return engine_snap(reader->engine, partition_directory(), out);
}

enum status
domain_load(struct engine_txn *txn, struct slice domain, struct domain_record *out)
{
	struct key key;
	struct slice value;
	if (!key_domain(&key, domain))
		return STATUS_NOT_FOUND;
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return domain_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
login_load(struct engine_txn *txn, struct slice local, struct slice domain,
    struct login_record *out)
{
	struct key key;
	struct slice value;
	if (local.len == 0 || !key_address(&key, KEY_LOGIN, local, domain))
		return STATUS_NOT_FOUND;
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return login_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
login_key_by_id(struct engine_txn *txn, struct account_id id, struct key *out)
{
	struct key key;
	struct slice value;
	key_id(&key, KEY_LOGIN_BACK, id);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	if (value.len < 2 || value.len > ENGINE_KEY_MAX ||
	    value.ptr[0] != STORE_RECORD_VERSION)
		return STATUS_CORRUPT;
	key_begin(out, KEY_LOGIN);
	key_bytes(out, slice_from(value, 1));
	return STATUS_OK;
}

enum status
first_domain(struct engine_txn *txn, struct slice *out_name, bool *out_only)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	key_begin(&from, KEY_DOMAIN);
	key_begin(&to, KEY_DOMAIN + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	enum status status = engine_cursor_next(cursor, &key, &value);
	if (status == STATUS_OK) {
		*out_name = slice_from(key, 1);
		status = engine_cursor_next(cursor, &key, &value);
		*out_only = status == STATUS_NOT_FOUND;
		if (status == STATUS_NOT_FOUND)
			status = STATUS_OK;
	}
	engine_cursor_close(&cursor);
	return status;
}

/* ---- the public readers ---- */
enum status
directory_domain_find(
    struct store_reader *reader, struct slice domain, struct directory_domain *out)
{
	struct engine_txn *txn;
	struct domain_record record;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = domain_load(txn, domain, &record);
	if (status != STATUS_OK)
		return status;
	/* By cursor, for the name as it is stored: the caller's may be of any case. */
	(void)key_domain(&from, domain);
	to = from;
	key_bytes(&to, slice_make("", 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	status = engine_cursor_next(cursor, &key, &value);
	engine_cursor_close(&cursor);
	if (status != STATUS_OK)
		return status;
	*out = (struct directory_domain){
	    .name = slice_from(key, 1),
	    .pop3 = record.pop3,
	    .accounts = record.accounts,
	    .aliases = record.aliases,
	    .apop = record.apop,
	};
	return STATUS_OK;
}

/* Adds what other records know: the domain's policy, the account's quota. */
static enum status
account_complete(struct store_reader *reader, struct engine_txn *txn,
    const struct login_record *login, struct directory_account *out)
{
	struct engine_txn *account_txn;
	struct account_state account = {0};
	struct slice local;
	struct slice domain;
	*out = (struct directory_account){
	    .id = login->id,
	    .login = login->login,
	    .credential = login->credential,
	    .disabled = login->disabled,
	    .pop3_own = login->pop3,
	    .pop3 = login->pop3,
	    .created_s = login->created_s,
	};
	if (out->pop3.policy == POP3_POLICY_DEFAULT &&
	    address_cut(login->login, false, &local, &domain)) {
		struct domain_record record;
		enum status status = domain_load(txn, domain, &record);
		if (status != STATUS_OK)
			return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
		out->pop3 = record.pop3;
	}
	enum status status = account_snap(reader, login->id, &account_txn, &account);
	out->quota = account.quota;
	/* A damaged account record is found by check; who it is can still be told. */
	return status == STATUS_NOT_FOUND || status == STATUS_CORRUPT ? STATUS_OK
	                                                              : status;
}

enum status
directory_account_find(
    struct store_reader *reader, struct slice login, struct directory_account *out)
{
	struct engine_txn *txn;
	struct login_record record;
	struct slice local = login;
	struct slice domain;
	bool only;
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	if (!address_cut(login, false, &local, &domain)) {
		if (slice_index(login, '@') != SIZE_MAX)
			return STATUS_NOT_FOUND;
		status = first_domain(txn, &domain, &only);
		if (status != STATUS_OK)
			return status;
		if (!only)
			return STATUS_NOT_FOUND;
	}
	status = login_load(txn, local, domain, &record);
	return status == STATUS_OK ? account_complete(reader, txn, &record, out) : status;
}

enum status
directory_account_by_id(
    struct store_reader *reader, struct account_id id, struct directory_account *out)
{
	struct engine_txn *txn;
	struct login_record record;
	struct key key;
	struct slice value;
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = login_key_by_id(txn, id, &key);
	if (status != STATUS_OK)
		return status;
	status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	if (!login_decode(value, &record))
		return STATUS_CORRUPT;
	return account_complete(reader, txn, &record, out);
}

enum status
directory_domain_each(struct store_reader *reader,
    bool (*fn)(const struct directory_domain *domain, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_DOMAIN);
	key_begin(&to, KEY_DOMAIN + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct domain_record record;
		if (!domain_decode(value, &record)) {
			status = STATUS_CORRUPT;
			break;
		}
		struct directory_domain domain = {
		    .name = slice_from(key, 1),
		    .pop3 = record.pop3,
		    .accounts = record.accounts,
		    .aliases = record.aliases,
		    .apop = record.apop,
		};
		if (!fn(&domain, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
directory_account_each(struct store_reader *reader, struct slice domain,
    bool (*fn)(const struct directory_account *account, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	if (domain.len == 0) {
		key_begin(&from, KEY_LOGIN);
	} else if (!key_address(&from, KEY_LOGIN, SLICE_NULL, domain)) {
		return STATUS_OK;
	}
	to = from;
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct login_record record;
		struct directory_account account;
		if (!login_decode(value, &record)) {
			status = STATUS_CORRUPT;
			break;
		}
		status = account_complete(reader, txn, &record, &account);
		if (status != STATUS_OK || !fn(&account, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
directory_alias_each(struct store_reader *reader,
    bool (*fn)(struct slice from, const struct slice *to, size_t count, void *arg),
    void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_ALIAS);
	key_begin(&to, KEY_ALIAS + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct slice targets[DIRECTORY_ALIAS_TARGETS_MAX];
		char address[DIRECTORY_LOCAL_MAX + 1 + DIRECTORY_DOMAIN_MAX];
		size_t count;
		struct slice local = slice_from(key, 1);
		struct slice domain = slice_split(&local, '\0');
		if (!alias_decode(value, targets, &count) ||
		    local.len > DIRECTORY_LOCAL_MAX ||
		    domain.len > DIRECTORY_DOMAIN_MAX) {
			status = STATUS_CORRUPT;
			break;
		}
		if (local.len)
			memcpy(address, local.ptr, local.len);
		address[local.len] = '@';
		memcpy(address + local.len + 1, domain.ptr, domain.len);
		if (!fn(slice_make(address, local.len + 1 + domain.len), targets, count,
			arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
directory_secret(struct store_reader *reader, unsigned char out[32])
{
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	key_begin(&key, KEY_INSTALL);
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	if (value.len != INSTALL_SIZE || value.ptr[0] != STORE_RECORD_VERSION)
		return STATUS_CORRUPT;
	memcpy(out, value.ptr + INSTALL_SECRET, 32);
	return STATUS_OK;
}
