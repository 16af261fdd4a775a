/*
 * Keys, and the records of an account, to bytes and back, exactly as store_schema.h gives
 * them by offset; store_codec_directory and store_codec_queue have the others.
 *
 * Encoders write into buffers whose size the caller has checked or whose limit is above
 * anything that passed the op's own checks.  Decoders never read past the record and
 * accept only the exact length, so that a cut or foreign record is found and not guessed
 * at.  Pure; any thread.
 */
#include "store/store_codec_int.h"

#include "base/ensure.h"

/* ---- keys ---- */
void
key_begin(struct key *key, char class)
{
	key->b[0] = class;
	key->len = 1;
}

void
key_u32(struct key *key, uint32_t value)
{
	ENSURE(key->len + 4 <= sizeof(key->b));
	be32_put(key->b + key->len, value);
	key->len += 4;
}

void
key_u64(struct key *key, uint64_t value)
{
	ENSURE(key->len + 8 <= sizeof(key->b));
	be64_put(key->b + key->len, value);
	key->len += 8;
}

void
key_bytes(struct key *key, struct slice bytes)
{
	ENSURE(bytes.len <= sizeof(key->b) - key->len);
	if (bytes.len)
		memcpy(key->b + key->len, bytes.ptr, bytes.len);
	key->len += bytes.len;
}

void
key_name(struct key *key, char class, struct slice name)
{
	key_begin(key, class);
	key_bytes(key, name);
}

void
key_mailbox(struct key *key, char class, uint32_t mailbox)
{
	key_begin(key, class);
	key_u32(key, mailbox);
}

void
key_message(struct key *key, char class, uint32_t mailbox, uint32_t uid)
{
	key_begin(key, class);
	key_u32(key, mailbox);
	key_u32(key, uid);
}

void
key_change(struct key *key, uint32_t mailbox, uint64_t modseq, uint32_t uid)
{
	key_begin(key, KEY_CHANGE);
	key_u32(key, mailbox);
	key_u64(key, modseq);
	key_u32(key, uid);
}

void
key_time(struct key *key, int64_t time_s, uint32_t mailbox, uint32_t uid)
{
	key_begin(key, KEY_TIME);
	key_u64(key, time_s < 0 ? 0 : (uint64_t)time_s);
	key_u32(key, mailbox);
	key_u32(key, uid);
}

void
key_next_prefix(struct key *key)
{
	/* Drop trailing 0xff bytes, then count the last one up.  The class byte is
	 * ASCII, so this never runs out. */
	while ((unsigned char)key->b[key->len - 1] == 0xff)
		key->len--;
	key->b[key->len - 1] = (char)((unsigned char)key->b[key->len - 1] + 1);
}

bool
key_change_decode(struct slice key, struct change_key *out)
{
	if (key.len != 17)
		return false;
	out->mailbox = be32_get(key.ptr + 1);
	out->modseq = be64_get(key.ptr + 5);
	out->uid = be32_get(key.ptr + 13);
	return true;
}

bool
key_time_decode(struct slice key, struct time_key *out)
{
	if (key.len != 17)
		return false;
	out->time_s = (int64_t)be64_get(key.ptr + 1);
	out->mailbox = be32_get(key.ptr + 9);
	out->uid = be32_get(key.ptr + 13);
	return true;
}

void
key_metadata(struct key *key, uint32_t mailbox, struct account_id user)
{
	key_mailbox(key, KEY_METADATA, mailbox);
	key_bytes(key, slice_make((const char *)user.v, sizeof(user.v)));
}

bool
key_metadata_decode(struct slice key, struct metadata_key *out)
{
	const size_t head = 5 + sizeof(out->user.v);
	if (key.len <= head || key.len > head + METADATA_ENTRY_MAX)
		return false;
	out->mailbox = be32_get(key.ptr + 1);
	memcpy(out->user.v, key.ptr + 5, sizeof(out->user.v));
	out->entry = slice_from(key, head);
	return true;
}

/* ---- texts: length u16 and bytes ---- */
void
record_text_append(struct buf *out, struct slice text)
{
	ENSURE(text.len <= UINT16_MAX);
	buf_append_be16(out, (uint16_t)text.len);
	buf_append(out, text);
}

bool
record_text_take(struct slice *rest, struct slice *out)
{
	if (rest->len < 2)
		return false;
	size_t len = be16_get(rest->ptr);
	if (rest->len - 2 < len)
		return false;
	*out = slice_sub(*rest, 2, len);
	*rest = slice_from(*rest, 2 + len);
	return true;
}

void
record_field_append(struct buf *out, char tag, struct slice value)
{
	if (value.len == 0)
		return;
	buf_append_byte(out, tag);
	record_text_append(out, value);
}

