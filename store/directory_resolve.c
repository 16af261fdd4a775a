/*
 * Where mail for an address goes.  Order for each address: account, alias, both again
 * without the tag, postmaster and abuse, catch-all.  An alias that comes up a second time
 * is not followed again, so a loop ends by itself; a loop that leads nowhere, one that is
 * too deep, and too many targets are all DIRECTORY_LOOP.  What an account forwards to is
 * followed like an alias; when it comes back to the account the mail stays there.
 *
 * Cost: for an account three gets (L, E, and A for the quota); for an unknown user six at
 * most and two for each delimiter in the local part.  No scans.
 */
#include "store/directory_int.h"

#include <stdlib.h>

#include "base/hashmap.h"
#include "store/mailbox_int.h"

enum { RESOLVE_TAG_CUTS_MAX = 8 }; /* delimiters tried in one local part */

struct resolve {
	struct store_reader *reader;
	struct engine_txn *txn;
	struct arena *arena;
	struct slice delimiters;
	struct vec targets; /* struct directory_target */
	/* aliases, forwards and targets; made when the first alias or forward is met */
	struct hashmap *seen;
	bool forwards; /* what accounts forward to is followed */
	bool loop;     /* an alias led back to one that was followed */
	bool too_much; /* depth or count */
};

static enum status resolve_address(struct resolve *r, struct slice local,
    struct slice domain, unsigned depth, bool *out_found);

/* True when it is new.  The kind keeps aliases and targets apart. */
static bool
resolve_note(struct resolve *r, char kind, struct slice text)
{
	char bytes[ENGINE_KEY_MAX];
	if (text.len >= sizeof(bytes))
		return true;
	bytes[0] = kind;
	for (size_t i = 0; i < text.len; i++)
		bytes[i + 1] = ascii_lower(text.ptr[i]);
	struct slice key = slice_make(bytes, text.len + 1);
	if (hashmap_get(r->seen, key))
		return false;
	(void)hashmap_put(r->seen, key, r);
	return true;
}

static enum status
resolve_push(struct resolve *r, const struct directory_target *target)
{
	struct slice name = target->local ? slice_make((const char *)target->account.v,
						sizeof(target->account.v))
	                                  : target->address;
	/* Account ids are random bytes: do not fold them.  A clash of folded ids is as
	 * unlikely as a clash of ids with 90 bits. */
	if (r->seen && !resolve_note(r, target->local ? 'l' : 'e', name))
		return STATUS_OK;
	if (r->targets.count == DIRECTORY_TARGETS_MAX) {
		r->too_much = true;
		return STATUS_OK;
	}
	struct directory_target *at = vec_push(&r->targets, sizeof(*at));
	if (!at)
		return STATUS_LIMIT;
	*at = *target;
	at->login = arena_copy(r->arena, target->login);
	at->address = arena_copy(r->arena, target->address);
	if ((target->login.ptr && !at->login.ptr) || !at->address.ptr)
		return STATUS_LIMIT;
	return STATUS_OK;
}

static enum status
resolve_push_local(struct resolve *r, const struct login_record *login,
    struct slice local, struct slice domain)
{
	char address[DIRECTORY_LOCAL_MAX + 1 + DIRECTORY_DOMAIN_MAX];
	memcpy(address, local.ptr, local.len);
	address[local.len] = '@';
	memcpy(address + local.len + 1, domain.ptr, domain.len);
	const struct directory_target target = {
	    .local = true,
	    .account = login->id,
	    .login = login->login,
	    .address = slice_make(address, local.len + 1 + domain.len),
	};
	return resolve_push(r, &target);
}

