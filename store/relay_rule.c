/*
 * Relay rules: which smart host a message takes.  A rule is found by exact key, so the
 * choice costs at most six gets however many rules there are: from address + to, from
 * address, from domain + to, from domain, to, default.
 */
#include "store/directory_int.h"

#include <stdio.h>

enum {
	RELAY_FROM_MAX = DIRECTORY_LOCAL_MAX + 1 + 64, /* bytes; both must fit a key */
	RELAY_TO_MAX = 253,                            /* bytes */
	RELAY_HOST_MAX = 255,
	RELAY_SECRET_MAX = 1024, /* user and password each */
	PORT_SMTP = 25,          /* never LMTP's (RFC 2033 section 5) */
};

static bool
key_relay(struct key *key, struct slice from, struct slice to)
{
	if (from.len > RELAY_FROM_MAX || to.len > RELAY_TO_MAX ||
	    slice_index(from, '\0') != SIZE_MAX || slice_index(to, '\0') != SIZE_MAX)
		return false;
	key_begin(key, KEY_RELAY);
	key_bytes(key, from);
	key_bytes(key, slice_make("", 1));
	key_bytes(key, to);
	for (size_t i = 1; i < key->len; i++)
		key->b[i] = ascii_lower(key->b[i]);
	return true;
}

static void
key_relay_back(struct key *key, uint32_t number)
{
	key_begin(key, KEY_RELAY_BACK);
	key_u32(key, number);
}

/* "r12" */
static bool
relay_id_parse(struct slice id, uint32_t *out_number)
{
	return id.len > 1 && ascii_lower(id.ptr[0]) == 'r' &&
	       slice_to_u32(slice_from(id, 1), out_number) && *out_number != 0;
}

/* The id text is made in `id_text` (at least 16 bytes), all else borrows the map. */
static bool
relay_tell(struct slice key, const struct relay_record *record, char *id_text,
    struct directory_relay *out)
{
	struct slice to = slice_from(key, 1);
	if (slice_index(to, '\0') == SIZE_MAX)
		return false;
	struct slice from = slice_split(&to, '\0');
	int len = snprintf(id_text, 16, "r%u", (unsigned)record->number);
	*out = (struct directory_relay){
	    .id = slice_make(id_text, (size_t)len),
	    .from = from.len ? from : SLICE_NULL,
	    .to = to.len ? to : SLICE_NULL,
	    .host = record->host,
	    .port = record->port,
	    .tls = record->tls,
	    .implicit_tls = record->implicit_tls,
	    .lmtp = record->lmtp,
	    .user = record->user,
	    .password = record->password,
	    .source = record->source,
	    .ehlo = record->ehlo,
	};
	return true;
}

static enum status
relay_try(struct engine_txn *txn, struct slice from, struct slice to,
    struct directory_relay *out)
{
	/* Id, from and to are made here, not in the map: one answer a thread, good until
	 * the thread's next look-up. */
	static _Thread_local char id_text[16];
	static _Thread_local struct key key;
	struct relay_record record;
	struct slice value;
	if (!key_relay(&key, from, to))
		return STATUS_NOT_FOUND;
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	if (!relay_decode(value, &record) ||
	    !relay_tell(key_slice(&key), &record, id_text, out))
		return STATUS_CORRUPT;
	return STATUS_OK;
}

enum status
directory_relay_find(struct store_reader *reader, struct slice sender,
    struct slice recipient_domain, struct directory_relay *out)
{
	struct engine_txn *txn;
	size_t at = slice_rindex(sender, '@');
	struct slice domain = at == SIZE_MAX ? SLICE_NULL : slice_from(sender, at + 1);
	const struct {
		bool use;
		struct slice from;
		struct slice to;
	} order[] = {
	    {sender.len > 0, sender,     recipient_domain},
	    {sender.len > 0, sender,     SLICE_NULL      },
	    {domain.len > 0, domain,     recipient_domain},
	    {domain.len > 0, domain,     SLICE_NULL      },
	    {true,           SLICE_NULL, recipient_domain},
	    {true,           SLICE_NULL, SLICE_NULL      },
	};
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	status = STATUS_NOT_FOUND;
	for (size_t i = 0;
	     i < sizeof(order) / sizeof(order[0]) && status == STATUS_NOT_FOUND; i++)
		if (order[i].use)
			status = relay_try(txn, order[i].from, order[i].to, out);
	return status;
}

