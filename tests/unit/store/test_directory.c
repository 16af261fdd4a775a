/*
 * Domains, accounts, aliases and relay rules, over every backend: making, finding,
 * resolving with its order and its loop guard, removing.
 */
#include "unit/store/store_fixture.h"

static bool
count_domain(const struct directory_domain *domain, void *arg)
{
	assert_true(domain->name.len > 0);
	++*(int *)arg;
	return true;
}

static bool
count_account(const struct directory_account *account, void *arg)
{
	assert_true(account->login.len > 0);
	++*(int *)arg;
	return true;
}

static void
domains(struct fixture *f)
{
	struct directory_domain domain;
	int count = 0;
	assert_int_equal(
	    directory_domain_add(f->reader, SLICE("Example.NET")), STATUS_OK);
	assert_int_equal(
	    directory_domain_add(f->reader, SLICE("example.net")), STATUS_EXISTS);
	assert_int_equal(directory_domain_add(f->reader, SLICE("")), STATUS_INVALID);
	assert_int_equal(directory_domain_add(f->reader, SLICE("a b")), STATUS_INVALID);
	assert_int_equal(
	    directory_domain_find(f->reader, SLICE("EXAMPLE.net"), &domain), STATUS_OK);
	assert_true(slice_equal(domain.name, SLICE("example.net")));
	assert_int_equal(domain.accounts, 0);
	assert_int_equal(
	    directory_domain_find(f->reader, SLICE("example.org"), &domain), STATUS_OK);
	assert_int_equal(domain.accounts, 2);
	assert_int_equal(
	    directory_domain_each(f->reader, count_domain, &count), STATUS_OK);
	assert_int_equal(count, 2);
	assert_int_equal(
	    directory_domain_remove(f->reader, SLICE("example.org")), STATUS_BUSY);
	assert_int_equal(
	    directory_domain_remove(f->reader, SLICE("example.net")), STATUS_OK);
	assert_int_equal(
	    directory_domain_remove(f->reader, SLICE("example.net")), STATUS_NOT_FOUND);
}

static void
accounts(struct fixture *f)
{
	struct directory_account account;
	struct account_id id;
	struct account_usage usage;
	int count = 0;
	assert_int_equal(
	    directory_account_find(f->reader, SLICE("JO@Example.org"), &account),
	    STATUS_OK);
	assert_memory_equal(&account.id, &f->jo, sizeof(f->jo));
	assert_true(slice_equal(account.login, SLICE("jo@example.org")));
	assert_true(slice_equal(account.credential, SLICE("key")));
	assert_int_equal(
	    directory_account_find(f->reader, SLICE("jo"), &account), STATUS_OK);
	assert_int_equal(
	    directory_account_find(f->reader, SLICE("no"), &account), STATUS_NOT_FOUND);
	assert_int_equal(directory_account_by_id(f->reader, f->amy, &account), STATUS_OK);
	assert_true(slice_equal(account.login, SLICE("amy@example.org")));
	assert_int_equal(
	    directory_account_add(f->reader, SLICE("Jo@example.org"), SLICE("x"), 0, &id),
	    STATUS_EXISTS);
	assert_int_equal(
	    directory_account_add(f->reader, SLICE("jo@no.where"), SLICE("x"), 0, &id),
	    STATUS_NOT_FOUND);
	assert_int_equal(
	    directory_account_add(f->reader, SLICE("@example.org"), SLICE("x"), 0, &id),
	    STATUS_INVALID);
	struct directory_account_change change = {
	    .set_credential = true,
	    .credential = SLICE("new"),
	    .set_quota = true,
	    .quota_bytes = 4096,
	    .set_quota_messages = true,
	    .quota_messages = 17,
	    .set_disabled = true,
	    .disabled = true,
	    .set_pop3 = true,
	    .pop3 = {POP3_POLICY_KEEP, 0}
        };
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("amy@example.org"), &change),
	    STATUS_OK);
	assert_int_equal(directory_account_by_id(f->reader, f->amy, &account), STATUS_OK);
	assert_true(slice_equal(account.credential, SLICE("new")));
	assert_true(account.disabled);
	assert_int_equal(account.quota.bytes, 4096);
	assert_int_equal(account.quota.messages, 17);
	assert_int_equal(account.pop3.policy, POP3_POLICY_KEEP);
	assert_int_equal(account_usage_get(f->reader, f->amy, &usage), STATUS_OK);
	assert_int_equal(usage.quota.bytes, 4096);
	assert_int_equal(usage.quota.messages, 17);
	/* Each is set by itself; a number that no account has is refused. */
	change = (struct directory_account_change){.set_quota = true, .quota_bytes = 5};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("amy@example.org"), &change),
	    STATUS_OK);
	change = (struct directory_account_change){.set_quota_messages = true,
	    .quota_messages = DIRECTORY_QUOTA_MESSAGES_MAX + 1};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("amy@example.org"), &change),
	    STATUS_INVALID);
	assert_int_equal(account_usage_get(f->reader, f->amy, &usage), STATUS_OK);
	assert_int_equal(usage.quota.bytes, 5);
	assert_int_equal(usage.quota.messages, 17);
	change.quota_messages = 0;
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("amy@example.org"), &change),
	    STATUS_OK);
	assert_int_equal(account_usage_get(f->reader, f->amy, &usage), STATUS_OK);
	assert_int_equal(usage.quota.bytes, 5);
	assert_int_equal(usage.quota.messages, 0);
	assert_int_equal(usage.mailboxes, 6);
	assert_int_equal(directory_account_each(
			     f->reader, SLICE("example.org"), count_account, &count),
	    STATUS_OK);
	assert_int_equal(count, 2);
}

