/*
 * Text keys to questions that the index can answer.
 *
 * The index has each header field by itself: a needle of TEXT with a line end in it may
 * reach from one into the next, so it is not asked.  A HEADER key also asks for the
 * field's name, which stands before the value in the header text.
 */
#include "imapd/imap_search_narrow.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "text/encoding.h"

enum {
	ROOM_MIN = 16,     /* blocks */
	NAME_TAIL_MAX = 60 /* bytes of a field name that are asked for */
};

static void
keys_find(struct imap_search_narrow *narrow, struct imap_search_node *node)
{
	node->narrow = -1;
	bool text = node->key == IMAP_SEARCH_BODY || node->key == IMAP_SEARCH_TEXT ||
	            node->key == IMAP_SEARCH_HEADER;
	if (text && narrow->key_count < IMAP_NARROW_KEYS_MAX) {
		node->narrow = (int8_t)narrow->key_count;
		narrow->keys[narrow->key_count++] = node;
	}
	for (struct imap_search_node *n = node->child; n; n = n->next)
		keys_find(narrow, n);
}

void
imap_search_narrow_init(struct imap_search_narrow *narrow, struct imap_search_node *root)
{
	*narrow = (struct imap_search_narrow){0};
	keys_find(narrow, root);
	narrow->over = narrow->key_count == 0;
}

void
imap_search_narrow_fini(struct imap_search_narrow *narrow)
{
	free(narrow->blocks);
	*narrow = (struct imap_search_narrow){.over = true};
}

static size_t
block_size(const struct imap_search_narrow *narrow)
{
	return sizeof(struct imap_narrow_block) +
	       narrow->key_count * sizeof(struct search_bits);
}

static struct imap_narrow_block *
block_at(const struct imap_search_narrow *narrow, size_t at)
{
	return (
	    struct imap_narrow_block *)(void *)(narrow->blocks + at * block_size(narrow));
}

static bool
has_line_end(struct slice text)
{
	return memchr(text.ptr, '\r', text.len) || memchr(text.ptr, '\n', text.len);
}

static bool
is_token_byte(char c)
{
	return ascii_is_digit(c) || (c >= 'a' && c <= 'z') || (c & 0x80) || c == '-' ||
	       c == '_';
}

/* Addresses are matched as normalised too, and the index has the text as written: only
 * what lies between the signs is sure to stand there in one piece. */
static void
address_ask(struct search_look *look, enum search_class class, struct slice text,
    struct search_bits *out)
{
	struct search_bits found;

	*out = *search_covered(look);
	for (size_t at = 0, end; at < text.len; at = end + 1) {
		for (end = at; end < text.len && is_token_byte(text.ptr[end]); end++)
			;
		if (end == at)
			continue;
		search_find(look, class, slice_sub(text, at, end - at), &found);
		for (size_t i = 0; i < SEARCH_BITS_WORDS; i++)
			out->w[i] &= found.w[i];
	}
}

static void
header_ask(
    struct search_look *look, const struct imap_search_node *key, struct search_bits *out)
{
	enum search_class class = search_class_of(key->name);
	struct search_bits named;
	char name[NAME_TAIL_MAX + 2];
	if (key->addresses)
		address_ask(look, class, key->text, out);
	else
		search_find(look, class, key->text, out);
	if (class != SEARCH_OTHER || !ascii_only(key->name))
		return;
	size_t len = key->name.len < NAME_TAIL_MAX ? key->name.len : NAME_TAIL_MAX;
	struct slice tail = slice_from(key->name, key->name.len - len);
	for (size_t i = 0; i < len; i++)
		name[i] = ascii_lower(tail.ptr[i]);
	name[len] = ':';
	name[len + 1] = ' ';
	search_find(look, class, slice_make(name, len + 2), &named);
	for (size_t i = 0; i < SEARCH_BITS_WORDS; i++)
		out->w[i] &= named.w[i];
}

static void
key_ask(
    struct search_look *look, const struct imap_search_node *key, struct search_bits *out)
{
	if (key->key == IMAP_SEARCH_BODY)
		search_find(look, SEARCH_BODY, key->text, out);
	else if (key->key == IMAP_SEARCH_HEADER)
		header_ask(look, key, out);
	else if (key->text.len && has_line_end(key->text))
		*out = *search_covered(look);
	else
		search_find(look, SEARCH_ANYWHERE, key->text, out);
}

static struct imap_narrow_block *
block_add(struct imap_search_narrow *narrow)
{
	if (narrow->block_count == narrow->block_room) {
		narrow->block_room =
		    narrow->block_room ? 2 * narrow->block_room : ROOM_MIN;
		narrow->blocks =
		    xrealloc(narrow->blocks, narrow->block_room * block_size(narrow));
	}
	return block_at(narrow, narrow->block_count++);
}

bool
imap_search_narrow_run(struct imap_search_narrow *narrow, struct store_reader *reader,
    struct account_id account)
{
	struct search_look *look;
	size_t asked = 0;
	uint64_t number;
	if (narrow->over || search_open(reader, account, &look) != STATUS_OK) {
		narrow->over = true;
		return true;
	}
	do {
		if (search_next(look, narrow->next, &number) != STATUS_OK) {
			narrow->over = true;
			break;
		}
		struct imap_narrow_block *block = block_add(narrow);
		block->number = number;
		block->covered = *search_covered(look);
		for (size_t i = 0; i < narrow->key_count; i++)
			key_ask(look, narrow->keys[i], &block->may[i]);
		narrow->next = number + 1;
		asked += narrow->key_count;
	} while (asked < IMAP_NARROW_TURN_BLOCKS);
	search_close(&look);
	return narrow->over;
}

static const struct imap_narrow_block *
block_find(struct imap_search_narrow *narrow, uint64_t number)
{
	size_t low = 0, high = narrow->block_count;
	if (narrow->at < high && block_at(narrow, narrow->at)->number == number)
		return block_at(narrow, narrow->at);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (block_at(narrow, middle)->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == narrow->block_count || block_at(narrow, low)->number != number)
		return NULL;
	narrow->at = low;
	return block_at(narrow, low);
}

bool
imap_search_narrow_excludes(struct imap_search_narrow *narrow,
    const struct imap_search_node *key, const struct message_record *record)
{
	if (key->narrow < 0 || narrow->block_count == 0)
		return false;
	const struct imap_narrow_block *block =
	    block_find(narrow, record->email_id / SEARCH_BLOCK_DOCS);
	unsigned at = (unsigned)(record->email_id % SEARCH_BLOCK_DOCS);
	return block && block->covered.w[at / 64] >> at % 64 & 1 &&
	       !(block->may[key->narrow].w[at / 64] >> at % 64 & 1);
}
