/*
 * Options and output about forwarding, for the account, domain and explain commands.
 */
#ifndef POSTROOM_FORWARD_H
#define POSTROOM_FORWARD_H

#include <jansson.h>

#include "postroom/cli.h"

/* --forward and --keep of `account set`; *out_set is false without them.  0 or an exit
 * code. */
int forward_option(struct cli *cli, bool *out_set);
/* --journal and --journal-of of `domain set`. */
int journal_option(struct cli *cli, struct slice domain, bool *out_set);
/* {"to": […], "keep": …}; null when the account forwards nothing or cannot be read. */
json_t *forward_json(struct cli *cli, struct account_id account);
/* {"to": …, "in": …, "out": …}, or null. */
json_t *journal_json(struct cli *cli, struct slice domain);
/* Where mail from `from` to an address of ours goes: aliases and forwards followed, with
 * the sender that it leaves with. */
void forward_explain(struct cli *cli, struct slice from, struct slice to, json_t *out);
/* The text form of what forward_explain told. */
void forward_explain_print(const json_t *out);

#endif
