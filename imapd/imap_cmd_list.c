/*
 * LIST in its plain and extended form, LSUB, NAMESPACE.
 *
 * One scan over the account's names into the command arena, then selection, then output:
 * so STATUS in between reads what it wants, and a parent knows of its children.
 *
 * RFC 9051 section 6.3.9, RFC 5258 (LIST-EXTENDED), RFC 3348 (CHILDREN), RFC 6154
 * (SPECIAL-USE), RFC 5819 (LIST-STATUS), RFC 9590 (LIST-METADATA), RFC 3501 section
 * 6.3.9 (LSUB), RFC 2342, RFC 4314 section 4 (l), RFC 8440 (LIST-MYRIGHTS).
 */
#include "imapd/imap_int.h"

#include "base/hashmap.h"
#include "imapd/imap_pattern.h"
#include "text/encoding.h"

enum { METADATA_RIGHTS = ACL_READ | ACL_SEEN | ACL_WRITE | ACL_INSERT | ACL_POST };

struct list_entry {
	struct mailbox_info info;
	struct account_id account;
	uint16_t rights; /* of the session; own: all */
	bool matched;    /* by a pattern */
	bool selected;   /* by the selection options */
	bool below;      /* a selected descendant is not itself in the answer */
};

struct list_run {
	struct imap_session *s;
	const struct imap_list_args *args;
	struct imap_pattern *patterns;
	size_t pattern_count;
	struct list_entry **entries;
	size_t count, room;
	bool full; /* the arena's limit */
};

/* ---- collecting ---- */

static bool
matches(const struct list_run *run, struct slice name)
{
	for (size_t i = 0; i < run->pattern_count; i++)
		if (imap_pattern_match(&run->patterns[i], name))
			return true;
	return false;
}

static bool
is_selected(const struct list_run *run, const struct mailbox_info *info)
{
	unsigned select = run->args->select;

	if ((select & IMAP_LIST_SUBSCRIBED) && !info->subscribed)
		return false;
	if ((select & IMAP_LIST_SELECT_SPECIAL_USE) && info->use == 0)
		return false;
	if (select & (IMAP_LIST_SUBSCRIBED | IMAP_LIST_SELECT_SPECIAL_USE))
		return true;
	/* A name that is only subscribed is no mailbox; a parent has to be shown. */
	return !info->exists_not || info->has_children;
}

static struct list_entry *
entry_add(struct list_run *run, const struct mailbox_info *info)
{
	struct arena *arena = imap_arena(run->s);
	struct list_entry *e = arena_alloc(arena, sizeof(*e));

	if (run->count == run->room) {
		size_t room = run->room ? run->room * 2 : 64;
		struct list_entry **grown = ARENA_ARRAY(arena, struct list_entry *, room);
		if (grown && run->count > 0)
			memcpy(grown, run->entries, run->count * sizeof(*grown));
		run->entries = grown;
		run->room = grown ? room : 0;
	}
	if (!e || !run->entries) {
		run->full = true;
		return NULL;
	}
	e->info = *info;
	e->account = run->s->account;
	e->rights = ACL_ALL;
	e->matched = matches(run, info->name);
	e->selected = is_selected(run, info);
	run->entries[run->count++] = e;
	return e;
}

static bool
collect(const struct mailbox_info *info, void *arg)
{
	return entry_add(arg, info) != NULL;
}

/* A parent that is nowhere itself: only names below it are subscribed. */
static struct list_entry *
parent_add(struct list_run *run, struct slice name)
{
	struct mailbox_info info = {
	    .name = name, .exists_not = true, .has_children = true};
	struct list_entry *e = entry_add(run, &info);

	if (e)
		e->selected = false;
	return e;
}

/* Somebody else's.  Its name may be there as one that is only subscribed. */
struct list_shared {
	struct list_run *run;
	struct hashmap *by_name;
};

