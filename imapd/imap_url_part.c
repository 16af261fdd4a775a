/*
 * From URL to octets.  Thread: the worker's loop; the handle holds the body, no read
 * transaction is kept.
 */
#include "imapd/imap_url_part.h"

#include "imapd/imap_section.h"
#include "imapd/imap_url.h"

enum { BAD_URL_SHOWN_MAX = 1000 /* octets of a URL that a code repeats */ };

static enum status
find_mailbox(struct imap_session *s, const struct imap_url *url, struct arena *arena,
    struct account_id *out_account, uint32_t *out_number)
{
	struct imap_box box;
	struct slice name;

	if (!url->mailbox.ptr) {
		*out_account = s->box_account;
		*out_number = s->mailbox;
		return s->view ? STATUS_OK : STATUS_NOT_FOUND;
	}
	enum status status = mailbox_name_check(url->mailbox, arena, &name);
	if (status == STATUS_OK)
		status = imap_box_find(s, name, ACL_READ, &box);
	if (status != STATUS_OK)
		return status;
	if (url->uidvalidity && url->uidvalidity != box.info.uidvalidity)
		return STATUS_NOT_FOUND;
	*out_account = box.account;
	*out_number = box.info.number;
	return STATUS_OK;
}

static enum status
cut(struct imap_session *s, const struct imap_url *url, struct account_id account,
    const struct message_record *record, struct arena *arena, struct imap_url_part *out)
{
	const struct imap_fetch_body *section = &url->section;
	struct imap_section_range range;
	struct message_index index;
	struct slice bytes;

	enum status status =
	    message_index_bytes(imap_reader(s), account, record, arena, &bytes);
	if (status == STATUS_OK && !message_index_decode(bytes, &index))
		status = STATUS_CORRUPT;
	if (status != STATUS_OK)
		return status;
	switch (imap_section_find(&index, out->body.size, section, &range)) {
	case IMAP_SECTION_NIL:
		return STATUS_NOT_FOUND;
	case IMAP_SECTION_DAMAGED:
		return STATUS_CORRUPT;
	case IMAP_SECTION_FOUND:
		break;
	}
	bytes = slice_sub(
	    body_handle_bytes(&out->body), (size_t)range.offset, (size_t)range.len);
	if (section->text == IMAP_SECTION_HEADER_FIELDS ||
	    section->text == IMAP_SECTION_HEADER_FIELDS_NOT) {
		imap_section_header_fields(section, bytes, &out->made);
		if (!buf_ok(&out->made))
			return STATUS_LIMIT;
		bytes = buf_slice(&out->made);
	}
	uint64_t offset = 0, len = bytes.len;
	imap_section_partial(section, &offset, &len);
	out->bytes = slice_sub(bytes, (size_t)offset, (size_t)len);
	return STATUS_OK;
}

enum status
imap_url_part_open(struct imap_session *s, struct slice text, struct arena *arena,
    struct imap_url_part *out)
{
	struct message_record record;
	struct imap_url url;
	struct account_id account;
	uint32_t mailbox;

	if (!imap_url_parse(text, arena, &url))
		return STATUS_INVALID;
	enum status status = find_mailbox(s, &url, arena, &account, &mailbox);
	if (status == STATUS_OK)
		status = message_get(imap_reader(s), account, mailbox, url.uid, &record);
	if (status == STATUS_OK)
		status = message_body_open(imap_reader(s), account, &record, &out->body);
	if (status != STATUS_OK)
		return status;
	buf_init(&out->made, IMAP_OUT_MAX);
	status = cut(s, &url, account, &record, arena, out);
	if (status != STATUS_OK)
		imap_url_part_close(out);
	return status;
}

void
imap_url_part_close(struct imap_url_part *part)
{
	body_handle_close(&part->body);
	buf_fini(&part->made);
}

struct slice
imap_url_bad_code(struct slice url, struct arena *arena)
{
	struct slice shown = slice_sub(url, 0, BAD_URL_SHOWN_MAX);
	struct slice code = arena_format(arena, "BADURL %.*s", SLICE_ARG(shown));

	if (!code.ptr)
		return SLICE("BADURL");
	char *at = (char *)(uintptr_t)code.ptr;
	for (size_t i = 0; i < code.len; i++)
		if (at[i] == ']' || (unsigned char)at[i] < ' ' || at[i] == 0x7f)
			at[i] = '?';
	return code;
}
