/*
 * What senders in bulk ask for; see bulk.h.
 */
#include "service/bulk.h"

#include "base/clock.h"
#include "store/queue.h"

#define TOKEN_HOLE "{token}"

/* ---- settings ---- */

enum status
bulk_find(struct store_reader *reader, struct slice sender, struct bulk *out)
{
	struct relay_note note;
	*out = (struct bulk){0};
	size_t at = slice_rindex(sender, '@');
	if (at == SIZE_MAX)
		return STATUS_OK;
	int64_t now_s = clock_wall_s();
	enum status status =
	    relay_note_get(reader, RELAY_NOTE_BULK, sender, now_s, &note);
	if (status == STATUS_NOT_FOUND)
		status = relay_note_get(
		    reader, RELAY_NOTE_BULK, slice_from(sender, at + 1), now_s, &note);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	*out = (struct bulk){
	    .verp = note.kind & BULK_VERP,
	    .unsubscribe = note.text,
	    .bounces = note.more,
	};
	return STATUS_OK;
}

/* ---- unsubscribing ---- */

bool
bulk_unsubscribe_is_valid(struct slice text)
{
	if (slice_equal_nocase(text, SLICE("mailto")))
		return true;
	size_t hole = slice_find(text, SLICE(TOKEN_HOLE));
	if (text.len > QUEUE_UNSUBSCRIBE_MAX || hole == SIZE_MAX ||
	    !slice_has_prefix_nocase(text, SLICE("https://")) ||
	    hole < sizeof("https://") ||
	    slice_find(slice_from(text, hole + 1), SLICE(TOKEN_HOLE)) != SIZE_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		/* What would end it or begin another one in the field. */
		if (c <= ' ' || c >= 127 || c == '<' || c == '>' || c == '"' || c == ',')
			return false;
	}
	return true;
}

static bool
link_write(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s, struct slice sender,
    struct slice recipient, struct slice link, struct buf *out)
{
	size_t hole = slice_find(link, SLICE(TOKEN_HOLE));
	if (hole == SIZE_MAX)
		return false;
	buf_append_byte(out, '<');
	buf_append(out, slice_sub(link, 0, hole));
	if (!verp_token_encode(key, now_s, sender, recipient, out))
		return false;
	buf_append(out, slice_from(link, hole + sizeof(TOKEN_HOLE) - 1));
	buf_append_byte(out, '>');
	return buf_ok(out);
}

/* In a mailto, "=" is not written as it is (RFC 6068 section 2). */
static bool
mailto_write(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s, struct slice sender,
    struct slice recipient, struct buf *out)
{
	struct buf address AUTO_BUF;
	buf_init(&address, BULK_LINE_MAX);
	if (!verp_encode(key, VERP_UNSUBSCRIBE, now_s, sender, recipient, &address))
		return false;
	buf_append_cstr(out, "<mailto:");
	for (size_t i = 0; i < address.len; i++) {
		if (address.ptr[i] == '=')
			buf_append_cstr(out, "%3D");
		else
			buf_append_byte(out, address.ptr[i]);
	}
	buf_append_byte(out, '>');
	return buf_ok(out);
}

void
bulk_unsubscribe_write(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s,
    struct slice sender, struct slice recipient, struct slice unsubscribe,
    struct buf *out)
{
	static const char field[] = "List-Unsubscribe: ";
	struct buf link AUTO_BUF;
	struct buf mailto AUTO_BUF;
	buf_init(&link, BULK_LINE_MAX - sizeof(field));
	buf_init(&mailto, BULK_LINE_MAX - sizeof(field));
	bool has_link = link_write(key, now_s, sender, recipient, unsubscribe, &link);
	bool has_mailto = mailto_write(key, now_s, sender, recipient, &mailto);
	if (!has_link && !has_mailto)
		return;
	buf_append_cstr(out, field);
	if (has_link)
		buf_append(out, buf_slice(&link));
	if (has_link && has_mailto)
		buf_append_cstr(out, ",\r\n ");
	if (has_mailto)
		buf_append(out, buf_slice(&mailto));
	buf_append_cstr(out, "\r\n");
	if (has_link)
		buf_append_cstr(
		    out, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
}

bool
bulk_unsubscribe_note(struct slice sender, struct slice recipient, int64_t now_s,
    struct slice text, struct buf *name, struct relay_note *out)
{
	bulk_suppress_name(recipient, sender, name);
	if (!buf_ok(name) || name->len > RELAY_NOTE_NAME_MAX)
		return false;
	*out = (struct relay_note){
	    .name = buf_slice(name),
	    .kind = RELAY_SUPPRESS_UNSUBSCRIBE,
	    .created_s = now_s,
	    .text = slice_sub(text, 0, RELAY_NOTE_TEXT_MAX),
	};
	return true;
}

/* ---- the list ---- */

void
bulk_suppress_name(struct slice address, struct slice sender, struct buf *out)
{
	buf_append(out, address);
	if (sender.len > 0) {
		buf_append_byte(out, '>');
		buf_append(out, sender);
	}
}

void
bulk_suppress_parts(
    struct slice name, struct slice *out_address, struct slice *out_sender)
{
	size_t at = slice_rindex(name, '>');
	*out_address = slice_sub(name, 0, at);
	*out_sender = at == SIZE_MAX ? SLICE("") : slice_from(name, at + 1);
}

enum status
bulk_suppress_get(struct store_reader *reader, struct slice address, struct slice sender,
    int64_t now_s, struct relay_note *out)
{
	struct buf name AUTO_BUF;
	buf_init(&name, RELAY_NOTE_NAME_MAX);
	enum status status =
	    relay_note_get(reader, RELAY_NOTE_SUPPRESSED, address, now_s, out);
	if (status != STATUS_NOT_FOUND || sender.len == 0)
		return status;
	bulk_suppress_name(address, sender, &name);
	if (!buf_ok(&name))
		return STATUS_NOT_FOUND;
	status =
	    relay_note_get(reader, RELAY_NOTE_SUPPRESSED, buf_slice(&name), now_s, out);
	out->name = address;
	return status;
}
