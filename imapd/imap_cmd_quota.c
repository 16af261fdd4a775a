/*
 * GETQUOTA, GETQUOTAROOT, SETQUOTA.  One quota root holds a whole account: "user" is the
 * session's own, "user/<login>" another account's.
 *
 * Quotas are the operator's (`postroom account set`).  Accounts in imap.quota_admins may
 * set them by SETQUOTA: their own, and those of accounts in which they have the right a
 * in some mailbox (decision 0136); to them QUOTASET is announced.  To everybody else no
 * root but their own is there, and SETQUOTA is refused.
 *
 * Thread: the worker's loop; what SETQUOTA writes is committed on the pool.
 * RFC 9208 (RFC 2087).
 */
#include "base/log.h"
#include "imapd/imap_int.h"
#include "store/directory.h"

#define QUOTA_ROOT "user"

enum {
	QUOTA_UNIT = 1024, /* octets of one STORAGE unit, RFC 9208 section 5.1 */
};
#define QUOTA_STORAGE_MAX ((uint64_t)INT64_MAX / QUOTA_UNIT) /* units of one limit */

struct quota_root {
	struct slice name; /* as the client knows it */
	struct account_id account;
	struct slice login;
};

/* ---- who and whose ---- */

bool
imap_quota_may_set(const struct imap_session *s)
{
	struct slice admins = slice_from_cstr(imap_conf(s)->imap.quota_admins);

	while (s->login && admins.len > 0) {
		struct slice login = slice_trim(slice_split(&admins, ','));
		if (slice_equal_nocase(login, slice_from_cstr(s->login)))
			return true;
	}
	return false;
}

static void
root_own(const struct imap_session *s, struct quota_root *out)
{
	*out =
	    (struct quota_root){SLICE(QUOTA_ROOT), s->account, slice_from_cstr(s->login)};
}

/* NOT_FOUND also for accounts that are there: who may not set it need not know. */
static enum status
root_of_account(struct imap_session *s, struct slice login, struct quota_root *out)
{
	bool has = false;

	if (!imap_quota_may_set(s))
		return STATUS_NOT_FOUND;
	enum status status = imap_box_account(s, login, &out->account, &out->login);
	if (status != STATUS_OK)
		return status == STATUS_INVALID ? STATUS_NOT_FOUND : status;
	if (imap_same_account(out->account, s->account))
		return STATUS_NOT_FOUND; /* its name is QUOTA_ROOT */
	status = imap_box_has_right(s, out->account, out->login, ACL_ADMIN, &has);
	if (status != STATUS_OK || !has)
		return status == STATUS_OK ? STATUS_NOT_FOUND : status;
	out->name =
	    arena_format(imap_arena(s), QUOTA_ROOT "/%.*s", SLICE_ARG(out->login));
	return out->name.ptr ? STATUS_OK : STATUS_LIMIT;
}

static enum status
root_find(struct imap_session *s, struct slice name, struct quota_root *out)
{
	root_own(s, out);
	if (slice_equal(name, SLICE(QUOTA_ROOT)))
		return STATUS_OK;
	if (!slice_has_prefix(name, SLICE(QUOTA_ROOT "/")))
		return STATUS_NOT_FOUND;
	return root_of_account(s, slice_from(name, sizeof(QUOTA_ROOT)), out);
}

static enum cmd_result
root_failed(struct imap_session *s, struct imap_command *cmd, enum status status)
{
	if (status == STATUS_NOT_FOUND)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "NONEXISTENT", "no such quota root");
	return imap_cmd_fail(s, cmd, status);
}

/* ---- QUOTA responses ---- */

/* quota-resource = resource-name SP resource-usage SP resource-limit (section 7). */
static void
write_resource(struct buf *out, struct slice name, uint64_t used, uint64_t limit)
{
	buf_append(out, name);
	buf_append_byte(out, ' ');
	buf_append_u64(out, used);
	buf_append_byte(out, ' ');
	buf_append_u64(out, limit);
}

/* A resource without a limit is left out (section 4.2.1); messages are section 5.2's.
 * The number of mailboxes is always limited, by the store (RFC 9208 section 5.3). */
static enum status
write_quota(struct imap_session *s, const struct quota_root *root)
{
	struct account_usage usage;
	struct buf *out = imap_out(s);
	enum status status = account_usage_get(imap_reader(s), root->account, &usage);

	if (status != STATUS_OK)
		return status;
	buf_append(out, SLICE("* QUOTA "));
	imap_resp_astring(out, root->name, imap_is_utf8(s));
	buf_append(out, SLICE(" ("));
	if (usage.quota.bytes > 0) {
		write_resource(out, SLICE("STORAGE"),
		    (usage.bytes + QUOTA_UNIT - 1) / QUOTA_UNIT,
		    usage.quota.bytes / QUOTA_UNIT);
		buf_append_byte(out, ' ');
	}
	if (usage.quota.messages > 0) {
		write_resource(
		    out, SLICE("MESSAGE"), usage.messages, usage.quota.messages);
		buf_append_byte(out, ' ');
	}
	write_resource(out, SLICE("MAILBOX"), usage.mailboxes, MAILBOX_COUNT_MAX);
	buf_append(out, SLICE(")\r\n"));
	return STATUS_OK;
}

