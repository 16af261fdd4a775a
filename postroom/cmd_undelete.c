/*
 * account undelete: lists what was expunged and can still come back, by time, mailbox and
 * words, and brings it back.  Times are durations ago, or dates in UTC.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "postroom/cli.h"
#include "store/undelete.h"
#include "text/encoding.h"
#include "text/header.h"

enum {
	WORDS_MAX = 64 * 1024,        /* bytes of a decoded field */
	LISTED_MAX = 10000,           /* messages told one by one; all are counted */
	PICKS_MAX = 16 * 1024 * 1024, /* messages brought back by one call */
};

struct undeleting {
	struct cli *cli;
	struct account_id account;
	struct slice mailbox; /* null: all */
	struct buf match;     /* folded; empty: all */
	json_t *list;
	struct expunged_pick *picks;
	size_t count, room;
	uint64_t bytes;
};

/* "2h", "3d", "2026-11-24", "2026-11-24T03:47", with seconds and "Z" if wanted. */
static bool
time_parse(const char *text, int64_t *out_s)
{
	static const char *const forms[] = {
	    "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"};
	uint64_t ms;
	if (conf_parse_duration_ms(slice_from_cstr(text), &ms)) {
		*out_s = clock_wall_s() - (int64_t)(ms / 1000);
		return true;
	}
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = {0};
		const char *end = strptime(text, forms[i], &tm);
		if (end && *end == '\0') {
			*out_s = (int64_t)timegm(&tm);
			return true;
		}
	}
	return false;
}

/* A field of the message, decoded. */
static void
field_get(struct slice header, const char *name, struct buf *out)
{
	struct header_field field;
	buf_reset(out);
	if (header_find(header, slice_from_cstr(name), &field))
		header_decode(field.value, out);
}

static bool
field_matches(struct undeleting *u, struct slice header, const char *name)
{
	struct buf text AUTO_BUF, folded AUTO_BUF;
	buf_init(&text, WORDS_MAX);
	buf_init(&folded, WORDS_MAX * 3);
	field_get(header, name, &text);
	utf8_casefold(buf_slice(&text), &folded);
	return slice_find(buf_slice(&folded), buf_slice(&u->match)) != SIZE_MAX;
}

