/*
 * Search programs; the first byte chooses SEARCH, SORT, THREAD or ESEARCH.  A tree keeps
 * its limits, and the members of each AND and OR are ordered by cost.
 */
#include "base/ensure.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_search_parse.h"

static size_t
check(const struct imap_search_node *node, unsigned depth)
{
	size_t keys = 1;
	enum imap_search_cost cost = IMAP_SEARCH_COST_RECORD;

	ENSURE(depth <= IMAP_SEARCH_DEPTH_MAX + 2);
	for (const struct imap_search_node *n = node->child; n; n = n->next) {
		ENSURE(n->cost >= cost && n->cost <= node->cost);
		cost = n->cost;
		keys += check(n, depth + 1);
	}
	ENSURE(node->key != IMAP_SEARCH_NOT || (node->child && !node->child->next));
	ENSURE(node->key != IMAP_SEARCH_FUZZY || (node->child && node->text.len > 0));
	ENSURE(node->key != IMAP_SEARCH_HEADER || (node->name.ptr && node->text.ptr));
	return keys;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const imap_parse_fn parsers[] = {
	    imap_parse_search, imap_parse_sort, imap_parse_thread, imap_parse_esearch};

	if (size == 0)
		return 0;
	struct arena *arena = arena_new(16 * 1024 * 1024);
	struct imap_command cmd = {0};
	struct parse_fault fault = {0};
	struct imap_lex lex;
	imap_lex_init(&lex, slice_make((const char *)data + 1, size - 1), arena);
	enum parse_result result = parsers[data[0] % 4](&lex, arena, &cmd, &fault);
	ENSURE((result == PARSE_DONE) == (fault.text == NULL));
	if (result == PARSE_DONE) {
		ENSURE(check(cmd.u.search->root, 0) <= IMAP_SEARCH_KEYS_MAX);
		ENSURE(cmd.u.search->sort_count <= IMAP_SORT_KEYS_MAX);
		ENSURE(cmd.u.search->source_count <= IMAP_SOURCES_MAX);
	}
	arena_free(&arena);
	return 0;
}