static bool
collect_shared(const struct imap_box *box, void *arg)
{
	struct list_shared *c = arg;
	struct list_run *run = c->run;
	struct mailbox_info info = box->info;
	struct list_entry *e = hashmap_get(c->by_name, info.name);

	if (e && !e->info.exists_not)
		return true; /* one's own of the same name wins */
	info.subscribed = e && e->info.subscribed;
	if (e) {
		e->info = info;
		e->selected = is_selected(run, &info);
	} else if ((e = entry_add(run, &info))) {
		hashmap_put(c->by_name, info.name, e);
	}
	if (!e)
		return false;
	e->account = box->account;
	e->rights = box->rights;
	return true;
}

/* Names above it: those that may be seen have children now; others are places in the
 * hierarchy and no mailboxes (RFC 4314 section 4). */
static void
add_above(struct list_shared *c, struct slice name)
{
	for (size_t cut; (cut = slice_rindex(name, '/')) != SIZE_MAX;) {
		name = slice_sub(name, 0, cut);
		struct list_entry *e = hashmap_get(c->by_name, name);
		struct mailbox_info info = {.name = name, .exists_not = true};
		if (!e && (e = entry_add(c->run, &info)))
			hashmap_put(c->by_name, name, e);
		if (!e)
			return;
		e->info.has_children = true;
		e->selected = is_selected(c->run, &e->info);
	}
}

static enum status
scan_shared(struct list_run *run)
{
	struct list_shared c = {.run = run, .by_name = hashmap_new()};

	for (size_t i = 0; i < run->count; i++)
		hashmap_put(c.by_name, run->entries[i]->info.name, run->entries[i]);
	enum status status = imap_box_each_shared(run->s, collect_shared, &c);
	size_t count = run->count;
	for (size_t i = 0; status == STATUS_OK && i < count && !run->full; i++)
		if (!imap_same_account(run->entries[i]->account, run->s->account))
			add_above(&c, run->entries[i]->info.name);
	hashmap_free(&c.by_name, NULL);
	return status;
}

/* Marks the parents of what is selected but not in the answer (RECURSIVEMATCH, LSUB). */
static bool
mark_parents(struct list_run *run)
{
	struct hashmap *by_name = hashmap_new();
	size_t count = run->count;

	for (size_t i = 0; i < count; i++)
		hashmap_put(by_name, run->entries[i]->info.name, run->entries[i]);
	for (size_t i = 0; i < count && !run->full; i++) {
		if (!run->entries[i]->selected || run->entries[i]->matched)
			continue;
		struct slice name = run->entries[i]->info.name;
		for (size_t cut; (cut = slice_rindex(name, '/')) != SIZE_MAX;) {
			name = slice_sub(name, 0, cut);
			struct list_entry *parent = hashmap_get(by_name, name);
			if (!parent && (parent = parent_add(run, name)))
				hashmap_put(by_name, name, parent);
			if (!parent)
				break;
			parent->below = true;
		}
	}
	hashmap_free(&by_name, NULL);
	return !run->full;
}

/* Reference and pattern are put together and decoded: the wildcards are ASCII and stay.
 */
static bool
compile(struct list_run *run, struct slice reference, struct slice pattern)
{
	struct arena *arena = imap_arena(run->s);
	struct slice text =
	    arena_format(arena, "%.*s%.*s", SLICE_ARG(reference), SLICE_ARG(pattern));
	struct buf decoded;

	buf_init(&decoded, IMAP_FRAME_MAX);
	if (!imap_is_utf8(run->s)) {
		if (mutf7_decode(text, &decoded) && buf_ok(&decoded))
			text = arena_copy(arena, buf_slice(&decoded));
		/* else: what is no name matches none, and ASCII stays as it is */
	}
	buf_fini(&decoded);
	return text.ptr &&
	       imap_pattern_compile(text, arena, &run->patterns[run->pattern_count++]);
}

static bool
compile_all(struct list_run *run)
{
	const struct imap_list_args *args = run->args;

	run->patterns =
	    ARENA_ARRAY(imap_arena(run->s), struct imap_pattern, args->pattern_count);
	for (size_t i = 0; run->patterns && i < args->pattern_count; i++)
		if (!compile(run, args->reference, args->patterns[i]))
			return false;
	return run->patterns != NULL;
}