static void
account_goes(struct fixture *f)
{
	struct directory_account account;
	struct directory_target *targets;
	enum directory_answer answer;
	size_t count;
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
	assert_int_equal(
	    directory_account_remove(f->reader, SLICE("jo@example.org")), STATUS_OK);
	assert_int_equal(directory_account_remove(f->reader, SLICE("jo@example.org")),
	    STATUS_NOT_FOUND);
	assert_int_equal(
	    directory_account_by_id(f->reader, f->jo, &account), STATUS_NOT_FOUND);
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_NOT_FOUND);
	/* Its roles pass on to the account that is left. */
	assert_int_equal(
	    directory_resolve(f->reader, SLICE("postmaster"), SLICE("example.org"),
		SLICE("+"), f->arena, &answer, &targets, &count),
	    STATUS_OK);
	assert_int_equal(answer, DIRECTORY_TARGETS);
	assert_memory_equal(&targets[0].account, &f->amy, sizeof(f->amy));
	assert_int_equal(
	    directory_account_remove(f->reader, SLICE("amy@example.org")), STATUS_OK);
	assert_int_equal(
	    directory_domain_remove(f->reader, SLICE("example.org")), STATUS_OK);
}

struct want {
	const char *local;
	const char *domain;
	enum directory_answer answer;
	const char *target; /* login of the first, or an external address */
	size_t count;
};

static void
resolve_check(struct fixture *f, const struct want *want)
{
	struct directory_target *targets;
	enum directory_answer answer;
	size_t count;
	assert_int_equal(directory_resolve(f->reader, slice_from_cstr(want->local),
			     slice_from_cstr(want->domain), SLICE("+-"), f->arena,
			     &answer, &targets, &count),
	    STATUS_OK);
	if (answer != want->answer || count != want->count)
		fail_msg("%s@%s: answer %d, %zu targets", want->local, want->domain,
		    (int)answer, count);
	if (!want->target)
		return;
	struct slice got = targets[0].local ? targets[0].login : targets[0].address;
	assert_true(slice_equal(got, slice_from_cstr(want->target)));
}

static void
alias_add(struct fixture *f, const char *from, const char *to1, const char *to2)
{
	struct slice to[2] = {slice_from_cstr(to1), slice_from_cstr(to2)};
	assert_int_equal(
	    directory_alias_add(f->reader, slice_from_cstr(from), to, to2 ? 2 : 1),
	    STATUS_OK);
}

static bool
count_alias(struct slice from, const struct slice *to, size_t count, void *arg)
{
	assert_true(slice_index(from, '@') != SIZE_MAX);
	assert_true(count > 0 && to[0].len > 0);
	++*(int *)arg;
	return true;
}

