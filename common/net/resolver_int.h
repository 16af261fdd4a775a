/*
 * What the two backends of the resolver share.  Private to common/net.
 */
#ifndef NET_RESOLVER_INT_H
#define NET_RESOLVER_INT_H

#include "net/loop_int.h"
#include "net/resolver.h"

struct ub_ctx;
struct resolver_script;

enum { RESOLVER_NAME_MAX = 253, RESOLVER_ARENA_MAX = 1 << 20 };

struct resolver_query {
	unsigned magic;
	struct resolver *resolver;
	struct list node;
	enum resolver_type type;
	resolver_fn fn;
	void *arg;
	struct loop_timer timeout;    /* unbound: gives up; script: the TIMEOUT word */
	struct loop_hook answer_hook; /* script, and questions that fail at once */
	const char *failure;          /* why it failed at once */
	int async_id;                 /* unbound's; -1 when it is not asked */
	char name[RESOLVER_NAME_MAX + 1];
};

/* Gives the answer and frees the query. */
void resolver_deliver(struct resolver_query *query, const struct resolver_answer *answer);
void resolver_deliver_failure(struct resolver_query *query, const char *why);

/* resolver_data.c: pure */
/* A domain name in wire form without compression, as text: lower case, no final dot.
 * False for a name that is cut off or holds what a host name cannot hold. */
bool resolver_name_from_wire(
    struct slice wire, struct arena *arena, struct slice *out, size_t *out_used);
/* One record's rdata.  False when it is malformed: the record is then left out. */
bool resolver_record_from_wire(enum resolver_type type, struct slice rdata,
    struct arena *arena, struct resolver_record *out);
void resolver_sort(struct resolver_record *records, size_t count);

/* resolver_script.c */
enum status resolver_script_read(
    const char *path, struct resolver_script **out, char **error) MUST_USE;
void resolver_script_free(struct resolver_script **script);
/* Fills the answer out of the script; true when the query shall time out instead. */
bool resolver_script_answer(const struct resolver_script *script,
    const struct resolver_query *query, struct arena *arena, struct resolver_answer *out);

#endif