static enum status
scan(struct list_run *run)
{
	struct imap_session *s = run->s;

	if (!compile_all(run))
		return STATUS_LIMIT;
	enum status status = mailbox_each(imap_reader(s), s->account, collect, run);
	if (status == STATUS_OK)
		status = scan_shared(run);
	if (status == STATUS_OK && run->full)
		status = STATUS_LIMIT;
	return status;
}

/* ---- writing ---- */

static const struct {
	uint32_t use;
	struct slice name;
} use_names[] = {
    {MAILBOX_USE_ALL,       {"\\All", 4}       },
    {MAILBOX_USE_ARCHIVE,   {"\\Archive", 8}   },
    {MAILBOX_USE_DRAFTS,    {"\\Drafts", 7}    },
    {MAILBOX_USE_FLAGGED,   {"\\Flagged", 8}   },
    {MAILBOX_USE_JUNK,      {"\\Junk", 5}      },
    {MAILBOX_USE_SENT,      {"\\Sent", 5}      },
    {MAILBOX_USE_TRASH,     {"\\Trash", 6}     },
    {MAILBOX_USE_IMPORTANT, {"\\Important", 10}},
};

static void
write_attribute(struct buf *out, struct slice name, bool *first)
{
	if (!*first)
		buf_append_byte(out, ' ');
	*first = false;
	buf_append(out, name);
}

static void
write_attributes(
    struct buf *out, const struct mailbox_info *info, bool extended, bool subscribed)
{
	bool first = true;

	buf_append_byte(out, '(');
	/* \NonExistent implies \Noselect (RFC 5258 section 3). */
	if (info->exists_not)
		write_attribute(
		    out, extended ? SLICE("\\NonExistent") : SLICE("\\Noselect"), &first);
	write_attribute(out,
	    info->has_children ? SLICE("\\HasChildren") : SLICE("\\HasNoChildren"),
	    &first);
	if (subscribed)
		write_attribute(out, SLICE("\\Subscribed"), &first);
	for (size_t i = 0; i < sizeof(use_names) / sizeof(use_names[0]); i++)
		if (info->use & use_names[i].use)
			write_attribute(out, use_names[i].name, &first);
	buf_append_byte(out, ')');
}

void
imap_write_uses(struct buf *out, uint32_t use)
{
	bool first = true;

	for (size_t i = 0; i < sizeof(use_names) / sizeof(use_names[0]); i++)
		if (use & use_names[i].use)
			write_attribute(out, use_names[i].name, &first);
}

void
imap_write_list(
    struct imap_session *s, const struct mailbox_info *info, struct slice old_name)
{
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("* LIST "));
	write_attributes(out, info, true, info->subscribed);
	buf_append(out, SLICE(" \"/\" "));
	imap_resp_mailbox(out, info->name, imap_is_utf8(s));
	if (old_name.ptr) {
		buf_append(out, SLICE(" (\"OLDNAME\" ("));
		imap_resp_string(out, old_name, imap_is_utf8(s));
		buf_append(out, SLICE("))"));
	}
	buf_append(out, SLICE("\r\n"));
}

