/*
 * domain, account and alias: who is served.  Everything is live in the daemons as soon
 * as the command ends.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "postroom/cli.h"
#include "postroom/forward.h"
#include "postroom/password.h"
#include "store/mailbox.h"
#include "store/undelete.h"
#include "text/address.h"

enum { SEND_AS_ENTRY_MAX = 512 /* bytes */ };

static json_t *
json_slice(struct slice s)
{
	return json_stringn(s.ptr ? s.ptr : "", s.len);
}

static void
json_print(json_t *value)
{
	cli_json_print(value);
	json_decref(value);
}

/* "delete", "keep", "default" or the days; the next call writes over it. */
static const char *
rule_text(struct pop3_rule rule)
{
	static const char *const words[] = {"default", "delete", "keep"};
	static char days[16];
	if (rule.policy != POP3_POLICY_DAYS)
		return words[rule.policy];
	snprintf(days, sizeof(days), "%u", (unsigned)rule.days);
	return days;
}

/* --pop3; *out_set is false without it. */
static int
rule_option(struct cli *cli, bool *out_set, struct pop3_rule *out)
{
	static const char *const words[] = {"default", "delete", "keep"};
	const char *text = cli_option(cli, "--pop3");
	uint32_t days;
	*out_set = text != NULL;
	*out = (struct pop3_rule){POP3_POLICY_DEFAULT, 0};
	if (!text)
		return CLI_OK;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			out->policy = (enum pop3_policy)i;
			return CLI_OK;
		}
	}
	if (!slice_to_u32(slice_from_cstr(text), &days) || days == 0 ||
	    days > POP3_DAYS_MAX)
		return cli_fail(CLI_USAGE,
		    "--pop3 is delete, keep, default, or for how many days fetched mail "
		    "stays (1 to %d)",
		    POP3_DAYS_MAX);
	*out = (struct pop3_rule){POP3_POLICY_DAYS, (uint16_t)days};
	return CLI_OK;
}

/* ---- domains ---- */

/* The lines a domain needs so that its mail arrives and is not refused elsewhere. */
static void
dns_print(const struct cli *cli, const char *domain)
{
	const char *host = cli->conf->hostname;
	printf("; %s - zone file lines for your DNS\n", domain);
	printf("; MUST: without these, mail does not arrive or is refused\n");
	printf("%s.  300 IN MX   10 %s.\n", domain, host);
	printf("%s.  300 IN TXT  \"v=spf1 mx -all\"\n", domain);
	printf("_dmarc.%s.  300 IN TXT  \"v=DMARC1; p=quarantine\"\n", domain);
	printf("; SHOULD: clients find their settings (RFC 6186, RFC 8314)\n");
	printf("_imaps._tcp.%s.  300 IN SRV  0 1 993 %s.\n", domain, host);
	printf("_pop3s._tcp.%s.  300 IN SRV  0 1 995 %s.\n", domain, host);
	printf("_submissions._tcp.%s.  300 IN SRV  0 1 465 %s.\n", domain, host);
	printf("; and at the provider of your address: reverse name (PTR) %s\n", host);
}

static int
domain_argument(struct cli *cli, struct buf *out)
{
	buf_init(out, ADDRESS_DOMAIN_MAX);
	if (!address_domain_to_ascii(cli_argument(cli, 0), out))
		return cli_fail(CLI_DATA, "\"%s\" is no domain name", cli->arguments[0]);
	buf_append_byte(out, '\0');
	out->len--;
	return CLI_OK;
}

int
cmd_domain_add(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct buf domain AUTO_BUF;
	code = domain_argument(cli, &domain);
	if (code != CLI_OK)
		return code;
	enum status status = directory_domain_add(cli->reader, buf_slice(&domain));
	if (status != STATUS_OK)
		return cli_fail_status(status, "add domain %s", domain.ptr);
	if (!cli->quiet)
		dns_print(cli, domain.ptr);
	return CLI_OK;
}

int
cmd_domain_dns(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct buf domain AUTO_BUF;
	code = domain_argument(cli, &domain);
	if (code != CLI_OK)
		return code;
	struct directory_domain found;
	enum status status =
	    directory_domain_find(cli->reader, buf_slice(&domain), &found);
	if (status != STATUS_OK)
		return cli_fail_status(status, "find domain %s", domain.ptr);
	dns_print(cli, domain.ptr);
	return CLI_OK;
}

