/*
 * Frames to commands: tag, name, row, and the arguments of the commands that have no
 * parser of their own elsewhere.
 *
 * Pure: text in, struct imap_command out.  Mailbox names and patterns stay as sent; only
 * the session knows whether they are modified UTF-7 or UTF-8.
 *
 * RFC 9051 section 9, RFC 6154 (USE), RFC 7162 (SELECT parameters), RFC 2971 (ID), RFC
 * 9208 (quota).
 */
#include "imapd/imap_parse.h"

#include "imapd/imap_cmd.h"
#include "imapd/imap_lex.h"
#include "imapd/imap_seqset.h"

/* ---- the frame ---- */

static enum parse_result
parse_fail(struct parse_fault *fault, const char *text)
{
	fault->text = text;
	return PARSE_BAD;
}

static bool
parse_name(struct imap_lex *lex, struct imap_command *cmd)
{
	if (!imap_lex_space(lex) || !imap_lex_word(lex, &cmd->name))
		return false;
	if (!slice_equal_nocase(cmd->name, SLICE("UID")))
		return true;
	cmd->uid = true;
	return imap_lex_space(lex) && imap_lex_word(lex, &cmd->name);
}

enum parse_result
imap_command_parse(struct slice frame, struct arena *arena, struct imap_command *out,
    struct parse_fault *fault)
{
	struct imap_lex lex;

	*out = (struct imap_command){.row = NULL};
	*fault = (struct parse_fault){NULL};
	imap_lex_init(&lex, frame, arena);
	if (!imap_lex_tag(&lex, &out->tag)) {
		out->tag = SLICE_NULL;
		return imap_lex_result(&lex, fault);
	}
	if (!parse_name(&lex, out))
		return imap_lex_result(&lex, fault);
	const struct imap_cmd_row *row = imap_cmd_find(out->name);
	if (!row)
		return parse_fail(fault, "unknown command");
	out->row = row;
	if (out->uid && !(row->bits & IMAP_ROW_UID))
		return parse_fail(fault, "this command has no UID form");
	enum parse_result result = row->parse(&lex, arena, out, fault);
	if (result != PARSE_DONE)
		return result;
	imap_lex_end(&lex);
	return imap_lex_result(&lex, fault);
}

/* ---- small ones ---- */

enum parse_result
imap_parse_none(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	(void)cmd;
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_mailbox(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex))
		imap_lex_astring(lex, &cmd->u.mailbox);
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_rename(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &cmd->u.rename.from) &&
	    imap_lex_space(lex))
		imap_lex_astring(lex, &cmd->u.rename.to);
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_login(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &cmd->u.login.user) &&
	    imap_lex_space(lex))
		imap_lex_astring(lex, &cmd->u.login.password);
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_authenticate(struct imap_lex *lex, struct arena *arena,
    struct imap_command *cmd, struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex) && imap_lex_atom(lex, &cmd->u.authenticate.mechanism) &&
	    imap_lex_try_space(lex))
		/* Base64 and "=" are atoms (RFC 4959 section 3). */
		cmd->u.authenticate.has_initial =
		    imap_lex_atom(lex, &cmd->u.authenticate.initial);
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_compress(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex))
		imap_lex_atom(lex, &cmd->u.algorithm);
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_enable(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct slice *names = ARENA_ARRAY(arena, struct slice, IMAP_ENABLE_MAX);
	size_t count = 0;

	if (!names)
		imap_lex_limit(lex, "command too large");
	if (imap_lex_space(lex)) {
		do {
			if (count == IMAP_ENABLE_MAX)
				imap_lex_limit(lex, "too many capabilities");
			else if (imap_lex_atom(lex, &names[count]))
				count++;
		} while (imap_lex_try_space(lex));
	}
	cmd->u.enable.names = names;
	cmd->u.enable.count = count;
	return imap_lex_result(lex, fault);
}

static void
parse_id_pairs(struct imap_lex *lex, struct imap_id_pair *pairs, size_t *count)
{
	while (imap_lex_ok(lex) && !imap_lex_try_char(lex, ')')) {
		struct imap_id_pair pair;
		if (*count > 0 && !imap_lex_space(lex))
			return;
		if (!imap_lex_string(lex, &pair.key) || !imap_lex_space(lex) ||
		    !imap_lex_nstring(lex, &pair.value))
			return;
		if (*count == IMAP_ID_PAIRS_MAX) {
			imap_lex_limit(lex, "more than 30 ID fields");
			return;
		}
		pairs[(*count)++] = pair;
	}
}