static void
write_entry(const struct list_run *run, const struct list_entry *e)
{
	struct imap_session *s = run->s;
	const struct imap_list_args *args = run->args;
	struct buf *out = imap_out(s);
	bool show_subscribed = (args->select & IMAP_LIST_SUBSCRIBED) ||
	                       (args->returns & IMAP_LIST_RETURN_SUBSCRIBED);

	buf_append(out, SLICE("* LIST "));
	write_attributes(out, &e->info, args->extended || imap_is_rev2(s),
	    show_subscribed && e->info.subscribed);
	buf_append(out, SLICE(" \"/\" "));
	imap_resp_mailbox(out, e->info.name, imap_is_utf8(s));
	if (e->below && (args->select & IMAP_LIST_RECURSIVEMATCH)) {
		bool first = true;
		buf_append(out, SLICE(" (\"CHILDINFO\" ("));
		if (args->select & IMAP_LIST_SUBSCRIBED)
			write_attribute(out, SLICE("\"SUBSCRIBED\""), &first);
		if (args->select & IMAP_LIST_SELECT_SPECIAL_USE)
			write_attribute(out, SLICE("\"SPECIAL-USE\""), &first);
		buf_append(out, SLICE("))"));
	}
	buf_append(out, SLICE("\r\n"));
	if ((args->returns & IMAP_LIST_RETURN_MYRIGHTS) && !e->info.exists_not)
		imap_write_myrights(s, e->info.name, e->rights);
	if ((args->returns & IMAP_LIST_RETURN_STATUS) && !e->info.exists_not &&
	    (e->rights & ACL_READ))
		imap_write_status(s, e->account, &e->info, args->status_items);
	/* What cannot be read is left out (RFC 9590 section 3). */
	uint64_t longest;
	if ((args->returns & IMAP_LIST_RETURN_METADATA) && !e->info.exists_not &&
	    (e->rights & METADATA_RIGHTS))
		(void)!imap_metadata_write(
		    s, e->account, &e->info, args->metadata, &longest);
}

/* ---- the commands ---- */

/* The empty pattern asks for the separator and the reference's root. */
static bool
asks_for_separator(const struct imap_list_args *args)
{
	return !args->extended && args->pattern_count == 1 && args->patterns[0].len == 0;
}

enum cmd_result
imap_run_list(struct imap_session *s, struct imap_command *cmd)
{
	struct list_run run = {.s = s, .args = cmd->u.list};

	if (asks_for_separator(run.args)) {
		buf_append(imap_out(s), SLICE("* LIST (\\Noselect) \"/\" \"\"\r\n"));
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "LIST completed");
	}
	enum status status = scan(&run);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	bool recursive = run.args->select & IMAP_LIST_RECURSIVEMATCH;
	if (recursive && !mark_parents(&run))
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	if (run.args->status_items & IMAP_STATUS_HIGHESTMODSEQ)
		imap_condstore_on(s);
	for (size_t i = 0; i < run.count; i++) {
		const struct list_entry *e = run.entries[i];
		if (e->matched && (e->selected || (recursive && e->below)))
			write_entry(&run, e);
	}
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "LIST completed");
}

static bool
any_ends_in_percent(const struct list_run *run)
{
	for (size_t i = 0; i < run->pattern_count; i++)
		if (run->patterns[i].ends_in_percent)
			return true;
	return false;
}

/* A name that is not subscribed, but has such children that "%" does not reach, is shown
 * as \Noselect (RFC 3501 section 6.3.9). */
enum cmd_result
imap_run_lsub(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_list_args args = *cmd->u.list;
	struct list_run run = {.s = s, .args = &args};
	struct buf *out = imap_out(s);

	args.select = IMAP_LIST_SUBSCRIBED;
	enum status status = scan(&run);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	if (!mark_parents(&run))
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	bool percent = any_ends_in_percent(&run);
	for (size_t i = 0; i < run.count; i++) {
		const struct list_entry *e = run.entries[i];
		if (!e->matched || (!e->selected && !(percent && e->below)))
			continue;
		buf_append(out, SLICE("* LSUB "));
		if (e->selected)
			write_attributes(out, &e->info, false, false);
		else
			buf_append(out, SLICE("(\\Noselect)"));
		buf_append(out, SLICE(" \"/\" "));
		imap_resp_mailbox(out, e->info.name, imap_is_utf8(s));
		buf_append(out, SLICE("\r\n"));
	}
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "LSUB completed");
}

enum cmd_result
imap_run_namespace(struct imap_session *s, struct imap_command *cmd)
{
	buf_append(
	    imap_out(s), imap_conf(s)->imap.sharing == CONF_SHARING_NONE
			     ? SLICE("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n")
			     : SLICE("* NAMESPACE ((\"\" \"/\")) ((\"" IMAP_NS_OTHERS
				     "\" \"/\")) ((\"" IMAP_NS_SHARED "\" \"/\"))\r\n"));
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "NAMESPACE completed");
}
