/*
 * Namespaces and rights; see imap_box.h.
 *
 * A mailbox of the session's own account wins over a namespace of the same name, so that
 * a folder that somebody had called "Shared" stays reachable.  Thread: the worker's loop.
 *
 * RFC 2342 (NAMESPACE), RFC 4314 sections 4 and 6, decision 0081.
 */
#include "imapd/imap_box.h"

#include "imapd/imap_int.h"

/* ---- rights ---- */

uint8_t
imap_box_flags(uint16_t rights, bool *out_keywords)
{
	uint8_t flags = 0;

	if (rights & ACL_SEEN)
		flags |= MESSAGE_SEEN;
	if (rights & ACL_TRASH)
		flags |= MESSAGE_DELETED;
	if (rights & ACL_WRITE)
		flags |= MESSAGE_FLAGS_ALL & (uint8_t) ~(MESSAGE_SEEN | MESSAGE_DELETED);
	*out_keywords = (rights & ACL_WRITE) != 0;
	return flags;
}

static struct slice
domain_of(struct slice login)
{
	size_t at = slice_rindex(login, '@');
	return at == SIZE_MAX ? SLICE("") : slice_from(login, at + 1);
}

static bool
same_domain(const struct imap_session *s, struct slice login)
{
	return slice_equal_nocase(domain_of(login), domain_of(slice_from_cstr(s->login)));
}

static bool
may_share(const struct imap_session *s, struct slice login)
{
	switch (imap_conf(s)->imap.sharing) {
	case CONF_SHARING_NONE:
		return false;
	case CONF_SHARING_DOMAIN:
		return same_domain(s, login);
	case CONF_SHARING_ALL:
		return true;
	}
	return false;
}

static enum status
rights_of(struct imap_session *s, struct account_id account, struct slice owner,
    uint32_t number, uint16_t *out)
{
	struct acl acl;
	enum status status = acl_get(imap_reader(s), account, number, &acl);

	if (status == STATUS_OK)
		*out = acl_rights(&acl, s->account, same_domain(s, owner));
	return status;
}

enum status
imap_box_rights(
    struct imap_session *s, struct account_id account, uint32_t number, uint16_t *out)
{
	struct directory_account owner;
	enum status status = directory_account_by_id(imap_reader(s), account, &owner);

	*out = 0;
	if (status != STATUS_OK || !may_share(s, owner.login))
		return status;
	return rights_of(s, account, owner.login, number, out);
}

struct right_search {
	struct imap_session *s;
	struct slice owner;
	uint16_t any;
	bool found;
};

static bool
right_look(uint32_t mailbox, const struct acl *acl, void *arg)
{
	struct right_search *r = arg;

	(void)mailbox;
	r->found =
	    (acl_rights(acl, r->s->account, same_domain(r->s, r->owner)) & r->any) != 0;
	return !r->found;
}

enum status
imap_box_has_right(struct imap_session *s, struct account_id account, struct slice owner,
    uint16_t any, bool *out)
{
	struct right_search r = {s, owner, any, false};
	enum status status = acl_each(imap_reader(s), account, right_look, &r);

	*out = r.found;
	return status;
}

/* ---- whose ---- */

/* The domain's own mailboxes are an account's. */
static struct slice
shared_login(struct imap_session *s)
{
	return arena_format(imap_arena(s), "%s@%.*s", imap_conf(s)->imap.shared_account,
	    SLICE_ARG(domain_of(slice_from_cstr(s->login))));
}

static bool
is_shared_login(struct imap_session *s, struct slice login)
{
	const char *local = imap_conf(s)->imap.shared_account;
	return local && *local && slice_equal_nocase(login, shared_login(s));
}

enum status
imap_box_account(struct imap_session *s, struct slice login, struct account_id *out,
    struct slice *out_login)
{
	struct directory_account account;
	enum status status =
	    slice_index(login, '@') == SIZE_MAX
		? STATUS_NOT_FOUND
		: directory_account_find(imap_reader(s), login, &account);

	if (status != STATUS_OK)
		return status;
	if (memcmp(account.id.v, s->account.v, sizeof(account.id.v)) != 0 &&
	    !may_share(s, account.login))
		return STATUS_NOT_FOUND;
	*out = account.id;
	*out_login = arena_copy(imap_arena(s), account.login);
	return STATUS_OK;
}

/* "ann@example.org/a/b" at the first "/" behind the "@": a local part may have one. */
static bool
cut_owner(struct slice rest, struct slice *out_login, struct slice *out_name)
{
	size_t at = slice_index(rest, '@');
	if (at == SIZE_MAX)
		return false;
	size_t slash = slice_index(slice_from(rest, at), '/');
	if (slash == SIZE_MAX)
		return false;
	*out_login = slice_sub(rest, 0, at + slash);
	*out_name = slice_from(rest, at + slash + 1);
	return true;
}