static bool
domain_list_one(const struct directory_domain *domain, void *arg)
{
	json_t *list = arg;
	json_t *row = json_object();
	json_object_set_new(row, "domain", json_slice(domain->name));
	json_object_set_new(row, "accounts", json_integer(domain->accounts));
	json_object_set_new(row, "aliases", json_integer(domain->aliases));
	json_object_set_new(row, "pop3", json_string(rule_text(domain->pop3)));
	json_object_set_new(row, "apop", json_boolean(domain->apop));
	json_array_append_new(list, row);
	return true;
}

/* The list as JSON, or one line a row with these keys. */
static void
list_print(const struct cli *cli, json_t *list, const char *const *keys)
{
	if (cli->json) {
		json_print(list);
		return;
	}
	size_t index;
	json_t *row;
	json_array_foreach(list, index, row)
	{
		for (const char *const *key = keys; *key; key++) {
			json_t *value = json_object_get(row, *key);
			const char *gap = key == keys ? "" : "  ";
			if (json_is_string(value))
				printf("%s%-*s", gap, key == keys ? 32 : 0,
				    json_string_value(value));
			else if (json_is_integer(value))
				printf("%s%s=%lld", gap, *key,
				    (long long)json_integer_value(value));
			else if (json_is_true(value))
				printf("%s%s", gap, *key);
		}
		putchar('\n');
	}
	json_decref(list);
}

int
cmd_domain_list(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	json_t *list = json_array();
	enum status status = directory_domain_each(cli->reader, domain_list_one, list);
	if (status != STATUS_OK)
		return cli_fail_status(status, "list the domains");
	size_t index;
	json_t *row;
	json_array_foreach(list, index, row)
	{
		const json_t *name = json_object_get(row, "domain");
		json_t *journal = journal_json(
		    cli, slice_make(json_string_value(name), json_string_length(name)));
		if (journal)
			json_object_set_new(row, "journal", journal);
	}
	static const char *const keys[] = {"domain", "accounts", "aliases", "apop", NULL};
	list_print(cli, list, keys);
	return CLI_OK;
}

/* On and off; off removes what was kept. */
static int
domain_set_apop(struct cli *cli, const struct buf *domain, bool on)
{
	uint32_t missing = 0;
	enum status status =
	    directory_domain_set_apop(cli->reader, buf_slice(domain), on);
	if (status == STATUS_OK && on)
		status = directory_apop_missing(cli->reader, buf_slice(domain), &missing);
	if (status != STATUS_OK)
		return cli_fail_status(status, "change domain %s", domain->ptr);
	if (on && !cli->quiet)
		printf(
		    "passwords that are set from now on in %s are kept as they are, for "
		    "APOP: who can read the store or a backup of it knows them\n",
		    domain->ptr);
	if (missing > 0 && !cli->quiet)
		printf("%u accounts have to set their password again (postroom account "
		       "password) before they can use APOP\n",
		    (unsigned)missing);
	return CLI_OK;
}

int
cmd_domain_set(struct cli *cli)
{
	struct pop3_rule rule;
	bool set;
	const char *apop = cli_option(cli, "--apop");
	int code = cli_need_store(cli);
	if (code == CLI_OK)
		code = rule_option(cli, &set, &rule);
	if (code != CLI_OK)
		return code;
	bool on = apop && strcmp(apop, "on") == 0;
	if (apop && !on && strcmp(apop, "off") != 0)
		return cli_fail(CLI_USAGE, "--apop is on or off");
	struct buf domain AUTO_BUF;
	code = domain_argument(cli, &domain);
	bool journal = false;
	if (code == CLI_OK)
		code = journal_option(cli, buf_slice(&domain), &journal);
	if (code != CLI_OK)
		return code;
	if (!set && !apop && !journal)
		return cli_fail(
		    CLI_USAGE, "nothing to change: give --pop3, --apop or --journal");
	enum status status = STATUS_OK;
	if (set)
		status = directory_domain_set_pop3(cli->reader, buf_slice(&domain), rule);
	if (status != STATUS_OK)
		return cli_fail_status(status, "change domain %s", domain.ptr);
	return apop ? domain_set_apop(cli, &domain, on) : CLI_OK;
}

int
cmd_domain_remove(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct buf domain AUTO_BUF;
	code = domain_argument(cli, &domain);
	if (code != CLI_OK)
		return code;
	enum status status = directory_domain_remove(cli->reader, buf_slice(&domain));
	if (status == STATUS_BUSY)
		return cli_fail(CLI_DATA,
		    "%s still has accounts or aliases: remove those first", domain.ptr);
	if (status != STATUS_OK)
		return cli_fail_status(status, "remove domain %s", domain.ptr);
	return CLI_OK;
}