static void
resolving(struct fixture *f)
{
	static const struct want wants[] = {
	    {"jo",         "example.org", DIRECTORY_TARGETS,      "jo@example.org",  1},
	    {"JO",         "EXAMPLE.org", DIRECTORY_TARGETS,      "jo@example.org",  1},
	    {"jo+lists",   "example.org", DIRECTORY_TARGETS,      "jo@example.org",  1},
	    {"jo-a-b",     "example.org", DIRECTORY_TARGETS,      "jo@example.org",  1},
	    {"+jo",        "example.org", DIRECTORY_UNKNOWN_USER, NULL,              0},
	    {"nobody",     "example.org", DIRECTORY_UNKNOWN_USER, NULL,              0},
	    {"",           "example.org", DIRECTORY_UNKNOWN_USER, NULL,              0},
	    {"jo",         "example.com", DIRECTORY_NOT_LOCAL,    NULL,              0},
	    {"abuse",      "example.org", DIRECTORY_TARGETS,      "jo@example.org",  1},
	    {"postmaster", "",            DIRECTORY_TARGETS,      "jo@example.org",  1},
	    {"all",        "example.org", DIRECTORY_TARGETS,      "jo@example.org",  3},
	    {"all+x",      "example.org", DIRECTORY_TARGETS,      "jo@example.org",  3},
	    {"out",        "example.org", DIRECTORY_TARGETS,      "Far@Example.com", 1},
	    {"loop1",      "example.org", DIRECTORY_LOOP,         NULL,              0},
	    {"self",       "example.org", DIRECTORY_TARGETS,      "amy@example.org", 1},
	    {"dead",       "example.org", DIRECTORY_UNKNOWN_USER, NULL,              0},
	    {"d0",         "example.org", DIRECTORY_LOOP,         NULL,              0},
	    {"d4",         "example.org", DIRECTORY_TARGETS,      "amy@example.org", 1},
	};
	int aliases = 0;
	alias_add(f, "all@example.org", "jo@example.org", "amy@example.org");
	alias_add(f, "All@example.org", "far@example.com", "JO@example.org");
	alias_add(f, "out@example.org", "Far@Example.com", NULL);
	alias_add(f, "loop1@example.org", "loop2@example.org", NULL);
	alias_add(f, "loop2@example.org", "loop1@example.org", NULL);
	alias_add(f, "self@example.org", "self@example.org", "amy@example.org");
	alias_add(f, "dead@example.org", "gone@example.org", NULL);
	/* d0 -> d1 -> … -> d12 -> amy: d0 is too deep, d4 is not. */
	for (int i = 0; i < 13; i++) {
		char from[40], to[40];
		snprintf(from, sizeof(from), "d%d@example.org", i);
		snprintf(to, sizeof(to), "d%d@example.org", i + 1);
		alias_add(f, from, i == 12 ? "amy@example.org" : to, NULL);
	}
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++)
		resolve_check(f, &wants[i]);
	assert_int_equal(
	    directory_alias_each(f->reader, count_alias, &aliases), STATUS_OK);
	assert_int_equal(aliases, 6 + 13);

	struct slice jo = SLICE("jo@example.org");
	struct account_id id;
	assert_int_equal(directory_alias_add(f->reader, SLICE("jo@example.org"), &jo, 1),
	    STATUS_EXISTS);
	assert_int_equal(directory_account_add(
			     f->reader, SLICE("all@example.org"), SLICE("x"), 0, &id),
	    STATUS_EXISTS);
	assert_int_equal(directory_alias_add(f->reader, SLICE("x@no.where"), &jo, 1),
	    STATUS_NOT_FOUND);
	assert_int_equal(
	    directory_alias_add(f->reader, SLICE("nonsense"), &jo, 1), STATUS_INVALID);

	alias_add(f, "@example.org", "amy@example.org", NULL);
	const struct want all = {
	    "nobody", "example.org", DIRECTORY_TARGETS, "amy@example.org", 1};
	resolve_check(f, &all);
	const struct want role = {
	    "postmaster", "example.org", DIRECTORY_TARGETS, "jo@example.org", 1};
	resolve_check(f, &role);
	assert_int_equal(
	    directory_alias_remove(f->reader, SLICE("@example.org")), STATUS_OK);
	assert_int_equal(
	    directory_alias_remove(f->reader, SLICE("@example.org")), STATUS_NOT_FOUND);
}

