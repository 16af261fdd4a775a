/*
 * Forwarding on the command line: where an account's mail goes, a domain's journal, and
 * what an address leads to.  See postroom/forward.h.
 */
#include "postroom/forward.h"

#include <string.h>

#include "text/address.h"

enum { EXPLAIN_ARENA_MAX = 4 * 1024 * 1024, FORWARD_TEXT_MAX = 16 * 1024 /* bytes */ };

static json_t *
json_slice(struct slice s)
{
	return json_stringn(s.ptr ? s.ptr : "", s.len);
}

/* ---- account set ---- */

/* Appends the addresses with their domains as A-labels, one a line of `text`. */
static int
addresses_read(struct slice list, struct buf *text, size_t *out_count)
{
	*out_count = 0;
	while (list.len > 0) {
		struct slice entry = slice_trim(slice_split(&list, ','));
		size_t at = slice_rindex(entry, '@');
		if (at == SIZE_MAX || at == 0)
			return cli_fail(
			    CLI_DATA, "\"%.*s\" is no address", SLICE_ARG(entry));
		buf_append(text, slice_sub(entry, 0, at + 1));
		if (!address_domain_to_ascii(slice_from(entry, at + 1), text))
			return cli_fail(
			    CLI_DATA, "\"%.*s\" is no address", SLICE_ARG(entry));
		buf_append_byte(text, '\n');
		if (++*out_count > DIRECTORY_FORWARD_MAX)
			return cli_fail(CLI_DATA, "an account forwards to %d at most",
			    DIRECTORY_FORWARD_MAX);
	}
	return buf_ok(text) ? CLI_OK : cli_fail(CLI_DATA, "the addresses are too long");
}

/* What is set now, for --keep alone. */
static int
forward_now(struct cli *cli, struct directory_forward *out, struct buf *text)
{
	struct directory_account account;
	int code = cli_account(cli, &account);
	if (code != CLI_OK)
		return code;
	enum status status = directory_forward_get(cli->reader, account.id, out);
	if (status != STATUS_OK)
		return cli_fail_status(status, "read account %s", cli->arguments[0]);
	if (out->count == 0)
		return cli_fail(CLI_USAGE,
		    "%s forwards nothing: give --forward with --keep", cli->arguments[0]);
	for (size_t i = 0; i < out->count; i++) {
		buf_append(text, out->to[i]);
		buf_append_byte(text, '\n');
	}
	return CLI_OK;
}

int
forward_option(struct cli *cli, bool *out_set)
{
	const char *list = cli_option(cli, "--forward");
	const char *keep = cli_option(cli, "--keep");
	struct directory_forward forward = {.keep = true};
	*out_set = list || keep;
	if (!*out_set)
		return CLI_OK;
	if (keep && strcmp(keep, "yes") != 0 && strcmp(keep, "no") != 0)
		return cli_fail(CLI_USAGE, "--keep is yes or no");
	struct buf text AUTO_BUF;
	buf_init(&text, FORWARD_TEXT_MAX);
	int code = CLI_OK;
	if (!list)
		code = forward_now(cli, &forward, &text);
	else if (strcmp(list, "none") != 0)
		code = addresses_read(slice_from_cstr(list), &text, &forward.count);
	if (code != CLI_OK)
		return code;
	if (keep)
		forward.keep = strcmp(keep, "yes") == 0;
	struct slice rest = buf_slice(&text);
	for (size_t i = 0; i < forward.count; i++)
		forward.to[i] = slice_split(&rest, '\n');
	enum status status =
	    directory_forward_set(cli->reader, cli_argument(cli, 0), &forward);
	if (status == STATUS_INVALID)
		return cli_fail(
		    CLI_DATA, "--forward is a comma list of addresses, or none");
	if (status == STATUS_NOT_FOUND)
		return cli_fail(
		    CLI_NO_OBJECT, "there is no account %s", cli->arguments[0]);
	return status == STATUS_OK
	           ? CLI_OK
	           : cli_fail_status(status, "change account %s", cli->arguments[0]);
}

json_t *
forward_json(struct cli *cli, struct account_id account)
{
	struct directory_forward forward;
	if (directory_forward_get(cli->reader, account, &forward) != STATUS_OK ||
	    forward.count == 0)
		return NULL;
	json_t *out = json_object();
	json_t *to = json_array();
	for (size_t i = 0; i < forward.count; i++)
		json_array_append_new(to, json_slice(forward.to[i]));
	json_object_set_new(out, "to", to);
	json_object_set_new(out, "keep", json_boolean(forward.keep));
	return out;
}

/* ---- domain set ---- */

