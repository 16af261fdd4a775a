/*
 * compact: gives the space of deleted mail back to the disk, step by step beside running
 * daemons (which do the same by themselves, less thoroughly): first what is behind the
 * undelete window is purged, then segments are compacted.  What a daemon writes to now
 * stays as it is.
 */
#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "store/store_maintain.h"

static void
compact_print(const struct cli *cli, const struct store_space *before,
    const struct store_space *after, const struct store_compaction *done)
{
	if (cli->json) {
		json_t *out = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		    "bytes_before", (json_int_t)before->file_bytes, "bytes_after",
		    (json_int_t)after->file_bytes, "live_bytes",
		    (json_int_t)after->live_bytes, "growing_bytes",
		    (json_int_t)after->growing_bytes, "index_bytes",
		    (json_int_t)after->index_bytes, "moved_messages",
		    (json_int_t)done->moved_messages, "moved_bytes",
		    (json_int_t)done->moved_bytes, "waiting_files",
		    (json_int_t)after->retired, "unreadable_files",
		    (json_int_t)done->unreadable);
		cli_json_print(out);
		json_decref(out);
	} else if (!cli->quiet) {
		printf("%" PRIu64 " bytes before, %" PRIu64 " after, %" PRIu64
		       " of them live; %" PRIu64 " messages (%" PRIu64 " bytes) moved\n",
		    before->file_bytes, after->file_bytes, after->live_bytes,
		    done->moved_messages, done->moved_bytes);
		if (after->retired > 0)
			printf("%" PRIu64 " files wait for a reader or a backup to end\n",
			    after->retired);
	}
}

int
cmd_compact(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct store_compaction done = {0};
	struct store_space before, after;
	bool progress = !cli->quiet && !cli->json && isatty(STDERR_FILENO);
	enum status status = store_space(cli->store, &before);
	/* Each call is bounded; a call without anything left to do says so. */
	while (store_maintain(cli->store, clock_wall_s()))
		continue;
	do {
		if (status == STATUS_OK)
			status = store_compact_step(cli->store, &done);
		if (progress)
			fprintf(stderr, "\rmoved %" PRIu64 " bytes", done.moved_bytes);
	} while (status == STATUS_OK && done.more);
	if (progress)
		fputc('\n', stderr);
	if (status == STATUS_OK)
		status = store_space(cli->store, &after);
	if (status != STATUS_OK)
		return cli_fail_status(status, "compact the store");
	compact_print(cli, &before, &after, &done);
	if (done.unreadable > 0)
		return cli_fail(CLI_FINDINGS,
		    "%u files cannot be read: \"postroom verify\" names what is in them",
		    done.unreadable);
	return CLI_OK;
}