bool
imap_box_is_foreign(struct imap_session *s, struct slice path)
{
	struct slice others = SLICE(IMAP_NS_OTHERS);
	struct slice shared = SLICE(IMAP_NS_SHARED);

	if (imap_conf(s)->imap.sharing == CONF_SHARING_NONE)
		return false;
	return slice_has_prefix(path, others) || slice_has_prefix(path, shared) ||
	       slice_equal(path, slice_sub(others, 0, others.len - 1)) ||
	       slice_equal(path, slice_sub(shared, 0, shared.len - 1));
}

enum status
imap_box_place(struct imap_session *s, struct slice path, struct imap_box *out)
{
	struct slice login, name;

	*out = (struct imap_box){
	    .account = s->account, .path = path, .name = path, .rights = ACL_ALL};
	if (!imap_box_is_foreign(s, path))
		return STATUS_OK;
	if (slice_has_prefix(path, SLICE(IMAP_NS_SHARED))) {
		login = shared_login(s);
		name = slice_from(path, sizeof(IMAP_NS_SHARED) - 1);
		if (!is_shared_login(s, login))
			return STATUS_NOT_FOUND;
	} else if (!slice_has_prefix(path, SLICE(IMAP_NS_OTHERS)) ||
		   !cut_owner(
		       slice_from(path, sizeof(IMAP_NS_OTHERS) - 1), &login, &name) ||
		   is_shared_login(s, login)) {
		return STATUS_NOT_FOUND;
	}
	out->rights = 0;
	if (mailbox_name_check(name, imap_arena(s), &out->name) != STATUS_OK)
		return STATUS_NOT_FOUND;
	enum status status = imap_box_account(s, login, &out->account, &out->owner);
	if (status == STATUS_OK &&
	    memcmp(out->account.v, s->account.v, sizeof(s->account.v)) == 0)
		return STATUS_NOT_FOUND; /* one's own mailboxes have one name each */
	return status;
}

/* ---- mailboxes ---- */

static enum status
find(struct imap_session *s, struct slice path, struct imap_box *out)
{
	/* One's own, also where its name looks like a namespace's. */
	*out = (struct imap_box){
	    .account = s->account, .path = path, .name = path, .rights = ACL_ALL};
	enum status status = mailbox_find(imap_reader(s), s->account, path, &out->info);
	if (status != STATUS_NOT_FOUND || !imap_box_is_foreign(s, path))
		return status;
	status = imap_box_place(s, path, out);
	if (status == STATUS_OK)
		status =
		    mailbox_find(imap_reader(s), out->account, out->name, &out->info);
	if (status != STATUS_OK)
		return status;
	out->info.name = path;
	out->info.subscribed = false;
	out->info.use = MAILBOX_USE_NONE; /* Sent of somebody else is no \Sent here */
	return rights_of(s, out->account, out->owner, out->info.number, &out->rights);
}

static enum status
find_with(struct imap_session *s, struct slice path, uint16_t all, uint16_t any,
    struct imap_box *out)
{
	enum status status = find(s, path, out);

	if (status == STATUS_OK && out->info.exists_not)
		status = STATUS_NOT_FOUND;
	if (status != STATUS_OK)
		return status;
	if ((out->rights & all) == all && (any == 0 || (out->rights & any)))
		return STATUS_OK;
	return out->rights & ACL_LOOKUP ? STATUS_DENIED : STATUS_NOT_FOUND;
}

enum status
imap_box_find(
    struct imap_session *s, struct slice path, uint16_t needs, struct imap_box *out)
{
	return find_with(s, path, needs, 0, out);
}

enum status
imap_box_find_any(
    struct imap_session *s, struct slice path, uint16_t any, struct imap_box *out)
{
	return find_with(s, path, 0, any, out);
}

enum status
imap_box_may_create(struct imap_session *s, const struct imap_box *place)
{
	struct slice name = place->name;
	struct mailbox_info info;
	uint16_t rights;

	if (imap_box_is_own(place))
		return STATUS_OK;
	for (size_t cut; (cut = slice_rindex(name, '/')) != SIZE_MAX;) {
		name = slice_sub(name, 0, cut);
		enum status status =
		    mailbox_find(imap_reader(s), place->account, name, &info);
		if (status == STATUS_NOT_FOUND)
			continue;
		if (status == STATUS_OK)
			status = rights_of(
			    s, place->account, place->owner, info.number, &rights);
		if (status != STATUS_OK)
			return status;
		return rights & ACL_CREATE ? STATUS_OK : STATUS_DENIED;
	}
	return STATUS_DENIED;
}