int
journal_option(struct cli *cli, struct slice domain, bool *out_set)
{
	const char *address = cli_option(cli, "--journal");
	const char *of = cli_option(cli, "--journal-of");
	struct directory_journal journal = {.in = true, .out = true};
	*out_set = address != NULL;
	if (!address)
		return of ? cli_fail(CLI_USAGE, "--journal-of goes with --journal")
		          : CLI_OK;
	if (of && strcmp(of, "both") != 0) {
		journal.in = strcmp(of, "in") == 0;
		journal.out = strcmp(of, "out") == 0;
		if (!journal.in && !journal.out)
			return cli_fail(CLI_USAGE, "--journal-of is in, out or both");
	}
	struct buf text AUTO_BUF;
	buf_init(&text, FORWARD_TEXT_MAX);
	size_t count = 0;
	if (strcmp(address, "none") != 0) {
		int code = addresses_read(slice_from_cstr(address), &text, &count);
		if (code != CLI_OK)
			return code;
		if (count != 1)
			return cli_fail(CLI_USAGE, "--journal is one address, or none");
		journal.to = slice_sub(buf_slice(&text), 0, text.len - 1);
	}
	enum status status = directory_journal_set(cli->reader, domain, &journal);
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA, "--journal is an address, or none");
	return status == STATUS_OK
	           ? CLI_OK
	           : cli_fail_status(status, "change domain %.*s", SLICE_ARG(domain));
}

json_t *
journal_json(struct cli *cli, struct slice domain)
{
	struct directory_journal journal;
	if (directory_journal_get(cli->reader, domain, &journal) != STATUS_OK ||
	    journal.to.len == 0)
		return NULL;
	json_t *out = json_object();
	json_object_set_new(out, "to", json_slice(journal.to));
	json_object_set_new(out, "in", json_boolean(journal.in));
	json_object_set_new(out, "out", json_boolean(journal.out));
	return out;
}

/* ---- explain ---- */

static const char *
answer_text(enum directory_answer answer)
{
	switch (answer) {
	case DIRECTORY_TARGETS:
		return "accepted";
	case DIRECTORY_NOT_LOCAL:
		return "not of a domain of ours";
	case DIRECTORY_UNKNOWN_USER:
		return "refused: no such user (550 5.1.1)";
	case DIRECTORY_LOOP:
		return "refused: too deep, too many, or in a circle (554 5.4.6)";
	}
	return "";
}

static json_t *
target_json(struct cli *cli, const struct directory_target *target, struct slice from,
    struct slice domain)
{
	json_t *row = json_object();
	struct directory_domain found;
	size_t at = slice_rindex(from, '@');
	json_object_set_new(row, "local", json_boolean(target->local));
	json_object_set_new(
	    row, "address", json_slice(target->local ? target->login : target->address));
	if (target->local)
		json_object_set_new(row, "over_quota", json_boolean(target->over_quota));
	else
		json_object_set_new(row, "sender_rewritten",
		    json_boolean(
			cli->conf->smtp.srs && at != SIZE_MAX &&
			directory_domain_find(cli->reader, slice_from(from, at + 1),
			    &found) == STATUS_NOT_FOUND));
	json_object_set_new(row, "by", json_slice(domain));
	return row;
}

void
forward_explain(struct cli *cli, struct slice from, struct slice to, json_t *out)
{
	struct arena *arena = arena_new(EXPLAIN_ARENA_MAX);
	struct directory_target *targets = NULL;
	enum directory_answer answer = DIRECTORY_UNKNOWN_USER;
	size_t count = 0;
	size_t at = slice_rindex(to, '@');
	struct slice domain = slice_from(to, at + 1);
	enum status status = directory_resolve(cli->reader, slice_sub(to, 0, at), domain,
	    slice_from_cstr(cli->conf->smtp.recipient_delimiter), arena, &answer,
	    &targets, &count);
	json_t *rows = json_array();
	for (size_t i = 0; status == STATUS_OK && i < count; i++)
		json_array_append_new(rows, target_json(cli, &targets[i], from, domain));
	json_object_set_new(out, "answer",
	    json_string(status == STATUS_OK ? answer_text(answer) : status_text(status)));
	json_object_set_new(out, "targets", rows);
	json_t *journal = journal_json(cli, domain);
	if (journal)
		json_object_set_new(out, "journal", journal);
	arena_free(&arena);
}

void
forward_explain_print(const json_t *out)
{
	size_t i;
	json_t *row;
	printf("answer       %s\n", json_string_value(json_object_get(out, "answer")));
	json_array_foreach(json_object_get(out, "targets"), i, row)
	{
		const char *address = json_string_value(json_object_get(row, "address"));
		if (json_is_true(json_object_get(row, "local")))
			printf("delivered    %s%s\n", address,
			    json_is_true(json_object_get(row, "over_quota"))
				? " (the mailbox is full)"
				: "");
		else
			printf("forwarded    %s%s%s\n", address,
			    json_is_true(json_object_get(row, "sender_rewritten"))
				? ", with a rewritten sender (SRS) of "
				: "",
			    json_is_true(json_object_get(row, "sender_rewritten"))
				? json_string_value(json_object_get(row, "by"))
				: "");
	}
	const json_t *journal = json_object_get(out, "journal");
	if (journal && json_is_true(json_object_get(journal, "in")))
		printf("journal      %s\n",
		    json_string_value(json_object_get(journal, "to")));
}
