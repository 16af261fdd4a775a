/*
 * Invariants 1 to 19 of one account's partition (but 13's reference counts, which are
 * store_check_body's, and 15, which is search_check's): mailbox states are read first,
 * then one walk over all keys.
 */
#include "store/pop3_int.h"
#include "store/store_check_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/search_int.h"

enum { ORPHAN_AGE_MIN_S = 3600 };

struct seen_box {
	struct mailbox_state state;    /* name borrows the snapshot */
	struct mailbox_state sums;     /* exists, unseen, deleted, bytes; others unused */
	uint32_t map_uids, map_unseen; /* bits in the map */
	uint32_t keywords;
	bool named;
	struct reserved reserved; /* J's */
};

struct look {
	struct check *check;
	struct engine_txn *txn;
	struct account_state account;
	struct vec boxes; /* struct seen_box by number */
	uint64_t names, gone_changes, gone_times;
	uint64_t own_uidls, uidls, own_retrieved, retrieved;
	uint64_t metadata_change, metadata_last;
	struct search_check search;
};

static struct seen_box *
box_find(struct look *look, uint32_t number)
{
	struct seen_box *boxes = look->boxes.ptr;
	size_t low = 0;
	size_t high = look->boxes.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (boxes[middle].state.number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < look->boxes.count && boxes[low].state.number == number ? &boxes[low]
	                                                                    : NULL;
}

static bool
get(struct look *look, const struct key *key, struct slice *out)
{
	return engine_get(look->txn, key_slice(key), out) == STATUS_OK;
}

static enum status
boxes_load(struct look *look)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	key_begin(&from, KEY_STATE);
	key_begin(&to, KEY_STATE + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(look->txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct seen_box *box = vec_push(&look->boxes, sizeof(*box));
		if (!box) {
			status = STATUS_LIMIT;
			break;
		}
		memset(box, 0, sizeof(*box));
		if (key.len != 5 || !state_decode(value, &box->state)) {
			check_problem(look->check, 1, "damaged mailbox state");
			look->boxes.count--;
			continue;
		}
		box->state.number = be32_get(key.ptr + 1);
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- one key each ---- */
static void
look_name(struct look *look, struct slice key, struct slice value)
{
	uint32_t number;
	struct slice name = slice_from(key, 1);
	if (!name_decode(value, &number)) {
		check_problem(look->check, 1, "damaged name record");
		return;
	}
	struct seen_box *box = box_find(look, number);
	look->names++;
	if (!box || !slice_equal(box->state.name, name))
		check_problem(look->check, 2, "name \"%.*s\" leads to mailbox %u, %s",
		    SLICE_ARG(name), (unsigned)number,
		    box ? "which has another name" : "which is not there");
	else
		box->named = true;
}

static void
look_keywords(struct look *look, struct slice key, struct slice value)
{
	struct slice names[MAILBOX_KEYWORDS_MAX];
	size_t count;
	if (key.len != 5 || !keywords_peek(value, names, &count)) {
		check_problem(look->check, 1, "damaged keyword list");
		return;
	}
	struct seen_box *box = box_find(look, be32_get(key.ptr + 1));
	if (box)
		box->keywords = (uint32_t)count;
	else
		check_problem(look->check, 10, "keywords of mailbox %u that is not there",
		    (unsigned)be32_get(key.ptr + 1));
}

static void
look_body(struct look *look, uint32_t mailbox, const struct message_record *message)
{
	struct engine_body body;
	if (engine_body_stat(look->txn, message->body, &body) != STATUS_OK)
		check_problem(look->check, 13, "mailbox %u uid %u: its body is missing",
		    (unsigned)mailbox, (unsigned)message->uid);
	else if (body.size != message->size)
		check_problem(look->check, 13,
		    "mailbox %u uid %u: size is not its body's", (unsigned)mailbox,
		    (unsigned)message->uid);
}

/* That the map has as many bits as there are messages (check_box_sums) makes the two one
 * to one. */
static void
check_mapped(
    struct look *look, const struct seen_box *box, const struct message_record *message)
{
	bool unseen;
	if (box->state.mapped &&
	    (!mailbox_map_has(look->txn, box->state.number, message->uid, &unseen) ||
		unseen != !(message->flags & MESSAGE_SEEN)))
		check_problem(look->check, 16, "mailbox %u uid %u: not so in the map",
		    (unsigned)box->state.number, (unsigned)message->uid);
}

static void
look_map(struct look *look, struct slice key, struct slice value)
{
	struct mailbox_map_chunk chunk;
	uint32_t number;
	if (!key_message_uid(key, &number) || !mailbox_map_decode(value, &chunk)) {
		check_problem(look->check, 1, "damaged map of a mailbox");
		return;
	}
	struct seen_box *box = box_find(look, be32_get(key.ptr + 1));
	if (!box || !box->state.mapped) {
		check_problem(look->check, 16, "a map of mailbox %u, which has none",
		    (unsigned)be32_get(key.ptr + 1));
		return;
	}
	for (size_t i = 0; i < MAILBOX_MAP_BYTES; i++) {
		box->map_uids += (uint32_t)__builtin_popcount(chunk.present[i]);
		box->map_unseen += (uint32_t)__builtin_popcount(chunk.unseen[i]);
	}
}

static void
look_message(struct look *look, struct slice key, struct slice value)
{
	struct message_record message;
	struct slice change;
	struct key change_key;
	uint32_t uid;
	if (!key_message_uid(key, &uid) || !message_decode(value, uid, &message)) {
		check_problem(look->check, 1, "damaged message record");
		return;
	}
	uint32_t mailbox = be32_get(key.ptr + 1);
	struct seen_box *box = box_find(look, mailbox);
	if (!box) {
		check_problem(look->check, 10,
		    "message %u of mailbox %u that is not there", (unsigned)uid,
		    (unsigned)mailbox);
		return;
	}
	look->check->totals->messages++;
	look->check->totals->bytes += message.size;
	check_mapped(look, box, &message);
	box->sums.exists++;
	box->sums.unseen += !(message.flags & MESSAGE_SEEN);
	box->sums.deleted += (message.flags & MESSAGE_DELETED) != 0;
	box->sums.bytes += message.size;
	if (uid >= box->state.uidnext || message.modseq > box->state.modseq)
		check_problem(look->check, 4,
		    "mailbox %u uid %u: uid or modseq above the mailbox's",
		    (unsigned)mailbox, (unsigned)uid);
	/* J is read before M. */
	if (uid >= box->reserved.next && uid < box->reserved.end)
		check_problem(look->check, 17,
		    "mailbox %u uid %u: is reserved and not given out", (unsigned)mailbox,
		    (unsigned)uid);
	key_change(&change_key, mailbox, message.modseq, uid);
	if (!get(look, &change_key, &change) || change.len != 1 ||
	    change.ptr[0] != CHANGE_LIVE)
		check_problem(look->check, 5, "mailbox %u uid %u: no change log entry",
		    (unsigned)mailbox, (unsigned)uid);
	if (box->keywords < MAILBOX_KEYWORDS_MAX && message.keywords >> box->keywords)
		check_problem(look->check, 11, "mailbox %u uid %u: unknown keyword bits",
		    (unsigned)mailbox, (unsigned)uid);
	if (message.email_id >= look->account.next_email_id)
		check_problem(look->check, 8, "mailbox %u uid %u: email id above counter",
		    (unsigned)mailbox, (unsigned)uid);
	look_body(look, mailbox, &message);
}

static void
look_change(struct look *look, struct slice key, struct slice value)
{
	struct change_key change;
	struct message_record message;
	if (!key_change_decode(key, &change) || value.len != 1 ||
	    (value.ptr[0] != CHANGE_LIVE && value.ptr[0] != CHANGE_EXPUNGED)) {
		check_problem(look->check, 1, "damaged change log entry");
		return;
	}
	struct seen_box *box = box_find(look, change.mailbox);
	if (!box) {
		check_problem(look->check, 10,
		    "change log entry of mailbox %u that is not there",
		    (unsigned)change.mailbox);
		return;
	}
	if (change.modseq > box->state.modseq)
		check_problem(look->check, 4, "mailbox %u uid %u: logged above modseq",
		    (unsigned)change.mailbox, (unsigned)change.uid);
	enum status status =
	    message_load(look->txn, change.mailbox, change.uid, &message);
	if (value.ptr[0] == CHANGE_EXPUNGED) {
		look->gone_changes++;
		if (status != STATUS_NOT_FOUND)
			check_problem(look->check, 6,
			    "mailbox %u uid %u: logged as expunged but there",
			    (unsigned)change.mailbox, (unsigned)change.uid);
	} else if (status != STATUS_OK || message.modseq != change.modseq) {
		check_problem(look->check, 5,
		    "mailbox %u uid %u: change log entry without its message",
		    (unsigned)change.mailbox, (unsigned)change.uid);
	}
}

static void
look_time(struct look *look, struct slice key, struct slice value)
{
	struct time_key time;
	struct slice change;
	struct key change_key;
	if (!key_time_decode(key, &time) || value.len != 8) {
		check_problem(look->check, 1, "damaged time index entry");
		return;
	}
	key_change(&change_key, time.mailbox, be64_get(value.ptr), time.uid);
	if (get(look, &change_key, &change) && change.len == 1 &&
	    change.ptr[0] == CHANGE_EXPUNGED)
		look->gone_times++;
}

static void
look_expunged(struct look *look, struct slice key, struct slice value)
{
	struct message_record message;
	struct message_record live;
	struct key time_key;
	struct slice time;
	int64_t time_s;
	uint32_t uid;
	if (!key_message_uid(key, &uid) ||
	    !expunged_decode(value, uid, &message, &time_s)) {
		check_problem(look->check, 1, "damaged expunged record");
		return;
	}
	uint32_t mailbox = be32_get(key.ptr + 1);
	const struct seen_box *box = box_find(look, mailbox);
	key_time(&time_key, time_s, mailbox, uid);
	if (!get(look, &time_key, &time))
		check_problem(look->check, 9,
		    "mailbox %u uid %u: expunged without a time", (unsigned)mailbox,
		    (unsigned)uid);
	if (message_load(look->txn, mailbox, uid, &live) != STATUS_NOT_FOUND)
		check_problem(look->check, 9, "mailbox %u uid %u: there and expunged",
		    (unsigned)mailbox, (unsigned)uid);
	if (box && uid >= box->state.uidnext)
		check_problem(look->check, 4, "mailbox %u uid %u: expunged above uidnext",
		    (unsigned)mailbox, (unsigned)uid);
	look_body(look, mailbox, &message);
}

static void
look_pop3(struct look *look, struct slice key, struct slice value)
{
	struct pop3_record record;
	struct message_record message;
	uint32_t uid;
	if (!key_message_uid(key, &uid) || !pop3_record_decode(value, &record)) {
		check_problem(look->check, 1, "damaged POP3 record");
		return;
	}
	uint32_t mailbox = be32_get(key.ptr + 1);
	look->own_uidls += record.uidl.len != 0;
	look->own_retrieved += record.retrieved_s != 0;
	if (message_load(look->txn, mailbox, uid, &message) == STATUS_NOT_FOUND)
		check_problem(look->check, 14,
		    "mailbox %u uid %u: POP3 record of no message", (unsigned)mailbox,
		    (unsigned)uid);
}

/* That they are as many as P's unique ids makes the two one to one. */
static void
look_uidl(struct look *look, struct slice key, struct slice value)
{
	struct pop3_record record;
	uint32_t uid;
	if (key.len < 6 || !pop3_uidl_is_valid(slice_from(key, 5)) ||
	    !uidl_decode(value, &uid)) {
		check_problem(look->check, 1, "damaged POP3 unique id");
		return;
	}
	uint32_t mailbox = be32_get(key.ptr + 1);
	look->uidls++;
	if (pop3_record_load(look->txn, mailbox, uid, &record) != STATUS_OK ||
	    !slice_equal(record.uidl, slice_from(key, 5)))
		check_problem(look->check, 14,
		    "mailbox %u: unique id %.*s is not that of uid %u", (unsigned)mailbox,
		    SLICE_ARG(slice_from(key, 5)), (unsigned)uid);
}

static void
look_retrieved(struct look *look, struct slice key, struct slice value)
{
	struct time_key time;
	struct pop3_record record;
	if (!key_time_decode(key, &time) || value.len != 1 ||
	    value.ptr[0] != STORE_RECORD_VERSION) {
		check_problem(look->check, 1, "damaged time of retrieval");
		return;
	}
	look->retrieved++;
	if (pop3_record_load(look->txn, time.mailbox, time.uid, &record) != STATUS_OK ||
	    record.retrieved_s != time.time_s)
		check_problem(look->check, 14,
		    "mailbox %u uid %u: time of retrieval is not its record's",
		    (unsigned)time.mailbox, (unsigned)time.uid);
}

static void
look_reserved(struct look *look, struct slice key, struct slice value)
{
	struct reserved reserved;
	if (key.len != 5 || !reserved_decode(value, &reserved)) {
		check_problem(look->check, 1, "damaged record of reserved uids");
		return;
	}
	struct seen_box *box = box_find(look, be32_get(key.ptr + 1));
	if (box)
		box->reserved = reserved;
	if (!box || reserved.end > box->state.uidnext)
		check_problem(look->check, 17, "mailbox %u: uids reserved %s",
		    (unsigned)be32_get(key.ptr + 1),
		    box ? "above uidnext" : "that is not there");
}

static void
look_metadata(struct look *look, struct slice key, struct slice value)
{
	struct metadata_key at;
	struct slice text;
	uint64_t change;
	if (!key_metadata_decode(key, &at) || !metadata_decode(value, &change, &text)) {
		check_problem(look->check, 1, "damaged annotation");
		return;
	}
	if (change > look->metadata_change)
		look->metadata_change = change;
	if (at.mailbox != METADATA_ACCOUNT && !box_find(look, at.mailbox))
		check_problem(look->check, 18,
		    "annotation of mailbox %u that is not there", (unsigned)at.mailbox);
}

static void
look_metadata_last(struct look *look, struct slice key, struct slice value)
{
	struct slice none;
	if (key.len != 1 || value.len != METADATA_VALUE ||
	    !metadata_decode(value, &look->metadata_last, &none))
		check_problem(look->check, 1, "damaged number of changes");
}

static void
look_acl(struct look *look, struct slice key, struct slice value)
{
	struct acl acl;
	if (key.len != 5 || !acl_decode(value, &acl))
		check_problem(look->check, 1, "damaged access control list");
	else if (!box_find(look, be32_get(key.ptr + 1)))
		check_problem(look->check, 19,
		    "access control list of mailbox %u that is not there",
		    (unsigned)be32_get(key.ptr + 1));
}

static void
look_key(struct look *look, struct slice key, struct slice value)
{
	switch (key.len ? key.ptr[0] : 0) {
	case KEY_ACCOUNT:
		if (key.len != 1)
			check_problem(look->check, 1, "unknown key");
		break;
	case KEY_STATE: /* boxes_load */
		break;
	case KEY_NAME:
		look_name(look, key, value);
		break;
	case KEY_KEYWORDS:
		look_keywords(look, key, value);
		break;
	case KEY_MESSAGE:
		look_message(look, key, value);
		break;
	case KEY_CHANGE:
		look_change(look, key, value);
		break;
	case KEY_TIME:
		look_time(look, key, value);
		break;
	case KEY_EXPUNGED:
		look_expunged(look, key, value);
		break;
	case KEY_SUBSCRIBED:
		if (key.len < 2 || value.len != 1 || value.ptr[0] != STORE_RECORD_VERSION)
			check_problem(look->check, 1, "damaged subscription");
		break;
	case KEY_RESERVED:
		look_reserved(look, key, value);
		break;
	case KEY_POP3:
		look_pop3(look, key, value);
		break;
	case KEY_MAP:
		look_map(look, key, value);
		break;
	case KEY_UIDL:
		look_uidl(look, key, value);
		break;
	case KEY_RETRIEVED:
		look_retrieved(look, key, value);
		break;
	case KEY_ACL:
		look_acl(look, key, value);
		break;
	case KEY_METADATA:
		look_metadata(look, key, value);
		break;
	case KEY_METADATA_LAST:
		look_metadata_last(look, key, value);
		break;
	case KEY_SEARCH_STATE:
	case KEY_SEARCH_MAILBOX:
	case KEY_SEARCH_BLOCK:
	case KEY_SEARCH_PAGE:
		search_check_key(look->check, &look->search, key, value);
		break;
	default:
		check_problem(look->check, 1, "key of an unknown class");
		break;
	}
}

/* ---- sums ---- */
static int
compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void
check_box_sums(struct look *look, const struct seen_box *box, uint32_t *uses)
{
	const struct mailbox_state *s = &box->state;
	const struct mailbox_state *sums = &box->sums;
	if (!box->named)
		check_problem(look->check, 2, "mailbox %u \"%.*s\" has no name key",
		    (unsigned)s->number, SLICE_ARG(s->name));
	if (s->exists != sums->exists || s->unseen != sums->unseen ||
	    s->deleted != sums->deleted || s->bytes != sums->bytes)
		check_problem(look->check, 3,
		    "mailbox %u counts %u/%u/%u/%llu, its messages %u/%u/%u/%llu",
		    (unsigned)s->number, (unsigned)s->exists, (unsigned)s->unseen,
		    (unsigned)s->deleted, (unsigned long long)s->bytes,
		    (unsigned)sums->exists, (unsigned)sums->unseen,
		    (unsigned)sums->deleted, (unsigned long long)sums->bytes);
	if (s->mapped &&
	    (box->map_uids != sums->exists || box->map_unseen != sums->unseen))
		check_problem(look->check, 16,
		    "mailbox %u: its map has %u uids, %u of them unseen",
		    (unsigned)s->number, (unsigned)box->map_uids,
		    (unsigned)box->map_unseen);
	if (s->first_recent > s->uidnext || s->uidnext == 0 || s->modseq == 0)
		check_problem(look->check, 4, "mailbox %u: impossible counters",
		    (unsigned)s->number);
	if (s->number >= look->account.next_mailbox ||
	    s->uidvalidity >= look->account.next_uidvalidity)
		check_problem(look->check, 8,
		    "mailbox %u: number or uidvalidity above counter",
		    (unsigned)s->number);
	if (*uses & s->use)
		check_problem(look->check, 12, "mailbox %u: special use had twice",
		    (unsigned)s->number);
	*uses |= s->use;
}

static void
check_sums(struct look *look)
{
	const struct seen_box *boxes = look->boxes.ptr;
	size_t count = look->boxes.count;
	uint32_t *validities = xmalloc((count + 1) * sizeof(*validities));
	uint64_t messages = 0;
	uint64_t bytes = 0;
	uint32_t uses = 0;
	uint32_t inbox;
	size_t own = 0; /* of mailboxes that were made here */
	for (size_t i = 0; i < count; i++) {
		check_box_sums(look, &boxes[i], &uses);
		messages += boxes[i].state.exists;
		bytes += boxes[i].state.bytes;
		if (!boxes[i].reserved.end)
			validities[own++] = boxes[i].state.uidvalidity;
	}
	qsort(validities, own, sizeof(*validities), compare_u32);
	for (size_t i = 1; i < own; i++)
		if (validities[i] == validities[i - 1])
			check_problem(look->check, 8, "uidvalidity %u had twice",
			    (unsigned)validities[i]);
	free(validities);
	if (look->names != count)
		check_problem(look->check, 2, "%llu names for %llu mailboxes",
		    (unsigned long long)look->names, (unsigned long long)count);
	if (look->account.messages != messages || look->account.bytes != bytes ||
	    look->account.mailboxes != count)
		check_problem(look->check, 7,
		    "usage %llu messages %llu bytes, mailboxes sum to %llu and %llu",
		    (unsigned long long)look->account.messages,
		    (unsigned long long)look->account.bytes, (unsigned long long)messages,
		    (unsigned long long)bytes);
	if (look->gone_changes != look->gone_times)
		check_problem(look->check, 6,
		    "%llu expunged log entries, %llu of them with a time",
		    (unsigned long long)look->gone_changes,
		    (unsigned long long)look->gone_times);
	if (look->own_uidls != look->uidls || look->own_retrieved != look->retrieved)
		check_problem(look->check, 14,
		    "%llu messages with a POP3 unique id and %llu fetched, %llu such ids "
		    "and %llu times",
		    (unsigned long long)look->own_uidls,
		    (unsigned long long)look->own_retrieved,
		    (unsigned long long)look->uidls, (unsigned long long)look->retrieved);
	if (look->metadata_change > look->metadata_last)
		check_problem(look->check, 18, "an annotation above the last change");
	if (name_load(look->txn, mailbox_inbox, &inbox) != STATUS_OK)
		check_problem(look->check, 12, "there is no INBOX");
}

/* Who it is, from the directory; an account without an entry or a G mark is a problem
 * once it is older than one that is just being made. */
static enum status
name_account(struct check *check, struct account_id id, int64_t created_s)
{
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	char hex[2 * sizeof(id.v) + 1];
	for (size_t i = 0; i < sizeof(id.v); i++)
		snprintf(hex + 2 * i, 3, "%02x", id.v[i]);
	check_where(check, "account %s", hex);
	enum status status = directory_snap(check->reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_id(&key, KEY_LOGIN_BACK, id);
	status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_OK && value.len > 1) {
		struct slice local = slice_from(value, 1);
		struct slice domain = slice_split(&local, '\0');
		check_where(
		    check, "account %.*s@%.*s", SLICE_ARG(local), SLICE_ARG(domain));
		return STATUS_OK;
	}
	key_id(&key, KEY_GONE, id);
	status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND && created_s + ORPHAN_AGE_MIN_S < clock_wall_s())
		check_problem(check, 24, "it has no directory entry");
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
check_account(struct check *check, struct account_id id)
{
	struct look look = {.check = check};
	struct slice key;
	struct slice value;
	enum status status =
	    engine_snap(check->reader->engine, partition_account(id), &look.txn);
	if (status != STATUS_OK)
		return status;
	status = account_load(look.txn, &look.account);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK; /* removed, being emptied, or empty */
	enum status named = name_account(
	    check, id, status == STATUS_OK ? look.account.created_s : INT64_MAX / 2);
	if (named != STATUS_OK)
		return named;
	if (status == STATUS_CORRUPT)
		check_problem(check, 1, "damaged account record");
	else if (status != STATUS_OK)
		return status;
	check->totals->accounts++;
	status = boxes_load(&look);
	if (status == STATUS_OK) {
		check->totals->mailboxes += look.boxes.count;
		struct engine_cursor *cursor =
		    engine_cursor_open(look.txn, slice_make("", 0), SLICE_NULL, false);
		while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK)
			look_key(&look, key, value);
		engine_cursor_close(&cursor);
		if (status == STATUS_NOT_FOUND)
			status = STATUS_OK;
	}
	if (status == STATUS_OK)
		check_sums(&look);
	if (status == STATUS_OK)
		search_check_end(check, &look.search);
	vec_fini(&look.search.segments);
	vec_fini(&look.boxes);
	return status;
}
