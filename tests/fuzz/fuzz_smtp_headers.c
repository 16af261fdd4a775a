/*
 * Fuzzes header blocks and BDAT text: finding the end in pieces finds the same end,
 * removing Bcc leaves none and nothing else behind, and the text check does not depend on
 * the cut.
 */
#include "smtpd/smtp_headers.h"

#include <stdlib.h>

#include "base/ensure.h"

enum { ARENA_BYTES = 8 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
sender_seen(struct slice local, struct slice domain, void *arg)
{
	size_t *count = arg;
	ENSURE(local.len > 0 && domain.len > 0);
	for (size_t i = 0; i < domain.len; i++)
		ENSURE((unsigned char)domain.ptr[i] < 128);
	return ++*count < SMTP_FROM_MAX;
}

static void
check_block(struct slice block)
{
	struct arena *arena = arena_new(ARENA_BYTES);
	struct smtp_header_facts facts, kept_facts;
	smtp_header_scan(block, &facts);
	size_t senders = 0;
	smtp_header_senders(block, arena, sender_seen, &senders);
	struct buf kept AUTO_BUF;
	buf_init(&kept, block.len + 1);
	smtp_header_without_private(block, &kept);
	ENSURE(buf_ok(&kept) && kept.len <= block.len);
	smtp_header_scan(buf_slice(&kept), &kept_facts);
	if (!facts.too_many) {
		unsigned gone = facts.bcc + facts.campaigns;
		ENSURE(kept_facts.bcc == 0 && kept_facts.campaigns == 0);
		ENSURE(kept_facts.fields == facts.fields - gone);
		ENSURE(gone > 0 || kept.len == block.len);
	}
	struct buf added AUTO_BUF;
	buf_init(&added, 4096);
	smtp_header_add_missing(
	    &facts, 0, 0, SLICE("ID"), SLICE("mx.example"), SLICE("a@b.example"), &added);
	ENSURE(buf_ok(&added));
	arena_free(&arena);
}

static void
check_text(struct slice text, size_t cut)
{
	struct smtp_text whole = {0}, pieces = {0};
	smtp_text_feed(&whole, text);
	smtp_text_end(&whole);
	smtp_text_feed(&pieces, slice_sub(text, 0, cut));
	smtp_text_feed(&pieces, slice_from(text, cut));
	smtp_text_end(&pieces);
	ENSURE(whole.bare_cr == pieces.bare_cr && whole.bare_lf == pieces.bare_lf);
	ENSURE(whole.nul == pieces.nul && whole.has_8bit == pieces.has_8bit);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct slice text = slice_make((const char *)data + 1, size - 1);
	size_t cut = text.len ? data[0] % (text.len + 1) : 0;
	size_t end = smtp_header_end(text, 0);
	if (smtp_header_end(slice_sub(text, 0, cut), 0) == SIZE_MAX)
		ENSURE(smtp_header_end(text, cut) == end);
	ENSURE(smtp_header_mbox_line(text) <= text.len);
	smtp_header_is_field(text);
	check_block(slice_sub(text, 0, end == SIZE_MAX ? text.len : end));
	check_text(text, cut);
	return 0;
}
