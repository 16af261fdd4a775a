/*
 * export: an account's mail into Maildir++ or mbox, while it serves.  What was written is
 * read back by the code that imports it, and compared: bytes, UIDs, flags and dates.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/hashmap.h"
#include "postroom/export.h"
#include "postroom/transfer.h"
#include "store/pop3.h"
#include "text/encoding.h"

enum { EXPORT_STEP = 256 /* records read in one snapshot */ };

struct exported {
	struct mail_hash hash;
	int64_t internaldate_s;
	uint32_t uid;
	uint8_t flags;
};

struct mailbox_row {
	struct mailbox_row *next;
	struct slice name;
	uint32_t number, uidvalidity, uidnext, exists;
	bool is_mailbox, subscribed;
	struct transfer_counts counts;
	struct exported *messages;
	size_t count, room;
};

struct exporting {
	struct cli *cli;
	struct transfer transfer;
	struct account_id account;
	struct export_writer *writer;
	struct arena *arena;
	struct mail_hasher hasher;
	struct mailbox_row *rows, **rows_end;
	size_t row_count;
};

/* ---- for the writers ---- */
bool
export_fail(struct export_writer *writer, const char *where, int error)
{
	writer->problem(where, strerror(error), writer->arg);
	return false;
}

bool
export_file(struct export_writer *writer, int dir_fd, const char *name, struct slice text)
{
	char temporary[64];
	snprintf(temporary, sizeof(temporary), "%s.new", name);
	int fd = openat(dir_fd, temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool good = fd >= 0;
	while (good && text.len > 0) {
		ssize_t got = write(fd, text.ptr, text.len);
		good = got > 0;
		text = slice_from(text, got > 0 ? (size_t)got : 0);
	}
	good = good && renameat(dir_fd, temporary, dir_fd, name) == 0;
	int err = errno;
	if (fd >= 0)
		close(fd);
	return good || export_fail(writer, name, err);
}

bool
export_subscriptions(struct export_writer *writer, int dir_fd,
    const struct slice *subscribed, size_t count)
{
	struct buf text;
	buf_init(&text, 64 * 1024 * 1024);
	buf_append_cstr(&text, "V\t2\n\n");
	for (size_t i = 0; i < count; i++) {
		struct slice rest = subscribed[i];
		while (rest.len > 0) {
			mutf7_encode(slice_split(&rest, '/'), &text);
			buf_append_byte(&text, rest.ptr ? '\t' : '\n');
		}
	}
	bool good = buf_ok(&text)
	                ? export_file(writer, dir_fd, "subscriptions", buf_slice(&text))
	                : export_fail(writer, "subscriptions", EFBIG);
	buf_fini(&text);
	return good;
}

/* ---- mailboxes ---- */
static bool
row_add(const struct mailbox_info *info, void *arg)
{
	struct exporting *e = arg;
	struct mailbox_row *row = ARENA_NEW(e->arena, struct mailbox_row);
	*row = (struct mailbox_row){
	    .name = arena_copy(e->arena, info->name),
	    .number = info->number,
	    .uidvalidity = info->uidvalidity,
	    .uidnext = info->uidnext,
	    .exists = info->exists,
	    .is_mailbox = !info->exists_not,
	    .subscribed = info->subscribed,
	};
	*e->rows_end = row;
	e->rows_end = &row->next;
	e->row_count++;
	return row->name.ptr != NULL;
}

static void
exported_add(struct mailbox_row *row, const struct exported *exported)
{
	if (row->count == row->room) {
		row->room = row->room ? row->room * 2 : 256;
		row->messages =
		    xrealloc(row->messages, row->room * sizeof(*row->messages));
	}
	row->messages[row->count++] = *exported;
}

static bool
message_export(struct exporting *e, struct mailbox_row *row,
    const struct message_record *record, struct arena *arena)
{
	struct store_reader *reader = e->cli->reader;
	struct export_message message = {.record = *record};
	struct body_handle handle;
	struct pop3_record pop3 = {SLICE_NULL, 0};
	struct exported exported = {.internaldate_s = record->internaldate_s,
	    .uid = record->uid,
	    .flags = record->flags};
	enum status status = message_body_open(reader, e->account, record, &handle);
	if (status == STATUS_NOT_FOUND)
		return true; /* expunged since the list was read */
	row->counts.messages++;
	if (status != STATUS_OK) {
		char text[128];
		char *where = slice_to_cstr(row->name);
		snprintf(text, sizeof(text), "message with UID %" PRIu32 ": %s",
		    record->uid, status_text(status));
		transfer_problem(where, text, &e->transfer);
		row->counts.failed++;
		free(where);
		return true;
	}
	if (pop3_record_get(reader, e->account, row->number, record->uid, &pop3) ==
		STATUS_OK &&
	    pop3.uidl.len > 0)
		message.uidl = arena_copy(arena, pop3.uidl);
	store_reader_end(reader); /* the handle stays */
	message.bytes = body_handle_bytes(&handle);
	row->counts.bytes += message.bytes.len;
	row->counts.done++;
	bool good = true;
	if (!e->transfer.dry_run) {
		mail_hash_begin(&e->hasher);
		mail_hash_add(&e->hasher, message.bytes);
		mail_hash_end(&e->hasher, &exported.hash);
		exported_add(row, &exported);
		good = e->writer->ops->message(e->writer, &message);
	}
	body_handle_close(&handle);
	return good;
}

static bool
messages_export(struct exporting *e, struct mailbox_row *row)
{
	struct message_record records[EXPORT_STEP];
	struct arena *arena = arena_new(1024 * 1024);
	enum status status = STATUS_OK;
	uint32_t from = 1;
	bool good = true;
	while (good && status == STATUS_OK && from < row->uidnext) {
		size_t count = 0;
		struct message_cursor *cursor = message_cursor_open(
		    e->cli->reader, e->account, row->number, from, row->uidnext - 1);
		while (count < EXPORT_STEP && (status = message_cursor_next(
						   cursor, &records[count])) == STATUS_OK)
			count++;
		message_cursor_close(&cursor);
		store_reader_end(e->cli->reader);
		for (size_t i = 0; i < count && good; i++) {
			good = message_export(e, row, &records[i], arena);
			transfer_progress(
			    &e->transfer, row->name, &row->counts, row->exists);
		}
		arena_reset(arena);
		from = count > 0 ? records[count - 1].uid + 1 : row->uidnext;
	}
	arena_free(&arena);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		transfer_problem("mailbox", status_text(status), &e->transfer);
		return false;
	}
	return good;
}

