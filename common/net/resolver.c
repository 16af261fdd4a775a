/*
 * The resolver's front: queries, time-outs, and libunbound behind a poll handle.
 * libunbound resolves in a thread of its own and makes its descriptor readable;
 * ub_process then calls back on the loop's thread.  It validates by itself when the
 * root's trust anchor is installed (package dns-root-data); without one no answer is ever
 * "secure".
 *
 * Invariants
 *  1. A query answers exactly once, from the loop and never from inside resolver_ask, or
 *     not at all after resolver_cancel.
 *  2. With a script nothing is asked of the network and libunbound is not started.
 *
 * Thread: the loop's.
 */
#include "net/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>
#include <unistd.h>
#include <uv.h>

#include "base/ensure.h"
#include "net/resolver_int.h"

enum {
	RESOLVER_MAGIC = 0x4e501ce4,
	QUERY_MAGIC = 0x40e41e57,
	SCRIPT_TIMEOUT_MS = 100,
	TIMEOUT_MS_DEFAULT = 20 * 1000,
	SERVERS_MAX = 16,
	DNS_CLASS_IN = 1,
	DNS_NOERROR = 0,
	DNS_NXDOMAIN = 3,
};

static const char *const anchor_paths[] = {
    "/usr/share/dns/root.key",
    "/var/lib/unbound/root.key",
    "/etc/unbound/root.key",
};

struct resolver {
	unsigned magic;
	struct loop *loop;
	struct list queries;
	uint64_t timeout_ms;
	struct resolver_script *script; /* or else: */
	struct ub_ctx *unbound;
	uv_poll_t *poll; /* frees itself at close */
};

/* ---- answers ---- */

static void
end_query(struct resolver_query *query)
{
	loop_timer_stop(&query->timeout);
	loop_hook_remove(&query->answer_hook);
	list_remove(&query->node);
	if (query->async_id >= 0)
		ub_cancel(query->resolver->unbound, query->async_id);
	query->magic = 0;
	free(query);
}

void
resolver_deliver(struct resolver_query *query, const struct resolver_answer *answer)
{
	resolver_fn fn = query->fn;
	void *arg = query->arg;
	/* The handle ends before the call, so that the call may do as it likes. */
	end_query(query);
	fn(answer, arg);
}

void
resolver_deliver_failure(struct resolver_query *query, const char *why)
{
	struct resolver_answer answer = {.result = RESOLVER_FAILED, .why = why};
	resolver_deliver(query, &answer);
}

static void
on_timeout(void *arg)
{
	resolver_deliver_failure(
	    OBJ_CAST(resolver_query, arg, QUERY_MAGIC), "the query timed out");
}

/* ---- libunbound ---- */

static void
fill_records(enum resolver_type type, const struct ub_result *result, struct arena *arena,
    struct resolver_answer *answer)
{
	answer->records =
	    arena_must(arena, RESOLVER_RECORDS_MAX * sizeof(*answer->records));
	for (size_t i = 0; result->data[i] && answer->count < RESOLVER_RECORDS_MAX; i++) {
		if (result->len[i] < 0)
			continue;
		struct slice rdata = slice_make(result->data[i], (size_t)result->len[i]);
		if (resolver_record_from_wire(
			type, rdata, arena, &answer->records[answer->count]))
			answer->count++;
	}
	if (type == RESOLVER_MX)
		resolver_sort(answer->records, answer->count);
}

static void
on_resolved(void *arg, int error, struct ub_result *result)
{
	struct resolver_query *query = OBJ_CAST(resolver_query, arg, QUERY_MAGIC);
	query->async_id = -1;
	if (error != 0 || !result) {
		ub_resolve_free(result);
		resolver_deliver_failure(query, ub_strerror(error));
		return;
	}
	struct arena *arena = arena_new(RESOLVER_ARENA_MAX);
	struct resolver_answer answer = {
	    .secure = result->secure != 0,
	    .ttl_s = result->ttl > 0 ? (uint32_t)result->ttl : 0,
	};
	if (result->bogus) {
		answer.result = RESOLVER_BOGUS;
		answer.why =
		    result->why_bogus ? result->why_bogus : "DNSSEC check failed";
	} else if (result->nxdomain || result->rcode == DNS_NXDOMAIN) {
		answer.result = RESOLVER_NO_NAME;
	} else if (result->rcode != DNS_NOERROR) {
		answer.result = RESOLVER_FAILED;
		answer.why = "the name server failed";
	} else {
		if (result->havedata)
			fill_records(query->type, result, arena, &answer);
		answer.result = answer.count > 0 ? RESOLVER_OK : RESOLVER_NO_DATA;
	}
	resolver_deliver(query, &answer);
	arena_free(&arena);
	ub_resolve_free(result);
}

