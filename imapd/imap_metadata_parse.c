/*
 * The arguments of GETMETADATA and SETMETADATA, and what is an entry's name.
 *
 * GETMETADATA's options stand before the mailbox in the grammar (RFC 5464 section 5) and
 * behind it in the examples (section 4.2): both are taken.
 */
#include "imapd/imap_metadata_parse.h"

#include "imapd/imap_cmd.h"

/* ---- names ---- */

/* How many components, or 0 for what is no name at all. */
static size_t
name_components(struct slice name)
{
	size_t count = 0;

	if (name.len == 0 || name.len > METADATA_ENTRY_MAX || name.ptr[0] != '/' ||
	    name.ptr[name.len - 1] == '/')
		return 0;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		if (c < 0x20 || c > 0x7e || c == '*' || c == '%' ||
		    (c == '/' && name.ptr[i + 1] == '/'))
			return 0;
		count += c == '/';
	}
	return count;
}

static bool
is_scope(struct slice name, struct slice scope)
{
	return slice_has_prefix(name, scope) &&
	       (name.len == scope.len || name.ptr[scope.len] == '/');
}

/* `whole`: it names one annotation, and not only a place above some. */
static bool
entry_lex(struct imap_lex *lex, struct imap_metadata_entry *out, bool whole)
{
	if (!imap_lex_astring(lex, &out->raw))
		return false;
	size_t components = name_components(out->raw);
	if (components == 0)
		return imap_lex_bad(lex, "this cannot be the name of an entry");
	char *lower = ARENA_ARRAY(lex->arena, char, out->raw.len);
	if (!lower)
		return imap_lex_limit(lex, "command is too large");
	for (size_t i = 0; i < out->raw.len; i++)
		lower[i] = ascii_lower(out->raw.ptr[i]);
	out->name = slice_make(lower, out->raw.len);
	out->shared = is_scope(out->name, SLICE("/shared"));
	if (!out->shared && !is_scope(out->name, SLICE("/private")))
		return imap_lex_bad(lex, "entries are /private or /shared");
	bool vendor = is_scope(out->name, SLICE("/shared/vendor")) ||
	              is_scope(out->name, SLICE("/private/vendor"));
	if (whole && components < (vendor ? 4u : 2u))
		return imap_lex_bad(lex, "the entry's name has too few components");
	return true;
}

static bool
entries_room(struct imap_lex *lex, struct imap_metadata_args *args)
{
	args->entries = ARENA_ARRAY(
	    lex->arena, struct imap_metadata_entry, IMAP_METADATA_ENTRIES_MAX);
	return args->entries || imap_lex_limit(lex, "command is too large");
}

static bool
entry_add(struct imap_lex *lex, struct imap_metadata_args *args)
{
	struct imap_metadata_entry entry = {.value = SLICE_NULL};

	if (!entry_lex(lex, &entry, false))
		return false;
	for (size_t i = 0; i < args->count; i++)
		if (slice_equal(args->entries[i].name, entry.name))
			return true;
	if (args->count == IMAP_METADATA_ENTRIES_MAX)
		return imap_lex_limit(lex, "too many entries");
	args->entries[args->count++] = entry;
	return true;
}

bool
imap_metadata_lex_entries(struct imap_lex *lex, struct imap_metadata_args *args)
{
	if (!entries_room(lex, args))
		return false;
	if (!imap_lex_try_char(lex, '('))
		return entry_add(lex, args);
	do {
		if (!entry_add(lex, args))
			return false;
	} while (imap_lex_try_space(lex));
	return imap_lex_char(lex, ')');
}

/* ---- GETMETADATA ---- */

/* Behind "(". */
static bool
options_lex(struct imap_lex *lex, struct imap_metadata_args *args)
{
	do {
		if (imap_lex_try_word(lex, SLICE("MAXSIZE"))) {
			args->has_maxsize = true;
			if (imap_lex_space(lex))
				imap_lex_number(lex, &args->maxsize);
		} else if (imap_lex_try_word(lex, SLICE("DEPTH"))) {
			if (!imap_lex_space(lex))
				return false;
			if (imap_lex_try_word(lex, SLICE("0")))
				args->depth = IMAP_METADATA_DEPTH_0;
			else if (imap_lex_try_word(lex, SLICE("1")))
				args->depth = IMAP_METADATA_DEPTH_1;
			else if (imap_lex_try_word(lex, SLICE("infinity")))
				args->depth = IMAP_METADATA_DEPTH_INFINITY;
			else
				return imap_lex_bad(lex, "DEPTH is 0, 1 or infinity");
		} else {
			return imap_lex_bad(lex, "unknown GETMETADATA option");
		}
	} while (imap_lex_try_space(lex));
	return imap_lex_char(lex, ')');
}

/* A list that begins with an entry's name is one of entries. */
static bool
try_options(struct imap_lex *lex)
{
	struct slice rest = imap_lex_rest(lex);

	if (rest.len < 2 || rest.ptr[0] != '(' ||
	    (ascii_upper(rest.ptr[1]) != 'M' && ascii_upper(rest.ptr[1]) != 'D'))
		return false;
	return imap_lex_char(lex, '(');
}

static bool
get_lex(struct imap_lex *lex, struct imap_metadata_args *args)
{
	if (!imap_lex_space(lex))
		return false;
	bool first = imap_lex_try_char(lex, '(');
	if (first && (!options_lex(lex, args) || !imap_lex_space(lex)))
		return false;
	if (!imap_lex_astring(lex, &args->mailbox) || !imap_lex_space(lex))
		return false;
	if (!first && try_options(lex) &&
	    (!options_lex(lex, args) || !imap_lex_space(lex)))
		return false;
	return imap_metadata_lex_entries(lex, args);
}

enum parse_result
imap_parse_getmetadata(struct imap_lex *lex, struct arena *arena,
    struct imap_command *cmd, struct parse_fault *fault)
{
	cmd->u.metadata = ARENA_NEW(arena, struct imap_metadata_args);
	(void)get_lex(lex, cmd->u.metadata);
	return imap_lex_result(lex, fault);
}

/* ---- SETMETADATA ---- */

static bool
set_lex(struct imap_lex *lex, struct imap_metadata_args *args)
{
	if (!entries_room(lex, args) || !imap_lex_space(lex) ||
	    !imap_lex_astring(lex, &args->mailbox) || !imap_lex_space(lex) ||
	    !imap_lex_char(lex, '('))
		return false;
	do {
		if (args->count == IMAP_METADATA_ENTRIES_MAX)
			return imap_lex_limit(lex, "too many entries");
		struct imap_metadata_entry *entry = &args->entries[args->count++];
		if (!entry_lex(lex, entry, true) || !imap_lex_space(lex) ||
		    !imap_lex_nstring(lex, &entry->value))
			return false;
	} while (imap_lex_try_space(lex));
	return imap_lex_char(lex, ')');
}

enum parse_result
imap_parse_setmetadata(struct imap_lex *lex, struct arena *arena,
    struct imap_command *cmd, struct parse_fault *fault)
{
	cmd->u.metadata = ARENA_NEW(arena, struct imap_metadata_args);
	(void)set_lex(lex, cmd->u.metadata);
	return imap_lex_result(lex, fault);
}
