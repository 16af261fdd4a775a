/*
 * The store against a small model in memory: random deliveries, appends, flags, copies,
 * moves, expunges and mailbox changes, with several views open that follow by deltas.
 * After each step the step's own answer, now and then everything is compared; the check
 * must find nothing at the end.
 */
#include "unit/store/store_fixture.h"

enum {
	MODEL_BOXES = 64,
	MODEL_MESSAGES = 4000, /* in one mailbox, ever */
	MODEL_VIEWS = 4,
	MODEL_NAMES = 12,
	MODEL_STEPS_DEFAULT = 4000,
};

struct model_message {
	uint32_t uid;
	uint8_t flags;
	bool green; /* the keyword */
	bool there;
	uint64_t size;
};

struct model_box {
	bool used;
	char name[64];
	uint32_t number;
	uint32_t uidnext;
	struct model_message *messages; /* by uid - 1 */
};

struct model_view {
	struct mailbox_view *view;
	struct model_box *box;
	uint8_t known[MODEL_MESSAGES + 1]; /* by uid: 1 known */
};

struct model {
	struct fixture *f;
	uint64_t random;
	struct model_box boxes[MODEL_BOXES];
	struct model_view views[MODEL_VIEWS];
};

static const char *const names[MODEL_NAMES] = {"INBOX", "Sent", "Trash", "a", "a/b",
    "a/b/c", "b", "b/x", "c", "a-b", "c/d", "INBOX/in"};

static uint32_t
roll(struct model *m, uint32_t limit)
{
	m->random = m->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(m->random >> 33) % limit;
}

static struct model_box *
box_by_name(struct model *m, const char *name)
{
	for (size_t i = 0; i < MODEL_BOXES; i++)
		if (m->boxes[i].used && strcmp(m->boxes[i].name, name) == 0)
			return &m->boxes[i];
	return NULL;
}

static void
box_add(struct model *m, const char *name)
{
	struct model_box *box = m->boxes;
	while (box->used)
		box++;
	box->used = true;
	snprintf(box->name, sizeof(box->name), "%s", name);
	box->uidnext = 1;
	box->messages = xcalloc(MODEL_MESSAGES, sizeof(*box->messages));
	box->number = fixture_box(m->f, m->f->jo, name);
	assert_int_not_equal(box->number, 0);
}

/* The name's missing parents, then the name itself. */
static void
box_add_all(struct model *m, const char *name)
{
	char part[64];
	for (size_t i = 1; name[i]; i++) {
		if (name[i] != '/')
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)i, name);
		if (!box_by_name(m, part))
			box_add(m, part);
	}
	if (!box_by_name(m, name))
		box_add(m, name);
}

static void
box_free(struct model *m, struct model_box *box)
{
	for (size_t i = 0; i < MODEL_VIEWS; i++) {
		if (m->views[i].box != box)
			continue;
		mailbox_view_close(&m->views[i].view);
		m->views[i].box = NULL;
	}
	free(box->messages);
	memset(box, 0, sizeof(*box));
}

static struct model_box *
box_any(struct model *m)
{
	struct model_box *box;
	do
		box = &m->boxes[roll(m, MODEL_BOXES)];
	while (!box->used);
	return box;
}

static struct model_message *
box_put(struct model_box *box, uint32_t uid, uint8_t flags, bool green, uint64_t size)
{
	assert_int_equal(uid, box->uidnext);
	assert_true(uid <= MODEL_MESSAGES);
	box->uidnext++;
	struct model_message *message = &box->messages[uid - 1];
	*message = (struct model_message){uid, flags, green, true, size};
	return message;
}

static bool
box_is_full(const struct model_box *box)
{
	return box->uidnext > MODEL_MESSAGES - 100;
}

