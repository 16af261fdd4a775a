/*
 * Who is next at a site: jobs stand in a line by sender, the lines of one tenant's
 * senders make one turn, and turns are taken one after the other, so that neither a
 * tenant with a hundred senders nor a sender with a hundred thousand messages is served
 * before somebody who has one.  Runs on the relay's loop.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "smtpd/relay_int.h"

enum { CONNECT_LOOK_MAX = 100 /* lines */ };

static struct slice
key_of(const void *key, size_t size)
{
	return slice_make(key, size);
}

static struct relay_turn *
turn_make(struct relay_site *site, const struct relay_sender *sender)
{
	struct hashmap *turns = site->relay->turns;
	struct relay_turn_key key = {site, sender};
	if (sender->tenant)
		key.owner = sender->tenant;
	struct relay_turn *turn = hashmap_get(turns, key_of(&key, sizeof(key)));
	if (turn)
		return turn;
	turn = xcalloc(1, sizeof(*turn));
	turn->key = key;
	list_init(&turn->lines);
	list_append(&site->turns, &turn->node);
	hashmap_put(turns, key_of(&turn->key, sizeof(turn->key)), turn);
	return turn;
}

static struct relay_line *
line_make(struct relay_site *site, struct relay_sender *sender)
{
	struct hashmap *lines = site->relay->lines;
	struct relay_line_key key = {site, sender};
	struct relay_line *line = hashmap_get(lines, key_of(&key, sizeof(key)));
	if (line)
		return line;
	line = xcalloc(1, sizeof(*line));
	line->key = key;
	line->sender = sender;
	line->turn = turn_make(site, sender);
	list_init(&line->jobs);
	list_append(&line->turn->lines, &line->node);
	hashmap_put(lines, key_of(&line->key, sizeof(line->key)), line);
	return line;
}

void
relay_line_add(struct relay_site *site, struct relay_job *job)
{
	struct relay_line *line = line_make(site, job->sender_share);
	/* The more urgent ones of a sender first (RFC 6710), else in their order. */
	struct list *before = &line->jobs;
	while (before->prev != &line->jobs &&
	       LIST_ENTRY(before->prev, struct relay_job, node)->priority < job->priority)
		before = before->prev;
	list_append(before, &job->node);
	site->pending_count++;
}

struct relay_line *
relay_line_first(const struct relay_site *site)
{
	if (list_is_empty(&site->turns))
		return NULL;
	const struct relay_turn *turn =
	    LIST_ENTRY(site->turns.next, struct relay_turn, node);
	return LIST_ENTRY(turn->lines.next, struct relay_line, node);
}

struct relay_line *
relay_line_to_connect(const struct relay_site *site)
{
	size_t looked = 0;
	LIST_EACH(&site->turns, node)
	{
		struct relay_turn *turn = LIST_ENTRY(node, struct relay_turn, node);
		LIST_EACH(&turn->lines, at)
		{
			struct relay_line *line = LIST_ENTRY(at, struct relay_line, node);
			if (relay_share_may_connect(site->relay, line->sender))
				return line;
			if (looked++ == CONNECT_LOOK_MAX)
				return NULL;
		}
	}
	return NULL;
}

void
relay_line_served(struct relay_site *site, struct relay_line *line)
{
	struct relay_turn *turn = line->turn;
	struct relay *relay = site->relay;
	site->pending_count--;
	list_remove(&line->node);
	if (list_is_empty(&line->jobs)) {
		hashmap_remove(relay->lines, key_of(&line->key, sizeof(line->key)));
		free(line);
	} else {
		list_append(&turn->lines, &line->node);
	}
	list_remove(&turn->node);
	if (list_is_empty(&turn->lines)) {
		hashmap_remove(relay->turns, key_of(&turn->key, sizeof(turn->key)));
		free(turn);
	} else {
		list_append(&site->turns, &turn->node);
	}
}