static void
row_add(struct undeleting *u, const struct expunged_message *message, struct slice header)
{
	struct buf text AUTO_BUF;
	char when[32] = "";
	struct tm tm;
	time_t time = (time_t)message->expunged_s;
	json_t *row = json_object();
	buf_init(&text, WORDS_MAX);
	if (gmtime_r(&time, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_object_set_new(row, "expunged", json_string(when));
	json_object_set_new(row, "mailbox",
	    message->name.ptr ? json_stringn(message->name.ptr, message->name.len)
			      : json_null());
	json_object_set_new(row, "uid", json_integer(message->record.uid));
	json_object_set_new(row, "bytes", json_integer((json_int_t)message->record.size));
	static const char *const names[] = {"From", "Subject"};
	static const char *const keys[] = {"from", "subject"};
	for (size_t i = 0; i < 2; i++) {
		field_get(header, names[i], &text);
		struct slice value = slice_trim(buf_slice(&text));
		json_t *string = json_stringn(value.ptr ? value.ptr : "", value.len);
		json_object_set_new(row, keys[i], string ? string : json_string(""));
	}
	json_array_append_new(u->list, row);
}

static bool
message_look(const struct expunged_message *message, void *arg)
{
	struct undeleting *u = arg;
	struct body_handle body = {.fd = -1};
	struct slice header = SLICE("");
	if (u->mailbox.ptr &&
	    (!message->name.ptr || !slice_equal(u->mailbox, message->name)))
		return true;
	if (message_body_open(u->cli->reader, u->account, &message->record, &body) ==
	    STATUS_OK) {
		header = body_handle_bytes(&body);
		header = slice_sub(header, 0, header_block_length(header));
	}
	bool wanted = u->match.len == 0 || field_matches(u, header, "Subject") ||
	              field_matches(u, header, "From") ||
	              field_matches(u, header, "To") || field_matches(u, header, "Cc");
	if (wanted && u->count < LISTED_MAX)
		row_add(u, message, header);
	body_handle_close(&body);
	if (!wanted)
		return true;
	if (u->count == u->room) {
		u->room = u->room ? u->room * 2 : 256;
		u->picks = xrealloc(u->picks, u->room * sizeof(*u->picks));
	}
	u->picks[u->count++] = (struct expunged_pick){
	    message->expunged_s, message->mailbox, message->record.uid};
	u->bytes += message->record.size;
	return u->count < PICKS_MAX;
}

static void
list_print(const json_t *list)
{
	size_t index;
	json_t *row;
	json_array_foreach(list, index, row)
	{
		const char *mailbox = json_string_value(json_object_get(row, "mailbox"));
		printf("%s  %-16s %10lld bytes  %s  %s\n",
		    json_string_value(json_object_get(row, "expunged")),
		    mailbox ? mailbox : "(gone: INBOX)",
		    (long long)json_integer_value(json_object_get(row, "bytes")),
		    json_string_value(json_object_get(row, "from")),
		    json_string_value(json_object_get(row, "subject")));
	}
}

static int
report(struct undeleting *u, bool dry, uint64_t back)
{
	if (u->cli->json) {
		json_t *out = json_pack("{s:I, s:I, s:I, s:b, s:O}", "found",
		    (json_int_t)u->count, "bytes", (json_int_t)u->bytes, "back",
		    (json_int_t)back, "dry_run", dry, "list", u->list);
		cli_json_print(out);
		json_decref(out);
	} else if (dry) {
		list_print(u->list);
		printf("%zu messages, %" PRIu64 " bytes can come back\n", u->count,
		    u->bytes);
	} else {
		printf("%" PRIu64 " messages are back\n", back);
	}
	return CLI_OK;
}

static int
undelete(struct undeleting *u, int64_t since_s, int64_t until_s)
{
	struct cli *cli = u->cli;
	bool dry = cli_option(cli, "--dry-run") != NULL;
	uint64_t back = 0;
	enum status status = message_expunged_each(
	    cli->reader, u->account, since_s, until_s, message_look, u);
	store_reader_end(cli->reader);
	if (status == STATUS_OK && !dry)
		status = message_undelete_picks(
		    cli->reader, u->account, u->picks, u->count, &back);
	if (status == STATUS_OK)
		return report(u, dry, back);
	if (status != STATUS_QUOTA)
		return cli_fail_status(
		    status, "bring back mail of %s", cli->arguments[0]);
	report(u, dry, back);
	return cli_fail(CLI_IO,
	    "%s is full: %" PRIu64 " of %zu messages are back; give it more room "
	    "(postroom account set %s --quota SIZE or --quota-messages N) and do it "
	    "again",
	    cli->arguments[0], back, u->count, cli->arguments[0]);
}

int
cmd_account_undelete(struct cli *cli)
{
	struct directory_account account;
	int code = cli_account(cli, &account);
	if (code != CLI_OK)
		return code;
	const char *since = cli_option(cli, "--since");
	const char *until = cli_option(cli, "--until");
	const char *match = cli_option(cli, "--match");
	int64_t since_s = 0;
	int64_t until_s = INT64_MAX;
	if ((since && !time_parse(since, &since_s)) ||
	    (until && !time_parse(until, &until_s)))
		return cli_fail(CLI_USAGE,
		    "--since and --until want a duration such as 2h or "
		    "3d, or a date such as 2026-11-24T03:47 (UTC)");
	struct undeleting u = {.cli = cli, .account = account.id, .list = json_array()};
	struct arena *arena = arena_new(64 * 1024);
	buf_init(&u.match, WORDS_MAX);
	if (match)
		utf8_casefold(slice_from_cstr(match), &u.match);
	const char *mailbox = cli_option(cli, "--mailbox");
	if (mailbox &&
	    mailbox_name_check(slice_from_cstr(mailbox), arena, &u.mailbox) != STATUS_OK)
		code = cli_fail(CLI_DATA, "\"%s\" is no mailbox's name", mailbox);
	if (code == CLI_OK)
		code = undelete(&u, since_s, until_s);
	json_decref(u.list);
	buf_fini(&u.match);
	free(u.picks);
	arena_free(&arena);
	return code;
}
