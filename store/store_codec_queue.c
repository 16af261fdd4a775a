/*
 * Records of the queue's partition, and the relay's notes in it, to bytes and back, as
 * store_codec.c.
 */
#include "store/store_codec_int.h"

/* ---- queue ---- */
void
counts_encode(const struct queue_counts *counts, char out[COUNTS_SIZE])
{
	out[0] = STORE_RECORD_VERSION;
	be64_put(out + COUNTS_MESSAGES, counts->messages);
	be64_put(out + COUNTS_RECIPIENTS, counts->recipients);
	be64_put(out + COUNTS_HELD, counts->held);
}

bool
counts_decode(struct slice record, struct queue_counts *out)
{
	if (!record_fits(record, COUNTS_SIZE) || record.len != COUNTS_SIZE)
		return false;
	out->messages = be64_get(record.ptr + COUNTS_MESSAGES);
	out->recipients = be64_get(record.ptr + COUNTS_RECIPIENTS);
	out->held = be64_get(record.ptr + COUNTS_HELD);
	return true;
}

void
queue_message_encode(const struct queue_message *message, struct buf *out)
{
	char head[QMESSAGE_TEXTS];
	head[0] = STORE_RECORD_VERSION;
	be32_put(head + QMESSAGE_FLAGS, message->flags);
	be64_put(head + QMESSAGE_CREATED, (uint64_t)message->created_s);
	be64_put(head + QMESSAGE_EXPIRES, (uint64_t)message->expires_s);
	be32_put(head + QMESSAGE_RECIPIENTS, message->recipients);
	be64_put(head + QMESSAGE_BYTES, message->size);
	be64_put(head + QMESSAGE_BODY, message->body);
	buf_append(out, slice_make(head, sizeof(head)));
	record_text_append(out, message->sender);
	record_text_append(out, message->login);
	record_text_append(out, message->origin);
	if (message->by_s) {
		char at[8];
		be64_put(at, (uint64_t)message->by_s);
		record_field_append(out, QMESSAGE_TAG_BY, slice_make(at, sizeof(at)));
	}
	record_field_append(out, QMESSAGE_TAG_CAMPAIGN, message->campaign);
	record_field_append(out, QMESSAGE_TAG_ENVID, message->envid);
	record_field_append(out, QMESSAGE_TAG_HOLD, message->hold);
	if (message->priority) {
		char priority = (char)message->priority;
		record_field_append(out, QMESSAGE_TAG_PRIORITY, slice_make(&priority, 1));
	}
	record_field_append(out, QMESSAGE_TAG_TENANT, message->tenant);
	record_field_append(out, QMESSAGE_TAG_UNSUBSCRIBE, message->unsubscribe);
}

static bool
message_field(struct queue_message *out, char tag, struct slice value)
{
	switch (tag) {
	case QMESSAGE_TAG_BY:
		out->by_s = value.len == 8 ? (int64_t)be64_get(value.ptr) : 0;
		return out->by_s != 0;
	case QMESSAGE_TAG_CAMPAIGN:
		out->campaign = value;
		return tenant_name_is_good(value);
	case QMESSAGE_TAG_TENANT:
		out->tenant = value;
		return tenant_name_is_good(value);
	case QMESSAGE_TAG_ENVID:
		out->envid = value;
		return true;
	case QMESSAGE_TAG_HOLD:
		out->hold = value;
		return true;
	case QMESSAGE_TAG_PRIORITY:
		out->priority = value.len == 1 ? (int8_t)value.ptr[0] : 0;
		return out->priority != 0 && out->priority >= -9 && out->priority <= 9;
	case QMESSAGE_TAG_UNSUBSCRIBE:
		out->unsubscribe = value;
		return true;
	default:
		return false;
	}
}

bool
queue_message_decode(struct slice record, struct slice id, struct queue_message *out)
{
	const char *p = record.ptr;
	if (!record_fits(record, QMESSAGE_TEXTS) || id.len != ID_TEXT_LEN)
		return false;
	memcpy(out->id, id.ptr, ID_TEXT_LEN);
	out->id[ID_TEXT_LEN] = '\0';
	out->flags = be32_get(p + QMESSAGE_FLAGS);
	out->created_s = (int64_t)be64_get(p + QMESSAGE_CREATED);
	out->expires_s = (int64_t)be64_get(p + QMESSAGE_EXPIRES);
	out->recipients = be32_get(p + QMESSAGE_RECIPIENTS);
	out->size = be64_get(p + QMESSAGE_BYTES);
	out->body = be64_get(p + QMESSAGE_BODY);
	struct slice rest = slice_from(record, QMESSAGE_TEXTS);
	out->envid = out->hold = out->unsubscribe = SLICE("");
	out->tenant = out->campaign = SLICE("");
	out->by_s = 0;
	out->priority = 0;
	if (!record_text_take(&rest, &out->sender) ||
	    !record_text_take(&rest, &out->login) ||
	    !record_text_take(&rest, &out->origin))
		return false;
	char tag = 0;
	struct slice value;
	while (rest.len > 0) {
		if (!record_field_take(&rest, &tag, &value) ||
		    !message_field(out, tag, value))
			return false;
	}
	return true;
}