static void
owning(struct fixture *f)
{
	static const struct {
		const char *local, *domain;
		bool owns;
	} wants[] = {
	    {"jo",     "example.org", true },
	    {"Jo+x",   "example.org", true },
	    {"amy",    "example.org", false},
	    {"sales",  "example.org", true },
	    {"jo",     "example.com", false},
	    {"",       "",            false},
	    {"nobody", "example.org", false},
	};
	bool owns;
	alias_add(f, "sales@example.org", "amy@example.org", "jo@example.org");
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		assert_int_equal(
		    directory_owns(f->reader, f->jo, slice_from_cstr(wants[i].local),
			slice_from_cstr(wants[i].domain), SLICE("+"), &owns),
		    STATUS_OK);
		assert_int_equal(owns, wants[i].owns);
	}
}

static bool
owns_address(struct fixture *f, const char *local, const char *domain)
{
	bool owns = false;
	assert_int_equal(directory_owns(f->reader, f->jo, slice_from_cstr(local),
			     slice_from_cstr(domain), SLICE("+"), &owns),
	    STATUS_OK);
	return owns;
}

/* The secret that is kept, or "". */
static const char *
kept(struct fixture *f, const char *login)
{
	static char text[64];
	struct buf secret;
	buf_init(&secret, sizeof(text) - 1);
	enum status status =
	    directory_apop_secret(f->reader, slice_from_cstr(login), &secret);
	assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
	assert_true(slice_copy_cstr(buf_slice(&secret), text, sizeof(text)));
	buf_fini(&secret);
	store_reader_end(f->reader);
	return text;
}

static void
set_password(struct fixture *f, const char *login, const char *secret)
{
	const struct directory_account_change change = {
	    .set_credential = true,
	    .credential = SLICE("keys"),
	    .secret = secret ? slice_from_cstr(secret) : SLICE_NULL,
	};
	assert_int_equal(
	    directory_account_set(f->reader, slice_from_cstr(login), &change), STATUS_OK);
}

static bool
any_secret(struct fixture *f)
{
	bool any;
	assert_int_equal(directory_apop_any(f->reader, &any), STATUS_OK);
	return any;
}

static uint32_t
without_secret(struct fixture *f)
{
	uint32_t count;
	assert_int_equal(
	    directory_apop_missing(f->reader, SLICE("example.org"), &count), STATUS_OK);
	return count;
}