/* ---- steps ---- */
static void
step_deliver(struct model *m)
{
	struct model_box *box = box_any(m);
	uint8_t flags = (uint8_t)(roll(m, 4) ? 0 : MESSAGE_FLAGGED);
	if (box_is_full(box))
		return;
	struct deliver_recipient to[2] = {
	    {.account = m->f->jo, .mailbox = slice_from_cstr(box->name), .flags = flags},
	    {.account = m->f->amy    },
	};
	struct deliver_op op = {.op = {.arena = m->f->arena},
	    .draft = fixture_draft(m->f, "model", roll(m, 300)),
	    .recipients = to,
	    .recipient_count = 1 + roll(m, 2)};
	uint64_t size = body_draft_size(op.draft);
	deliver_op_submit(m->f->reader, &op);
	body_draft_unref(&op.draft);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(to[0].mailbox_number, box->number);
	box_put(box, to[0].uid, flags, false, size);
}

static void
step_append(struct model *m)
{
	static const struct slice green = {"$Green", 6};
	struct model_box *box = box_any(m);
	struct append_message messages[3];
	size_t count = 1 + roll(m, 3);
	if (box_is_full(box))
		return;
	memset(messages, 0, sizeof(messages));
	for (size_t i = 0; i < count; i++) {
		messages[i].draft = fixture_draft(m->f, "append", roll(m, 300));
		messages[i].flags = (uint8_t)roll(m, 32);
		messages[i].keywords = &green;
		messages[i].keyword_count = roll(m, 2);
	}
	struct append_op op = {.op = {.arena = m->f->arena},
	    .account = m->f->jo,
	    .mailbox = slice_from_cstr(box->name),
	    .messages = messages,
	    .message_count = count};
	append_op_submit(m->f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out_mailbox, box->number);
	for (size_t i = 0; i < count; i++) {
		box_put(box, messages[i].uid, messages[i].flags,
		    messages[i].keyword_count != 0, body_draft_size(messages[i].draft));
		body_draft_unref(&messages[i].draft);
	}
}

static struct uid_range
range_any(struct model *m, const struct model_box *box)
{
	uint32_t first = 1 + roll(m, box->uidnext);
	return (struct uid_range){first, first + roll(m, 5)};
}

static bool
in_ranges(const struct uid_range *ranges, size_t count, uint32_t uid)
{
	for (size_t i = 0; i < count; i++)
		if (uid >= ranges[i].first && uid <= ranges[i].last)
			return true;
	return false;
}

