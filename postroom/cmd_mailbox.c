/*
 * mailbox create, mailbox acl: an account's mailboxes for the operator, and who else may
 * do what in them (RFC 4314).  Both are live at once.
 */
#include <jansson.h>

#include "postroom/cli.h"
#include "store/acl.h"
#include "store/mailbox.h"

enum { NAME_ARENA_MAX = 64 * 1024 /* bytes */ };

/* The second argument as a name of the store. */
static int
name_read(struct cli *cli, struct arena *arena, struct slice *out)
{
	if (mailbox_name_check(cli_argument(cli, 1), arena, out) == STATUS_OK)
		return CLI_OK;
	return cli_fail(
	    CLI_DATA, "%s cannot be the name of a mailbox", cli->arguments[1]);
}

int
cmd_mailbox_create(struct cli *cli)
{
	struct directory_account account;
	struct arena *arena = arena_new(NAME_ARENA_MAX);
	struct mailbox_op op = {.op = {.arena = arena}, .change = MAILBOX_CREATE};
	int code = cli_account(cli, &account);
	if (code == CLI_OK)
		code = name_read(cli, arena, &op.name);
	if (code != CLI_OK)
		goto out;
	op.account = account.id;
	mailbox_op_submit(cli->reader, &op);
	if (op.op.status == STATUS_EXISTS)
		code = cli_fail(
		    CLI_CANNOT_CREATE, "the mailbox %s is there", cli->arguments[1]);
	else if (op.op.status != STATUS_OK)
		code = cli_fail_status(
		    op.op.status, "make the mailbox %s", cli->arguments[1]);
out:
	arena_free(&arena);
	return code;
}

/* ---- acl ---- */

static struct slice
who_text(struct cli *cli, const struct acl_entry *entry)
{
	struct directory_account account;
	switch (entry->who) {
	case ACL_WHO_ANYONE:
		return SLICE("anyone");
	case ACL_WHO_AUTHENTICATED:
		return SLICE("authenticated");
	case ACL_WHO_ACCOUNT:
		break;
	}
	if (directory_account_by_id(cli->reader, entry->id, &account) != STATUS_OK)
		return SLICE("(removed account)");
	return account.login;
}

struct listing {
	struct cli *cli;
	struct account_id account;
	json_t *rows;
	enum status status;
};

static void
row_add(struct listing *l, struct slice mailbox, const struct acl *acl)
{
	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->at[i];
		char rights[ACL_RIGHTS_TEXT_MAX];
		struct slice who = who_text(l->cli, e);
		json_t *row = json_object();
		acl_rights_write(e->rights, rights);
		json_object_set_new(
		    row, "mailbox", json_stringn(mailbox.ptr, mailbox.len));
		json_object_set_new(row, "who", json_stringn(who.ptr, who.len));
		json_object_set_new(row, "negative", json_boolean(e->negative));
		json_object_set_new(row, "rights", json_string(rights));
		json_array_append_new(l->rows, row);
	}
}

static bool
list_one(uint32_t mailbox, const struct acl *acl, void *arg)
{
	struct listing *l = arg;
	struct mailbox_info info;
	l->status = mailbox_by_number(l->cli->reader, l->account, mailbox, &info);
	if (l->status == STATUS_OK)
		row_add(l, info.name, acl);
	return l->status == STATUS_OK;
}

/* Of one mailbox, or with a null name of all. */
static int
acl_show(struct cli *cli, struct account_id account, struct slice name)
{
	struct listing l = {.cli = cli, .account = account, .rows = json_array()};
	struct mailbox_info info;
	struct acl acl;
	enum status status;
	if (name.ptr) {
		status = mailbox_find(cli->reader, account, name, &info);
		if (status == STATUS_OK)
			status = acl_get(cli->reader, account, info.number, &acl);
		if (status == STATUS_OK)
			row_add(&l, name, &acl);
	} else {
		status = acl_each(cli->reader, account, list_one, &l);
	}
	if (status == STATUS_OK)
		status = l.status;
	if (status == STATUS_OK && cli->json) {
		json_dumpf(l.rows, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (status == STATUS_OK) {
		size_t i;
		json_t *row;
		json_array_foreach(l.rows, i, row) printf("%-30s %s%-30s %s\n",
		    json_string_value(json_object_get(row, "mailbox")),
		    json_is_true(json_object_get(row, "negative")) ? "-" : "",
		    json_string_value(json_object_get(row, "who")),
		    json_string_value(json_object_get(row, "rights")));
		if (json_array_size(l.rows) == 0 && !cli->quiet)
			puts("shared with nobody");
	}
	json_decref(l.rows);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(
		    CLI_NO_OBJECT, "there is no mailbox %s", cli->arguments[1]);
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "read the lists");
}

static int
acl_set(struct cli *cli, const struct directory_account *owner, struct slice name)
{
	struct mailbox_info info;
	struct slice login;
	struct slice domain =
	    slice_from(owner->login, slice_rindex(owner->login, '@') + 1);
	struct acl_op op = {.account = owner->id, .domain = domain};
	acl_who_read(cli_argument(cli, 2), &op.entry, &login);
	if (!acl_change_read(cli_argument(cli, 3), &op.mode, &op.entry.rights))
		return cli_fail(CLI_USAGE,
		    "the rights are of lrswipkxtea, c and d, with + or - before them");
	if (op.entry.who == ACL_WHO_ACCOUNT) {
		struct directory_account who;
		enum status found = directory_account_find(cli->reader, login, &who);
		if (found == STATUS_NOT_FOUND)
			return cli_fail(CLI_NO_OBJECT,
			    "there is no account %.*s: postroom account list shows all",
			    SLICE_ARG(login));
		if (found != STATUS_OK)
			return cli_fail_status(
			    found, "find account %.*s", SLICE_ARG(login));
		if (memcmp(who.id.v, owner->id.v, sizeof(who.id.v)) == 0)
			return cli_fail(
			    CLI_NOT_ALLOWED, "the owner has all rights, always");
		op.entry.id = who.id;
	}
	enum status status = mailbox_find(cli->reader, owner->id, name, &info);
	if (status == STATUS_OK) {
		op.mailbox = info.number;
		acl_op_submit(cli->reader, &op);
		status = op.op.status;
	}
	if (status == STATUS_NOT_FOUND)
		return cli_fail(
		    CLI_NO_OBJECT, "there is no mailbox %s", cli->arguments[1]);
	if (status == STATUS_LIMIT)
		return cli_fail(
		    CLI_NOT_ALLOWED, "a list has at most %d entries", ACL_ENTRIES_MAX);
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "change the list");
}

int
cmd_mailbox_acl(struct cli *cli)
{
	struct directory_account account;
	struct arena *arena = arena_new(NAME_ARENA_MAX);
	struct slice name = SLICE_NULL;
	int code = CLI_OK;
	if (cli->argument_count == 3)
		code = cli_fail(
		    CLI_USAGE, "which rights? write them behind %s", cli->arguments[2]);
	if (code == CLI_OK)
		code = cli_account(cli, &account);
	if (code == CLI_OK && cli->argument_count > 1)
		code = name_read(cli, arena, &name);
	if (code == CLI_OK)
		code = cli->argument_count == 4 ? acl_set(cli, &account, name)
		                                : acl_show(cli, account.id, name);
	arena_free(&arena);
	return code;
}
