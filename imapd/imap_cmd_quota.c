/*
 * GETQUOTA, GETQUOTAROOT, SETQUOTA.  One quota root holds the whole account; its limit is
 * set by the operator (`postroom account set`), so SETQUOTA is always refused and
 * QUOTASET not announced (decision 0075).
 *
 * Thread: the worker's loop.  RFC 9208 (RFC 2087).
 */
#include "imapd/imap_int.h"

#define QUOTA_ROOT "user"

enum { QUOTA_UNIT = 1024 }; /* octets of one STORAGE unit, RFC 9208 section 5.1 */

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
write_quota(struct imap_session *s)
{
	struct account_usage usage;
	struct buf *out = imap_out(s);
	enum status status = account_usage_get(imap_reader(s), s->account, &usage);

	if (status != STATUS_OK)
		return status;
	buf_append(out, SLICE("* QUOTA " QUOTA_ROOT " ("));
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
	if (!slice_equal(cmd->u.mailbox, SLICE(QUOTA_ROOT)))
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "NONEXISTENT", "no such quota root");
	enum status status = write_quota(s);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "GETQUOTA completed");
}

enum cmd_result
imap_run_getquotaroot(struct imap_session *s, struct imap_command *cmd)
{
	struct slice name;
	const char *text;
	struct buf *out = imap_out(s);

	/* The mailbox need not be there (RFC 9208 section 4.1.2). */
	if (!imap_mailbox_decode(s, cmd->u.mailbox, &name, &text))
		return imap_name_refused(s, cmd, text);
	buf_append(out, SLICE("* QUOTAROOT "));
	imap_resp_mailbox(out, name, imap_is_utf8(s));
	/* What somebody else has left is theirs to know. */
	if (imap_box_is_foreign(s, name)) {
		buf_append(out, SLICE("\r\n"));
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "GETQUOTAROOT completed");
	}
	buf_append(out, SLICE(" " QUOTA_ROOT "\r\n"));
	enum status status = write_quota(s);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "GETQUOTAROOT completed");
}

enum cmd_result
imap_run_setquota(struct imap_session *s, struct imap_command *cmd)
{
	return imap_cmd_finish(
	    s, cmd, IMAP_NO, "NOPERM", "quotas are set by the administrator");
}