/* The client's name of a mailbox of somebody else; null when the arena is full. */
static struct slice
path_of(struct imap_session *s, struct slice owner, struct slice name)
{
	if (is_shared_login(s, owner))
		return arena_format(
		    imap_arena(s), IMAP_NS_SHARED "%.*s", SLICE_ARG(name));
	return arena_format(
	    imap_arena(s), IMAP_NS_OTHERS "%.*s/%.*s", SLICE_ARG(owner), SLICE_ARG(name));
}

enum status
imap_box_selected(struct imap_session *s, struct mailbox_info *out)
{
	struct directory_account owner;
	enum status status =
	    mailbox_by_number(imap_reader(s), s->box_account, s->mailbox, out);

	if (status != STATUS_OK || imap_same_account(s->box_account, s->account))
		return status;
	status = directory_account_by_id(imap_reader(s), s->box_account, &owner);
	if (status == STATUS_OK)
		out->name = path_of(s, owner.login, out->name);
	return status == STATUS_OK && !out->name.ptr ? STATUS_LIMIT : status;
}

/* ---- all that others share ---- */

struct each {
	struct imap_session *s;
	bool (*fn)(const struct imap_box *box, void *arg);
	void *arg;
	struct directory_account owner;
	bool go_on;
	enum status status;
};

static bool
each_list(uint32_t mailbox, const struct acl *acl, void *arg)
{
	struct each *e = arg;
	struct imap_session *s = e->s;
	struct imap_box box = {.account = e->owner.id, .owner = e->owner.login};

	box.rights = acl_rights(acl, s->account, same_domain(s, e->owner.login));
	if (!(box.rights & ACL_LOOKUP))
		return true;
	e->status = mailbox_by_number(imap_reader(s), box.account, mailbox, &box.info);
	if (e->status != STATUS_OK)
		return false;
	box.name = box.info.name;
	box.path = path_of(s, e->owner.login, box.name);
	if (!box.path.ptr) {
		e->status = STATUS_LIMIT;
		return false;
	}
	/* A longer one cannot be named by any command. */
	if (box.path.len > MAILBOX_NAME_MAX)
		return true;
	box.info.name = box.path;
	box.info.use = MAILBOX_USE_NONE;
	box.info.subscribed = false;
	box.info.has_children = false;
	e->go_on = e->fn(&box, e->arg);
	return e->go_on;
}

static bool
each_owner(struct account_id owner, void *arg)
{
	struct each *e = arg;
	struct store_reader *reader = imap_reader(e->s);

	if (memcmp(owner.v, e->s->account.v, sizeof(owner.v)) == 0)
		return true;
	enum status status = directory_account_by_id(reader, owner, &e->owner);
	if (status == STATUS_NOT_FOUND)
		return true;
	if (status == STATUS_OK && !may_share(e->s, e->owner.login))
		return true;
	if (status == STATUS_OK)
		status = acl_each(reader, owner, each_list, e);
	if (status == STATUS_NOT_FOUND)
		return true; /* just removed */
	if (status != STATUS_OK)
		e->status = status;
	return e->status == STATUS_OK && e->go_on;
}

enum status
imap_box_each_shared(
    struct imap_session *s, bool (*fn)(const struct imap_box *box, void *arg), void *arg)
{
	struct each e = {
	    .s = s, .fn = fn, .arg = arg, .go_on = true, .status = STATUS_OK};

	if (imap_conf(s)->imap.sharing == CONF_SHARING_NONE)
		return STATUS_OK;
	enum status status = acl_sharers_each(imap_reader(s), s->account,
	    domain_of(slice_from_cstr(s->login)), each_owner, &e);
	return status == STATUS_OK ? e.status : status;
}

struct owners {
	struct imap_session *s;
	bool (*fn)(struct account_id owner, void *arg);
	void *arg;
};

static bool
owner_pass(struct account_id owner, void *arg)
{
	const struct owners *o = arg;

	return imap_same_account(owner, o->s->account) || o->fn(owner, o->arg);
}

enum status
imap_box_each_owner(
    struct imap_session *s, bool (*fn)(struct account_id owner, void *arg), void *arg)
{
	struct owners o = {s, fn, arg};

	if (imap_conf(s)->imap.sharing == CONF_SHARING_NONE)
		return STATUS_OK;
	return acl_sharers_each(imap_reader(s), s->account,
	    domain_of(slice_from_cstr(s->login)), owner_pass, &o);
}