bool
record_field_take(struct slice *rest, char *tag, struct slice *out)
{
	char next = rest->ptr[0];
	*rest = slice_from(*rest, 1);
	if (next <= *tag || !record_text_take(rest, out) || out->len == 0)
		return false;
	*tag = next;
	return true;
}

bool
record_fits(struct slice record, size_t size_min)
{
	return record.len >= size_min && record.ptr[0] == STORE_RECORD_VERSION;
}

/* ---- account partition ---- */
struct slice
account_encode(const struct account_state *account, char out[ACCOUNT_SIZE_MAX])
{
	out[0] = STORE_RECORD_VERSION;
	out[ACCOUNT_FLAGS] = account->removed ? ACCOUNT_FLAG_REMOVED : 0;
	be64_put(out + ACCOUNT_CREATED, (uint64_t)account->created_s);
	be64_put(out + ACCOUNT_QUOTA, account->quota.bytes);
	be64_put(out + ACCOUNT_BYTES, account->bytes);
	be64_put(out + ACCOUNT_MESSAGES, account->messages);
	be32_put(out + ACCOUNT_NEXT_MAILBOX, account->next_mailbox);
	be32_put(out + ACCOUNT_MAILBOXES, account->mailboxes);
	be32_put(out + ACCOUNT_NEXT_UIDVALIDITY, account->next_uidvalidity);
	be64_put(out + ACCOUNT_NEXT_EMAIL_ID, account->next_email_id);
	be64_put(out + ACCOUNT_PURGED_TO, (uint64_t)account->purged_to_s);
	if (account->quota.messages == 0)
		return slice_make(out, ACCOUNT_SIZE);
	be64_put(out + ACCOUNT_QUOTA_MESSAGES, account->quota.messages);
	return slice_make(out, ACCOUNT_SIZE_MAX);
}

bool
account_decode(struct slice record, struct account_state *out)
{
	const char *p = record.ptr;
	bool limited = record.len == ACCOUNT_SIZE_MAX;
	if (!record_fits(record, ACCOUNT_SIZE) ||
	    (record.len != ACCOUNT_SIZE && !limited))
		return false;
	out->removed = (p[ACCOUNT_FLAGS] & ACCOUNT_FLAG_REMOVED) != 0;
	out->created_s = (int64_t)be64_get(p + ACCOUNT_CREATED);
	out->quota.bytes = be64_get(p + ACCOUNT_QUOTA);
	out->quota.messages = limited ? be64_get(p + ACCOUNT_QUOTA_MESSAGES) : 0;
	out->bytes = be64_get(p + ACCOUNT_BYTES);
	out->messages = be64_get(p + ACCOUNT_MESSAGES);
	out->next_mailbox = be32_get(p + ACCOUNT_NEXT_MAILBOX);
	out->mailboxes = be32_get(p + ACCOUNT_MAILBOXES);
	out->next_uidvalidity = be32_get(p + ACCOUNT_NEXT_UIDVALIDITY);
	out->next_email_id = be64_get(p + ACCOUNT_NEXT_EMAIL_ID);
	out->purged_to_s = (int64_t)be64_get(p + ACCOUNT_PURGED_TO);
	return !limited || out->quota.messages != 0;
}

size_t
state_encode(const struct mailbox_state *state, char out[STATE_SIZE_MAX])
{
	ENSURE(state->name.len <= MAILBOX_NAME_MAX);
	out[0] = STORE_RECORD_VERSION;
	be16_put(out + STATE_USE, state->use);
	be32_put(out + STATE_UIDVALIDITY, state->uidvalidity);
	be32_put(out + STATE_UIDNEXT, state->uidnext);
	be32_put(out + STATE_EXISTS, state->exists);
	be32_put(out + STATE_UNSEEN, state->unseen);
	be32_put(out + STATE_DELETED, state->deleted);
	be32_put(out + STATE_FIRST_RECENT, state->first_recent);
	be64_put(out + STATE_MODSEQ, state->modseq);
	be64_put(out + STATE_BYTES, state->bytes);
	be64_put(out + STATE_HORIZON, state->horizon);
	be16_put(out + STATE_NAME_LEN, (uint16_t)state->name.len);
	memcpy(out + STATE_NAME, state->name.ptr, state->name.len);
	if (!state->mapped)
		return STATE_NAME + state->name.len;
	out[STATE_NAME + state->name.len] = STATE_FLAG_MAPPED;
	return STATE_NAME + state->name.len + 1;
}