static void
on_unbound_ready(uv_poll_t *handle, int status, int events)
{
	(void)status, (void)events;
	struct resolver *resolver = handle->data;
	/* A callback may free the resolver: ub_process touches its context afterwards, so
	 * resolver_free is deferred while we are here (resolver_free). */
	ub_process(resolver->unbound);
}

static bool
set_option(struct ub_ctx *unbound, const char *name, const char *value)
{
	return ub_ctx_set_option(unbound, name, value) == 0;
}

static bool
set_servers(struct ub_ctx *unbound, const char *const *servers, size_t count)
{
	if (!servers) {
		/* No resolv.conf, or one that is empty: resolve from the root. */
		ub_ctx_resolvconf(unbound, NULL);
		return true;
	}
	for (size_t i = 0; i < count && i < SERVERS_MAX; i++)
		if (ub_ctx_set_fwd(unbound, servers[i]) != 0)
			return false;
	return true;
}

static bool
configure(
    struct ub_ctx *unbound, const char *const *servers, size_t count, const char *anchors)
{
	/* A resolver on this machine is the usual set-up; libunbound refuses it unasked.
	 */
	if (!set_option(unbound, "do-not-query-localhost:", "no") ||
	    !set_option(unbound, "unblock-lan-zones:", "yes") || /* PTR of 10.0.0.1 */
	    !set_option(unbound, "msg-cache-size:", "1m") ||
	    !set_option(unbound, "rrset-cache-size:", "2m") ||
	    !set_option(unbound, "outgoing-range:", "256") ||
	    !set_servers(unbound, servers, count))
		return false;
	if (anchors[0] != '\0')
		return access(anchors, R_OK) == 0 &&
		       ub_ctx_add_ta_file(unbound, anchors) == 0;
	for (size_t i = 0; i < sizeof(anchor_paths) / sizeof(anchor_paths[0]); i++)
		if (access(anchor_paths[i], R_OK) == 0)
			return ub_ctx_add_ta_file(unbound, anchor_paths[i]) == 0;
	return true;
}

static struct resolver *
make(struct loop *loop, uint64_t timeout_ms)
{
	loop_check_thread(loop);
	struct resolver *resolver = xcalloc(1, sizeof(*resolver));
	resolver->magic = RESOLVER_MAGIC;
	resolver->loop = loop;
	resolver->timeout_ms = timeout_ms > 0 ? timeout_ms : TIMEOUT_MS_DEFAULT;
	list_init(&resolver->queries);
	return resolver;
}

enum status
resolver_new(struct loop *loop, const char *const *servers, size_t server_count,
    uint64_t timeout_ms, const char *anchors, struct resolver **out)
{
	const char *script = getenv("POSTROOM_DNS_SCRIPT");
	if (script && script[0] != '\0') {
		char *error = NULL;
		enum status status = resolver_new_script(loop, script, out, &error);
		free(error);
		return status;
	}
	struct ub_ctx *unbound = ub_ctx_create();
	if (!unbound)
		return STATUS_LIMIT;
	/* A thread, not a process: fork is not allowed in the sandbox. */
	if (!configure(unbound, servers, server_count, anchors) ||
	    ub_ctx_async(unbound, 1) != 0) {
		ub_ctx_delete(unbound);
		return STATUS_INVALID;
	}
	struct resolver *resolver = make(loop, timeout_ms);
	resolver->unbound = unbound;
	resolver->poll = xcalloc(1, sizeof(*resolver->poll));
	resolver->poll->data = resolver;
	ENSURE(uv_poll_init(loop_uv(loop), resolver->poll, ub_fd(unbound)) == 0);
	ENSURE(uv_poll_start(resolver->poll, UV_READABLE, on_unbound_ready) == 0);
	*out = resolver;
	return STATUS_OK;
}

