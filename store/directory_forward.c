/*
 * Where accounts forward their mail to, and the journals of domains.  One E record an
 * account and one J record a domain; most have none, and then a look costs one get.
 * Addresses are kept as they were given, checked for what no address may hold.
 */
#include "store/directory_int.h"

enum status
forward_load(
    struct engine_txn *txn, struct account_id account, struct forward_record *out)
{
	struct key key;
	struct slice value;
	out->count = 0;
	key_id(&key, KEY_FORWARD, account);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	return forward_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
directory_forward_get(
    struct store_reader *reader, struct account_id account, struct directory_forward *out)
{
	struct engine_txn *txn;
	struct forward_record record;
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = forward_load(txn, account, &record);
	if (status != STATUS_OK)
		return status;
	out->keep = record.count > 0 && (record.flags & FORWARD_FLAG_KEEP);
	out->count = record.count;
	memcpy(out->to, record.to, record.count * sizeof(record.to[0]));
	return STATUS_OK;
}

static bool
journal_key(struct key *key, struct slice domain)
{
	struct key name;
	if (!key_domain(&name, domain))
		return false;
	key_begin(key, KEY_JOURNAL);
	key_bytes(key, slice_from(key_slice(&name), 1));
	return true;
}

enum status
directory_journal_get(
    struct store_reader *reader, struct slice domain, struct directory_journal *out)
{
	struct engine_txn *txn;
	struct forward_record record;
	struct slice value;
	struct key key;
	*out = (struct directory_journal){.to = SLICE("")};
	if (!journal_key(&key, domain))
		return STATUS_OK;
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	if (!forward_decode(value, &record))
		return STATUS_CORRUPT;
	out->in = record.flags & JOURNAL_FLAG_IN;
	out->out = record.flags & JOURNAL_FLAG_OUT;
	out->to = record.to[0];
	return STATUS_OK;
}

/* ---- writing ---- */

struct forward_change {
	struct key owner_key; /* the L or D record that must be there */
	struct key key;       /* of a journal */
	struct forward_record record;
};

static bool
address_is_valid(struct slice address)
{
	struct slice local;
	struct slice domain;
	struct key key;
	return address_cut(address, false, &local, &domain) &&
	       key_address(&key, KEY_ALIAS, local, domain);
}

static enum status
record_save(
    struct engine_txn *txn, const struct key *key, const struct forward_record *record)
{
	AUTO_BUF struct buf bytes;
	buf_init(&bytes, FORWARD_RECORD_MAX);
	if (record->count == 0) {
		engine_del(txn, key_slice(key));
		return engine_txn_status(txn);
	}
	forward_encode(record, &bytes);
	if (!buf_ok(&bytes))
		return STATUS_LIMIT;
	engine_put(txn, key_slice(key), buf_slice(&bytes));
	return engine_txn_status(txn);
}

static enum status
commit_forward(struct engine_txn *txn, void *arg)
{
	const struct forward_change *change = arg;
	struct login_record login;
	struct slice value;
	struct key key;
	enum status status = engine_get(txn, key_slice(&change->owner_key), &value);
	if (status != STATUS_OK)
		return status;
	if (!login_decode(value, &login))
		return STATUS_CORRUPT;
	key_id(&key, KEY_FORWARD, login.id);
	return record_save(txn, &key, &change->record);
}

enum status
directory_forward_set(struct store_reader *reader, struct slice login,
    const struct directory_forward *forward)
{
	struct forward_change change = {
	    .record = {.flags = forward->keep ? FORWARD_FLAG_KEEP : 0,
		       .count = forward->count},
	};
	struct slice local;
	struct slice domain;
	if (!address_cut(login, false, &local, &domain) ||
	    !key_address(&change.owner_key, KEY_LOGIN, local, domain))
		return STATUS_NOT_FOUND;
	if (forward->count > DIRECTORY_FORWARD_MAX)
		return STATUS_LIMIT;
	for (size_t i = 0; i < forward->count; i++) {
		if (!address_is_valid(forward->to[i]))
			return STATUS_INVALID;
		change.record.to[i] = forward->to[i];
	}
	return store_commit_wait(reader, partition_directory(), commit_forward, &change);
}

static enum status
commit_journal(struct engine_txn *txn, void *arg)
{
	const struct forward_change *change = arg;
	struct slice value;
	enum status status = engine_get(txn, key_slice(&change->owner_key), &value);
	return status == STATUS_OK ? record_save(txn, &change->key, &change->record)
	                           : status;
}

enum status
directory_journal_set(struct store_reader *reader, struct slice domain,
    const struct directory_journal *journal)
{
	struct forward_change change = {.record.count = 0};
	if (!key_domain(&change.owner_key, domain) || !journal_key(&change.key, domain))
		return STATUS_NOT_FOUND;
	if (journal->to.len > 0 && (journal->in || journal->out)) {
		if (!address_is_valid(journal->to))
			return STATUS_INVALID;
		change.record.flags = (uint8_t)((journal->in ? JOURNAL_FLAG_IN : 0) |
						(journal->out ? JOURNAL_FLAG_OUT : 0));
		change.record.to[change.record.count++] = journal->to;
	}
	return store_commit_wait(reader, partition_directory(), commit_journal, &change);
}