/* ---- accounts ---- */

/* --quota and --quota-messages; what is not given stays. */
static int
quota_options(struct cli *cli, struct account_quota *quota)
{
	const char *size = cli_option(cli, "--quota");
	const char *messages = cli_option(cli, "--quota-messages");
	if (size && !conf_parse_size(slice_from_cstr(size), &quota->bytes))
		return cli_fail(
		    CLI_USAGE, "--quota wants a size such as 500M or 5G, or 0 for none");
	if (messages && !slice_to_u64(slice_from_cstr(messages),
			    DIRECTORY_QUOTA_MESSAGES_MAX, &quota->messages))
		return cli_fail(CLI_USAGE,
		    "--quota-messages wants a number up to %d, or 0 for none",
		    DIRECTORY_QUOTA_MESSAGES_MAX);
	return CLI_OK;
}

static int
account_change(struct cli *cli, const struct directory_account_change *change)
{
	enum status status =
	    directory_account_set(cli->reader, cli_argument(cli, 0), change);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(
		    CLI_NO_OBJECT, "there is no account %s", cli->arguments[0]);
	if (status != STATUS_OK)
		return cli_fail_status(status, "change account %s", cli->arguments[0]);
	return CLI_OK;
}

/* The password's keys, and itself where the domain has APOP on. */
static int
account_password_set(struct cli *cli, const struct buf *keys, const char *password)
{
	const struct directory_account_change change = {
	    .set_credential = true,
	    .credential = buf_slice(keys),
	    .secret = slice_from_cstr(password),
	};
	return account_change(cli, &change);
}

static int
account_make(struct cli *cli, const struct buf *keys, const char *password,
    const struct account_quota *quota)
{
	struct account_id id;
	const char *login = cli->arguments[0];
	const char *at = strrchr(login, '@');
	enum status status = directory_account_add(
	    cli->reader, slice_from_cstr(login), buf_slice(keys), quota, &id);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "this server has no domain %s: postroom domain add %s first",
		    at ? at + 1 : "?", at ? at + 1 : "DOMAIN");
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA, "\"%s\" is no address: use USER@DOMAIN", login);
	if (status != STATUS_OK)
		return cli_fail_status(status, "add account %s", login);
	struct directory_domain domain;
	status = directory_domain_find(
	    cli->reader, slice_from_cstr(at ? at + 1 : ""), &domain);
	if (status != STATUS_OK)
		return cli_fail_status(status, "find the domain of %s", login);
	bool apop = domain.apop;
	store_reader_end(cli->reader);
	return apop ? account_password_set(cli, keys, password) : CLI_OK;
}

int
cmd_account_add(struct cli *cli)
{
	struct account_quota quota;
	char *password = NULL;
	struct buf keys AUTO_BUF;
	buf_init(&keys, 1);
	int code = cli_need_store(cli);
	if (code == CLI_OK) {
		quota.bytes = cli->conf->store.quota_default;
		quota.messages = cli->conf->store.quota_messages_default;
		code = quota_options(cli, &quota);
	}
	if (code == CLI_OK)
		code = password_read(cli, cli->conf->auth.password_min, &password);
	if (code == CLI_OK)
		code = password_keys(cli, password, &keys);
	if (code == CLI_OK)
		code = account_make(cli, &keys, password, &quota);
	free(password);
	if (code == CLI_OK && !cli->quiet)
		printf("%s ready\n", cli->arguments[0]);
	return code;
}

static void
quota_json(json_t *out, const struct account_quota *quota)
{
	json_object_set_new(out, "quota", json_integer((json_int_t)quota->bytes));
	json_object_set_new(
	    out, "quota_messages", json_integer((json_int_t)quota->messages));
}

static bool
account_list_one(const struct directory_account *account, void *arg)
{
	json_t *list = arg;
	json_t *row = json_object();
	json_object_set_new(row, "login", json_slice(account->login));
	quota_json(row, &account->quota);
	json_object_set_new(row, "disabled", json_boolean(account->disabled));
	json_object_set_new(row, "pop3", json_string(rule_text(account->pop3)));
	json_array_append_new(list, row);
	return true;
}