enum parse_result
imap_parse_id(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_id_pair *pairs =
	    ARENA_ARRAY(arena, struct imap_id_pair, IMAP_ID_PAIRS_MAX);
	size_t count = 0;

	if (!pairs)
		imap_lex_limit(lex, "command too large");
	if (imap_lex_space(lex) && !imap_lex_try_word(lex, SLICE("NIL")) &&
	    imap_lex_char(lex, '('))
		parse_id_pairs(lex, pairs, &count);
	cmd->u.id.pairs = pairs;
	cmd->u.id.count = count;
	return imap_lex_result(lex, fault);
}

/* setquota-resource = resource-name SP resource-limit (RFC 9208 section 7); each once. */
static bool
quota_resource_lex(struct imap_lex *lex, struct imap_quota_args *args)
{
	const struct {
		struct slice name;
		bool *has;
		uint64_t *limit;
	} known[] = {
	    {SLICE("STORAGE"), &args->has_storage, &args->storage},
	    {SLICE("MESSAGE"), &args->has_message, &args->message},
	    {SLICE("MAILBOX"), &args->has_mailbox, &args->mailbox},
	};
	struct slice name;
	uint64_t limit;

	if (!imap_lex_atom(lex, &name) || !imap_lex_space(lex) ||
	    !imap_lex_number64(lex, &limit))
		return false;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!slice_equal_nocase(name, known[i].name))
			continue;
		if (*known[i].has)
			return imap_lex_bad(lex, "a resource is named twice");
		*known[i].has = true;
		*known[i].limit = limit;
		return true;
	}
	args->unknown = true;
	return true;
}

/* "SETQUOTA root (STORAGE 512 MESSAGE 100)". */
enum parse_result
imap_parse_setquota(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_quota_args args = {0};

	(void)arena;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &args.root) &&
	    imap_lex_space(lex) && imap_lex_char(lex, '(') &&
	    !imap_lex_try_char(lex, ')')) {
		while (quota_resource_lex(lex, &args) && imap_lex_try_space(lex))
			;
		imap_lex_char(lex, ')');
	}
	cmd->u.quota = args;
	return imap_lex_result(lex, fault);
}

/* APPEND and REPLACE without a message literal; imap_append_parse reads all of them. */
enum parse_result
imap_parse_append(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	(void)cmd;
	if (imap_lex_ok(lex))
		lex->pos = lex->in.len;
	return imap_lex_result(lex, fault);
}

/* ---- CREATE ---- */

static const struct {
	struct slice name;
	uint32_t use;
} special_uses[] = {
    {{"All", 3},       MAILBOX_USE_ALL      },
    {{"Archive", 7},   MAILBOX_USE_ARCHIVE  },
    {{"Drafts", 6},    MAILBOX_USE_DRAFTS   },
    {{"Flagged", 7},   MAILBOX_USE_FLAGGED  },
    {{"Junk", 4},      MAILBOX_USE_JUNK     },
    {{"Sent", 4},      MAILBOX_USE_SENT     },
    {{"Trash", 5},     MAILBOX_USE_TRASH    },
    {{"Important", 9}, MAILBOX_USE_IMPORTANT},
};

uint32_t
imap_parse_use_name(struct slice name)
{
	for (size_t i = 0; i < sizeof(special_uses) / sizeof(*special_uses); i++)
		if (slice_equal_nocase(special_uses[i].name, name))
			return special_uses[i].use;
	return 0;
}

static void
parse_use(struct imap_lex *lex, struct imap_command *cmd)
{
	bool first = true;

	while (imap_lex_ok(lex) && !imap_lex_try_char(lex, ')')) {
		struct slice name;
		if (!first && !imap_lex_space(lex))
			return;
		first = false;
		if (!imap_lex_char(lex, '\\') || !imap_lex_atom(lex, &name))
			return;
		uint32_t use = imap_parse_use_name(name);
		if (use == 0)
			cmd->u.create.use_unknown = true;
		cmd->u.create.use |= use;
	}
}

enum parse_result
imap_parse_create(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &cmd->u.create.mailbox) &&
	    imap_lex_try_space(lex) && imap_lex_char(lex, '(')) {
		if (!imap_lex_try_word(lex, SLICE("USE")))
			imap_lex_bad(lex, "unknown CREATE parameter");
		if (imap_lex_space(lex) && imap_lex_char(lex, '(')) {
			parse_use(lex, cmd);
			imap_lex_char(lex, ')');
		}
	}
	return imap_lex_result(lex, fault);
}