enum status
resolver_new_script(
    struct loop *loop, const char *path, struct resolver **out, char **error)
{
	struct resolver_script *script;
	enum status status = resolver_script_read(path, &script, error);
	if (status != STATUS_OK)
		return status;
	*out = make(loop, 0);
	(*out)->script = script;
	return STATUS_OK;
}

static void
free_poll(uv_handle_t *handle)
{
	free(handle);
}

static void
free_late(void *arg)
{
	struct resolver *resolver = OBJ_CAST(resolver, arg, RESOLVER_MAGIC);
	ub_ctx_delete(resolver->unbound);
	resolver_script_free(&resolver->script);
	resolver->magic = 0;
	free(resolver);
}

void
resolver_free(struct resolver **resolver_ptr)
{
	struct resolver *resolver = *resolver_ptr;
	if (!resolver)
		return;
	*resolver_ptr = NULL;
	ENSURE(resolver->magic == RESOLVER_MAGIC);
	loop_check_thread(resolver->loop);
	struct list *node;
	while ((node = list_pop(&resolver->queries)))
		end_query(LIST_ENTRY(node, struct resolver_query, node));
	if (resolver->poll)
		uv_close((uv_handle_t *)resolver->poll, free_poll);
	/* Perhaps we stand inside ub_process. */
	loop_defer(resolver->loop, free_late, resolver);
}

/* ---- questions ---- */

static void
on_failed_at_once(void *arg)
{
	struct resolver_query *query = OBJ_CAST(resolver_query, arg, QUERY_MAGIC);
	resolver_deliver_failure(query, query->failure);
}

static void
on_script_answer(void *arg)
{
	struct resolver_query *query = OBJ_CAST(resolver_query, arg, QUERY_MAGIC);
	struct arena *arena = arena_new(RESOLVER_ARENA_MAX);
	struct resolver_answer answer;
	if (resolver_script_answer(query->resolver->script, query, arena, &answer))
		loop_timer_start(query->resolver->loop, &query->timeout,
		    SCRIPT_TIMEOUT_MS, on_timeout, query);
	else
		resolver_deliver(query, &answer);
	arena_free(&arena);
}

static void
fail_at_once(struct resolver_query *query, const char *why)
{
	query->failure = why;
	loop_again_add(
	    query->resolver->loop, &query->answer_hook, on_failed_at_once, query);
}

struct resolver_query *
resolver_ask(struct resolver *resolver, struct slice name, enum resolver_type type,
    resolver_fn fn, void *arg)
{
	ENSURE(resolver->magic == RESOLVER_MAGIC && fn);
	loop_check_thread(resolver->loop);
	struct resolver_query *query = xcalloc(1, sizeof(*query));
	query->magic = QUERY_MAGIC;
	query->resolver = resolver;
	query->type = type;
	query->fn = fn;
	query->arg = arg;
	query->async_id = -1;
	list_append(&resolver->queries, &query->node);
	if (name.len == 0 || !slice_copy_cstr(name, query->name, sizeof(query->name))) {
		fail_at_once(query, "the name is not valid");
		return query;
	}
	if (resolver->script) {
		loop_again_add(
		    resolver->loop, &query->answer_hook, on_script_answer, query);
		return query;
	}
	int error = ub_resolve_async(resolver->unbound, query->name, (int)type,
	    DNS_CLASS_IN, query, on_resolved, &query->async_id);
	if (error != 0) {
		query->async_id = -1;
		fail_at_once(query, ub_strerror(error));
		return query;
	}
	loop_timer_start(
	    resolver->loop, &query->timeout, resolver->timeout_ms, on_timeout, query);
	return query;
}

void
resolver_cancel(struct resolver_query *query)
{
	ENSURE(query->magic == QUERY_MAGIC);
	loop_check_thread(query->resolver->loop);
	end_query(query);
}
