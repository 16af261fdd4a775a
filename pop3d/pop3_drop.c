/*
 * The maildrop; see pop3_drop.h.
 */
#include "pop3d/pop3_drop.h"

#include "base/ensure.h"

/* The message of a uid, or null. */
static struct pop3_message *
drop_find(struct pop3_drop *drop, uint32_t uid)
{
	uint32_t low = 0;
	uint32_t high = drop->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (drop->messages[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < drop->count && drop->messages[low].uid == uid ? &drop->messages[low]
	                                                           : NULL;
}

/* One that came with its message from another server. */
static bool
take_uidl(uint32_t uid, const struct pop3_record *record, void *arg)
{
	struct pop3_drop *drop = arg;
	struct pop3_message *message = drop_find(drop, uid);
	if (!message || record->uidl.len == 0)
		return true;
	if (drop->uidls.len == 0)
		buf_append_byte(&drop->uidls, '\0');
	message->uidl = (uint32_t)drop->uidls.len;
	buf_append(&drop->uidls, record->uidl);
	buf_append_byte(&drop->uidls, '\0');
	return buf_ok(&drop->uidls);
}

enum status
pop3_drop_open(
    struct store_reader *reader, struct account_id account, struct pop3_drop *out)
{
	struct mailbox_info info;
	enum status status = mailbox_find(reader, account, SLICE("INBOX"), &info);
	if (status != STATUS_OK)
		return status;
	struct pop3_drop drop = {
	    .account = account, .mailbox = info.number, .uidvalidity = info.uidvalidity};
	uint32_t capacity =
	    info.exists < POP3_MESSAGES_MAX ? info.exists : POP3_MESSAGES_MAX;
	drop.messages = xcalloc((size_t)capacity + 1, sizeof(*drop.messages));
	struct message_cursor *cursor =
	    message_cursor_open(reader, account, info.number, 1, UINT32_MAX);
	struct message_record record;
	while (drop.count < capacity &&
	       (status = message_cursor_next(cursor, &record)) == STATUS_OK) {
		struct pop3_message *message = &drop.messages[drop.count++];
		message->uid = record.uid;
		message->size = record.size + record.line_end_missing;
		drop.bytes += message->size;
	}
	message_cursor_close(&cursor);
	if (status == STATUS_NOT_FOUND)
		status = STATUS_OK;
	buf_init(&drop.uidls, POP3_UIDL_BYTES_MAX);
	if (status == STATUS_OK)
		status = pop3_record_each(reader, account, info.number, take_uidl, &drop);
	if (status == STATUS_OK && !buf_ok(&drop.uidls))
		status = STATUS_LIMIT;
	if (status != STATUS_OK) {
		pop3_drop_close(&drop);
		return status;
	}
	*out = drop;
	return STATUS_OK;
}

void
pop3_drop_close(struct pop3_drop *drop)
{
	free(drop->messages);
	buf_fini(&drop->uidls);
	*drop = (struct pop3_drop){0};
}

struct pop3_message *
pop3_drop_message(struct pop3_drop *drop, uint32_t number)
{
	if (number == 0 || number > drop->count || drop->messages[number - 1].deleted)
		return NULL;
	return &drop->messages[number - 1];
}

void
pop3_drop_delete(struct pop3_drop *drop, struct pop3_message *message)
{
	ENSURE(!message->deleted);
	message->deleted = true;
	drop->deleted_count++;
	drop->bytes -= message->size;
}

void
pop3_drop_reset(struct pop3_drop *drop)
{
	for (uint32_t i = 0; i < drop->count; i++) {
		struct pop3_message *message = &drop->messages[i];
		if (message->deleted) {
			message->deleted = false;
			drop->bytes += message->size;
		}
	}
	drop->deleted_count = 0;
}

void
pop3_drop_uidl(const struct pop3_drop *drop, const struct pop3_message *message,
    char out[POP3_UIDL_MAX + 1])
{
	if (message->uidl == 0)
		pop3_uidl_default(drop->uidvalidity, message->uid, out);
	else
		memcpy(out, drop->uidls.ptr + message->uidl,
		    strlen(drop->uidls.ptr + message->uidl) + 1);
}

/* Messages side by side in the maildrop make one range: uids between them that are not
 * in it were gone before the session began, and a uid never comes back. */
static size_t
ranges_make(const struct pop3_drop *drop,
    bool (*fits)(const struct pop3_message *m, enum pop3_policy policy),
    enum pop3_policy policy, struct arena *arena, struct uid_range **out)
{
	size_t wanted = 0;
	bool open = false; /* the previous message fits too */
	for (uint32_t i = 0; i < drop->count; i++) {
		bool now = fits(&drop->messages[i], policy);
		wanted += now && !open;
		open = now;
	}
	struct uid_range *ranges = ARENA_ARRAY(arena, struct uid_range, wanted + 1);
	ENSURE(ranges);
	size_t count = 0;
	open = false;
	for (uint32_t i = 0; i < drop->count; i++) {
		const struct pop3_message *m = &drop->messages[i];
		bool now = fits(m, policy);
		if (now && open)
			ranges[count - 1].last = m->uid;
		else if (now)
			ranges[count++] = (struct uid_range){m->uid, m->uid};
		open = now;
	}
	*out = ranges;
	return count;
}

static bool
message_goes(const struct pop3_message *m, enum pop3_policy policy)
{
	return m->deleted || (policy == POP3_POLICY_DELETE && m->retrieved);
}

static bool
message_is_dated(const struct pop3_message *m, enum pop3_policy policy)
{
	return policy == POP3_POLICY_DAYS && m->retrieved && !m->deleted;
}

void
pop3_drop_update(const struct pop3_drop *drop, enum pop3_policy policy,
    struct arena *arena, struct pop3_drop_update *out)
{
	out->remove_count = ranges_make(drop, message_goes, policy, arena, &out->remove);
	out->retrieved_count =
	    ranges_make(drop, message_is_dated, policy, arena, &out->retrieved);
}
