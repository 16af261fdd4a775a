/*
 * Fuzzes SMTP command lines: whatever the dispatcher could hand on is parsed by every
 * parse function, and what an accepted address prints as must parse to the same again,
 * without a byte that could end a line.
 */
#include "smtpd/smtp_parse.h"

#include <stdlib.h>

#include "base/ensure.h"

enum { ARENA_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_address(const struct mailbox_address *address, struct arena *arena)
{
	if (address->domain.len == 0)
		return;
	struct buf text AUTO_BUF;
	buf_init(&text, (size_t)8 * ADDRESS_PATH_MAX);
	address_write(address, &text);
	ENSURE(buf_ok(&text));
	ENSURE(slice_index(buf_slice(&text), '\r') == SIZE_MAX);
	ENSURE(slice_index(buf_slice(&text), '\n') == SIZE_MAX);
	ENSURE(slice_index(buf_slice(&text), '\0') == SIZE_MAX);
	struct mailbox_address again;
	enum address_result result = address_parse(buf_slice(&text), true, arena, &again);
	/* Quoting may make a local part too long, never another one. */
	if (result == ADDRESS_OK) {
		ENSURE(slice_equal(again.local, address->local));
		ENSURE(slice_equal(again.domain, address->domain));
	}
	struct slice ascii = smtp_domain_ascii(address->domain, arena);
	for (size_t i = 0; i < ascii.len; i++)
		ENSURE((unsigned char)ascii.ptr[i] < 128);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size);
	struct arena *arena = arena_new(ARENA_BYTES);
	struct smtp_line line;
	if (smtp_line_parse(text, &line)) {
		ENSURE(line.verb.len > 0);
		text = line.rest;
	}
	struct smtp_mail mail;
	struct smtp_rcpt recipient;
	struct smtp_bdat bdat;
	struct smtp_auth auth;
	if (smtp_mail_parse(text, arena, &mail) == SMTP_PARSE_DONE)
		check_address(&mail.sender, arena);
	if (smtp_rcpt_parse(text, arena, &recipient) == SMTP_PARSE_DONE) {
		ENSURE(
		    recipient.address.local.len > 0 || recipient.address.domain.len > 0);
		ENSURE(recipient.orcpt.len <= QUEUE_ORCPT_MAX);
		ENSURE(!(recipient.notify & ~QUEUE_NOTIFY_ASKED));
		ENSURE(slice_index(recipient.orcpt, ' ') == SIZE_MAX);
		check_address(&recipient.address, arena);
	}
	if (smtp_bdat_parse(text, &bdat))
		ENSURE(text.len > 0);
	if (smtp_auth_parse(text, &auth))
		ENSURE(auth.mechanism.len > 0);
	if (smtp_helo_is_valid(text))
		ENSURE(text.len <= SMTP_HELO_MAX);
	arena_free(&arena);
	return 0;
}