/* ---- SELECT and EXAMINE ---- */

static struct imap_seqset *
parse_uid_set(struct imap_lex *lex, struct arena *arena)
{
	struct imap_seqset *set = ARENA_NEW(arena, struct imap_seqset);

	return imap_seqset_lex_uids(lex, set) ? set : NULL;
}

/* Behind "QRESYNC": SP "(" uidvalidity SP modseq [SP known-uids] [SP "(" seqs SP uids
 * ")"] ")", RFC 7162 section 7. */
static void
parse_qresync(struct imap_lex *lex, struct arena *arena, struct imap_select_args *args)
{
	args->qresync = true;
	if (!imap_lex_space(lex) || !imap_lex_char(lex, '(') ||
	    !imap_lex_nz_number(lex, &args->qresync_uidvalidity) ||
	    !imap_lex_space(lex) || !imap_lex_number64(lex, &args->qresync_modseq))
		return;
	if (args->qresync_modseq == 0)
		imap_lex_bad(lex, "a mod-sequence is not 0");
	bool more = imap_lex_try_space(lex);
	if (more && imap_lex_peek(lex) != '(') {
		args->qresync_known_uids = parse_uid_set(lex, arena);
		more = imap_lex_try_space(lex);
	}
	if (more && imap_lex_char(lex, '(')) {
		args->qresync_match_msns = parse_uid_set(lex, arena);
		imap_lex_space(lex);
		args->qresync_match_uids = parse_uid_set(lex, arena);
		imap_lex_char(lex, ')');
	}
	imap_lex_char(lex, ')');
}

static void
parse_select_params(
    struct imap_lex *lex, struct arena *arena, struct imap_select_args *args)
{
	do {
		if (imap_lex_try_word(lex, SLICE("CONDSTORE")))
			args->condstore = true;
		else if (!args->qresync && imap_lex_try_word(lex, SLICE("QRESYNC")))
			parse_qresync(lex, arena, args);
		else
			imap_lex_bad(lex, "unknown SELECT parameter");
	} while (imap_lex_try_space(lex));
	imap_lex_char(lex, ')');
}

enum parse_result
imap_parse_select(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_select_args *args = ARENA_NEW(arena, struct imap_select_args);

	cmd->u.select = args;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &args->mailbox) &&
	    imap_lex_try_space(lex) && imap_lex_char(lex, '('))
		parse_select_params(lex, arena, args);
	return imap_lex_result(lex, fault);
}

/* ---- STATUS ---- */

static const struct {
	const char *name;
	unsigned item;
} status_items[] = {
    {"MESSAGES",        IMAP_STATUS_MESSAGES       },
    {"RECENT",          IMAP_STATUS_RECENT         },
    {"UIDNEXT",         IMAP_STATUS_UIDNEXT        },
    {"UIDVALIDITY",     IMAP_STATUS_UIDVALIDITY    },
    {"UNSEEN",          IMAP_STATUS_UNSEEN         },
    {"DELETED",         IMAP_STATUS_DELETED        },
    {"SIZE",            IMAP_STATUS_SIZE           },
    {"HIGHESTMODSEQ",   IMAP_STATUS_HIGHESTMODSEQ  },
    {"MAILBOXID",       IMAP_STATUS_MAILBOXID      },
    {"APPENDLIMIT",     IMAP_STATUS_APPENDLIMIT    },
    {"DELETED-STORAGE", IMAP_STATUS_DELETED_STORAGE},
};

static bool
parse_status_item(struct imap_lex *lex, unsigned *items)
{
	struct slice word;

	if (!imap_lex_word(lex, &word))
		return false;
	for (size_t i = 0; i < sizeof(status_items) / sizeof(*status_items); i++) {
		if (slice_equal_nocase(word, slice_from_cstr(status_items[i].name))) {
			*items |= status_items[i].item;
			return true;
		}
	}
	return imap_lex_bad(lex, "unknown STATUS item");
}

bool
imap_parse_status_items(struct imap_lex *lex, unsigned *out_items)
{
	*out_items = 0;
	imap_lex_char(lex, '(');
	do {
		if (!parse_status_item(lex, out_items))
			return false;
	} while (imap_lex_try_space(lex));
	return imap_lex_char(lex, ')');
}

enum parse_result
imap_parse_status(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &cmd->u.status.mailbox) &&
	    imap_lex_space(lex))
		imap_parse_status_items(lex, &cmd->u.status.items);
	return imap_lex_result(lex, fault);
}