static void
apop(struct fixture *f)
{
	struct directory_domain domain;
	struct slice org = SLICE("example.org");
	char long_secret[DIRECTORY_APOP_SECRET_MAX + 2];
	/* Off: nothing is kept. */
	set_password(f, "jo@example.org", "one");
	assert_string_equal(kept(f, "jo@example.org"), "");
	assert_false(any_secret(f));
	assert_int_equal(directory_domain_set_apop(f->reader, SLICE("no.where"), true),
	    STATUS_NOT_FOUND);
	assert_int_equal(directory_domain_set_apop(f->reader, org, true), STATUS_OK);
	assert_int_equal(directory_domain_find(f->reader, org, &domain), STATUS_OK);
	assert_true(domain.apop);
	assert_int_equal(domain.accounts, 2);
	assert_false(any_secret(f));
	assert_int_equal(without_secret(f), 2);
	/* On: from the next password on, for this account and this name only. */
	set_password(f, "Jo@Example.org", "two");
	assert_string_equal(kept(f, "jo@EXAMPLE.org"), "two");
	assert_string_equal(kept(f, "amy@example.org"), "");
	assert_string_equal(kept(f, "j@example.org"), "");
	assert_string_equal(kept(f, "jo"), "");
	assert_true(any_secret(f));
	assert_int_equal(without_secret(f), 1);
	fixture_check(f);
	set_password(f, "jo@example.org", "three");
	assert_string_equal(kept(f, "jo@example.org"), "three");
	/* The flag stands beside the other rule of the domain, which has a tail too. */
	const struct pop3_rule days = {POP3_POLICY_DAYS, 30};
	assert_int_equal(directory_domain_set_pop3(f->reader, org, days), STATUS_OK);
	assert_int_equal(directory_domain_find(f->reader, org, &domain), STATUS_OK);
	assert_true(domain.apop);
	assert_int_equal(domain.pop3.days, 30);
	/* Keys alone: the old secret is not the password any more. */
	set_password(f, "jo@example.org", NULL);
	assert_string_equal(kept(f, "jo@example.org"), "");
	memset(long_secret, 'x', sizeof(long_secret));
	long_secret[sizeof(long_secret) - 1] = '\0';
	const struct directory_account_change too_long = {.set_credential = true,
	    .credential = SLICE("keys"),
	    .secret = slice_from_cstr(long_secret)};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &too_long),
	    STATUS_INVALID);
	set_password(f, "jo@example.org", "four");
	set_password(f, "amy@example.org", "five");
	assert_int_equal(without_secret(f), 0);
	assert_int_equal(
	    directory_account_remove(f->reader, SLICE("amy@example.org")), STATUS_OK);
	assert_string_equal(kept(f, "amy@example.org"), "");
	assert_string_equal(kept(f, "jo@example.org"), "four");
	/* Off takes the domain's, and no other's. */
	assert_int_equal(
	    directory_domain_add(f->reader, SLICE("example.org.uk")), STATUS_OK);
	assert_int_equal(
	    directory_domain_set_apop(f->reader, SLICE("example.org.uk"), true),
	    STATUS_OK);
	struct account_id id;
	assert_int_equal(directory_account_add(f->reader, SLICE("jo@example.org.uk"),
			     SLICE("keys"), 0, &id),
	    STATUS_OK);
	set_password(f, "jo@example.org.uk", "six");
	assert_int_equal(directory_domain_set_apop(f->reader, org, false), STATUS_OK);
	assert_string_equal(kept(f, "jo@example.org"), "");
	assert_string_equal(kept(f, "jo@example.org.uk"), "six");
	assert_int_equal(directory_domain_find(f->reader, org, &domain), STATUS_OK);
	assert_false(domain.apop);
	assert_int_equal(domain.pop3.days, 30);
	fixture_check(f);
}

static void
imap_without(struct fixture *f)
{
	struct slice jo = SLICE("jo@example.org");
	const struct slice names[] = {SLICE("QRESYNC"), SLICE("IDLE"), SLICE("")};
	struct slice got[DIRECTORY_IMAP_WITHOUT_MAX];
	size_t count = 7;
	assert_int_equal(
	    directory_imap_without_get(f->reader, f->jo, got, &count), STATUS_OK);
	assert_int_equal(count, 0);
	assert_int_equal(directory_imap_without_set(f->reader, jo, names, 2), STATUS_OK);
	assert_int_equal(
	    directory_imap_without_get(f->reader, f->jo, got, &count), STATUS_OK);
	assert_int_equal(count, 2);
	assert_true(slice_equal(got[1], names[1]));
	assert_int_equal(
	    directory_imap_without_get(f->reader, f->amy, got, &count), STATUS_OK);
	assert_int_equal(count, 0);
	assert_int_equal(
	    directory_imap_without_set(f->reader, jo, names, 3), STATUS_INVALID);
	assert_int_equal(
	    directory_imap_without_set(f->reader, SLICE("nobody@example.org"), names, 1),
	    STATUS_NOT_FOUND);
	assert_int_equal(directory_imap_without_set(f->reader, jo, names, 1), STATUS_OK);
	assert_int_equal(
	    directory_imap_without_get(f->reader, f->jo, got, &count), STATUS_OK);
	assert_int_equal(count, 1);
	assert_int_equal(directory_imap_without_set(f->reader, jo, NULL, 0), STATUS_OK);
	assert_int_equal(
	    directory_imap_without_get(f->reader, f->jo, got, &count), STATUS_OK);
	assert_int_equal(count, 0);
	/* It goes with the account. */
	assert_int_equal(directory_imap_without_set(f->reader, jo, names, 2), STATUS_OK);
	assert_int_equal(directory_account_remove(f->reader, jo), STATUS_OK);
	assert_int_equal(
	    directory_imap_without_get(f->reader, f->jo, got, &count), STATUS_OK);
	assert_int_equal(count, 0);
}

