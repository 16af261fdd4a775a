/*
 * Secrets for APOP (RFC 1939 section 7, decision 0033): K records, one an account whose
 * password was set while its domain had APOP on.  They have the names of the L records,
 * so those of a domain are one range, and stand only in domains that have APOP on.
 */
#include "store/directory_int.h"

static void
apop_key(struct key *out, const struct key *login_key)
{
	*out = *login_key;
	out->b[0] = KEY_APOP;
}

void
apop_change(struct engine_txn *txn, const struct key *login_key,
    const struct domain_record *domain, struct slice secret)
{
	struct key key;
	apop_key(&key, login_key);
	if (!domain->apop || slice_is_empty(secret)) {
		engine_del(txn, key_slice(&key));
		return;
	}
	AUTO_BUF struct buf record;
	buf_init(&record, APOP_RECORD_MAX);
	apop_encode(secret, &record);
	engine_put(txn, key_slice(&key), buf_slice(&record));
}

enum status
directory_apop_any(struct store_reader *reader, bool *out)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	*out = false;
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_APOP);
	key_begin(&to, KEY_APOP + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	status = engine_cursor_next(cursor, &key, &value);
	engine_cursor_close(&cursor);
	*out = status == STATUS_OK;
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
directory_apop_secret(struct store_reader *reader, struct slice login, struct buf *out)
{
	struct engine_txn *txn;
	struct slice local;
	struct slice domain;
	struct slice value;
	struct slice secret;
	struct key key;
	if (!address_cut(login, false, &local, &domain) ||
	    !key_address(&key, KEY_APOP, local, domain))
		return STATUS_NOT_FOUND;
	enum status status = directory_snap(reader, &txn);
	if (status == STATUS_OK)
		status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	if (!apop_decode(value, &secret))
		return STATUS_CORRUPT;
	buf_append(out, secret);
	return buf_ok(out) ? STATUS_OK : STATUS_LIMIT;
}

/* The K records of a domain. */
static bool
domain_range(struct slice domain, struct key *out_from, struct key *out_to)
{
	if (!key_address(out_from, KEY_APOP, SLICE_NULL, domain))
		return false;
	*out_to = *out_from;
	key_next_prefix(out_to);
	return true;
}

struct apop_switch {
	struct key domain_key, from, to;
	bool on;
};

static enum status
commit_switch(struct engine_txn *txn, void *arg)
{
	const struct apop_switch *change = arg;
	struct domain_record record;
	char bytes[DOMAIN_SIZE_MAX];
	enum status status =
	    domain_load(txn, slice_from(key_slice(&change->domain_key), 1), &record);
	if (status != STATUS_OK)
		return status;
	record.apop = change->on;
	size_t len = domain_encode(&record, bytes);
	engine_put(txn, key_slice(&change->domain_key), slice_make(bytes, len));
	if (!change->on)
		(void)engine_del_range(
		    txn, key_slice(&change->from), key_slice(&change->to));
	return engine_txn_status(txn);
}

enum status
directory_domain_set_apop(struct store_reader *reader, struct slice domain, bool on)
{
	struct apop_switch change = {.on = on};
	if (!key_domain(&change.domain_key, domain) ||
	    !domain_range(domain, &change.from, &change.to))
		return STATUS_NOT_FOUND;
	return store_commit_wait(reader, partition_directory(), commit_switch, &change);
}

enum status
directory_apop_missing(struct store_reader *reader, struct slice domain, uint32_t *out)
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
	uint32_t kept = 0;
	if (!domain_range(domain, &from, &to))
		return STATUS_NOT_FOUND;
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK)
		kept++;
	engine_cursor_close(&cursor);
	*out = record.accounts > kept ? record.accounts - kept : 0;
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
