/*
 * The IMAP capabilities that an account's clients are not offered (`account set
 * --imap-without`): words that imapd knows.  One C record an account, a list like an
 * alias's; most accounts have none.
 */
#include "store/directory_int.h"

struct without_change {
	struct key login_key;
	const struct slice *names;
	size_t count;
};

enum status
directory_imap_without_get(struct store_reader *reader, struct account_id account,
    struct slice out[DIRECTORY_IMAP_WITHOUT_MAX], size_t *out_count)
{
	struct slice names[DIRECTORY_ALIAS_TARGETS_MAX];
	struct engine_txn *txn;
	struct slice value;
	struct key key;
	*out_count = 0;
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_id(&key, KEY_IMAP_WITHOUT, account);
	status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	size_t count;
	if (!alias_decode(value, names, &count) || count > DIRECTORY_IMAP_WITHOUT_MAX)
		return STATUS_CORRUPT;
	memcpy(out, names, count * sizeof(names[0]));
	*out_count = count;
	return STATUS_OK;
}

static enum status
commit_without(struct engine_txn *txn, void *arg)
{
	const struct without_change *change = arg;
	struct login_record login;
	struct slice value;
	struct key key;
	enum status status = engine_get(txn, key_slice(&change->login_key), &value);
	if (status != STATUS_OK)
		return status;
	if (!login_decode(value, &login))
		return STATUS_CORRUPT;
	key_id(&key, KEY_IMAP_WITHOUT, login.id);
	AUTO_BUF struct buf record;
	buf_init(&record, ALIAS_RECORD_MAX);
	alias_encode(change->names, change->count, &record);
	if (!buf_ok(&record))
		return STATUS_LIMIT;
	if (change->count > 0)
		engine_put(txn, key_slice(&key), buf_slice(&record));
	else
		engine_del(txn, key_slice(&key));
	return engine_txn_status(txn);
}

enum status
directory_imap_without_set(struct store_reader *reader, struct slice login,
    const struct slice *names, size_t count)
{
	struct without_change change = {.names = names, .count = count};
	struct slice local;
	struct slice domain;
	if (!address_cut(login, false, &local, &domain) ||
	    !key_address(&change.login_key, KEY_LOGIN, local, domain))
		return STATUS_NOT_FOUND;
	if (count > DIRECTORY_IMAP_WITHOUT_MAX)
		return STATUS_LIMIT;
	for (size_t i = 0; i < count; i++)
		if (names[i].len == 0 || names[i].len > DIRECTORY_IMAP_WITHOUT_LEN_MAX)
			return STATUS_INVALID;
	return store_commit_wait(reader, partition_directory(), commit_without, &change);
}