void
queue_recipient_encode(const struct queue_recipient *recipient, struct buf *out)
{
	char head[QRECIPIENT_TEXTS];
	head[0] = STORE_RECORD_VERSION;
	head[QRECIPIENT_STATE] = (char)recipient->state;
	be32_put(head + QRECIPIENT_ATTEMPTS, recipient->attempts);
	be64_put(head + QRECIPIENT_DUE, (uint64_t)recipient->due_s);
	be64_put(head + QRECIPIENT_LAST_TRY, (uint64_t)recipient->last_try_s);
	buf_append(out, slice_make(head, sizeof(head)));
	record_text_append(out, recipient->address);
	record_text_append(out, recipient->original);
	record_text_append(out, recipient->last_reply);
	if (recipient->notify)
		record_field_append(out, QRECIPIENT_TAG_NOTIFY,
		    slice_make((const char *)&recipient->notify, 1));
	record_field_append(out, QRECIPIENT_TAG_ORCPT, recipient->orcpt);
}

static bool
recipient_field(struct queue_recipient *out, char tag, struct slice value)
{
	switch (tag) {
	case QRECIPIENT_TAG_NOTIFY:
		out->notify = value.len == 1 ? (uint8_t)value.ptr[0] : 0;
		return out->notify != 0 && !(out->notify & ~QUEUE_NOTIFY_ALL);
	case QRECIPIENT_TAG_ORCPT:
		out->orcpt = value;
		return true;
	default:
		return false;
	}
}

bool
queue_recipient_decode(
    struct slice record, struct slice id, uint32_t number, struct queue_recipient *out)
{
	const char *p = record.ptr;
	if (!record_fits(record, QRECIPIENT_TEXTS) || id.len != ID_TEXT_LEN ||
	    (unsigned char)p[QRECIPIENT_STATE] > QUEUE_HELD)
		return false;
	memcpy(out->id, id.ptr, ID_TEXT_LEN);
	out->id[ID_TEXT_LEN] = '\0';
	out->number = number;
	out->state = (enum queue_state)p[QRECIPIENT_STATE];
	out->attempts = be32_get(p + QRECIPIENT_ATTEMPTS);
	out->due_s = (int64_t)be64_get(p + QRECIPIENT_DUE);
	out->last_try_s = (int64_t)be64_get(p + QRECIPIENT_LAST_TRY);
	struct slice rest = slice_from(record, QRECIPIENT_TEXTS);
	out->notify = 0;
	out->orcpt = SLICE("");
	if (!record_text_take(&rest, &out->address) ||
	    !record_text_take(&rest, &out->original) ||
	    !record_text_take(&rest, &out->last_reply))
		return false;
	char tag = 0;
	struct slice value;
	while (rest.len > 0) {
		if (!record_field_take(&rest, &tag, &value) ||
		    !recipient_field(out, tag, value))
			return false;
	}
	return true;
}

/* ---- the relay's notes ---- */
void
relay_note_encode(const struct relay_note *note, struct buf *out)
{
	char head[NOTE_TEXTS];
	head[0] = STORE_RECORD_VERSION;
	head[NOTE_KIND] = (char)note->kind;
	be64_put(head + NOTE_CREATED, (uint64_t)note->created_s);
	be64_put(head + NOTE_EXPIRES, (uint64_t)note->expires_s);
	buf_append(out, slice_make(head, sizeof(head)));
	record_text_append(out, note->text);
	record_text_append(out, note->more);
}

bool
relay_note_decode(struct slice record, struct relay_note *out)
{
	if (!record_fits(record, NOTE_TEXTS))
		return false;
	*out = (struct relay_note){
	    .kind = (uint8_t)record.ptr[NOTE_KIND],
	    .created_s = (int64_t)be64_get(record.ptr + NOTE_CREATED),
	    .expires_s = (int64_t)be64_get(record.ptr + NOTE_EXPIRES),
	};
	struct slice rest = slice_from(record, NOTE_TEXTS);
	return record_text_take(&rest, &out->text) &&
	       record_text_take(&rest, &out->more) && rest.len == 0;
}

/* ---- tenants ---- */
void
tenant_encode(const struct tenant *tenant, struct buf *out)
{
	char head[TENANT_TEXTS];
	head[0] = STORE_RECORD_VERSION;
	be64_put(head + TENANT_CREATED, (uint64_t)tenant->created_s);
	be64_put(head + TENANT_MAX_QUEUED, tenant->max_queued);
	buf_append(out, slice_make(head, sizeof(head)));
	record_text_append(out, tenant->pool);
	record_text_append(out, tenant->dkim_domain);
}

bool
tenant_decode(struct slice record, struct tenant *out)
{
	if (!record_fits(record, TENANT_TEXTS))
		return false;
	out->created_s = (int64_t)be64_get(record.ptr + TENANT_CREATED);
	out->max_queued = be64_get(record.ptr + TENANT_MAX_QUEUED);
	struct slice rest = slice_from(record, TENANT_TEXTS);
	return record_text_take(&rest, &out->pool) &&
	       record_text_take(&rest, &out->dkim_domain) && rest.len == 0;
}

void
tenant_member_encode(struct slice tenant, struct buf *out)
{
	buf_append_byte(out, STORE_RECORD_VERSION);
	record_text_append(out, tenant);
}

bool
tenant_member_decode(struct slice record, struct slice *out_tenant)
{
	if (!record_fits(record, MEMBER_TEXTS))
		return false;
	struct slice rest = slice_from(record, MEMBER_TEXTS);
	return record_text_take(&rest, out_tenant) && rest.len == 0 &&
	       tenant_name_is_good(*out_tenant);
}
