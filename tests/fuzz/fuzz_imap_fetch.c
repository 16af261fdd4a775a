/*
 * Arguments of FETCH (and with first byte odd of UID FETCH): any bytes are refused with a
 * reason or give items within their limits, with a label for each section; STORE, COPY
 * and UID EXPUNGE read the same bytes.
 */
#include "base/ensure.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_fetch_parse.h"

static void
check(const struct imap_fetch_args *args)
{
	ENSURE(args->body_count <= IMAP_FETCH_BODIES_MAX);
	ENSURE(args->items || args->body_count);
	ENSURE(!args->has_partial || args->partial_first <= args->partial_last);
	for (size_t i = 0; i < args->body_count; i++) {
		const struct imap_fetch_body *body = &args->bodies[i];
		ENSURE(body->label.len);
		ENSURE(body->number_count <= IMAP_SECTION_NUMBERS_MAX);
		ENSURE(body->field_count <= IMAP_FETCH_HEADER_FIELDS_MAX);
		ENSURE(!body->partial || body->length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const imap_parse_fn parsers[] = {
	    imap_parse_fetch, imap_parse_store, imap_parse_copy, imap_parse_expunge};

	if (size == 0)
		return 0;
	for (size_t i = 0; i < sizeof(parsers) / sizeof(parsers[0]); i++) {
		struct arena *arena = arena_new(16 * 1024 * 1024);
		struct imap_command cmd = {.uid = data[0] & 1};
		struct parse_fault fault = {0};
		struct imap_lex lex;
		imap_lex_init(&lex, slice_make((const char *)data + 1, size - 1), arena);
		enum parse_result result = parsers[i](&lex, arena, &cmd, &fault);
		ENSURE((result == PARSE_DONE) == (fault.text == NULL));
		if (result == PARSE_DONE && i == 0)
			check(cmd.u.fetch);
		arena_free(&arena);
	}
	return 0;
}