static bool
mailbox_export(struct exporting *e, struct mailbox_row *row)
{
	struct export_folder folder = {
	    .name = row->name, .uidvalidity = row->uidvalidity, .uidnext = row->uidnext};
	folder.keyword_count =
	    mailbox_keywords(e->cli->reader, e->account, row->number, folder.keywords);
	for (size_t i = 0; i < folder.keyword_count; i++)
		folder.keywords[i] = arena_copy(e->arena, folder.keywords[i]);
	store_reader_end(e->cli->reader);
	if (e->transfer.dry_run)
		return messages_export(e, row);
	return e->writer->ops->folder(e->writer, &folder) && messages_export(e, row) &&
	       e->writer->ops->folder_end(e->writer);
}

/* ---- reading back ---- */
static bool
compared(struct slice bytes, void *arg)
{
	mail_hash_add(arg, bytes);
	return true;
}

static struct exported *
exported_find(struct mailbox_row *row, uint32_t uid)
{
	size_t low = 0;
	size_t high = row->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (row->messages[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < row->count && row->messages[low].uid == uid ? &row->messages[low]
	                                                         : NULL;
}

static void
folder_verify(struct exporting *e, struct mail_source *source, struct mailbox_row *row,
    const struct mail_folder *folder)
{
	struct mail_item mail;
	if (folder->uidvalidity != row->uidvalidity || folder->uidnext != row->uidnext)
		transfer_problem(
		    "UIDVALIDITY or UIDNEXT", "was not written", &e->transfer);
	while (mail_source_message(source, &mail)) {
		struct exported *exported = exported_find(row, mail.uid);
		struct mail_hash hash;
		if (!exported)
			continue; /* somebody else's file */
		mail_hash_begin(&e->hasher);
		bool good = mail_source_read(source, compared, &e->hasher);
		mail_hash_end(&e->hasher, &hash);
		good = good && mail_hash_equal(&hash, &exported->hash) &&
		       exported->flags == mail.flags &&
		       exported->internaldate_s == mail.internaldate_s;
		row->counts.verified += good;
		if (!good)
			transfer_problem(
			    mail.where, "is not what was to be written", &e->transfer);
	}
}

static void
verify(struct exporting *e, const struct mail_source_options *options)
{
	struct mail_source_options reading = *options;
	struct mail_folder folder;
	char *error = NULL;
	reading.problem = transfer_problem;
	reading.arg = &e->transfer;
	struct mail_source *source = mail_source_open(&reading, &error);
	while (source && mail_source_folder(source, &folder)) {
		struct mailbox_row *row = e->rows;
		while (row && !(row->is_mailbox && slice_equal(row->name, folder.name)))
			row = row->next;
		if (row)
			folder_verify(e, source, row, &folder);
	}
	if (!source)
		transfer_problem(options->path, error, &e->transfer);
	free(error);
	mail_source_close(&source);
}

static void
rows_tell(struct exporting *e)
{
	for (struct mailbox_row *row = e->rows; row; row = row->next) {
		if (!row->is_mailbox)
			continue;
		row->counts.uids_kept = row->counts.done;
		if (!e->transfer.dry_run && row->counts.verified != row->count) {
			char *where = slice_to_cstr(row->name);
			transfer_problem(
			    where, "not all messages were found again", &e->transfer);
			free(where);
		}
		transfer_folder(
		    &e->transfer, row->name, row->uidvalidity, &row->counts, "with UIDs");
		free(row->messages);
	}
}

static bool
subscriptions_export(struct exporting *e)
{
	struct slice *names = xcalloc(e->row_count + 1, sizeof(*names));
	size_t count = 0;
	for (struct mailbox_row *row = e->rows; row; row = row->next)
		if (row->subscribed)
			names[count++] = row->name;
	bool good = e->writer->ops->end(e->writer, names, count);
	free(names);
	return good;
}

static void
account_export(struct exporting *e, const struct mail_source_options *options)
{
	enum status status = mailbox_each(e->cli->reader, e->account, row_add, e);
	store_reader_end(e->cli->reader);
	if (status != STATUS_OK) {
		transfer_problem("mailboxes", status_text(status), &e->transfer);
		return;
	}
	if (!e->transfer.dry_run) {
		e->writer = (options->format == MAIL_FORMAT_MAILDIR ? export_maildir_new
								    : export_mbox_new)(
		    options->path, transfer_problem, &e->transfer);
		if (!e->writer)
			return;
	}
	bool good = true;
	for (struct mailbox_row *row = e->rows; row && good; row = row->next)
		good = !row->is_mailbox || mailbox_export(e, row);
	if (good && e->writer && subscriptions_export(e))
		verify(e, options);
	if (e->writer)
		e->writer->ops->free(e->writer);
}

int
cmd_export(struct cli *cli)
{
	struct mail_source_options options;
	struct directory_account account;
	struct exporting e = {.cli = cli};
	int code = transfer_options(cli, &options);
	if (code == CLI_OK)
		code = cli_account(cli, &account);
	if (code != CLI_OK)
		return code;
	e.account = account.id;
	e.rows_end = &e.rows;
	e.arena = arena_new(MAIL_FOLDER_MEMORY_MAX);
	mail_hasher_init(&e.hasher);
	transfer_init(&e.transfer, cli, "exported");
	account_export(&e, &options);
	rows_tell(&e);
	code = transfer_finish(&e.transfer, cli->arguments[0], options.path);
	mail_hasher_fini(&e.hasher);
	arena_free(&e.arena);
	return code;
}
