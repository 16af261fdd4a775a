/*
 * Invariants 20 to 26: one walk over the directory's keys.  They come in the order A, C,
 * D, E, F, G, I, J, K, L, R, W, Z, r, so a domain is known before its aliases and
 * accounts.
 */
#include "store/store_check_int.h"

struct seen_domain {
	struct slice name;
	struct domain_record record;
	uint32_t accounts;
	uint32_t aliases;
	bool postmaster;
};

struct look {
	struct check *check;
	struct engine_txn *txn;
	struct vec domains;  /* struct seen_domain by name */
	struct vec accounts; /* struct account_id: to be looked for in their partitions */
	uint32_t next_relay;
	uint64_t relays;
	uint64_t relay_backs;
};

static struct seen_domain *
domain_find(struct look *look, struct slice name)
{
	struct seen_domain *domains = look->domains.ptr;
	size_t low = 0;
	size_t high = look->domains.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (slice_compare(domains[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < look->domains.count && slice_equal(domains[low].name, name)
	           ? &domains[low]
	           : NULL;
}

static bool
get(struct look *look, const struct key *key, struct slice *out)
{
	return engine_get(look->txn, key_slice(key), out) == STATUS_OK;
}

static void
look_back(struct look *look, struct slice key, struct slice value)
{
	struct key login_key;
	struct login_record login;
	struct slice record;
	if (key.len != 17 || value.len < 2 || value.len > ENGINE_KEY_MAX ||
	    value.ptr[0] != STORE_RECORD_VERSION) {
		check_problem(look->check, 20, "damaged account back-reference");
		return;
	}
	key_begin(&login_key, KEY_LOGIN);
	key_bytes(&login_key, slice_from(value, 1));
	if (!get(look, &login_key, &record) || !login_decode(record, &login) ||
	    memcmp(login.id.v, key.ptr + 1, 16) != 0)
		check_problem(look->check, 20,
		    "an account back-reference leads to no login of that account");
}

static void
look_domain(struct look *look, struct slice key, struct slice value)
{
	struct domain_record record;
	struct slice name = slice_from(key, 1);
	if (!domain_decode(value, &record)) {
		check_problem(
		    look->check, 21, "domain %.*s: damaged record", SLICE_ARG(name));
		return;
	}
	struct seen_domain *domain = vec_push(&look->domains, sizeof(*domain));
	if (domain)
		*domain = (struct seen_domain){.name = name, .record = record};
}

static void
look_alias(struct look *look, struct slice key, struct slice value)
{
	struct slice targets[DIRECTORY_ALIAS_TARGETS_MAX];
	size_t count;
	struct slice local = slice_from(key, 1);
	struct slice name = slice_split(&local, '\0');
	struct seen_domain *domain = domain_find(look, name);
	struct key login_key;
	struct slice login;
	if (!alias_decode(value, targets, &count) || count == 0)
		check_problem(look->check, 21, "alias %.*s@%.*s: damaged record",
		    SLICE_ARG(local), SLICE_ARG(name));
	if (domain)
		domain->aliases++;
	else
		check_problem(look->check, 21, "alias %.*s@%.*s: its domain is not there",
		    SLICE_ARG(local), SLICE_ARG(name));
	if (key_address(&login_key, KEY_LOGIN, local, name) &&
	    get(look, &login_key, &login))
		check_problem(look->check, 22, "%.*s@%.*s is alias and account",
		    SLICE_ARG(local), SLICE_ARG(name));
}

static void
look_login(struct look *look, struct slice key, struct slice value)
{
	struct login_record login;
	struct key back_key;
	struct slice back;
	struct slice local = slice_from(key, 1);
	struct slice name = slice_split(&local, '\0');
	struct seen_domain *domain = domain_find(look, name);
	if (!login_decode(value, &login)) {
		check_problem(look->check, 20, "account %.*s@%.*s: damaged record",
		    SLICE_ARG(local), SLICE_ARG(name));
		return;
	}
	key_id(&back_key, KEY_LOGIN_BACK, login.id);
	if (!get(look, &back_key, &back) || back.len < 2 ||
	    !slice_equal(slice_from(back, 1), slice_from(key, 1)))
		check_problem(look->check, 20, "account %.*s@%.*s: no back-reference",
		    SLICE_ARG(local), SLICE_ARG(name));
	if (domain) {
		domain->accounts++;
		if (memcmp(&domain->record.postmaster, &login.id, sizeof(login.id)) == 0)
			domain->postmaster = true;
	} else {
		check_problem(look->check, 20,
		    "account %.*s@%.*s: its domain is not there", SLICE_ARG(local),
		    SLICE_ARG(name));
	}
	struct account_id *id = vec_push(&look->accounts, sizeof(*id));
	if (id)
		*id = login.id;
}

static void
look_install(struct look *look, struct slice key, struct slice value)
{
	if (key.len != 1 || value.len != INSTALL_SIZE ||
	    value.ptr[0] != STORE_RECORD_VERSION)
		check_problem(look->check, 23, "damaged installation record");
	else
		look->next_relay = be32_get(value.ptr + INSTALL_NEXT_RELAY);
}

static void
look_relay(struct look *look, struct slice key, struct slice value)
{
	struct relay_record relay;
	struct key back_key;
	struct slice back;
	look->relays++;
	if (!relay_decode(value, &relay)) {
		check_problem(look->check, 23, "damaged relay rule");
		return;
	}
	key_begin(&back_key, KEY_RELAY_BACK);
	key_u32(&back_key, relay.number);
	if (!get(look, &back_key, &back) || back.len < 1 ||
	    !slice_equal(slice_from(back, 1), slice_from(key, 1)))
		check_problem(look->check, 23, "relay rule r%u: no back-reference",
		    (unsigned)relay.number);
	if (relay.number >= look->next_relay)
		check_problem(look->check, 23, "relay rule r%u: above the counter",
		    (unsigned)relay.number);
}

static void
look_list(struct look *look, struct slice key, struct slice value)
{
	struct slice entries[DIRECTORY_ALIAS_TARGETS_MAX];
	struct key back_key;
	struct slice back;
	size_t count;
	if (key.len != 17 || !alias_decode(value, entries, &count) || count == 0) {
		check_problem(look->check, 25, "damaged list of an account");
		return;
	}
	key_begin(&back_key, KEY_LOGIN_BACK);
	key_bytes(&back_key, slice_from(key, 1));
	if (!get(look, &back_key, &back))
		check_problem(look->check, 25, "a list is of no account");
}

static void
look_forward(struct look *look, struct slice key, struct slice value)
{
	struct forward_record forward;
	struct key back_key;
	struct slice back;
	if (key.len != 17 || !forward_decode(value, &forward)) {
		check_problem(look->check, 25, "damaged forwards of an account");
		return;
	}
	key_begin(&back_key, KEY_LOGIN_BACK);
	key_bytes(&back_key, slice_from(key, 1));
	if (!get(look, &back_key, &back))
		check_problem(look->check, 25, "forwards are of no account");
}

static void
look_journal(struct look *look, struct slice key, struct slice value)
{
	struct forward_record journal;
	struct slice name = slice_from(key, 1);
	if (!forward_decode(value, &journal) || journal.count != 1)
		check_problem(
		    look->check, 25, "domain %.*s: damaged journal", SLICE_ARG(name));
	if (!domain_find(look, name))
		check_problem(look->check, 25, "journal of %.*s: its domain is not there",
		    SLICE_ARG(name));
}

static void
look_apop(struct look *look, struct slice key, struct slice value)
{
	struct slice secret;
	struct slice record;
	struct key login_key;
	struct slice local = slice_from(key, 1);
	struct slice name = slice_split(&local, '\0');
	const struct seen_domain *domain = domain_find(look, name);
	key_begin(&login_key, KEY_LOGIN);
	key_bytes(&login_key, slice_from(key, 1));
	if (!apop_decode(value, &secret))
		check_problem(look->check, 26, "account %.*s@%.*s: damaged APOP secret",
		    SLICE_ARG(local), SLICE_ARG(name));
	if (!domain || !domain->record.apop)
		check_problem(look->check, 26,
		    "account %.*s@%.*s: an APOP secret, but its domain has no APOP",
		    SLICE_ARG(local), SLICE_ARG(name));
	if (!get(look, &login_key, &record))
		check_problem(look->check, 26, "an APOP secret is of no account");
}

static void
look_key(struct look *look, struct slice key, struct slice value)
{
	switch (key.len ? key.ptr[0] : 0) {
	case KEY_LOGIN_BACK:
		look_back(look, key, value);
		break;
	case KEY_DOMAIN:
		look_domain(look, key, value);
		break;
	case KEY_ALIAS:
		look_alias(look, key, value);
		break;
	case KEY_GONE:
		if (key.len != 17)
			check_problem(
			    look->check, 24, "damaged mark of a removed account");
		break;
	case KEY_INSTALL:
		look_install(look, key, value);
		break;
	case KEY_LOGIN:
		look_login(look, key, value);
		break;
	case KEY_RELAY:
		look_relay(look, key, value);
		break;
	case KEY_RELAY_BACK:
		look->relay_backs++;
		break;
	case KEY_APOP:
		look_apop(look, key, value);
		break;
	case KEY_SHARE:
		if (key.len != SHARE_KEY_SIZE || value.len != 1 ||
		    value.ptr[0] != STORE_RECORD_VERSION)
			check_problem(look->check, 1, "damaged mark of a sharer");
		break;
	case KEY_SEND_AS:
	case KEY_IMAP_WITHOUT:
		look_list(look, key, value);
		break;
	case KEY_FORWARD:
		look_forward(look, key, value);
		break;
	case KEY_JOURNAL:
		look_journal(look, key, value);
		break;
	default:
		check_problem(look->check, 1, "key of an unknown class");
		break;
	}
}

static void
check_domain_sums(struct look *look)
{
	static const struct account_id none;
	const struct seen_domain *domains = look->domains.ptr;
	for (size_t i = 0; i < look->domains.count; i++) {
		const struct seen_domain *d = &domains[i];
		bool no_postmaster =
		    memcmp(&d->record.postmaster, &none, sizeof(none)) == 0;
		if (d->accounts != d->record.accounts || d->aliases != d->record.aliases)
			check_problem(look->check, 21,
			    "domain %.*s counts %u accounts and %u aliases, has %u and "
			    "%u",
			    SLICE_ARG(d->name), (unsigned)d->record.accounts,
			    (unsigned)d->record.aliases, (unsigned)d->accounts,
			    (unsigned)d->aliases);
		if (d->accounts ? !d->postmaster : !no_postmaster)
			check_problem(look->check, 21,
			    "domain %.*s: its postmaster is not one of its accounts",
			    SLICE_ARG(d->name));
	}
	if (look->relays != look->relay_backs)
		check_problem(look->check, 23, "%llu relay rules, %llu back-references",
		    (unsigned long long)look->relays,
		    (unsigned long long)look->relay_backs);
}

/* In new snapshots: an entry that has gone meanwhile is no problem. */
static enum status
check_account_there(struct check *check, struct account_id id)
{
	struct engine_txn *txn;
	struct account_state account;
	struct key key;
	store_reader_end(check->reader);
	enum status status = account_snap(check->reader, id, &txn, &account);
	if (status == STATUS_OK || status == STATUS_CORRUPT)
		return STATUS_OK; /* check_account tells damage */
	if (status != STATUS_NOT_FOUND)
		return status;
	store_reader_end(check->reader);
	status = directory_snap(check->reader, &txn);
	if (status == STATUS_OK)
		status = login_key_by_id(txn, id, &key);
	if (status == STATUS_OK)
		check_problem(check, 24, "account %.*s has no mailboxes",
		    (int)(key.len - 1), key.b + 1);
	return status == STATUS_NOT_FOUND || status == STATUS_CORRUPT ? STATUS_OK
	                                                              : status;
}

enum status
check_directory(struct check *check)
{
	struct look look = {.check = check, .next_relay = UINT32_MAX};
	struct slice key;
	struct slice value;
	check_where(check, "directory");
	enum status status = directory_snap(check->reader, &look.txn);
	if (status != STATUS_OK)
		return status;
	struct engine_cursor *cursor =
	    engine_cursor_open(look.txn, slice_make("", 0), SLICE_NULL, false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK)
		look_key(&look, key, value);
	engine_cursor_close(&cursor);
	if (status == STATUS_NOT_FOUND)
		status = STATUS_OK;
	if (status == STATUS_OK)
		check_domain_sums(&look);
	const struct account_id *ids = look.accounts.ptr;
	for (size_t i = 0; i < look.accounts.count && status == STATUS_OK; i++)
		status = check_account_there(check, ids[i]);
	vec_fini(&look.domains);
	vec_fini(&look.accounts);
	return status;
}
