/*
 * Selectors of the queue's verbs; see queue_select.h.
 */
#include "postroom/queue_select.h"

#include <string.h>

#include "base/clock.h"

/* An address, or with "@" missing a domain; null matches all. */
static bool
address_matches(const char *selector, struct slice address)
{
	if (!selector)
		return true;
	struct slice wanted = slice_from_cstr(selector);
	if (slice_index(wanted, '@') != SIZE_MAX)
		return slice_equal_nocase(address, wanted);
	size_t at = slice_rindex(address, '@');
	return at != SIZE_MAX && slice_equal_nocase(slice_from(address, at + 1), wanted);
}

static bool
name_matches(const char *selector, struct slice name)
{
	return !selector || slice_equal_nocase(name, slice_from_cstr(selector));
}

int
queue_select_read(struct cli *cli, struct queue_select *out)
{
	const char *age = cli_option(cli, "--age");
	uint64_t age_ms = 0;
	*out = (struct queue_select){
	    .from = cli_option(cli, "--from"),
	    .user = cli_option(cli, "--user"),
	    .sender = cli_option(cli, "--sender"),
	    .tenant = cli_option(cli, "--tenant"),
	    .campaign = cli_option(cli, "--campaign"),
	    .to = cli_option(cli, "--to"),
	    .site = cli_option(cli, "--site"),
	};
	if (age && !conf_parse_duration_ms(slice_from_cstr(age), &age_ms))
		return cli_fail(
		    CLI_USAGE, "--age wants a duration such as 30m, 2h or 3d");
	if (age)
		out->before_s = clock_wall_s() - (int64_t)(age_ms / 1000);
	if (out->site && strchr(out->site, '@'))
		return cli_fail(CLI_USAGE, "--site wants a domain, --to an address");
	return CLI_OK;
}

bool
queue_select_given(const struct cli *cli)
{
	static const char *const names[] = {"--from", "--to", "--site", "--user",
	    "--sender", "--tenant", "--campaign", "--age"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (cli_option(cli, names[i]))
			return true;
	return false;
}

bool
queue_select_message(
    const struct queue_select *select, const struct queue_message *message)
{
	return address_matches(select->from, message->sender) &&
	       address_matches(select->user, message->login) &&
	       name_matches(select->sender, queue_sender_name(message)) &&
	       name_matches(select->tenant, message->tenant) &&
	       name_matches(select->campaign, message->campaign) &&
	       (!select->before_s || message->created_s <= select->before_s);
}

bool
queue_select_address(const struct queue_select *select, struct slice address)
{
	return address_matches(select->to, address) &&
	       address_matches(select->site, address);
}

bool
queue_select_by_recipient(const struct queue_select *select)
{
	return select->to || select->site;
}