bool
state_decode(struct slice record, struct mailbox_state *out)
{
	const char *p = record.ptr;
	if (!record_fits(record, STATE_NAME))
		return false;
	size_t name_len = be16_get(p + STATE_NAME_LEN);
	bool mapped = record.len == STATE_NAME + name_len + 1 &&
	              p[STATE_NAME + name_len] == STATE_FLAG_MAPPED;
	if (record.len != STATE_NAME + name_len + mapped || name_len > MAILBOX_NAME_MAX ||
	    name_len == 0)
		return false;
	out->use = be16_get(p + STATE_USE);
	out->uidvalidity = be32_get(p + STATE_UIDVALIDITY);
	out->uidnext = be32_get(p + STATE_UIDNEXT);
	out->exists = be32_get(p + STATE_EXISTS);
	out->unseen = be32_get(p + STATE_UNSEEN);
	out->deleted = be32_get(p + STATE_DELETED);
	out->first_recent = be32_get(p + STATE_FIRST_RECENT);
	out->modseq = be64_get(p + STATE_MODSEQ);
	out->bytes = be64_get(p + STATE_BYTES);
	out->horizon = be64_get(p + STATE_HORIZON);
	out->mapped = mapped;
	out->name = slice_sub(record, STATE_NAME, name_len);
	return true;
}

bool
name_decode(struct slice record, uint32_t *out_number)
{
	if (!record_fits(record, NAME_SIZE) || record.len != NAME_SIZE)
		return false;
	*out_number = be32_get(record.ptr + NAME_NUMBER);
	return true;
}

size_t
acl_encode(const struct acl *acl, char out[ACL_RECORD_MAX])
{
	char *p = out + ACL_LIST;
	ENSURE(acl->count <= ACL_ENTRIES_MAX);
	out[0] = STORE_RECORD_VERSION;
	be16_put(out + ACL_COUNT, (uint16_t)acl->count);
	for (size_t i = 0; i < acl->count; i++, p += ACL_ENTRY_SIZE) {
		p[ACL_ENTRY_WHO] = (char)acl->at[i].who;
		p[ACL_ENTRY_NEGATIVE] = acl->at[i].negative;
		memcpy(p + ACL_ENTRY_ID, acl->at[i].id.v, sizeof(acl->at[i].id.v));
		be16_put(p + ACL_ENTRY_RIGHTS, acl->at[i].rights);
	}
	return (size_t)(p - out);
}

bool
acl_decode(struct slice record, struct acl *out)
{
	if (!record_fits(record, ACL_LIST))
		return false;
	size_t count = be16_get(record.ptr + ACL_COUNT);
	const char *p = record.ptr + ACL_LIST;
	if (count == 0 || count > ACL_ENTRIES_MAX ||
	    record.len != ACL_LIST + count * ACL_ENTRY_SIZE)
		return false;
	for (size_t i = 0; i < count; i++, p += ACL_ENTRY_SIZE) {
		struct acl_entry *e = &out->at[i];
		if ((unsigned char)p[ACL_ENTRY_WHO] > ACL_WHO_AUTHENTICATED ||
		    (unsigned char)p[ACL_ENTRY_NEGATIVE] > 1)
			return false;
		e->who = (enum acl_who)p[ACL_ENTRY_WHO];
		e->negative = p[ACL_ENTRY_NEGATIVE];
		memcpy(e->id.v, p + ACL_ENTRY_ID, sizeof(e->id.v));
		e->rights = be16_get(p + ACL_ENTRY_RIGHTS);
		if (e->rights == 0 || (e->rights & ~ACL_ALL))
			return false;
	}
	out->count = count;
	return true;
}

size_t
metadata_encode(uint64_t change, struct slice value, char *out)
{
	ENSURE(value.len <= METADATA_VALUE_MAX);
	out[0] = STORE_RECORD_VERSION;
	be64_put(out + METADATA_CHANGE, change);
	if (value.len)
		memcpy(out + METADATA_VALUE, value.ptr, value.len);
	return METADATA_VALUE + value.len;
}

bool
metadata_decode(struct slice record, uint64_t *out_change, struct slice *out_value)
{
	if (!record_fits(record, METADATA_VALUE) ||
	    record.len > METADATA_VALUE + METADATA_VALUE_MAX)
		return false;
	*out_change = be64_get(record.ptr + METADATA_CHANGE);
	*out_value = slice_from(record, METADATA_VALUE);
	return *out_change > 0;
}

size_t
keywords_encode(const struct keyword_list *list, char out[KEYWORDS_SIZE_MAX])
{
	size_t at = KEYWORDS_LIST;
	out[0] = STORE_RECORD_VERSION;
	out[KEYWORDS_COUNT] = (char)list->count;
	for (size_t i = 0; i < list->count; i++) {
		out[at++] = (char)list->at[i].len;
		memcpy(out + at, list->at[i].text, list->at[i].len);
		at += list->at[i].len;
	}
	return at;
}