int
cmd_account_list(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	json_t *list = json_array();
	struct slice domain = cli->argument_count > 0 ? cli_argument(cli, 0) : SLICE_NULL;
	enum status status =
	    directory_account_each(cli->reader, domain, account_list_one, list);
	if (status != STATUS_OK)
		return cli_fail_status(status, "list the accounts");
	static const char *const keys[] = {"login", "quota", "disabled", NULL};
	list_print(cli, list, keys);
	return CLI_OK;
}

static bool
mailbox_list_one(const struct mailbox_info *info, void *arg)
{
	if (info->exists_not)
		return true;
	json_t *row = json_object();
	json_object_set_new(row, "name", json_slice(info->name));
	json_object_set_new(row, "messages", json_integer(info->exists));
	json_object_set_new(row, "unseen", json_integer(info->unseen));
	json_object_set_new(row, "bytes", json_integer((json_int_t)info->bytes));
	json_array_append_new(arg, row);
	return true;
}

/* What can still come back. */
struct window {
	uint64_t messages, bytes;
};

static bool
window_add(const struct expunged_message *message, void *arg)
{
	struct window *window = arg;
	window->messages++;
	window->bytes += message->record.size;
	return true;
}

int
cmd_account_show(struct cli *cli)
{
	struct directory_account account;
	int code = cli_account(cli, &account);
	if (code != CLI_OK)
		return code;
	struct account_usage usage;
	struct window window = {0, 0};
	json_t *mailboxes = json_array();
	enum status status = account_usage_get(cli->reader, account.id, &usage);
	if (status == STATUS_OK)
		status = message_expunged_each(
		    cli->reader, account.id, 0, INT64_MAX, window_add, &window);
	if (status == STATUS_OK)
		status =
		    mailbox_each(cli->reader, account.id, mailbox_list_one, mailboxes);
	struct slice entries[DIRECTORY_SEND_AS_MAX];
	size_t entry_count = 0;
	if (status == STATUS_OK)
		status =
		    directory_send_as_get(cli->reader, account.id, entries, &entry_count);
	if (status != STATUS_OK)
		return cli_fail_status(status, "read account %s", cli->arguments[0]);
	struct slice without[DIRECTORY_IMAP_WITHOUT_MAX];
	size_t without_count = 0;
	status =
	    directory_imap_without_get(cli->reader, account.id, without, &without_count);
	if (status != STATUS_OK)
		return cli_fail_status(status, "read account %s", cli->arguments[0]);
	json_t *send_as = json_array();
	json_t *hidden = json_array();
	for (size_t i = 0; i < without_count; i++)
		json_array_append_new(hidden, json_slice(without[i]));
	for (size_t i = 0; i < entry_count; i++)
		json_array_append_new(send_as, json_slice(entries[i]));
	if (cli->json) {
		json_t *out = json_object();
		json_object_set_new(out, "login", json_slice(account.login));
		json_object_set_new(out, "disabled", json_boolean(account.disabled));
		quota_json(out, &account.quota);
		json_object_set_new(out, "bytes", json_integer((json_int_t)usage.bytes));
		json_object_set_new(
		    out, "messages", json_integer((json_int_t)usage.messages));
		json_object_set_new(
		    out, "undelete_messages", json_integer((json_int_t)window.messages));
		json_object_set_new(
		    out, "undelete_bytes", json_integer((json_int_t)window.bytes));
		json_object_set_new(out, "pop3", json_string(rule_text(account.pop3)));
		json_object_set_new(out, "send_as", send_as);
		json_object_set_new(out, "imap_without", hidden);
		json_t *forward = forward_json(cli, account.id);
		if (forward)
			json_object_set_new(out, "forward", forward);
		json_object_set_new(out, "mailboxes", mailboxes);
		json_print(out);
		return CLI_OK;
	}
	printf("login     %.*s%s\n", SLICE_ARG(account.login),
	    account.disabled ? " (disabled)" : "");
	printf("messages  %llu", (unsigned long long)usage.messages);
	if (account.quota.messages > 0)
		printf(" of %llu", (unsigned long long)account.quota.messages);
	printf(", %llu bytes", (unsigned long long)usage.bytes);
	if (account.quota.bytes > 0)
		printf(" of %llu", (unsigned long long)account.quota.bytes);
	printf("\nexpunged  %llu, %llu bytes can come back (not in the quota)",
	    (unsigned long long)window.messages, (unsigned long long)window.bytes);
	printf("\npop3      %s\n", rule_text(account.pop3));
	for (size_t i = 0; i < entry_count; i++)
		printf("send as   %.*s\n", SLICE_ARG(entries[i]));
	json_t *forward = forward_json(cli, account.id);
	size_t index;
	json_t *address;
	json_array_foreach(json_object_get(forward, "to"), index, address) printf(
	    "forward   %s%s\n", json_string_value(address),
	    json_is_true(json_object_get(forward, "keep")) ? "" : ", nothing is kept");
	json_decref(forward);
	for (size_t i = 0; i < without_count; i++)
		printf("%s%.*s", i ? "," : "without   ", SLICE_ARG(without[i]));
	printf("%s", without_count ? "\n" : "");
	json_decref(hidden);
	json_decref(send_as);
	static const char *const keys[] = {"name", "messages", "unseen", NULL};
	list_print(cli, mailboxes, keys);
	return CLI_OK;
}

