/*
 * Envelopes; see smtp_envelope.h.  On its session's worker thread.
 */
#include "smtpd/smtp_envelope.h"

#include "base/ensure.h"

enum { TARGETS_FIRST = 4 };

struct smtp_envelope *
smtp_envelope_new(struct smtp_session *session, struct smtp_worker *worker)
{
	struct smtp_envelope *e = xcalloc(1, sizeof(*e));
	e->magic = SMTP_ENVELOPE_MAGIC;
	e->session = session;
	e->worker = worker;
	e->arena = arena_new(SMTP_ENVELOPE_MAX);
	id_make_ordered(e->id);
	buf_init(&e->header, SMTP_HEADER_MAX);
	return e;
}

void
smtp_envelope_free(struct smtp_envelope **envelope)
{
	struct smtp_envelope *e = *envelope;
	if (!e)
		return;
	ENSURE(e->magic == SMTP_ENVELOPE_MAGIC);
	*envelope = NULL;
	if (e->draft)
		body_draft_unref(&e->draft);
	buf_fini(&e->header);
	hashmap_free(&e->target_map, NULL);
	arena_free(&e->arena);
	e->magic = 0;
	free(e);
}

/* ---- targets ---- */

static bool
target_equal(const struct smtp_target *a, const struct smtp_target *b)
{
	if (a->local != b->local)
		return false;
	if (a->local)
		return memcmp(a->account.v, b->account.v, sizeof(a->account.v)) == 0;
	return slice_equal_nocase(a->address, b->address);
}

/* 'A' and the account, or 'X' and the address in lower case; null slice on the limit. */
static struct slice
target_key(struct smtp_envelope *e, const struct smtp_target *target)
{
	size_t len = target->local ? sizeof(target->account.v) : target->address.len;
	char *key = arena_alloc(e->arena, 1 + len);
	if (!key)
		return SLICE_NULL;
	key[0] = target->local ? 'A' : 'X';
	if (target->local)
		memcpy(key + 1, target->account.v, len);
	for (size_t i = 0; !target->local && i < len; i++)
		key[1 + i] = ascii_lower(target->address.ptr[i]);
	return slice_make(key, 1 + len);
}

/* The map's values are indices from 1 on. */
static bool
target_map_put(struct smtp_envelope *e, const struct smtp_target *target, size_t index)
{
	struct slice key = target_key(e, target);
	if (!key.ptr)
		return false;
	hashmap_put(e->target_map, key, (void *)(uintptr_t)(index + 1));
	return true;
}

/* From here on searching in turn would take too long. */
static bool
target_map_make(struct smtp_envelope *e)
{
	e->target_map = hashmap_new();
	for (size_t i = 0; i < e->target_count; i++) {
		if (!target_map_put(e, &e->targets[i], i))
			return false;
	}
	return true;
}

size_t
smtp_envelope_find(struct smtp_envelope *e, const struct smtp_target *target)
{
	if (e->target_map) {
		struct slice key = target_key(e, target);
		uintptr_t found =
		    key.ptr ? (uintptr_t)hashmap_get(e->target_map, key) : 0;
		return found ? (size_t)found - 1 : SIZE_MAX;
	}
	for (size_t i = 0; i < e->target_count; i++) {
		if (target_equal(&e->targets[i], target))
			return i;
	}
	return SIZE_MAX;
}

static bool
targets_grow(struct smtp_envelope *e)
{
	size_t cap = e->target_cap ? 2 * e->target_cap : TARGETS_FIRST;
	struct smtp_target *grown = ARENA_ARRAY(e->arena, struct smtp_target, cap);
	if (!grown)
		return false;
	if (e->target_count > 0)
		memcpy(grown, e->targets, e->target_count * sizeof(*grown));
	e->targets = grown;
	e->target_cap = cap;
	return true;
}

enum smtp_envelope_result
smtp_envelope_add(struct smtp_envelope *e, const struct smtp_target *target)
{
	if (!e->target_map && e->target_count >= SMTP_TARGETS_SCAN_MAX &&
	    !target_map_make(e))
		return SMTP_ENVELOPE_FULL;
	if (smtp_envelope_find(e, target) != SIZE_MAX)
		return SMTP_ENVELOPE_DOUBLE;
	if (e->target_count >= SMTP_TARGETS_MAX ||
	    (e->target_count == e->target_cap && !targets_grow(e)) ||
	    (e->target_map && !target_map_put(e, target, e->target_count)))
		return SMTP_ENVELOPE_FULL;
	e->targets[e->target_count++] = *target;
	if (!target->local)
		e->external_count++;
	return SMTP_ENVELOPE_ADDED;
}

bool
smtp_target_is_forward(const struct smtp_target *target)
{
	return !target->local && !slice_equal_nocase(target->address, target->original);
}

void
smtp_envelope_cut(struct smtp_envelope *e, size_t count)
{
	ENSURE(count <= e->target_count);
	while (e->target_count > count) {
		if (!e->targets[--e->target_count].local)
			e->external_count--;
	}
	/* It is made again when it is needed. */
	hashmap_free(&e->target_map, NULL);
}
