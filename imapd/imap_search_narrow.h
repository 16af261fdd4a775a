/*
 * What the search index says of a search's text keys: for each of them the documents
 * that cannot match, so that evaluation need not read them.  Asked once a command, some
 * blocks a turn; the answers stay good, since what a message says never changes.
 */
#ifndef IMAPD_IMAP_SEARCH_NARROW_H
#define IMAPD_IMAP_SEARCH_NARROW_H

#include "imapd/imap_search_parse.h"
#include "store/message.h"
#include "store/search.h"

enum {
	IMAP_NARROW_KEYS_MAX = 16,    /* text keys that are asked for; others are read */
	IMAP_NARROW_TURN_BLOCKS = 64, /* blocks times keys that a turn looks at */
};

struct imap_narrow_block {
	uint64_t number;
	struct search_bits covered;
	struct search_bits may[]; /* one for each key */
};

struct imap_search_narrow {
	const struct imap_search_node *keys[IMAP_NARROW_KEYS_MAX];
	size_t key_count;
	uint64_t next; /* block */
	bool over;
	char *blocks; /* struct imap_narrow_block, by number */
	size_t block_count, block_room;
	size_t at; /* of the last look */
};

/* Numbers the tree's text keys (node->narrow). */
void imap_search_narrow_init(
    struct imap_search_narrow *narrow, struct imap_search_node *root);
void imap_search_narrow_fini(struct imap_search_narrow *narrow);
/* One turn's work; true when it is over.  A failure only means that more is read. */
bool imap_search_narrow_run(struct imap_search_narrow *narrow,
    struct store_reader *reader, struct account_id account);
/* The index knows that the message does not match the key. */
bool imap_search_narrow_excludes(struct imap_search_narrow *narrow,
    const struct imap_search_node *key, const struct message_record *record);

#endif
