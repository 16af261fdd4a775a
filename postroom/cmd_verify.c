/*
 * verify: reads every message and derived record beside running daemons, names what is
 * damaged, makes derived records anew and puts damaged messages into quarantine.
 */
#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

#include "postroom/cli.h"
#include "store/check.h"

struct verify_output {
	const struct cli *cli;
	json_t *findings;
	bool progress_shown;
};

static const char *
finding_text(const struct verify_finding *finding)
{
	switch (finding->what) {
	case VERIFY_DERIVED:
		return "the derived record was damaged";
	case VERIFY_SEARCH:
		return "the search index was damaged";
	case VERIFY_FRAME:
		return "the frame in the file was damaged";
	case VERIFY_MESSAGE:
		break;
	default:
		return "unknown";
	}
	if (finding->status == STATUS_OK)
		return "reads well again, out of quarantine";
	return finding->status == STATUS_IO ? "cannot be read from the disk"
	                                    : "the message is damaged";
}

static json_t *
json_of(struct slice text)
{
	json_t *string = text.ptr ? json_stringn(text.ptr, text.len) : NULL;
	return string ? string : json_null();
}

static void
finding(const struct verify_finding *finding, void *arg)
{
	struct verify_output *out = arg;
	char segment[16];
	snprintf(segment, sizeof segment, "%08x", finding->segment);
	if (out->cli->json) {
		json_array_append_new(out->findings,
		    json_pack("{s:s, s:b, s:o, s:o, s:I, s:b, s:o, s:I, s:s}", "problem",
			finding_text(finding), "healed", finding->healed, "account",
			json_of(finding->login), "mailbox", json_of(finding->mailbox),
			"uid", (json_int_t)finding->uid, "expunged", finding->expunged,
			"queue_id", json_of(finding->queue_id), "body",
			(json_int_t)finding->body, "segment", segment));
		return;
	}
	if (finding->what == VERIFY_SEARCH) {
		printf("%.*s: %s%s\n", (int)finding->login.len, finding->login.ptr,
		    finding_text(finding), finding->healed ? ", will be made anew" : "");
		return;
	}
	if (finding->login.ptr)
		printf("%.*s %.*s UID %u%s: ", (int)finding->login.len,
		    finding->login.ptr, (int)finding->mailbox.len, finding->mailbox.ptr,
		    finding->uid, finding->expunged ? " (deleted)" : "");
	else if (finding->queue_id.ptr)
		printf("queue %.*s: ", (int)finding->queue_id.len, finding->queue_id.ptr);
	printf("%s%s (body %016" PRIx64 " in segment %s)\n", finding_text(finding),
	    finding->healed && finding->status != STATUS_OK ? ", healed" : "",
	    finding->body, segment);
}

static void
verify_progress(uint64_t done, uint64_t total, void *arg)
{
	struct verify_output *out = arg;
	if (out->cli->quiet || out->cli->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\rread %" PRIu64 " of %" PRIu64, done, total);
	out->progress_shown = true;
}

static void
totals_print(struct verify_output *out, const struct store_verify_totals *totals)
{
	if (out->cli->json) {
		json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "bodies",
		    (json_int_t)totals->bodies, "bytes", (json_int_t)totals->bytes,
		    "damaged", (json_int_t)totals->findings, "healed",
		    (json_int_t)totals->healed, "quarantined",
		    (json_int_t)totals->quarantined, "released",
		    (json_int_t)totals->released, "findings", out->findings);
		cli_json_print(json);
		json_decref(json);
		return;
	}
	json_decref(out->findings);
	if (!out->cli->quiet)
		printf("%" PRIu64 " messages (%" PRIu64 " bytes) read: %" PRIu64
		       " findings, %" PRIu64 " healed, %" PRIu64 " in quarantine\n",
		    totals->bodies, totals->bytes, totals->findings, totals->healed,
		    totals->quarantined);
}

int
cmd_verify(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct verify_output out = {.cli = cli, .findings = json_array()};
	struct store_verify_options options = {
	    .look_only = cli_option(cli, "--look-only") != NULL,
	    .finding = finding,
	    .progress = verify_progress,
	    .arg = &out,
	};
	struct store_verify_totals totals;
	enum status status = store_verify(cli->store, &options, &totals);
	if (out.progress_shown)
		fputc('\n', stderr);
	if (status != STATUS_OK) {
		json_decref(out.findings);
		return cli_fail_status(status, "verify the store");
	}
	totals_print(&out, &totals);
	if (totals.findings > 0)
		return cli_fail(CLI_FINDINGS,
		    "damage was found: look after the disk, and restore what is in "
		    "quarantine from a backup");
	return CLI_OK;
}