static void
send_as(struct fixture *f)
{
	struct slice jo = SLICE("jo@example.org");
	struct slice entries[DIRECTORY_SEND_AS_MAX];
	size_t count;
	assert_false(owns_address(f, "me", "elsewhere.net"));
	assert_int_equal(
	    directory_send_as_add(f->reader, jo, SLICE("Me@Elsewhere.net")), STATUS_OK);
	assert_int_equal(
	    directory_send_as_add(f->reader, jo, SLICE("me@elsewhere.net")), STATUS_OK);
	assert_int_equal(
	    directory_send_as_add(f->reader, jo, SLICE("@whole.net")), STATUS_OK);
	assert_true(owns_address(f, "ME", "elsewhere.NET"));
	assert_true(owns_address(f, "me+tag", "elsewhere.net"));
	assert_false(owns_address(f, "meg", "elsewhere.net"));
	assert_false(owns_address(f, "you", "elsewhere.net"));
	assert_true(owns_address(f, "anyone", "whole.net"));
	assert_false(owns_address(f, "anyone", "sub.whole.net"));
	assert_int_equal(
	    directory_send_as_get(f->reader, f->jo, entries, &count), STATUS_OK);
	assert_int_equal(count, 2);
	assert_int_equal(
	    directory_send_as_remove(f->reader, jo, SLICE("whole.net")), STATUS_OK);
	assert_int_equal(directory_send_as_remove(f->reader, jo, SLICE("whole.net")),
	    STATUS_NOT_FOUND);
	assert_false(owns_address(f, "anyone", "whole.net"));
	assert_int_equal(directory_send_as_add(f->reader, jo, SLICE("*")), STATUS_OK);
	assert_true(owns_address(f, "x", "any.net"));
	static const char *const bad[] = {"", "@", "a@", "a b.net", "a@b@"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
		    directory_send_as_add(f->reader, jo, slice_from_cstr(bad[i])),
		    STATUS_INVALID);
	assert_int_equal(
	    directory_send_as_add(f->reader, SLICE("nobody@example.org"), SLICE("*")),
	    STATUS_NOT_FOUND);
	/* What goes with the account. */
	assert_int_equal(directory_account_remove(f->reader, jo), STATUS_OK);
	assert_int_equal(
	    directory_send_as_get(f->reader, f->jo, entries, &count), STATUS_OK);
	assert_int_equal(count, 0);
}

/* Accounts that forward: with and without a copy, in circles, and who owns what. */
static void
forwards(struct fixture *f)
{
	struct slice jo = SLICE("jo@example.org");
	struct directory_forward got;
	struct directory_forward set = {
	    .keep = true,
	    .count = 2,
	    .to = {SLICE("Far@Example.com"), SLICE("amy@example.org")}
        };
	assert_int_equal(directory_forward_get(f->reader, f->jo, &got), STATUS_OK);
	assert_int_equal(got.count, 0);
	assert_int_equal(directory_forward_set(f->reader, jo, &set), STATUS_OK);
	assert_int_equal(directory_forward_get(f->reader, f->jo, &got), STATUS_OK);
	assert_int_equal(got.count, 2);
	assert_true(got.keep && slice_equal(got.to[0], set.to[0]));
	const struct want keep = {
	    "jo+x", "example.org", DIRECTORY_TARGETS, "jo@example.org", 3};
	resolve_check(f, &keep);
	set.keep = false;
	assert_int_equal(directory_forward_set(f->reader, jo, &set), STATUS_OK);
	const struct want gone = {
	    "postmaster", "example.org", DIRECTORY_TARGETS, "Far@Example.com", 2};
	resolve_check(f, &gone);
	/* The address stays its own, and is not the other's. */
	assert_true(owns_address(f, "jo", "example.org"));
	assert_false(owns_address(f, "amy", "example.org"));
	/* In a circle nothing is lost, and nobody gets it twice. */
	set = (struct directory_forward){.count = 1, .to = {jo}};
	assert_int_equal(
	    directory_forward_set(f->reader, SLICE("amy@example.org"), &set), STATUS_OK);
	const struct want circle = {
	    "jo", "example.org", DIRECTORY_TARGETS, "Far@Example.com", 2};
	resolve_check(f, &circle);
	const struct want circle2 = {
	    "amy", "example.org", DIRECTORY_TARGETS, "Far@Example.com", 2};
	resolve_check(f, &circle2);
	alias_add(f, "team@example.org", "jo@example.org", "amy@example.org");
	const struct want team = {
	    "team", "example.org", DIRECTORY_TARGETS, "Far@Example.com", 3};
	resolve_check(f, &team);
	fixture_check(f);
	set = (struct directory_forward){.count = 1, .to = {SLICE("no address")}};
	assert_int_equal(directory_forward_set(f->reader, jo, &set), STATUS_INVALID);
	set.count = DIRECTORY_FORWARD_MAX + 1;
	assert_int_equal(directory_forward_set(f->reader, jo, &set), STATUS_LIMIT);
	set.count = 0;
	assert_int_equal(directory_forward_set(f->reader, SLICE("no@example.org"), &set),
	    STATUS_NOT_FOUND);
	assert_int_equal(directory_forward_set(f->reader, jo, &set), STATUS_OK);
	const struct want plain = {
	    "jo", "example.org", DIRECTORY_TARGETS, "jo@example.org", 1};
	resolve_check(f, &plain);
	/* They go with the account. */
	assert_int_equal(
	    directory_account_remove(f->reader, SLICE("amy@example.org")), STATUS_OK);
	fixture_check(f);
}