static void
step_flags(struct model *m)
{
	static const struct slice green = {"$green", 6};
	struct model_box *box = box_any(m);
	struct uid_range ranges[2] = {range_any(m, box), range_any(m, box)};
	struct flags_op op = {.op = {.arena = m->f->arena},
	    .account = m->f->jo,
	    .mailbox = box->number,
	    .ranges = ranges,
	    .range_count = 2,
	    .mode = (enum flags_mode)roll(m, 3),
	    .flags = (uint8_t)roll(m, 32),
	    .keywords = &green,
	    .keyword_count = roll(m, 2)};
	flags_op_submit(m->f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	size_t at = 0;
	bool has_green = op.keyword_count != 0;
	for (uint32_t uid = 1; uid < box->uidnext; uid++) {
		struct model_message *message = &box->messages[uid - 1];
		if (!message->there || !in_ranges(ranges, 2, uid))
			continue;
		struct model_message old = *message;
		if (op.mode == FLAGS_SET) {
			message->flags = op.flags;
			message->green = has_green;
		} else if (op.mode == FLAGS_ADD) {
			message->flags |= op.flags;
			message->green |= has_green;
		} else {
			message->flags &= (uint8_t)~op.flags;
			message->green &= !has_green;
		}
		assert_true(at < op.out_count);
		assert_int_equal(op.out[at].uid, uid);
		assert_int_equal(op.out[at].flags, message->flags);
		assert_int_equal(op.out[at].changed,
		    old.flags != message->flags || old.green != message->green);
		at++;
	}
	assert_int_equal(at, op.out_count);
}

static void
step_expunge(struct model *m)
{
	struct model_box *box = box_any(m);
	struct uid_range range = range_any(m, box);
	bool whole = roll(m, 4) == 0;
	struct expunge_op op = {.op = {.arena = m->f->arena},
	    .account = m->f->jo,
	    .mailbox = box->number,
	    .ranges = whole ? NULL : &range,
	    .range_count = whole ? 0 : 1,
	    .only_deleted = whole || roll(m, 2)};
	expunge_op_submit(m->f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	size_t at = 0;
	for (uint32_t uid = 1; uid < box->uidnext; uid++) {
		struct model_message *message = &box->messages[uid - 1];
		if (!message->there || (!whole && !in_ranges(&range, 1, uid)) ||
		    (op.only_deleted && !(message->flags & MESSAGE_DELETED)))
			continue;
		message->there = false;
		assert_true(at < op.out_count);
		assert_int_equal(op.out_uids[at++], uid);
	}
	assert_int_equal(at, op.out_count);
}

static void
step_copy(struct model *m)
{
	struct model_box *box = box_any(m);
	struct model_box *target = box_any(m);
	struct uid_range range = range_any(m, box);
	struct copy_op op = {.op = {.arena = m->f->arena},
	    .account = m->f->jo,
	    .mailbox = box->number,
	    .ranges = &range,
	    .range_count = 1,
	    .target = slice_from_cstr(target->name),
	    .move = roll(m, 2)};
	if (box_is_full(target))
		return;
	copy_op_submit(m->f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	size_t at = 0;
	uint32_t end = box->uidnext;
	for (uint32_t uid = range.first; uid <= range.last && uid < end; uid++) {
		struct model_message *message = &box->messages[uid - 1];
		if (!message->there)
			continue;
		assert_true(at < op.out_count);
		assert_int_equal(op.out_source_uids[at], uid);
		box_put(target, op.out_target_uids[at++], message->flags, message->green,
		    message->size);
		if (op.move)
			message->there = false;
	}
	assert_int_equal(at, op.out_count);
}

static void
step_create(struct model *m)
{
	const char *name = names[roll(m, MODEL_NAMES)];
	bool exists = box_by_name(m, name) != NULL;
	assert_int_equal(fixture_mailbox(m->f, m->f->jo, MAILBOX_CREATE, name, NULL),
	    exists ? STATUS_EXISTS : STATUS_OK);
	if (!exists)
		box_add_all(m, name);
}

static void
step_delete(struct model *m)
{
	const char *name = names[roll(m, MODEL_NAMES)];
	struct model_box *box = box_by_name(m, name);
	enum status want = strcmp(name, "INBOX") == 0 ? STATUS_DENIED
	                   : box                      ? STATUS_OK
	                                              : STATUS_NOT_FOUND;
	assert_int_equal(
	    fixture_mailbox(m->f, m->f->jo, MAILBOX_DELETE, name, NULL), want);
	if (want == STATUS_OK)
		box_free(m, box);
}

static bool
is_below(const char *name, const char *parent)
{
	size_t len = strlen(parent);
	return strncmp(name, parent, len) == 0 && name[len] == '/';
}

static enum status
rename_want(struct model *m, const char *from, const char *to)
{
	char name[160];
	if (strcmp(from, "INBOX") == 0)
		return box_by_name(m, to) ? STATUS_EXISTS : STATUS_OK;
	if (strcmp(from, to) == 0)
		return STATUS_EXISTS;
	if (is_below(to, from))
		return STATUS_INVALID;
	if (!box_by_name(m, from))
		return STATUS_NOT_FOUND;
	for (size_t i = 0; i < MODEL_BOXES; i++) {
		const struct model_box *box = &m->boxes[i];
		if (!box->used ||
		    (strcmp(box->name, from) != 0 && !is_below(box->name, from)))
			continue;
		snprintf(name, sizeof(name), "%s%s", to, box->name + strlen(from));
		if (box_by_name(m, name))
			return STATUS_EXISTS;
	}
	return STATUS_OK;
}

static void
step_rename(struct model *m)
{
	const char *from = names[roll(m, MODEL_NAMES)];
	const char *to = names[roll(m, MODEL_NAMES)];
	enum status want = rename_want(m, from, to);
	struct model_box *inbox = box_by_name(m, "INBOX");
	assert_int_equal(fixture_mailbox(m->f, m->f->jo, MAILBOX_RENAME, from, to), want);
	if (want != STATUS_OK)
		return;
	if (strcmp(from, "INBOX") == 0) {
		box_add_all(m, to);
		struct model_box *target = box_by_name(m, to);
		for (uint32_t uid = 1; uid < inbox->uidnext; uid++) {
			struct model_message *message = &inbox->messages[uid - 1];
			if (!message->there)
				continue;
			box_put(target, target->uidnext, message->flags, message->green,
			    message->size);
			message->there = false;
		}
		return;
	}
	for (size_t i = 0; i < MODEL_BOXES; i++) {
		struct model_box *box = &m->boxes[i];
		char name[160];
		if (!box->used ||
		    (strcmp(box->name, from) != 0 && !is_below(box->name, from)))
			continue;
		snprintf(name, sizeof(name), "%s%s", to, box->name + strlen(from));
		memcpy(box->name, name, sizeof(box->name));
		assert_int_equal(fixture_box(m->f, m->f->jo, box->name), box->number);
	}
	box_add_all(m, to);
}

/* ---- views ---- */
static void
view_open(struct model *m, struct model_view *view)
{
	struct model_box *box = box_any(m);
	mailbox_view_close(&view->view);
	memset(view->known, 0, sizeof(view->known));
	view->box = box;
	assert_int_equal(
	    mailbox_view_open(m->f->reader, m->f->jo, box->number, &view->view),
	    STATUS_OK);
	for (uint32_t uid = 1; uid < box->uidnext; uid++)
		view->known[uid] = box->messages[uid - 1].there;
}

static void
view_compare(const struct model_view *view)
{
	uint32_t msn = 0;
	for (uint32_t uid = 1; uid <= MODEL_MESSAGES; uid++) {
		if (view->known[uid]) {
			msn++;
			assert_int_equal(mailbox_view_uid(view->view, msn), uid);
			assert_int_equal(mailbox_view_msn(view->view, uid), msn);
			assert_int_equal(mailbox_view_next(view->view, uid), uid);
		}
	}
	assert_int_equal(mailbox_view_count(view->view), msn);
	assert_int_equal(mailbox_view_uid(view->view, msn + 1), 0);
}

/* Follows by deltas until nothing is left; the view must then be what the model says. */
static void
view_follow(struct model *m, struct model_view *view)
{
	struct mailbox_delta delta;
	size_t max = roll(m, 3) ? 0 : 1 + roll(m, 5);
	do {
		assert_int_equal(mailbox_view_delta(
				     m->f->reader, view->view, m->f->arena, max, &delta),
		    STATUS_OK);
		for (size_t i = 0; i < delta.expunged_count; i++) {
			assert_true(view->known[delta.expunged[i]]);
			assert_false(view->box->messages[delta.expunged[i] - 1].there);
			mailbox_view_remove(view->view, delta.expunged[i]);
			view->known[delta.expunged[i]] = 0;
		}
		for (size_t i = 0; i < delta.added_count; i++) {
			assert_false(view->known[delta.added[i]]);
			assert_true(view->box->messages[delta.added[i] - 1].there);
			mailbox_view_add(view->view, delta.added[i]);
			view->known[delta.added[i]] = 1;
		}
		for (size_t i = 0; i < delta.changed_count; i++)
			assert_true(view->known[delta.changed[i]]);
		assert_true(
		    !delta.more || delta.modseq > mailbox_view_modseq(view->view));
		mailbox_view_set_modseq(view->view, delta.modseq);
	} while (delta.more);
	for (uint32_t uid = 1; uid < view->box->uidnext; uid++)
		assert_int_equal(view->known[uid], view->box->messages[uid - 1].there);
	view_compare(view);
}

static void
step_view(struct model *m)
{
	struct model_view *view = &m->views[roll(m, MODEL_VIEWS)];
	if (!view->view || roll(m, 20) == 0)
		view_open(m, view);
	else
		view_follow(m, view);
}

/* ---- everything ---- */
static void
box_compare(struct model *m, const struct model_box *box)
{
	struct mailbox_info info;
	struct message_record record;
	struct slice keywords[MAILBOX_KEYWORDS_MAX];
	uint32_t exists = 0, unseen = 0, deleted = 0;
	uint64_t bytes = 0;
	size_t keyword_count =
	    mailbox_keywords(m->f->reader, m->f->jo, box->number, keywords);
	assert_true(keyword_count <= 1);
	struct message_cursor *cursor =
	    message_cursor_open(m->f->reader, m->f->jo, box->number, 1, UINT32_MAX);
	for (uint32_t uid = 1; uid < box->uidnext; uid++) {
		const struct model_message *message = &box->messages[uid - 1];
		if (!message->there)
			continue;
		assert_int_equal(message_cursor_next(cursor, &record), STATUS_OK);
		assert_int_equal(record.uid, uid);
		assert_int_equal(record.flags, message->flags);
		assert_int_equal(record.keywords, message->green ? 1 : 0);
		assert_int_equal(record.size, message->size);
		exists++;
		unseen += !(message->flags & MESSAGE_SEEN);
		deleted += (message->flags & MESSAGE_DELETED) != 0;
		bytes += message->size;
	}
	assert_int_equal(message_cursor_next(cursor, &record), STATUS_NOT_FOUND);
	message_cursor_close(&cursor);
	assert_int_equal(
	    mailbox_by_number(m->f->reader, m->f->jo, box->number, &info), STATUS_OK);
	assert_true(slice_equal(info.name, slice_from_cstr(box->name)));
	assert_int_equal(info.uidnext, box->uidnext);
	assert_int_equal(info.exists, exists);
	assert_int_equal(info.unseen, unseen);
	assert_int_equal(info.deleted, deleted);
	assert_int_equal(info.bytes, bytes);
}

static void
model_compare(struct model *m)
{
	struct account_usage usage;
	uint32_t boxes = 0;
	for (size_t i = 0; i < MODEL_BOXES; i++) {
		if (!m->boxes[i].used)
			continue;
		box_compare(m, &m->boxes[i]);
		boxes++;
	}
	assert_int_equal(account_usage_get(m->f->reader, m->f->jo, &usage), STATUS_OK);
	assert_int_equal(usage.mailboxes, boxes);
	store_reader_end(m->f->reader);
}

static void
model_step(struct model *m)
{
	uint32_t dice = roll(m, 1000);
	if (dice < 200)
		step_deliver(m);
	else if (dice < 300)
		step_append(m);
	else if (dice < 500)
		step_flags(m);
	else if (dice < 600)
		step_copy(m);
	else if (dice < 700)
		step_expunge(m);
	else if (dice < 710)
		step_create(m);
	else if (dice < 714)
		step_delete(m);
	else if (dice < 720)
		step_rename(m);
	else
		step_view(m);
}

static void
model_run(int backend, uint64_t random, unsigned steps)
{
	struct fixture f;
	struct model *m = xcalloc(1, sizeof(*m));
	fixture_init(&f, backend);
	m->f = &f;
	m->random = random;
	for (const char *const *name = (const char *const[]){"INBOX", "Archive", "Drafts",
		 "Junk", "Sent", "Trash", NULL};
	     *name; name++)
		box_add(m, *name);
	for (unsigned i = 0; i < steps; i++) {
		model_step(m);
		if (i % 1000 == 999) {
			model_compare(m);
			fixture_check(&f);
		}
		arena_reset(f.arena);
	}
	model_compare(m);
	for (size_t i = 0; i < MODEL_VIEWS; i++)
		mailbox_view_close(&m->views[i].view);
	for (size_t i = 0; i < MODEL_BOXES; i++)
		free(m->boxes[i].messages);
	fixture_fini(&f);
	free(m);
}

/* POSTROOM_MODEL_STEPS=20000 for a long run. */
static unsigned
model_steps(void)
{
	uint32_t steps;
	if (slice_to_u32(slice_from_cstr(getenv("POSTROOM_MODEL_STEPS")), &steps))
		return steps;
	return MODEL_STEPS_DEFAULT;
}

static void
model_over_lmdb(void **state)
{
	(void)state;
	model_run(0, 1, model_steps() / 3);
}

static void
model_over_memory(void **state)
{
	(void)state;
	model_run(1, 2, model_steps());
}

static void
model_with_reruns(void **state)
{
	(void)state;
	for (int backend = 2; backend < STORE_BACKENDS; backend++)
		model_run(backend, (uint64_t)backend, model_steps() / 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(model_over_memory),
	    cmocka_unit_test(model_with_reruns),
	    cmocka_unit_test(model_over_lmdb),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
