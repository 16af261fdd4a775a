/*
 * The verb table: what help, usage errors and the dispatcher know of every command.
 */
#include "postroom/cli.h"
#include "postroom/queue_select.h"

/* clang-format off */
static const struct cli_verb verbs[] = {
	{"init", NULL, 0, 0, "--hostname= --domain= --port-base= --public", cmd_init,
	 "init [--hostname H] [--domain D] [--port-base N] [--public]",
	 "make an instance: configuration, certificate, empty store"},
	{"start", NULL, 0, 0, "--detach", cmd_start, "start [--detach]",
	 "run the daemons under the supervisor"},
	{"stop", NULL, 0, 0, "", cmd_stop, "stop", "end the daemons"},
	{"restart", NULL, 0, 0, "", cmd_restart, "restart", "end the daemons and start them again"},
	{"reload", NULL, 0, 0, "", cmd_reload, "reload", "read the configuration again; returns when the daemons serve with it, or says which does not"},
	{"status", NULL, 0, 0, "", cmd_status, "status [--json]", "daemons, listeners, queue"},
	{"check", NULL, 0, 0, "--bodies --config-only --migrate --dry-run", cmd_check, "check [--config-only] [--bodies] [--migrate [--dry-run]] [--json]",
	 "verify the configuration and every invariant of the store; --migrate brings an older store to today's format"},
	{"verify", NULL, 0, 0, "--look-only", cmd_verify, "verify [--look-only] [--json]",
	 "read every message and compare checksums; heal and quarantine"},
	{"backup", NULL, 1, 1, "", cmd_backup, "backup DIR [--json]",
	 "copy the store as it is now, while it serves, and the configuration with certificates and keys; again into the same DIR: only what is new"},
	{"restore", NULL, 1, 1, "--into= --account= --config --dry-run", cmd_restore,
	 "restore DIR [--config] [--into ROOT | --account USER@DOMAIN [--dry-run]] [--json]",
	 "make the store of a backup (of a stopped instance, or below another root), with --config also the configuration, certificates and keys; or bring back one account's mail while it serves"},
	{"import", NULL, 2, 2, "--format= --mailbox= --mbox= --uidl= --dry-run", cmd_import,
	 "import USER@DOMAIN --format maildir++|mbox PATH [--mailbox NAME] [--mbox auto|rd|o|cl|cl2] [--uidl FORMAT] [--dry-run] [--json]",
	 "bring mail of another server in, with its UIDs, flags and dates; run again, it goes on"},
	{"export", NULL, 2, 2, "--format= --dry-run", cmd_export,
	 "export USER@DOMAIN --format maildir++|mbox PATH [--dry-run] [--json]",
	 "write an account's mail with UIDs, flags and dates, and read it back to compare"},
	{"compact", NULL, 0, 0, "", cmd_compact, "compact [--json]", "give the space of deleted mail back to the disk"},
	{"reindex", NULL, 0, 1, "", cmd_reindex, "reindex [USER@DOMAIN] [--json]",
	 "make the search index anew, of one account or of all"},
	{"domain", "add", 1, 1, "", cmd_domain_add, "domain add DOMAIN", "serve mail of a domain; prints its DNS lines"},
	{"domain", "list", 0, 0, "", cmd_domain_list, "domain list [--json]", "the domains"},
	{"domain", "dns", 1, 1, "", cmd_domain_dns, "domain dns DOMAIN", "the DNS lines of a domain again"},
	{"domain", "set", 1, 1, "--pop3= --apop= --journal= --journal-of=", cmd_domain_set, "domain set DOMAIN [--pop3 delete|keep|DAYS|default] [--apop on|off] [--journal ADDR|none [--journal-of in|out|both]]",
	 "what becomes of mail that was fetched by POP3; whether POP3's APOP log-in is offered, for which passwords set from then on are kept in the store as they are: who can read the store or a backup of it knows them (off removes them); where a copy of its mail goes (in: what comes for it, out: what its people send)"},
	{"domain", "remove", 1, 1, "", cmd_domain_remove, "domain remove DOMAIN", "no longer serve a domain (it must be empty)"},
	{"account", "add", 1, 1, "--password-stdin --quota= --quota-messages=", cmd_account_add,
	 "account add USER@DOMAIN [--password-stdin] [--quota SIZE] [--quota-messages N]", "a login with its mailboxes"},
	{"account", "list", 0, 1, "", cmd_account_list, "account list [DOMAIN] [--json]", "the accounts"},
	{"account", "show", 1, 1, "", cmd_account_show, "account show USER@DOMAIN [--json]", "one account with its use of space"},
	{"account", "password", 1, 1, "--password-stdin", cmd_account_password,
	 "account password USER@DOMAIN [--password-stdin]", "set a new password (where the domain has APOP on it is also kept as it is)"},
	{"account", "set", 1, 1, "--quota= --quota-messages= --pop3= --send-as= --no-send-as= --forward= --keep= --imap-without= --disable --enable", cmd_account_set,
	 "account set USER@DOMAIN [--quota SIZE] [--quota-messages N] [--pop3 delete|keep|DAYS|default] [--send-as ADDR|DOMAIN|'*'] [--no-send-as ADDR|DOMAIN|'*'] [--imap-without CAP,…|none] [--forward ADDR,…|none] [--keep yes|no] [--disable|--enable]",
	 "change an account; --forward: its mail goes there too, or instead with --keep no"},
	{"account", "undelete", 1, 1, "--since= --until= --match= --mailbox= --dry-run", cmd_account_undelete,
	 "account undelete USER@DOMAIN [--since T] [--until T] [--match TEXT] [--mailbox NAME] [--dry-run] [--json]",
	 "bring back expunged and POP3-removed mail; T is a duration (2h, 3d) or a date"},
	{"account", "remove", 1, 1, "", cmd_account_remove, "account remove USER@DOMAIN", "remove a login and all its mail"},
	{"mailbox", "create", 2, 2, "", cmd_mailbox_create, "mailbox create USER@DOMAIN NAME",
	 "make a mailbox (of the domain's shared account: one that is seen as Shared/NAME)"},
	{"mailbox", "acl", 1, 4, "", cmd_mailbox_acl, "mailbox acl USER@DOMAIN [NAME [WHO RIGHTS]] [--json]",
	 "who else may do what in an account's mailboxes; with WHO (a login, anyone, or either with '-' before it for rights that are taken away) and RIGHTS (of lrswipkxtea; +RIGHTS, -RIGHTS or '' for none) change it; words that begin with '-' stand behind --"},
	{"alias", "add", 2, CLI_ARGUMENTS_MAX, "", cmd_alias_add, "alias add FROM TO...",
	 "mail for FROM (an address, or @DOMAIN for all the rest) goes to TO"},
	{"alias", "list", 0, 0, "", cmd_alias_list, "alias list [--json]", "the aliases"},
	{"alias", "remove", 1, 1, "", cmd_alias_remove, "alias remove FROM", "remove an alias"},
	{"relay", "add", 0, 0, "--from= --to= --host= --protocol= --port= --tls= --user= --password-stdin --source= --ehlo=", cmd_relay_add,
	 "relay add [--from ADDR|DOMAIN] [--to DOMAIN|'*'] [--host H|SOCKET [--protocol smtp|lmtp] [--port P] [--tls none|opportunistic|required] [--user U --password-stdin]] [--source IP|POOL] [--ehlo NAME]",
	 "send outbound mail by another server, or (without --host) by MX, from an address or pool of its own"},
	{"relay", "list", 0, 0, "", cmd_relay_list, "relay list [--json]", "the relay rules"},
	{"relay", "remove", 1, 1, "", cmd_relay_remove, "relay remove ID", "remove a relay rule"},
	{"relay", "rules", 0, 0, "", cmd_relay_rules, "relay rules",
	 "what refusals of other servers mean: the table in force, in the form of relay.reply_rules"},
	{"relay", "tls", 0, 2, "--for= --report", cmd_relay_tls,
	 "relay tls [DOMAIN [none|opportunistic|encrypt|verify|default] [--for DURATION]] [--report] [--json]",
	 "the TLS level of mail to a domain, instead of what DANE and MTA-STS say; default: theirs again; --report: what TLS reports would tell the domain"},
	{"relay", "rate", 0, 4, "", cmd_relay_rate,
	 "relay rate [set site|sender|tenant|source NAME|'*' COUNT/DURATION|none] | [remove site|sender|tenant|source NAME|'*'] [--json]",
	 "how many messages may go to a domain (site), from a sender (a log-in, else a sender's domain), from a tenant or from an address of this machine (source) in a time; what is over it waits; '*': every one that has no rate of its own"},
	{"tenant", "add", 1, 1, CLI_TENANT_OPTIONS, cmd_tenant_add, "tenant add NAME " CLI_TENANT_USAGE,
	 "a group of accounts and domains that sends in bulk, with limits of its own"},
	{"tenant", "set", 1, 1, CLI_TENANT_OPTIONS " --no-domain= --no-account=", cmd_tenant_set,
	 "tenant set NAME " CLI_TENANT_USAGE " [--no-domain D]... [--no-account LOGIN]...",
	 "change a tenant; --rate: its messages that leave in a time; --max-queued: more are refused for now; --pool: its mail leaves from there where no relay rule names another source; --dkim-domain: who signs it"},
	{"tenant", "list", 0, 0, "", cmd_tenant_list, "tenant list [--json]", "the tenants and what each has in the queue"},
	{"tenant", "show", 1, 1, "", cmd_tenant_show, "tenant show NAME [--json]", "one tenant with its members and campaigns"},
	{"tenant", "remove", 1, 1, "", cmd_tenant_remove, "tenant remove NAME", "remove a tenant; its mail in the queue stays there"},
	{"pool", "set", 2, CLI_ARGUMENTS_MAX, "", cmd_pool_set, "pool set NAME IP[=EHLO][*WEIGHT]...",
	 "a pool of this machine's addresses to send from; the one named default is for all mail by MX that has none of its own"},
	{"pool", "list", 0, 0, "", cmd_pool_list, "pool list [--json]", "the pools, what each address may send and has sent"},
	{"pool", "remove", 1, 1, "", cmd_pool_remove, "pool remove NAME", "remove a pool"},
	{"pool", "warm", 1, 2, "--day=", cmd_pool_warm, "pool warm IP [--day N | off]",
	 "let an address's daily mail grow from 50 messages on the first day (or as on day N) to no limit after three weeks"},
	{"suppress", "list", 0, 0, "", cmd_suppress_list, "suppress list [--json]", "addresses that nothing is sent to"},
	{"suppress", "add", 1, 1, "--for= --reason=", cmd_suppress_add,
	 "suppress add ADDRESS [--for DURATION] [--reason TEXT]", "send nothing to an address"},
	{"suppress", "remove", 1, 1, "", cmd_suppress_remove, "suppress remove ADDRESS", "send to it again"},
	{"explain", NULL, 0, 0, "--from= --to=", cmd_explain, "explain [--from ADDRESS] --to ADDRESS [--json]",
	 "where mail would go: to an address of ours what its aliases and forwards lead to, else rule, hosts, TLS, limits"},
	{"queue", "list", 0, 0, QUEUE_SELECT_OPTIONS, cmd_queue_list,
	 "queue list " QUEUE_SELECT_USAGE " [--json]", "outbound mail that waits"},
	{"queue", "show", 1, 1, "", cmd_queue_show, "queue show ID [--json]", "one message, its recipients and last replies"},
	{"queue", "top", 0, 0, "--by= " QUEUE_SELECT_OPTIONS, cmd_queue_top,
	 "queue top [--by site|sender|tenant|campaign] " QUEUE_SELECT_USAGE " [--json]",
	 "what waits by domain, or by sender, tenant or campaign: how many, how old, the last reply, the next try"},
	{"queue", "pause", 0, 1, QUEUE_SELECT_OPTIONS, cmd_queue_pause,
	 "queue pause [DOMAIN|--site DOMAIN] [--tenant NAME] [--campaign NAME] [--sender NAME|--user LOGIN] [--json]",
	 "keep mail in the queue to which all that is named applies, over restarts and what comes later too; with nothing named: what is paused"},
	{"queue", "resume", 0, 1, QUEUE_SELECT_OPTIONS, cmd_queue_resume,
	 "queue resume [DOMAIN|--site DOMAIN] [--tenant NAME] [--campaign NAME] [--sender NAME|--user LOGIN] [--json]",
	 "try what was paused by the same names again"},
	{"queue", "retry", 0, CLI_ARGUMENTS_MAX, "--all " QUEUE_SELECT_OPTIONS, cmd_queue_retry,
	 "queue retry ID...|--all|" QUEUE_SELECT_USAGE " [--json]", "try again now"},
	{"queue", "hold", 0, CLI_ARGUMENTS_MAX, "--all " QUEUE_SELECT_OPTIONS, cmd_queue_hold,
	 "queue hold ID...|--all|" QUEUE_SELECT_USAGE " [--json]", "keep from being sent"},
	{"queue", "release", 0, CLI_ARGUMENTS_MAX, "--all " QUEUE_SELECT_OPTIONS, cmd_queue_release,
	 "queue release ID...|--all|" QUEUE_SELECT_USAGE " [--json]", "send held mail again"},
	{"queue", "delete", 0, CLI_ARGUMENTS_MAX, "--all " QUEUE_SELECT_OPTIONS, cmd_queue_delete,
	 "queue delete ID...|--all|" QUEUE_SELECT_USAGE " [--json]", "drop without a bounce"},
	{"queue", "redirect", 0, CLI_ARGUMENTS_MAX, "--address= --all " QUEUE_SELECT_OPTIONS, cmd_queue_redirect,
	 "queue redirect --address ADDRESS ID...|--all|" QUEUE_SELECT_USAGE " [--json]",
	 "send to another address instead"},
	{"trace", NULL, 1, 1, "--since=", cmd_trace, "trace ID|ADDRESS [--since DURATION] [--json]",
	 "where is this message: every leg of its way"},
	{"events", NULL, 0, 0, "--since= --kind= --limit= --follow", cmd_events,
	 "events [--since CURSOR|DURATION] [--kind KIND,...] [--limit N] [--follow] [--json]",
	 "what happened to messages, for programs: one event a line, from an event's cursor on"},
	{"help", NULL, 0, 2, "", cmd_help, "help [COMMAND]", "this list"},
	{"version", NULL, 0, 0, "", cmd_version, "version", "the version"},
	{NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
/* clang-format on */

const struct cli_verb *
cli_verbs(void)
{
	return verbs;
}

int
cmd_help(struct cli *cli)
{
	if (cli->argument_count == 0)
		puts("usage: postroom [--root DIR] [--json] [--quiet] [--yes] COMMAND "
		     "...\n");
	unsigned shown = 0;
	for (const struct cli_verb *v = verbs; v->noun; v++) {
		if (cli->argument_count >= 1 &&
		    !slice_equal(cli_argument(cli, 0), slice_from_cstr(v->noun)))
			continue;
		if (cli->argument_count == 2 && v->verb &&
		    !slice_equal(cli_argument(cli, 1), slice_from_cstr(v->verb)))
			continue;
		printf("  %s\n      %s\n", v->usage, v->help);
		shown++;
	}
	if (shown == 0)
		return cli_fail(
		    CLI_USAGE, "no such command: \"postroom help\" lists them all");
	return CLI_OK;
}

int
cmd_version(struct cli *cli)
{
	(void)cli;
	puts("postroom " POSTROOM_VERSION);
	return CLI_OK;
}
