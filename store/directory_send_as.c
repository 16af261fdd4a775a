/*
 * What an account may send as beyond its own addresses: addresses and whole domains that
 * need not be served here, or anything ("*").  One W record an account, a list like an
 * alias's; most accounts have none, and then a look costs one get.
 */
#include "store/directory_int.h"

struct send_as_change {
	struct key login_key;
	struct slice entry;
	bool remove;
	char bytes[DIRECTORY_LOCAL_MAX + 1 + DIRECTORY_DOMAIN_MAX];
};

/* "*", "domain" or "local@domain", in lower case; "@domain" is the domain. */
static bool
entry_fold(struct send_as_change *change, struct slice entry)
{
	struct slice local;
	struct slice domain = entry;
	struct key key;
	if (entry.len > 1 && entry.ptr[0] == '@')
		domain = entry = slice_from(entry, 1);
	if (entry.len == 0 || entry.len > sizeof(change->bytes))
		return false;
	bool has_local = slice_index(entry, '@') != SIZE_MAX;
	if (!slice_equal(entry, SLICE("*")) &&
	    (has_local ? !address_cut(entry, false, &local, &domain) ||
			     !key_address(&key, KEY_LOGIN, local, domain)
		       : !key_domain(&key, domain)))
		return false;
	for (size_t i = 0; i < entry.len; i++)
		change->bytes[i] = ascii_lower(entry.ptr[i]);
	change->entry = slice_make(change->bytes, entry.len);
	return true;
}

static enum status
send_as_load(struct engine_txn *txn, struct account_id account,
    struct slice out[DIRECTORY_SEND_AS_MAX], size_t *out_count)
{
	struct key key;
	struct slice value;
	*out_count = 0;
	key_id(&key, KEY_SEND_AS, account);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	return alias_decode(value, out, out_count) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
directory_send_as_get(struct store_reader *reader, struct account_id account,
    struct slice out[DIRECTORY_SEND_AS_MAX], size_t *out_count)
{
	struct engine_txn *txn;
	enum status status = directory_snap(reader, &txn);
	return status == STATUS_OK ? send_as_load(txn, account, out, out_count) : status;
}

static bool
entry_covers(
    struct slice entry, struct slice local, struct slice domain, struct slice delimiters)
{
	size_t at = slice_rindex(entry, '@');
	if (at == SIZE_MAX)
		return slice_equal(entry, SLICE("*")) ||
		       slice_equal_nocase(entry, domain);
	if (!slice_equal_nocase(slice_from(entry, at + 1), domain))
		return false;
	struct slice name = slice_sub(entry, 0, at);
	if (slice_equal_nocase(name, local))
		return true;
	/* With a tag, like its own addresses. */
	return local.len > name.len && slice_has_prefix_nocase(local, name) &&
	       slice_index(delimiters, local.ptr[name.len]) != SIZE_MAX;
}

enum status
directory_send_as_covers(struct store_reader *reader, struct account_id account,
    struct slice local, struct slice domain, struct slice delimiters, bool *out_covers)
{
	struct slice entries[DIRECTORY_SEND_AS_MAX];
	size_t count;
	enum status status = directory_send_as_get(reader, account, entries, &count);
	if (status != STATUS_OK)
		return status;
	*out_covers = false;
	for (size_t i = 0; i < count && !*out_covers; i++)
		*out_covers = entry_covers(entries[i], local, domain, delimiters);
	return STATUS_OK;
}

static enum status
commit_send_as(struct engine_txn *txn, void *arg)
{
	const struct send_as_change *change = arg;
	struct login_record login;
	struct slice value;
	struct slice entries[DIRECTORY_SEND_AS_MAX];
	struct key key;
	size_t count;
	enum status status = engine_get(txn, key_slice(&change->login_key), &value);
	if (status != STATUS_OK)
		return status;
	if (!login_decode(value, &login))
		return STATUS_CORRUPT;
	status = send_as_load(txn, login.id, entries, &count);
	if (status != STATUS_OK)
		return status;
	size_t at = 0;
	while (at < count && !slice_equal(entries[at], change->entry))
		at++;
	if (change->remove) {
		if (at == count)
			return STATUS_NOT_FOUND;
		entries[at] = entries[--count];
	} else if (at == count) {
		if (count == DIRECTORY_SEND_AS_MAX)
			return STATUS_LIMIT;
		entries[count++] = change->entry;
	}
	key_id(&key, KEY_SEND_AS, login.id);
	AUTO_BUF struct buf record;
	buf_init(&record, ALIAS_RECORD_MAX);
	alias_encode(entries, count, &record);
	if (!buf_ok(&record))
		return STATUS_LIMIT;
	if (count > 0)
		engine_put(txn, key_slice(&key), buf_slice(&record));
	else
		engine_del(txn, key_slice(&key));
	return engine_txn_status(txn);
}

static enum status
send_as_change(
    struct store_reader *reader, struct slice login, struct slice entry, bool remove)
{
	struct send_as_change change = {.remove = remove};
	struct slice local;
	struct slice domain;
	if (!address_cut(login, false, &local, &domain) ||
	    !key_address(&change.login_key, KEY_LOGIN, local, domain))
		return STATUS_NOT_FOUND;
	if (!entry_fold(&change, entry))
		return STATUS_INVALID;
	return store_commit_wait(reader, partition_directory(), commit_send_as, &change);
}

enum status
directory_send_as_add(struct store_reader *reader, struct slice login, struct slice entry)
{
	return send_as_change(reader, login, entry, false);
}

enum status
directory_send_as_remove(
    struct store_reader *reader, struct slice login, struct slice entry)
{
	return send_as_change(reader, login, entry, true);
}
