/*
 * Lexer primitives: the first byte chooses one, the rest is its frame.  It takes what it
 * says or sets a fault with a position inside the frame; slices lie in the frame or the
 * arena; after a fault nothing moves.
 */
#include "base/ensure.h"
#include "imapd/imap_lex.h"
#include "imapd/imap_seqset.h"

static bool
run(uint8_t which, struct imap_lex *lex)
{
	struct slice s = SLICE_NULL;
	uint32_t n, *numbers;
	uint64_t big;
	int64_t day;
	int zone;
	size_t count;
	struct imap_flags flags;
	struct imap_seqset set;
	bool ok = false;

	switch (which % 16) {
	case 0:
		ok = imap_lex_tag(lex, &s);
		break;
	case 1:
		ok = imap_lex_atom(lex, &s);
		break;
	case 2:
		ok = imap_lex_astring(lex, &s);
		break;
	case 3:
		ok = imap_lex_string(lex, &s);
		break;
	case 4:
		return imap_lex_nstring(lex, &s);
	case 5:
		ok = imap_lex_list_mailbox(lex, &s);
		break;
	case 6:
		return imap_lex_number(lex, &n);
	case 7:
		return imap_lex_number64(lex, &big);
	case 8:
		return imap_lex_date(lex, &day);
	case 9:
		return imap_lex_date_time(lex, &day, &zone);
	case 10:
		return imap_lex_flags(lex, false, &flags);
	case 11:
		return imap_lex_flags(lex, true, &flags);
	case 12:
		return imap_lex_section_numbers(lex, &numbers, &count);
	case 13:
		return imap_seqset_lex(lex, &set);
	case 14:
		return imap_seqset_lex_uids(lex, &set);
	default:
		ok = imap_lex_word(lex, &s);
		break;
	}
	ENSURE(!ok || s.ptr);
	return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imap_lex lex;
	struct parse_fault fault = {0};

	if (size == 0)
		return 0;
	struct arena *arena = arena_new(16 * 1024 * 1024);
	imap_lex_init(&lex, slice_make((const char *)data + 1, size - 1), arena);
	bool ok = run(data[0], &lex);
	ENSURE(ok == imap_lex_ok(&lex));
	ENSURE(lex.pos <= size - 1);
	if (!ok) {
		size_t pos = lex.pos;
		ENSURE(imap_lex_result(&lex, &fault) != PARSE_DONE && fault.text);
		ENSURE(lex.fault.position <= size - 1);
		ENSURE(!run((uint8_t)(data[0] + 1), &lex));
		ENSURE(lex.pos == pos);
	}
	arena_free(&arena);
	return 0;
}