int
cmd_account_password(struct cli *cli)
{
	struct directory_account account;
	int code = cli_account(cli, &account);
	if (code != CLI_OK)
		return code;
	char *password = NULL;
	struct buf keys AUTO_BUF;
	buf_init(&keys, 1);
	code = password_read(cli, cli->conf->auth.password_min, &password);
	if (code == CLI_OK)
		code = password_keys(cli, password, &keys);
	if (code == CLI_OK)
		code = account_password_set(cli, &keys, password);
	free(password);
	return code;
}

/* One entry, its domain as A-labels. */
static int
send_as_entry(struct cli *cli, struct slice entry, bool remove)
{
	struct buf text AUTO_BUF;
	buf_init(&text, SEND_AS_ENTRY_MAX);
	size_t at = slice_rindex(entry, '@');
	struct slice domain = at == SIZE_MAX ? entry : slice_from(entry, at + 1);
	if (at != SIZE_MAX && at > 0)
		buf_append(&text, slice_sub(entry, 0, at + 1));
	if (slice_equal(entry, SLICE("*")))
		buf_append_byte(&text, '*');
	else if (!address_domain_to_ascii(domain, &text))
		return cli_fail(
		    CLI_DATA, "%.*s is no address and no domain", SLICE_ARG(entry));
	struct slice login = cli_argument(cli, 0);
	enum status status =
	    !buf_ok(&text) ? STATUS_INVALID
	    : remove ? directory_send_as_remove(cli->reader, login, buf_slice(&text))
		     : directory_send_as_add(cli->reader, login, buf_slice(&text));
	if (status == STATUS_OK)
		return CLI_OK;
	if (status == STATUS_INVALID)
		return cli_fail(
		    CLI_DATA, "%.*s is no address and no domain", SLICE_ARG(entry));
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    remove ? "%s may not send as %.*s: postroom account show tells what "
			     "it may"
			   : "there is no account %s (to send as %.*s)",
		    cli->arguments[0], SLICE_ARG(entry));
	return cli_fail_status(
	    status, "let %s send as %.*s", cli->arguments[0], SLICE_ARG(entry));
}

/* --send-as and --no-send-as: may stand there more than once, each a comma list. */
static int
send_as_option(struct cli *cli, const struct cli_option *option)
{
	bool remove = strcmp(option->name, "--no-send-as") == 0;
	if (!remove && strcmp(option->name, "--send-as") != 0)
		return CLI_OK;
	struct slice rest = slice_from_cstr(option->value);
	int code = CLI_OK;
	while (code == CLI_OK && rest.len > 0)
		code = send_as_entry(cli, slice_split(&rest, ','), remove);
	return code;
}

/* --imap-without: a comma list that replaces the one before; "none" for nothing. */
static int
imap_without_option(struct cli *cli)
{
	const char *text = cli_option(cli, "--imap-without");
	struct slice names[DIRECTORY_IMAP_WITHOUT_MAX];
	size_t count = 0;
	if (!text)
		return CLI_OK;
	struct slice rest = slice_from_cstr(strcmp(text, "none") == 0 ? "" : text);
	while (rest.len > 0) {
		if (count == DIRECTORY_IMAP_WITHOUT_MAX)
			return cli_fail(CLI_USAGE, "--imap-without: more than %d names",
			    DIRECTORY_IMAP_WITHOUT_MAX);
		names[count++] = slice_split(&rest, ',');
	}
	enum status status =
	    directory_imap_without_set(cli->reader, cli_argument(cli, 0), names, count);
	if (status == STATUS_INVALID)
		return cli_fail(
		    CLI_USAGE, "--imap-without is a comma list of capabilities, or none");
	return status == STATUS_OK
	           ? CLI_OK
	           : cli_fail_status(status, "change account %s", cli->arguments[0]);
}

