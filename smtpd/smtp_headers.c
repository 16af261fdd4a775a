/*
 * Header blocks on their way in; see smtp_headers.h.
 */
#include "smtpd/smtp_headers.h"

#include "text/address.h"
#include "text/date.h"
#include "text/encoding.h"
#include "text/header.h"

size_t
smtp_header_end(struct slice bytes, size_t from)
{
	if (slice_has_prefix(bytes, SLICE("\r\n")))
		return 2;
	/* The empty line may have begun in what was searched before. */
	from = from > 3 ? from - 3 : 0;
	size_t at = slice_find(slice_from(bytes, from), SLICE("\r\n\r\n"));
	return at == SIZE_MAX ? SIZE_MAX : from + at + 4;
}

size_t
smtp_header_mbox_line(struct slice block)
{
	if (!slice_has_prefix(block, SLICE("From ")) || block.len < 6 ||
	    block.ptr[5] == ':' || block.ptr[5] == ' ')
		return 0;
	size_t lf = slice_index(block, '\n');
	return lf == SIZE_MAX ? 0 : lf + 1;
}

bool
smtp_header_is_field(struct slice block)
{
	size_t at = 0;
	while (at < block.len && block.ptr[at] > 32 && block.ptr[at] < 127 &&
	       block.ptr[at] != ':')
		at++;
	if (at == 0)
		return false;
	/* Blanks before the colon are obsolete and allowed (RFC 5322 section 4.5). */
	while (at < block.len && (block.ptr[at] == ' ' || block.ptr[at] == '\t'))
		at++;
	return at < block.len && block.ptr[at] == ':';
}

enum field {
	FIELD_OTHER,
	FIELD_RECEIVED,
	FIELD_DATE,
	FIELD_FROM,
	FIELD_SENDER,
	FIELD_BCC,
	FIELD_MESSAGE_ID,
	FIELD_TLS_REQUIRED,
	FIELD_CAMPAIGN,
};

static enum field
field_of(struct slice name)
{
	static const struct {
		struct slice name;
		enum field field;
	} fields[] = {
	    {SLICE("Received"),            FIELD_RECEIVED    },
	    {SLICE("Date"),                FIELD_DATE        },
	    {SLICE("From"),                FIELD_FROM        },
	    {SLICE("Sender"),              FIELD_SENDER      },
	    {SLICE("Bcc"),                 FIELD_BCC         },
	    {SLICE("Resent-Bcc"),          FIELD_BCC         },
	    {SLICE("Message-ID"),          FIELD_MESSAGE_ID  },
	    {SLICE("TLS-Required"),        FIELD_TLS_REQUIRED},
	    {SLICE("X-Postroom-Campaign"), FIELD_CAMPAIGN    },
	};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].name.len == name.len &&
		    slice_equal_nocase(fields[i].name, name))
			return fields[i].field;
	}
	return FIELD_OTHER;
}

void
smtp_header_scan(struct slice block, struct smtp_header_facts *out)
{
	*out = (struct smtp_header_facts){.has_8bit = !ascii_only(block)};
	struct header_iter it;
	struct header_field field;
	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		out->fields++;
		switch (field_of(field.name)) {
		case FIELD_RECEIVED:
			out->received++;
			break;
		case FIELD_DATE:
			out->has_date = true;
			break;
		case FIELD_FROM:
			out->from++;
			break;
		case FIELD_BCC:
			out->bcc++;
			break;
		case FIELD_MESSAGE_ID:
			if (!out->message_id.ptr)
				out->message_id = slice_sub(
				    slice_trim(field.value), 0, SMTP_MESSAGE_ID_MAX);
			break;
		case FIELD_TLS_REQUIRED:
			out->tls_required++;
			out->tls_optional |=
			    slice_equal_nocase(slice_trim(field.value), SLICE("No"));
			break;
		case FIELD_CAMPAIGN:
			if (out->campaigns++ == 0)
				out->campaign = slice_trim(field.value);
			break;
		case FIELD_SENDER:
		case FIELD_OTHER:
			break;
		}
	}
	out->too_many = it.count >= HEADER_FIELDS_MAX;
}

bool
smtp_header_delivered_to(
    struct slice block, bool (*fn)(struct slice address, void *arg), void *arg)
{
	struct header_iter it;
	struct header_field field;
	unsigned seen = 0;
	header_iter_init(&it, block);
	while (seen < SMTP_DELIVERED_MAX && header_iter_next(&it, &field)) {
		if (field.name.len != SLICE("Delivered-To").len ||
		    !slice_equal_nocase(field.name, SLICE("Delivered-To")))
			continue;
		seen++;
		struct slice address = slice_trim(field.value);
		if (address.len > 2 && address.ptr[0] == '<' &&
		    slice_has_suffix(address, SLICE(">")))
			address = slice_sub(address, 1, address.len - 2);
		if (fn(address, arg))
			return true;
	}
	return false;
}