bool
keywords_peek(
    struct slice record, struct slice out[MAILBOX_KEYWORDS_MAX], size_t *out_count)
{
	if (!record_fits(record, KEYWORDS_LIST))
		return false;
	size_t count = (unsigned char)record.ptr[KEYWORDS_COUNT];
	struct slice rest = slice_from(record, KEYWORDS_LIST);
	if (count > MAILBOX_KEYWORDS_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (rest.len == 0)
			return false;
		size_t len = (unsigned char)rest.ptr[0];
		if (len == 0 || len > MAILBOX_KEYWORD_LEN_MAX || rest.len - 1 < len)
			return false;
		out[i] = slice_sub(rest, 1, len);
		rest = slice_from(rest, 1 + len);
	}
	*out_count = count;
	return rest.len == 0;
}

bool
keywords_decode(struct slice record, struct keyword_list *out)
{
	struct slice names[MAILBOX_KEYWORDS_MAX];
	size_t count;
	if (!keywords_peek(record, names, &count))
		return false;
	out->count = count;
	for (size_t i = 0; i < count; i++) {
		out->at[i].len = (uint8_t)names[i].len;
		memcpy(out->at[i].text, names[i].ptr, names[i].len);
	}
	return true;
}

void
message_encode(const struct message_record *message, char out[MESSAGE_SIZE])
{
	out[0] = STORE_RECORD_VERSION;
	out[MESSAGE_FLAGS] =
	    (char)(message->flags | message->line_end_missing << MESSAGE_LINE_END_SHIFT);
	be16_put(out + MESSAGE_ZONE, (uint16_t)message->internaldate_zone_min);
	be64_put(out + MESSAGE_KEYWORDS, message->keywords);
	be64_put(out + MESSAGE_MODSEQ, message->modseq);
	be64_put(out + MESSAGE_INTERNALDATE, (uint64_t)message->internaldate_s);
	be64_put(out + MESSAGE_SAVE_DATE, (uint64_t)message->save_date_s);
	be64_put(out + MESSAGE_BYTES, message->size);
	be64_put(out + MESSAGE_BODY, message->body);
	be64_put(out + MESSAGE_EMAIL_ID, message->email_id);
}

void
expunged_encode(
    const struct message_record *message, int64_t time_s, char out[EXPUNGED_SIZE])
{
	message_encode(message, out);
	be64_put(out + EXPUNGED_TIME, (uint64_t)time_s);
}

bool
expunged_decode(
    struct slice record, uint32_t uid, struct message_record *out, int64_t *out_time_s)
{
	if (record.len != EXPUNGED_SIZE ||
	    !message_decode(slice_sub(record, 0, MESSAGE_SIZE), uid, out))
		return false;
	*out_time_s = (int64_t)be64_get(record.ptr + EXPUNGED_TIME);
	return true;
}

size_t
pop3_record_encode(const struct pop3_record *record, char out[POP3_RECORD_MAX])
{
	ENSURE(record->uidl.len <= POP3_UIDL_MAX);
	out[0] = STORE_RECORD_VERSION;
	be64_put(out + POP3_RETRIEVED, (uint64_t)record->retrieved_s);
	out[POP3_UIDL_LEN] = (char)record->uidl.len;
	if (record->uidl.len)
		memcpy(out + POP3_UIDL, record->uidl.ptr, record->uidl.len);
	return POP3_UIDL + record->uidl.len;
}

bool
pop3_record_decode(struct slice record, struct pop3_record *out)
{
	if (!record_fits(record, POP3_UIDL))
		return false;
	size_t len = (unsigned char)record.ptr[POP3_UIDL_LEN];
	struct slice uidl = slice_from(record, POP3_UIDL);
	if (uidl.len != len || (len && !pop3_uidl_is_valid(uidl)))
		return false;
	out->retrieved_s = (int64_t)be64_get(record.ptr + POP3_RETRIEVED);
	out->uidl = len ? uidl : SLICE_NULL;
	return true;
}

bool
uidl_decode(struct slice record, uint32_t *out_uid)
{
	if (!record_fits(record, UIDL_SIZE) || record.len != UIDL_SIZE)
		return false;
	*out_uid = be32_get(record.ptr + UIDL_UID);
	return true;
}

void
reserved_encode(const struct reserved *reserved, char out[RESERVED_SIZE])
{
	out[0] = STORE_RECORD_VERSION;
	be32_put(out + RESERVED_END, reserved->end);
	be32_put(out + RESERVED_NEXT, reserved->next);
}

bool
reserved_decode(struct slice record, struct reserved *out)
{
	if (!record_fits(record, RESERVED_SIZE) || record.len != RESERVED_SIZE)
		return false;
	out->end = be32_get(record.ptr + RESERVED_END);
	out->next = be32_get(record.ptr + RESERVED_NEXT);
	return out->next > 0 && out->next <= out->end;
}
