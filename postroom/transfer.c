/*
 * See transfer.h.  Problems and progress go to standard error as they come, rows of
 * mailboxes to standard output (or all into one JSON object at the end).
 *
 * Thread: the command's one.
 */
#include "postroom/transfer.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"

enum { PROGRESS_MS = 500 };

/* ---- hashes ---- */
void
mail_hasher_init(struct mail_hasher *hasher)
{
	hasher->context = EVP_MD_CTX_new();
	ENSURE(hasher->context);
}

void
mail_hasher_fini(struct mail_hasher *hasher)
{
	EVP_MD_CTX_free(hasher->context);
	hasher->context = NULL;
}

void
mail_hash_begin(struct mail_hasher *hasher)
{
	ENSURE(EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL) == 1);
}

void
mail_hash_add(struct mail_hasher *hasher, struct slice bytes)
{
	ENSURE(EVP_DigestUpdate(hasher->context, bytes.ptr, bytes.len) == 1);
}

void
mail_hash_end(struct mail_hasher *hasher, struct mail_hash *out)
{
	unsigned char whole[EVP_MAX_MD_SIZE];
	ENSURE(EVP_DigestFinal_ex(hasher->context, whole, NULL) == 1);
	memcpy(out->v, whole, sizeof(out->v));
}

/* ---- telling ---- */
void
transfer_init(struct transfer *transfer, struct cli *cli, const char *verb)
{
	*transfer = (struct transfer){
	    .cli = cli,
	    .verb = verb,
	    .dry_run = cli_option(cli, "--dry-run") != NULL,
	    .folders = json_array(),
	    .problems = json_array(),
	};
}

static void
line_end(struct transfer *transfer)
{
	if (transfer->shown)
		fputc('\n', stderr);
	transfer->shown = false;
}

void
transfer_problem(const char *where, const char *text, void *arg)
{
	struct transfer *transfer = arg;
	if (++transfer->problem_count > TRANSFER_PROBLEMS_MAX)
		return;
	line_end(transfer);
	fprintf(stderr, "%s: %s\n", where, text);
	json_t *row = json_object();
	json_t *place = json_string(where); /* null for a name that is no UTF-8 */
	json_object_set_new(row, "where", place ? place : json_string("?"));
	json_object_set_new(row, "problem", json_string(text));
	json_array_append_new(transfer->problems, row);
}

void
transfer_progress(struct transfer *transfer, struct slice mailbox,
    const struct transfer_counts *counts, uint64_t expected)
{
	if (transfer->cli->quiet || !isatty(STDERR_FILENO))
		return;
	uint64_t now = clock_mono_ms();
	if (now < transfer->shown_at_ms + PROGRESS_MS)
		return;
	transfer->shown_at_ms = now;
	transfer->shown = true;
	fprintf(stderr,
	    "\r\033[K%.*s: %" PRIu64 " of %" PRIu64 " messages, %" PRIu64 " MB",
	    (int)(mailbox.len > 40 ? 40 : mailbox.len), mailbox.ptr, counts->messages,
	    expected, counts->bytes / 1000000);
}

static json_t *
counts_json(const struct transfer *transfer, const struct transfer_counts *counts)
{
	json_t *out = json_object();
	json_object_set_new(out, "messages", json_integer((json_int_t)counts->messages));
	json_object_set_new(out, "bytes", json_integer((json_int_t)counts->bytes));
	json_object_set_new(out, transfer->verb, json_integer((json_int_t)counts->done));
	json_object_set_new(out, "already", json_integer((json_int_t)counts->already));
	json_object_set_new(out, "failed", json_integer((json_int_t)counts->failed));
	json_object_set_new(out, "verified", json_integer((json_int_t)counts->verified));
	json_object_set_new(
	    out, "uids_kept", json_integer((json_int_t)counts->uids_kept));
	return out;
}