int
cmd_account_set(struct cli *cli)
{
	struct directory_account_change change = {0};
	struct account_quota quota = {0, 0};
	int code = cli_need_store(cli);
	if (code == CLI_OK)
		code = quota_options(cli, &quota);
	if (code == CLI_OK)
		code = rule_option(cli, &change.set_pop3, &change.pop3);
	if (code != CLI_OK)
		return code;
	change.quota_bytes = quota.bytes;
	change.quota_messages = quota.messages;
	change.set_quota = cli_option(cli, "--quota") != NULL;
	change.set_quota_messages = cli_option(cli, "--quota-messages") != NULL;
	change.disabled = cli_option(cli, "--disable") != NULL;
	change.set_disabled = change.disabled || cli_option(cli, "--enable");
	bool changes = change.set_quota || change.set_quota_messages ||
	               change.set_disabled || change.set_pop3;
	if (!changes && !cli_option(cli, "--send-as") &&
	    !cli_option(cli, "--no-send-as") && !cli_option(cli, "--imap-without") &&
	    !cli_option(cli, "--forward") && !cli_option(cli, "--keep"))
		return cli_fail(CLI_USAGE,
		    "nothing to change: give --quota, --quota-messages, --pop3, "
		    "--send-as, --no-send-as, --forward, --keep, --imap-without, "
		    "--disable or --enable");
	bool forwards;
	code = imap_without_option(cli);
	if (code == CLI_OK)
		code = forward_option(cli, &forwards);
	for (size_t i = 0; i < cli->option_count && code == CLI_OK; i++)
		code = send_as_option(cli, &cli->options[i]);
	if (code != CLI_OK || !changes)
		return code;
	return account_change(cli, &change);
}

int
cmd_account_remove(struct cli *cli)
{
	struct directory_account account;
	int code = cli_account(cli, &account);
	if (code != CLI_OK)
		return code;
	char question[512];
	snprintf(question, sizeof(question),
	    "this removes %s and all its mail for good:", cli->arguments[0]);
	if (!cli_confirm(cli, question))
		return CLI_NOT_ALLOWED;
	enum status status = directory_account_remove(cli->reader, cli_argument(cli, 0));
	if (status != STATUS_OK)
		return cli_fail_status(status, "remove account %s", cli->arguments[0]);
	return CLI_OK;
}

/* ---- aliases ---- */

int
cmd_alias_add(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	size_t count = cli->argument_count - 1;
	struct slice *to = xcalloc(count, sizeof(*to));
	for (size_t i = 0; i < count; i++)
		to[i] = cli_argument(cli, i + 1);
	enum status status =
	    directory_alias_add(cli->reader, cli_argument(cli, 0), to, count);
	free(to);
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA,
		    "alias and targets are addresses, USER@DOMAIN (or @DOMAIN first)");
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "the alias's domain is not served here: postroom domain add first");
	if (status != STATUS_OK)
		return cli_fail_status(status, "add alias %s", cli->arguments[0]);
	return CLI_OK;
}

static bool
alias_list_one(struct slice from, const struct slice *to, size_t count, void *arg)
{
	json_t *row = json_object();
	json_t *targets = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(targets, json_slice(to[i]));
	json_object_set_new(row, "from", json_slice(from));
	json_object_set_new(row, "to", targets);
	json_array_append_new(arg, row);
	return true;
}

int
cmd_alias_list(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	json_t *list = json_array();
	enum status status = directory_alias_each(cli->reader, alias_list_one, list);
	if (status != STATUS_OK)
		return cli_fail_status(status, "list the aliases");
	if (cli->json) {
		json_print(list);
		return CLI_OK;
	}
	size_t index;
	json_t *row;
	json_array_foreach(list, index, row)
	{
		printf("%-32s", json_string_value(json_object_get(row, "from")));
		size_t t;
		json_t *target;
		json_array_foreach(json_object_get(row, "to"), t, target)
		    printf(" %s", json_string_value(target));
		putchar('\n');
	}
	json_decref(list);
	return CLI_OK;
}

int
cmd_alias_remove(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	enum status status = directory_alias_remove(cli->reader, cli_argument(cli, 0));
	if (status != STATUS_OK)
		return cli_fail_status(status, "remove alias %s", cli->arguments[0]);
	return CLI_OK;
}