enum status
directory_relay_each(struct store_reader *reader,
    bool (*fn)(const struct directory_relay *relay, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = directory_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_RELAY_BACK);
	key_begin(&to, KEY_RELAY_BACK + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct relay_record record;
		struct directory_relay relay;
		struct key relay_key;
		char id_text[16];
		if (value.len < 2 || value.len > ENGINE_KEY_MAX ||
		    value.ptr[0] != STORE_RECORD_VERSION) {
			status = STATUS_CORRUPT;
			break;
		}
		key_begin(&relay_key, KEY_RELAY);
		key_bytes(&relay_key, slice_from(value, 1));
		status = engine_get(txn, key_slice(&relay_key), &value);
		if (status == STATUS_OK &&
		    (!relay_decode(value, &record) ||
			!relay_tell(key_slice(&relay_key), &record, id_text, &relay)))
			status = STATUS_CORRUPT;
		if (status != STATUS_OK) {
			if (status == STATUS_NOT_FOUND)
				status = STATUS_CORRUPT;
			break;
		}
		if (!fn(&relay, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- writing ---- */
struct relay_change {
	struct key key;
	struct relay_record record;
	uint32_t number;
};

static enum status
relay_count(struct engine_txn *txn, uint32_t *out_count)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	key_begin(&from, KEY_RELAY_BACK);
	key_begin(&to, KEY_RELAY_BACK + 1);
	*out_count = 0;
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK)
		++*out_count;
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
commit_relay_add(struct engine_txn *txn, void *arg)
{
	struct relay_change *change = arg;
	struct key install_key;
	struct key back_key;
	struct slice value;
	char install[INSTALL_SIZE];
	uint32_t count;
	enum status status = engine_get(txn, key_slice(&change->key), &value);
	if (status == STATUS_OK)
		return STATUS_EXISTS;
	if (status == STATUS_NOT_FOUND)
		status = relay_count(txn, &count);
	if (status != STATUS_OK)
		return status;
	if (count >= DIRECTORY_RELAYS_MAX)
		return STATUS_LIMIT;
	key_begin(&install_key, KEY_INSTALL);
	status = engine_get(txn, key_slice(&install_key), &value);
	if (status != STATUS_OK || value.len != INSTALL_SIZE)
		return status == STATUS_OK ? STATUS_CORRUPT : status;
	memcpy(install, value.ptr, sizeof(install));
	change->record.number = be32_get(install + INSTALL_NEXT_RELAY);
	be32_put(install + INSTALL_NEXT_RELAY, change->record.number + 1);
	engine_put(txn, key_slice(&install_key), slice_make(install, sizeof(install)));

	AUTO_BUF struct buf record;
	buf_init(&record, RELAY_RECORD_MAX);
	relay_encode(&change->record, &record);
	if (!buf_ok(&record))
		return STATUS_LIMIT;
	engine_put(txn, key_slice(&change->key), buf_slice(&record));
	buf_reset(&record);
	buf_append_byte(&record, STORE_RECORD_VERSION);
	buf_append(&record, slice_from(key_slice(&change->key), 1));
	key_relay_back(&back_key, change->record.number);
	engine_put(txn, key_slice(&back_key), buf_slice(&record));
	return engine_txn_status(txn);
}

enum status
directory_relay_add(
    struct store_reader *reader, const struct directory_relay *relay, char *out_id)
{
	struct relay_change change = {
	    .record =
		{
			 .port = relay->port,
			 .tls = relay->tls,
			 .implicit_tls = relay->implicit_tls,
			 .lmtp = relay->lmtp,
			 .host = relay->host,
			 .user = relay->user,
			 .password = relay->password,
			 .source = relay->source,
			 .ehlo = relay->ehlo,
			 },
	};
	bool by_mx = relay->host.len == 0;
	bool by_path = slice_has_prefix(relay->host, SLICE("/"));
	if ((by_mx && relay->source.len == 0 && relay->ehlo.len == 0) ||
	    (relay->lmtp ? by_mx || relay->port == PORT_SMTP : by_path) ||
	    relay->host.len > RELAY_HOST_MAX || relay->source.len > RELAY_HOST_MAX ||
	    relay->ehlo.len > RELAY_HOST_MAX || relay->user.len > RELAY_SECRET_MAX ||
	    relay->password.len > RELAY_SECRET_MAX ||
	    !key_relay(&change.key, relay->from, relay->to))
		return STATUS_INVALID;
	enum status status =
	    store_commit_wait(reader, partition_directory(), commit_relay_add, &change);
	if (status == STATUS_OK)
		(void)snprintf(out_id, 16, "r%u", (unsigned)change.record.number);
	return status;
}

static enum status
commit_relay_remove(struct engine_txn *txn, void *arg)
{
	const struct relay_change *change = arg;
	struct key back_key;
	struct key key;
	struct slice value;
	key_relay_back(&back_key, change->number);
	enum status status = engine_get(txn, key_slice(&back_key), &value);
	if (status != STATUS_OK)
		return status;
	if (value.len < 2 || value.len > ENGINE_KEY_MAX)
		return STATUS_CORRUPT;
	key_begin(&key, KEY_RELAY);
	key_bytes(&key, slice_from(value, 1));
	engine_del(txn, key_slice(&key));
	engine_del(txn, key_slice(&back_key));
	return engine_txn_status(txn);
}

enum status
directory_relay_remove(struct store_reader *reader, struct slice id)
{
	struct relay_change change = {.number = 0};
	if (!relay_id_parse(id, &change.number))
		return STATUS_NOT_FOUND;
	return store_commit_wait(
	    reader, partition_directory(), commit_relay_remove, &change);
}