static void
counts_print(const struct transfer *transfer, const char *name, size_t name_len,
    const struct transfer_counts *counts)
{
	printf("%-24.*s %8" PRIu64 " messages %12" PRIu64 " bytes: %" PRIu64 " %s%s",
	    (int)name_len, name, counts->messages, counts->bytes, counts->done,
	    transfer->dry_run ? "to be " : "", transfer->verb);
	if (counts->already > 0)
		printf(", %" PRIu64 " there already", counts->already);
	if (counts->failed > 0)
		printf(", %" PRIu64 " failed", counts->failed);
	if (!transfer->dry_run)
		printf(", %" PRIu64 " verified", counts->verified);
}

void
transfer_folder(struct transfer *transfer, struct slice mailbox, uint32_t uidvalidity,
    const struct transfer_counts *counts, const char *uids)
{
	struct transfer_counts *total = &transfer->total;
	total->messages += counts->messages;
	total->bytes += counts->bytes;
	total->done += counts->done;
	total->already += counts->already;
	total->failed += counts->failed;
	total->verified += counts->verified;
	total->uids_kept += counts->uids_kept;
	json_t *row = counts_json(transfer, counts);
	json_object_set_new(row, "mailbox", json_stringn(mailbox.ptr, mailbox.len));
	json_object_set_new(row, "uidvalidity", json_integer(uidvalidity));
	json_object_set_new(row, "uids", json_string(uids));
	json_array_append_new(transfer->folders, row);
	line_end(transfer);
	if (transfer->cli->json || transfer->cli->quiet)
		return;
	counts_print(transfer, mailbox.ptr, mailbox.len, counts);
	printf("; %s\n", uids);
}

int
transfer_finish(struct transfer *transfer, const char *account, const char *path)
{
	line_end(transfer);
	struct cli *cli = transfer->cli;
	if (cli->json) {
		json_t *out = counts_json(transfer, &transfer->total);
		json_object_set_new(out, "account", json_string(account));
		json_object_set_new(out, "path", json_string(path));
		json_object_set_new(out, "dry_run", json_boolean(transfer->dry_run));
		json_object_set_new(out, "mailboxes", transfer->folders);
		json_object_set_new(out, "problem_count",
		    json_integer((json_int_t)transfer->problem_count));
		json_object_set_new(out, "problems", transfer->problems);
		cli_json_print(out);
		json_decref(out);
	} else {
		if (!cli->quiet) {
			counts_print(transfer, "in all", 6, &transfer->total);
			putchar('\n');
		}
		json_decref(transfer->folders);
		json_decref(transfer->problems);
	}
	if (transfer->problem_count == 0)
		return CLI_OK;
	return cli_fail(CLI_FINDINGS, "%" PRIu64 " problems: see the lines above",
	    transfer->problem_count);
}

/* ---- options ---- */
int
transfer_options(struct cli *cli, struct mail_source_options *out)
{
	static const struct {
		const char *word;
		enum mbox_quoting quoting;
	} quotings[] = {
	    {"auto", MBOX_QUOTING_AUTO},
	    {"rd",   MBOX_QUOTING_RD  },
	    {"o",    MBOX_QUOTING_O   },
	    {"cl",   MBOX_QUOTING_RD  },
	    {"cl2",  MBOX_QUOTING_NONE},
	};
	const char *format = cli_option(cli, "--format");
	const char *quoting = cli_option(cli, "--mbox");
	*out = (struct mail_source_options){.path = cli->arguments[1]};
	if (format && strcmp(format, "maildir++") == 0)
		out->format = MAIL_FORMAT_MAILDIR;
	else if (format && strcmp(format, "mbox") == 0)
		out->format = MAIL_FORMAT_MBOX;
	else
		return cli_fail(CLI_USAGE, "--format is one of maildir++, mbox");
	for (size_t i = 0; quoting && i < sizeof(quotings) / sizeof(quotings[0]); i++) {
		if (strcmp(quotings[i].word, quoting) == 0) {
			out->quoting = quotings[i].quoting;
			quoting = NULL;
		}
	}
	return quoting ? cli_fail(CLI_USAGE, "--mbox is one of auto, rd, o, cl, cl2")
	               : CLI_OK;
}