static enum status
resolve_alias_targets(
    struct resolve *r, const struct slice *targets, size_t count, unsigned depth)
{
	for (size_t i = 0; i < count && !r->too_much; i++) {
		struct slice local;
		struct slice domain;
		struct domain_record record;
		bool found;
		if (!address_cut(targets[i], false, &local, &domain))
			return STATUS_CORRUPT;
		enum status status = domain_load(r->txn, domain, &record);
		if (status == STATUS_NOT_FOUND) {
			const struct directory_target external = {.address = targets[i]};
			status = resolve_push(r, &external);
		} else if (status == STATUS_OK) {
			status = resolve_address(r, local, domain, depth + 1, &found);
		}
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static enum status
resolve_alias(struct resolve *r, struct slice local, struct slice domain, unsigned depth,
    bool *out_found)
{
	struct key key;
	struct slice value;
	size_t count;
	*out_found = false;
	if (!key_address(&key, KEY_ALIAS, local, domain))
		return STATUS_OK;
	enum status status = engine_get(r->txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	*out_found = true;
	if (!r->seen)
		r->seen = hashmap_new();
	if (!resolve_note(r, 'a', key_slice(&key))) {
		r->loop = true;
		return STATUS_OK;
	}
	if (depth >= DIRECTORY_ALIAS_DEPTH_MAX) {
		r->too_much = true;
		return STATUS_OK;
	}
	struct slice *targets = xcalloc(DIRECTORY_ALIAS_TARGETS_MAX, sizeof(*targets));
	status = alias_decode(value, targets, &count)
	             ? resolve_alias_targets(r, targets, count, depth)
	             : STATUS_CORRUPT;
	free(targets);
	return status;
}

/* The account itself, what it forwards to, or both. */
static enum status
resolve_account(struct resolve *r, const struct login_record *login, struct slice given,
    struct slice domain, unsigned depth)
{
	struct forward_record forward = {.count = 0};
	if (!r->forwards)
		return resolve_push_local(r, login, given, domain);
	enum status status = forward_load(r->txn, login->id, &forward);
	if (status != STATUS_OK)
		return status;
	if (forward.count == 0)
		return resolve_push_local(r, login, given, domain);
	if (!r->seen)
		r->seen = hashmap_new();
	struct slice id = slice_make((const char *)login->id.v, sizeof(login->id.v));
	bool again = !resolve_note(r, 'f', id);
	if (again || (forward.flags & FORWARD_FLAG_KEEP))
		status = resolve_push_local(r, login, given, domain);
	if (again || status != STATUS_OK)
		return status;
	if (depth >= DIRECTORY_ALIAS_DEPTH_MAX) {
		r->too_much = true;
		return STATUS_OK;
	}
	return resolve_alias_targets(r, forward.to, forward.count, depth);
}

/* Account or alias of exactly this name; `given` is what the address said. */
static enum status
resolve_name(struct resolve *r, struct slice name, struct slice given,
    struct slice domain, unsigned depth, bool *out_found)
{
	struct login_record login;
	enum status status = login_load(r->txn, name, domain, &login);
	if (status == STATUS_OK) {
		*out_found = true;
		return resolve_account(r, &login, given, domain, depth);
	}
	if (status != STATUS_NOT_FOUND)
		return status;
	return resolve_alias(r, name, domain, depth, out_found);
}

/* postmaster and abuse of a domain where nobody has that name (RFC 5321 section 4.5.1,
 * RFC 2142). */
static enum status
resolve_role(struct resolve *r, struct slice local, struct slice domain, unsigned depth,
    bool *out_found)
{
	struct domain_record record;
	struct login_record login;
	struct slice value;
	struct key key;
	*out_found = false;
	if (!slice_equal_nocase(local, SLICE("postmaster")) &&
	    !slice_equal_nocase(local, SLICE("abuse")))
		return STATUS_OK;
	enum status status = domain_load(r->txn, domain, &record);
	if (status != STATUS_OK || record.accounts == 0)
		return status;
	status = login_key_by_id(r->txn, record.postmaster, &key);
	if (status == STATUS_OK)
		status = engine_get(r->txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	if (!login_decode(value, &login))
		return STATUS_CORRUPT;
	*out_found = true;
	return resolve_account(r, &login, local, domain, depth);
}

static bool
is_delimiter(struct slice delimiters, char c)
{
	return slice_index(delimiters, c) != SIZE_MAX;
}

/* The domain is ours. */
static enum status
resolve_address(struct resolve *r, struct slice local, struct slice domain,
    unsigned depth, bool *out_found)
{
	*out_found = false;
	if (local.len == 0 || local.len > DIRECTORY_LOCAL_MAX)
		return STATUS_OK;
	enum status status = resolve_name(r, local, local, domain, depth, out_found);
	/* The longest name first: "jo-ann-lists" may be jo-ann's. */
	unsigned cuts = 0;
	for (size_t at = local.len - 1;
	     at > 0 && status == STATUS_OK && !*out_found && cuts < RESOLVE_TAG_CUTS_MAX;
	     at--) {
		if (!is_delimiter(r->delimiters, local.ptr[at]))
			continue;
		cuts++;
		status = resolve_name(
		    r, slice_sub(local, 0, at), local, domain, depth, out_found);
	}
	if (status == STATUS_OK && !*out_found)
		status = resolve_role(r, local, domain, depth, out_found);
	if (status == STATUS_OK && !*out_found)
		status = resolve_alias(r, SLICE_NULL, domain, depth, out_found);
	return status;
}

static enum status
resolve_quota(struct resolve *r)
{
	struct directory_target *targets = r->targets.ptr;
	for (size_t i = 0; i < r->targets.count; i++) {
		struct engine_txn *txn;
		struct account_state account;
		if (!targets[i].local)
			continue;
		enum status status =
		    account_snap(r->reader, targets[i].account, &txn, &account);
		if (status == STATUS_OK)
			targets[i].over_quota = quota_is_passed(&account, 1, 1);
		/* Damage there is that recipient's trouble at delivery. */
		else if (status != STATUS_NOT_FOUND && status != STATUS_CORRUPT)
			return status;
	}
	return STATUS_OK;
}

static enum status
resolve_run(struct resolve *r, struct slice local, struct slice domain,
    enum directory_answer *out_answer)
{
	struct domain_record record;
	bool only;
	bool found;
	enum status status = directory_snap(r->reader, &r->txn);
	*out_answer = DIRECTORY_UNKNOWN_USER;
	if (status == STATUS_OK && domain.len == 0) {
		/* <postmaster> without a domain: RFC 5321 section 4.5.1. */
		status = first_domain(r->txn, &domain, &only);
		if (status == STATUS_NOT_FOUND)
			return STATUS_OK;
	}
	if (status == STATUS_OK)
		status = domain_load(r->txn, domain, &record);
	if (status == STATUS_NOT_FOUND) {
		*out_answer = DIRECTORY_NOT_LOCAL;
		return STATUS_OK;
	}
	if (status == STATUS_OK)
		status = resolve_address(r, local, domain, 0, &found);
	if (status == STATUS_OK)
		status = resolve_quota(r);
	if (status != STATUS_OK)
		return status;
	if (r->too_much || (r->loop && r->targets.count == 0))
		*out_answer = DIRECTORY_LOOP;
	else if (r->targets.count)
		*out_answer = DIRECTORY_TARGETS;
	return STATUS_OK;
}

/* Frees what the resolution holds. */
static enum status
resolve_finish(struct resolve *r, struct slice local, struct slice domain,
    enum directory_answer *out_answer, struct directory_target **out_targets,
    size_t *out_count)
{
	struct directory_target *targets = NULL;
	enum directory_answer answer;
	enum status status = resolve_run(r, local, domain, &answer);
	size_t count = 0;
	if (status == STATUS_OK && answer == DIRECTORY_TARGETS) {
		count = r->targets.count;
		targets = ARENA_ARRAY(r->arena, struct directory_target, count);
		if (targets)
			memcpy(targets, r->targets.ptr, count * sizeof(*targets));
		else
			status = STATUS_LIMIT;
	}
	vec_fini(&r->targets);
	hashmap_free(&r->seen, NULL);
	if (status != STATUS_OK)
		return status;
	*out_answer = answer;
	*out_targets = targets;
	*out_count = count;
	return STATUS_OK;
}

enum status
directory_resolve(struct store_reader *reader, struct slice local, struct slice domain,
    struct slice delimiters, struct arena *arena, enum directory_answer *out_answer,
    struct directory_target **out_targets, size_t *out_count)
{
	struct resolve r = {
	    .reader = reader,
	    .arena = arena,
	    .delimiters = delimiters,
	    .forwards = true,
	};
	return resolve_finish(&r, local, domain, out_answer, out_targets, out_count);
}

enum status
directory_resolve_kept(struct store_reader *reader, struct slice local,
    struct slice domain, struct slice delimiters, struct arena *arena,
    enum directory_answer *out_answer, struct directory_target **out_targets,
    size_t *out_count)
{
	struct resolve r = {.reader = reader, .arena = arena, .delimiters = delimiters};
	return resolve_finish(&r, local, domain, out_answer, out_targets, out_count);
}

enum status
directory_owns(struct store_reader *reader, struct account_id account, struct slice local,
    struct slice domain, struct slice delimiters, bool *out_owns)
{
	enum { OWNS_ARENA_MAX = 4 * 1024 * 1024 };
	struct arena *arena = arena_new(OWNS_ARENA_MAX);
	enum directory_answer answer;
	struct directory_target *targets;
	size_t count;
	bool owns = false;
	enum status status = STATUS_OK;
	/* Who forwards keeps the address, and who is forwarded to does not get it. */
	struct resolve r = {.reader = reader, .arena = arena, .delimiters = delimiters};
	if (domain.len)
		status = resolve_finish(&r, local, domain, &answer, &targets, &count);
	else
		count = 0;
	for (size_t i = 0; status == STATUS_OK && i < count && !owns; i++)
		owns = targets[i].local &&
		       memcmp(&targets[i].account, &account, sizeof(account)) == 0;
	arena_free(&arena);
	if (status == STATUS_OK && !owns && domain.len)
		status = directory_send_as_covers(
		    reader, account, local, domain, delimiters, &owns);
	if (status == STATUS_OK)
		*out_owns = owns;
	return status;
}