static void
journals(struct fixture *f)
{
	struct slice domain = SLICE("Example.net");
	struct directory_journal got;
	struct directory_journal set = {.in = true, .to = SLICE("all@archive.example")};
	assert_int_equal(
	    directory_journal_set(f->reader, domain, &set), STATUS_NOT_FOUND);
	assert_int_equal(directory_domain_add(f->reader, domain), STATUS_OK);
	assert_int_equal(directory_journal_get(f->reader, domain, &got), STATUS_OK);
	assert_int_equal(got.to.len, 0);
	assert_int_equal(directory_journal_set(f->reader, domain, &set), STATUS_OK);
	assert_int_equal(
	    directory_journal_get(f->reader, SLICE("example.NET"), &got), STATUS_OK);
	assert_true(got.in && !got.out && slice_equal(got.to, set.to));
	fixture_check(f);
	set.to = SLICE("archive.example");
	assert_int_equal(directory_journal_set(f->reader, domain, &set), STATUS_INVALID);
	/* It goes with its domain. */
	assert_int_equal(directory_domain_remove(f->reader, domain), STATUS_OK);
	assert_int_equal(directory_journal_get(f->reader, domain, &got), STATUS_OK);
	assert_int_equal(got.to.len, 0);
	fixture_check(f);
}

static void
over_quota(struct fixture *f)
{
	struct directory_target *targets;
	enum directory_answer answer;
	size_t count;
	struct directory_account_change change = {.set_quota = true, .quota_bytes = 200};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "one", 0, NULL), STATUS_OK);
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "two", 0, NULL), STATUS_QUOTA);
	change.quota_bytes = 10;
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	assert_int_equal(directory_resolve(f->reader, SLICE("jo"), SLICE("example.org"),
			     SLICE("+"), f->arena, &answer, &targets, &count),
	    STATUS_OK);
	assert_true(targets[0].over_quota);
	change = (struct directory_account_change){
	    .set_quota = true, .set_quota_messages = true, .quota_messages = 2};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
		    STATUS_OK);
		assert_int_equal(
		    directory_resolve(f->reader, SLICE("jo"), SLICE("example.org"),
			SLICE("+"), f->arena, &answer, &targets, &count),
		    STATUS_OK);
		assert_int_equal(targets[0].over_quota, i == 1);
		change.quota_messages = 1;
	}
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "two", 0, NULL), STATUS_QUOTA);
}

static bool
count_relay(const struct directory_relay *relay, void *arg)
{
	assert_true(relay->host.len > 0);
	++*(int *)arg;
	return true;
}