enum cmd_result
imap_run_getquota(struct imap_session *s, struct imap_command *cmd)
{
	struct quota_root root;
	enum status status = root_find(s, cmd->u.mailbox, &root);

	if (status == STATUS_OK)
		status = write_quota(s, &root);
	if (status != STATUS_OK)
		return root_failed(s, cmd, status);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "GETQUOTA completed");
}

/* The root of somebody else's mailbox is told to whom it may set; what they have left is
 * theirs to know. */
static enum status
root_of_mailbox(struct imap_session *s, struct slice path, struct quota_root *out)
{
	struct imap_box place;

	root_own(s, out);
	if (!imap_box_is_foreign(s, path))
		return STATUS_OK;
	enum status status = imap_box_place(s, path, &place);
	if (status != STATUS_OK || imap_box_is_own(&place))
		return status;
	return root_of_account(s, place.owner, out);
}

enum cmd_result
imap_run_getquotaroot(struct imap_session *s, struct imap_command *cmd)
{
	struct slice name;
	const char *text;
	struct quota_root root;
	struct buf *out = imap_out(s);

	/* The mailbox need not be there (RFC 9208 section 4.1.2). */
	if (!imap_mailbox_decode(s, cmd->u.mailbox, &name, &text))
		return imap_name_refused(s, cmd, text);
	enum status status = root_of_mailbox(s, name, &root);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return imap_cmd_fail(s, cmd, status);
	buf_append(out, SLICE("* QUOTAROOT "));
	imap_resp_mailbox(out, name, imap_is_utf8(s));
	if (status == STATUS_OK) {
		buf_append_byte(out, ' ');
		imap_resp_astring(out, root.name, imap_is_utf8(s));
	}
	buf_append(out, SLICE("\r\n"));
	if (status == STATUS_OK)
		status = write_quota(s, &root);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return imap_cmd_fail(s, cmd, status);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "GETQUOTAROOT completed");
}

/* ---- SETQUOTA ---- */

struct quota_set {
	struct quota_root root;
	struct directory_account_change change;
	enum status status;
};

/* On the pool: the commits are waited for. */
static void
set_work(void *session)
{
	struct imap_session *s = session;
	struct quota_set *set = s->cmd_data;
	struct store_reader *reader =
	    store_reader_new(store_reader_store(imap_reader(s)), NULL, NULL);

	set->status = directory_account_set(reader, set->root.login, &set->change);
	store_reader_free(&reader);
}

static enum cmd_result
set_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct quota_set *set = s->cmd_data;
	enum status status = set->status;

	LOG_INFO("imap.setquota", LF_STR("sid", s->id), LF_STR("user", s->login),
	    LF("account", set->root.login), LF_U64("bytes", set->change.quota_bytes),
	    LF_U64("messages", set->change.quota_messages),
	    LF_STR("status", status_text(status)));
	if (status == STATUS_OK)
		status = write_quota(s, &set->root);
	if (status != STATUS_OK)
		return root_failed(s, cmd, status);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "SETQUOTA completed");
}

/* Why these limits cannot be set, or null.  The store keeps 0 for "no limit", which
 * SETQUOTA says by leaving the resource out (section 4.1.3). */
static const char *
limits_fault(const struct imap_quota_args *args)
{
	if (args->unknown)
		return "only STORAGE and MESSAGE can be limited";
	if ((args->has_storage && args->storage == 0) ||
	    (args->has_message && args->message == 0))
		return "a limit of 0 cannot be set";
	if (args->storage > QUOTA_STORAGE_MAX ||
	    args->message > DIRECTORY_QUOTA_MESSAGES_MAX)
		return "this limit is too high, leave it out for none";
	if (args->has_mailbox && args->mailbox != MAILBOX_COUNT_MAX)
		return "the limit of mailboxes is the server's";
	return NULL;
}

enum cmd_result
imap_run_setquota(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_quota_args *args = &cmd->u.quota;
	struct quota_root root;
	const char *fault = limits_fault(args);

	if (!imap_quota_may_set(s))
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "NOPERM", "quotas are set by the administrator");
	enum status status = root_find(s, args->root, &root);
	if (status != STATUS_OK)
		return root_failed(s, cmd, status);
	if (fault)
		return imap_cmd_finish(s, cmd, IMAP_NO, "CANNOT", fault);
	struct quota_set *set = ARENA_NEW(s->arena, struct quota_set);
	*set = (struct quota_set){
	    .root = root,
	    .change =
		{
			 .set_quota = true,
			 .set_quota_messages = true,
			 .quota_bytes = args->storage * QUOTA_UNIT,
			 .quota_messages = args->message,
			 },
	};
	/* The session's login is not the pool's to read. */
	set->root.login = arena_copy(s->arena, root.login);
	s->cmd_data = set;
	s->resume = set_done;
	imap_pool_begin(s, set_work);
	return CMD_WAIT;
}
