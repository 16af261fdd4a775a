/*
 * An account of another store as a source: what `restore --account` reads out of a
 * backup.  Bytes, dates, flags and UIDs are as they were; records are read some hundred
 * at a time, so that no snapshot is open for long.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "postroom/mail_source_int.h"
#include "store/pop3.h"

enum { STEP = 256, FOLDER_ARENA_MAX = 4 * 1024 * 1024 };

struct box {
	struct box *next;
	struct slice name;
	uint32_t number, uidvalidity, uidnext, exists;
	bool subscribed;
};

struct store_source {
	struct mail_source source;
	struct store_reader *reader;
	struct account_id account;
	struct box *boxes, **boxes_end, *box; /* box: the one that is read */
	struct slice keywords[MAILBOX_KEYWORDS_MAX];
	size_t keyword_count;
	struct message_record records[STEP];
	size_t count, at;
	uint32_t from;
	struct arena *arena; /* the folder's keywords, the step's unique ids */
	struct arena *step;
	char where[512];
};

static bool
box_add(const struct mailbox_info *info, void *arg)
{
	struct store_source *s = arg;
	if (info->exists_not)
		return true;
	struct box *box = ARENA_NEW(s->source.arena, struct box);
	*box = (struct box){.name = arena_copy(s->source.arena, info->name),
	    .number = info->number,
	    .uidvalidity = info->uidvalidity,
	    .uidnext = info->uidnext,
	    .exists = info->exists,
	    .subscribed = info->subscribed};
	*s->boxes_end = box;
	s->boxes_end = &box->next;
	return box->name.ptr != NULL;
}

static bool
store_folder(struct mail_source *source, struct mail_folder *out)
{
	struct store_source *s = (struct store_source *)source;
	struct box *box = s->box ? s->box->next : s->boxes;
	s->box = box;
	s->count = s->at = 0;
	s->from = 1;
	if (!box)
		return false;
	arena_reset(s->arena);
	s->keyword_count =
	    mailbox_keywords(s->reader, s->account, box->number, s->keywords);
	for (size_t i = 0; i < s->keyword_count; i++)
		s->keywords[i] = arena_copy(s->arena, s->keywords[i]);
	store_reader_end(s->reader);
	*out = (struct mail_folder){.name = box->name,
	    .uidvalidity = box->uidvalidity,
	    .uidnext = box->uidnext,
	    .subscribed = box->subscribed,
	    .messages = box->exists};
	return true;
}

static bool
step_read(struct store_source *s)
{
	enum status status = STATUS_OK;
	s->count = s->at = 0;
	arena_reset(s->step);
	struct message_cursor *cursor = message_cursor_open(
	    s->reader, s->account, s->box->number, s->from, UINT32_MAX);
	while (s->count < STEP &&
	       (status = message_cursor_next(cursor, &s->records[s->count])) == STATUS_OK)
		s->count++;
	message_cursor_close(&cursor);
	store_reader_end(s->reader);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		mail_source_problem(&s->source, "the backup", "%s", status_text(status));
	if (s->count > 0)
		s->from = s->records[s->count - 1].uid + 1;
	return s->count > 0;
}

static bool
store_message(struct mail_source *source, struct mail_item *out)
{
	struct store_source *s = (struct store_source *)source;
	struct pop3_record pop3;
	if (s->at == s->count && !step_read(s))
		return false;
	const struct message_record *record = &s->records[s->at++];
	*out = (struct mail_item){.uid = record->uid,
	    .flags = record->flags,
	    .internaldate_s = record->internaldate_s,
	    .internaldate_zone_min = record->internaldate_zone_min};
	for (size_t i = 0; i < s->keyword_count; i++)
		if (record->keywords >> i & 1)
			out->keywords[out->keyword_count++] = s->keywords[i];
	if (pop3_record_get(s->reader, s->account, s->box->number, record->uid, &pop3) ==
		STATUS_OK &&
	    pop3.uidl.len > 0)
		out->uidl = arena_copy(s->step, pop3.uidl);
	store_reader_end(s->reader);
	snprintf(out->where, sizeof(out->where), "%.*s, UID %u in the backup",
	    (int)(s->box->name.len > 400 ? 400 : s->box->name.len), s->box->name.ptr,
	    (unsigned)record->uid);
	memcpy(s->where, out->where, sizeof(s->where));
	return true;
}

static bool
store_read(struct mail_source *source)
{
	struct store_source *s = (struct store_source *)source;
	struct body_handle body;
	ENSURE(s->at > 0);
	enum status status =
	    message_body_open(s->reader, s->account, &s->records[s->at - 1], &body);
	store_reader_end(s->reader);
	if (status != STATUS_OK) {
		mail_source_problem(source, s->where, "%s", status_text(status));
		return false;
	}
	source->exact = true;
	bool good = mail_source_emit(source, body_handle_bytes(&body));
	body_handle_close(&body);
	return good;
}

static void
store_close_source(struct mail_source *source)
{
	struct store_source *s = (struct store_source *)source;
	arena_free(&s->arena);
	arena_free(&s->step);
	free(s);
}

struct mail_source *
mail_source_store_open(const struct mail_source_options *options,
    struct store_reader *reader, struct account_id account, char **error)
{
	static const struct mail_source_ops ops = {
	    store_folder, store_message, store_read, store_close_source};
	struct store_source *s = xcalloc(1, sizeof(*s));
	struct mail_source *source = &s->source;
	source->ops = &ops;
	source->options = *options;
	source->arena = arena_new(MAIL_FOLDER_MEMORY_MAX);
	s->reader = reader;
	s->account = account;
	s->boxes_end = &s->boxes;
	s->arena = arena_new(FOLDER_ARENA_MAX);
	s->step = arena_new(FOLDER_ARENA_MAX);
	*error = NULL;
	enum status status = mailbox_each(reader, account, box_add, s);
	store_reader_end(reader);
	if (status == STATUS_OK)
		return source;
	*error = xstrdup(status_text(status));
	mail_source_close(&source);
	return NULL;
}