static void
relays(struct fixture *f)
{
	static const struct {
		const char *from, *to, *host;
	} rules[] = {
	    {NULL,             NULL,         "default"   },
	    {NULL,             "to.example", "to"        },
	    {"example.org",    NULL,         "domain"    },
	    {"example.org",    "to.example", "domain-to" },
	    {"jo@example.org", NULL,         "address"   },
	    {"jo@example.org", "to.example", "address-to"},
	};
	struct directory_relay relay = {.port = 587,
	    .tls = RELAY_TLS_REQUIRED,
	    .user = SLICE("u"),
	    .password = SLICE("p")};
	char id[16];
	int count = 0;
	assert_int_equal(directory_relay_find(f->reader, SLICE("jo@example.org"),
			     SLICE("to.example"), &relay),
	    STATUS_NOT_FOUND);
	for (size_t i = 0; i < 6; i++) {
		relay.from = slice_from_cstr(rules[i].from);
		relay.to = slice_from_cstr(rules[i].to);
		relay.host = slice_from_cstr(rules[i].host);
		/* One by MX, from an address. */
		relay.source = i == 1 ? SLICE("192.0.2.1") : SLICE_NULL;
		relay.ehlo = i == 1 ? SLICE("out.example.net") : SLICE_NULL;
		relay.lmtp = i == 2;
		assert_int_equal(directory_relay_add(f->reader, &relay, id), STATUS_OK);
		assert_int_equal(
		    directory_relay_add(f->reader, &relay, id), STATUS_EXISTS);
	}
	assert_int_equal(directory_relay_each(f->reader, count_relay, &count), STATUS_OK);
	assert_int_equal(count, 6);
	/* Each wins until it is removed, most specific first. */
	for (int i = 5; i >= 0; i--) {
		struct directory_relay found;
		assert_int_equal(directory_relay_find(f->reader, SLICE("Jo@example.org"),
				     SLICE("To.example"), &found),
		    STATUS_OK);
		assert_true(slice_equal(found.host, slice_from_cstr(rules[i].host)));
		assert_int_equal(found.port, 587);
		assert_true(
		    slice_equal(found.source, i == 1 ? SLICE("192.0.2.1") : SLICE("")));
		assert_true(slice_equal(
		    found.ehlo, i == 1 ? SLICE("out.example.net") : SLICE("")));
		assert_int_equal(found.tls, RELAY_TLS_REQUIRED);
		assert_int_equal(found.lmtp, i == 2);
		assert_false(found.implicit_tls);
		assert_true(slice_equal(found.password, SLICE("p")));
		assert_true(slice_copy_cstr(found.id, id, sizeof(id)));
		assert_int_equal(
		    directory_relay_remove(f->reader, slice_from_cstr(id)), STATUS_OK);
	}
	/* LMTP has a host, and never port 25; the path of a socket is LMTP's. */
	const struct directory_relay bad[] = {
	    {.host = SLICE("h"), .port = 25, .lmtp = true},
	    {.source = SLICE("192.0.2.1"),                  .lmtp = true},
	    {.host = SLICE("/run/l.sock"),                  .port = 24},
	};
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(
		    directory_relay_add(f->reader, &bad[i], id), STATUS_INVALID);
	assert_int_equal(
	    directory_relay_remove(f->reader, SLICE("r1")), STATUS_NOT_FOUND);
	assert_int_equal(
	    directory_relay_remove(f->reader, SLICE("junk")), STATUS_NOT_FOUND);
}

static void
secret(struct fixture *f)
{
	unsigned char one[32], two[32];
	assert_int_equal(directory_secret(f->reader, one), STATUS_OK);
	assert_int_equal(directory_secret(f->reader, two), STATUS_OK);
	assert_memory_equal(one, two, sizeof(one));
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(domains)
CASE(accounts)
CASE(account_goes)
CASE(resolving)
CASE(owning)
CASE(imap_without)
CASE(apop)
CASE(send_as)
CASE(forwards)
CASE(journals)
CASE(over_quota)
CASE(relays)
CASE(secret)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_domains),
	    cmocka_unit_test(test_accounts),
	    cmocka_unit_test(test_account_goes),
	    cmocka_unit_test(test_resolving),
	    cmocka_unit_test(test_owning),
	    cmocka_unit_test(test_imap_without),
	    cmocka_unit_test(test_apop),
	    cmocka_unit_test(test_send_as),
	    cmocka_unit_test(test_forwards),
	    cmocka_unit_test(test_journals),
	    cmocka_unit_test(test_over_quota),
	    cmocka_unit_test(test_relays),
	    cmocka_unit_test(test_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