/* ---- who it says it is from ---- */

/* A display of "a@b" without blanks, quotes removed by the parser, domain folded. */
static bool
sender_check(const struct list_address *address, struct arena *arena,
    bool (*fn)(struct slice local, struct slice domain, void *arg), void *arg)
{
	struct buf domain AUTO_BUF;
	buf_init(&domain, ADDRESS_DOMAIN_MAX);
	if (address->mailbox.len == 0 || address->mailbox.len > ADDRESS_LOCAL_MAX ||
	    address->host.len == 0 || address->host.len > ADDRESS_DOMAIN_MAX ||
	    !address_domain_to_ascii(address->host, &domain) || !buf_ok(&domain))
		return false;
	struct slice copy = arena_copy(arena, buf_slice(&domain));
	return copy.ptr && fn(address->mailbox, copy, arg);
}

bool
smtp_header_senders(struct slice block, struct arena *arena,
    bool (*fn)(struct slice local, struct slice domain, void *arg), void *arg)
{
	struct header_iter it;
	struct header_field field;
	size_t checked = 0;
	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		enum field kind = field_of(field.name);
		if (kind != FIELD_FROM && kind != FIELD_SENDER)
			continue;
		struct slice value = header_unfold(field.value, arena);
		struct list_address *list = NULL;
		size_t count = value.ptr ? address_list_parse(value, arena, &list) : 0;
		size_t addresses = 0;
		for (size_t i = 0; i < count; i++) {
			if (list[i].group_start || list[i].group_end)
				continue;
			addresses++;
			if (++checked > SMTP_FROM_MAX ||
			    !sender_check(&list[i], arena, fn, arg))
				return false;
		}
		if (addresses == 0)
			return false;
	}
	return true;
}

/* ---- putting right ---- */

void
smtp_header_without_private(struct slice block, struct buf *out)
{
	struct header_iter it;
	struct header_field field;
	const char *from = block.ptr;
	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		enum field kind = field_of(field.name);
		if (kind != FIELD_BCC && kind != FIELD_CAMPAIGN)
			continue;
		buf_append(out, slice_make(from, (size_t)(field.whole.ptr - from)));
		from = field.whole.ptr + field.whole.len;
	}
	buf_append(out, slice_make(from, (size_t)(block.ptr + block.len - from)));
}

void
smtp_header_add_missing(const struct smtp_header_facts *facts, int64_t now_s,
    int zone_min, struct slice id, struct slice hostname, struct slice sender,
    struct buf *out)
{
	if (!facts->has_date) {
		buf_append(out, SLICE("Date: "));
		date_write_mail((struct date){now_s, zone_min}, out);
		buf_append(out, SLICE("\r\n"));
	}
	if (facts->from == 0 && sender.len > 0) {
		buf_append(out, SLICE("From: <"));
		buf_append(out, sender);
		buf_append(out, SLICE(">\r\n"));
	}
	if (!facts->message_id.ptr) {
		buf_append(out, SLICE("Message-ID: <"));
		buf_append(out, id);
		buf_append_byte(out, '@');
		buf_append(out, hostname);
		buf_append(out, SLICE(">\r\n"));
	}
}

/* ---- text ---- */

static void
text_bytes(struct smtp_text *t, struct slice bytes)
{
	if (bytes.len == 0)
		return;
	if (!t->nul && slice_index(bytes, '\0') != SIZE_MAX)
		t->nul = true;
	if (!t->has_8bit && !ascii_only(bytes))
		t->has_8bit = true;
	t->line_len += bytes.len;
	if (t->line_len > t->line_longest)
		t->line_longest = t->line_len;
}

void
smtp_text_feed(struct smtp_text *t, struct slice bytes)
{
	while (bytes.len > 0) {
		if (t->after_cr && bytes.ptr[0] != '\n')
			t->bare_cr = true;
		size_t lf = slice_index(bytes, '\n');
		struct slice line = slice_sub(bytes, 0, lf == SIZE_MAX ? bytes.len : lf);
		size_t cr = slice_index(line, '\r');
		bool ends_in_cr = line.len > 0 && line.ptr[line.len - 1] == '\r';
		if (cr != SIZE_MAX && cr + 1 < line.len)
			t->bare_cr = true;
		if (lf != SIZE_MAX && !(line.len > 0 ? ends_in_cr : t->after_cr))
			t->bare_lf = true;
		text_bytes(t, slice_sub(line, 0, line.len - (ends_in_cr ? 1 : 0)));
		t->after_cr = lf == SIZE_MAX && ends_in_cr;
		if (lf != SIZE_MAX)
			t->line_len = 0;
		bytes = slice_from(bytes, line.len + (lf != SIZE_MAX));
	}
}

void
smtp_text_end(struct smtp_text *t)
{
	if (t->after_cr)
		t->bare_cr = true;
}
