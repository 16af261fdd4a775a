/*
 * Which mail of the queue is meant: the selectors that the verbs of queue have in common.
 * Private to postroom/.
 */
#ifndef POSTROOM_QUEUE_SELECT_H
#define POSTROOM_QUEUE_SELECT_H

#include "postroom/cli.h"
#include "store/queue.h"

#define QUEUE_SELECT_OPTIONS                                                             \
	"--from= --to= --site= --user= --sender= --tenant= --campaign= --age="
#define QUEUE_SELECT_USAGE                                                               \
	"[--from F] [--to T] [--site DOMAIN] [--user LOGIN] [--sender NAME] "            \
	"[--tenant NAME] [--campaign NAME] [--age DURATION]"

/* What the options pick; null or 0: all. */
struct queue_select {
	const char *from, *user;
	const char *sender; /* as rates and fairness: log-in, else the sender's domain */
	const char *tenant, *campaign;
	const char *to, *site; /* of recipients: others of a message are not picked */
	int64_t before_s;      /* messages that came before then */
};

/* 0 or an exit code. */
int queue_select_read(struct cli *cli, struct queue_select *out);
/* Is one of the options given? */
bool queue_select_given(const struct cli *cli);
bool queue_select_message(
    const struct queue_select *select, const struct queue_message *message);
bool queue_select_address(const struct queue_select *select, struct slice address);
/* Are recipients picked, and not whole messages? */
bool queue_select_by_recipient(const struct queue_select *select);

#endif
