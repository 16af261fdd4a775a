/*
 * The command table, the capability list, and the commands that concern no mailbox: NOOP,
 * CHECK, CAPABILITY, ID, ENABLE, LOGOUT, COMPRESS.
 *
 * Both tables are const and sorted (the unit test checks it); what is announced is what
 * the tables and the session's state say, nothing else.  Thread: the worker's loop.
 *
 * RFC 9051 section 6, RFC 2971 (ID), RFC 5161 (ENABLE), RFC 4978 (COMPRESS), RFC 6855
 * (UTF8=ACCEPT), RFC 7162 (CONDSTORE, QRESYNC).
 */
#include "imapd/imap_cmd.h"

#include <stdlib.h>

#include "base/log.h"
#include "imapd/imap_int.h"
#include "imapd/imap_mask.h"

#define METADATA_BITS (IMAP_ENABLED_METADATA | IMAP_ENABLED_METADATA_SERVER)
#define MSN_BITS      (IMAP_ROW_UID | IMAP_ROW_NO_EXPUNGE | IMAP_ROW_BY_NUMBER)
#define EXPUNGE_BITS  (IMAP_ROW_UID | IMAP_ROW_WRITES | IMAP_ROW_EXPUNGES)

/* clang-format off */
static const struct imap_cmd_row rows[] = {
	{"APPEND", IMAP_IN_USER, 0, imap_parse_append, imap_run_append, "RFC 9051 section 6.3.12"},
	{"AUTHENTICATE", IMAP_IN_NOT_AUTH, 0, imap_parse_authenticate, imap_run_authenticate,
	    "RFC 9051 section 6.2.2"},
	{"CANCELUPDATE", IMAP_IN_SELECTED, 0, imap_parse_cancelupdate, imap_run_cancelupdate,
	    "RFC 5267 section 4.3.5"},
	{"CAPABILITY", IMAP_IN_ANY, 0, imap_parse_none, imap_run_capability,
	    "RFC 9051 section 6.1.1"},
	{"CHECK", IMAP_IN_SELECTED, 0, imap_parse_none, imap_run_noop, "RFC 3501 section 6.4.1"},
	{"CLOSE", IMAP_IN_SELECTED, IMAP_ROW_NO_SYNC, imap_parse_none, imap_run_close,
	    "RFC 9051 section 6.4.1"},
	{"COMPRESS", IMAP_IN_USER, 0, imap_parse_compress, imap_run_compress, "RFC 4978"},
	{"COPY", IMAP_IN_SELECTED, IMAP_ROW_UID | IMAP_ROW_BY_NUMBER, imap_parse_copy, imap_run_copy,
	    "RFC 9051 section 6.4.7"},
	{"CREATE", IMAP_IN_USER, 0, imap_parse_create, imap_run_create, "RFC 9051 section 6.3.4"},
	{"DELETE", IMAP_IN_USER, 0, imap_parse_mailbox, imap_run_delete, "RFC 9051 section 6.3.5"},
	{"DELETEACL", IMAP_IN_USER, 0, imap_parse_listrights, imap_run_setacl,
	    "RFC 4314 section 3.2"},
	{"ENABLE", IMAP_IN_AUTH, 0, imap_parse_enable, imap_run_enable, "RFC 5161"},
	{"ESEARCH", IMAP_IN_USER, IMAP_ROW_UID, imap_parse_esearch, imap_run_esearch, "RFC 7377"},
	{"EXAMINE", IMAP_IN_USER, IMAP_ROW_NO_SYNC, imap_parse_select, imap_run_examine,
	    "RFC 9051 section 6.3.3"},
	{"EXPUNGE", IMAP_IN_SELECTED, EXPUNGE_BITS, imap_parse_expunge, imap_run_expunge,
	    "RFC 9051 section 6.4.3"},
	{"FETCH", IMAP_IN_SELECTED, MSN_BITS, imap_parse_fetch, imap_run_fetch,
	    "RFC 9051 section 6.4.5"},
	{"GETACL", IMAP_IN_USER, 0, imap_parse_getacl, imap_run_getacl, "RFC 4314 section 3.3"},
	{"GETMETADATA", IMAP_IN_USER, 0, imap_parse_getmetadata, imap_run_getmetadata,
	    "RFC 5464 section 4.2"},
	{"GETQUOTA", IMAP_IN_USER, 0, imap_parse_mailbox, imap_run_getquota,
	    "RFC 9208 section 4.1.1"},
	{"GETQUOTAROOT", IMAP_IN_USER, 0, imap_parse_mailbox, imap_run_getquotaroot,
	    "RFC 9208 section 4.1.2"},
	{"ID", IMAP_IN_ANY, 0, imap_parse_id, imap_run_id, "RFC 2971"},
	{"IDLE", IMAP_IN_USER, 0, imap_parse_none, imap_run_idle, "RFC 9051 section 6.3.13"},
	{"LIST", IMAP_IN_USER, 0, imap_parse_list, imap_run_list, "RFC 9051 section 6.3.9"},
	{"LISTRIGHTS", IMAP_IN_USER, 0, imap_parse_listrights, imap_run_listrights,
	    "RFC 4314 section 3.4"},
	{"LOGIN", IMAP_IN_NOT_AUTH, 0, imap_parse_login, imap_run_login, "RFC 9051 section 6.2.3"},
	{"LOGOUT", IMAP_IN_ANY, IMAP_ROW_NO_SYNC, imap_parse_none, imap_run_logout,
	    "RFC 9051 section 6.1.3"},
	{"LSUB", IMAP_IN_USER, 0, imap_parse_lsub, imap_run_lsub, "RFC 3501 section 6.3.9"},
	{"MOVE", IMAP_IN_SELECTED, EXPUNGE_BITS | IMAP_ROW_BY_NUMBER, imap_parse_copy, imap_run_move,
	    "RFC 9051 section 6.4.8"},
	{"MYRIGHTS", IMAP_IN_USER, 0, imap_parse_getacl, imap_run_myrights,
	    "RFC 4314 section 3.5"},
	{"NAMESPACE", IMAP_IN_USER, 0, imap_parse_none, imap_run_namespace,
	    "RFC 9051 section 6.3.10"},
	{"NOOP", IMAP_IN_ANY, 0, imap_parse_none, imap_run_noop, "RFC 9051 section 6.1.2"},
	{"NOTIFY", IMAP_IN_USER, IMAP_ROW_NO_SYNC, imap_parse_notify, imap_run_notify, "RFC 5465"},
	{"RENAME", IMAP_IN_USER, 0, imap_parse_rename, imap_run_rename, "RFC 9051 section 6.3.6"},
	{"REPLACE", IMAP_IN_SELECTED, EXPUNGE_BITS | IMAP_ROW_BY_NUMBER, imap_parse_append, imap_run_append,
	    "RFC 8508"},
	{"SEARCH", IMAP_IN_SELECTED, MSN_BITS, imap_parse_search, imap_run_search,
	    "RFC 9051 section 6.4.4"},
	{"SELECT", IMAP_IN_USER, IMAP_ROW_NO_SYNC, imap_parse_select, imap_run_select,
	    "RFC 9051 section 6.3.2"},
	{"SETACL", IMAP_IN_USER, 0, imap_parse_setacl, imap_run_setacl, "RFC 4314 section 3.1"},
	{"SETMETADATA", IMAP_IN_USER, 0, imap_parse_setmetadata, imap_run_setmetadata,
	    "RFC 5464 section 4.3"},
	{"SETQUOTA", IMAP_IN_USER, 0, imap_parse_setquota, imap_run_setquota,
	    "RFC 9208 section 4.1.3"},
	{"SORT", IMAP_IN_SELECTED, MSN_BITS, imap_parse_sort, imap_run_sort, "RFC 5256"},
	{"STARTTLS", IMAP_IN_NOT_AUTH, 0, imap_parse_none, imap_run_starttls,
	    "RFC 9051 section 6.2.1"},
	{"STATUS", IMAP_IN_USER, 0, imap_parse_status, imap_run_status, "RFC 9051 section 6.3.11"},
	{"STORE", IMAP_IN_SELECTED, MSN_BITS | IMAP_ROW_WRITES, imap_parse_store, imap_run_store,
	    "RFC 9051 section 6.4.6"},
	{"SUBSCRIBE", IMAP_IN_USER, 0, imap_parse_mailbox, imap_run_subscribe,
	    "RFC 9051 section 6.3.7"},
	{"THREAD", IMAP_IN_SELECTED, MSN_BITS, imap_parse_thread, imap_run_thread, "RFC 5256"},
	{"UNAUTHENTICATE", IMAP_IN_USER, IMAP_ROW_NO_SYNC, imap_parse_none, imap_run_unauthenticate,
	    "RFC 8437"},
	{"UNSELECT", IMAP_IN_SELECTED, IMAP_ROW_NO_SYNC, imap_parse_none, imap_run_unselect,
	    "RFC 9051 section 6.4.2"},
	{"UNSUBSCRIBE", IMAP_IN_USER, 0, imap_parse_mailbox, imap_run_unsubscribe,
	    "RFC 9051 section 6.3.8"},
};
/* clang-format on */

const struct imap_cmd_row *
imap_cmd_table(size_t *out_count)
{
	*out_count = sizeof(rows) / sizeof(rows[0]);
	return rows;
}

static int
row_compare(const void *key, const void *element)
{
	const struct slice *name = key;
	const struct imap_cmd_row *row = element;
	struct slice other = slice_from_cstr(row->name);

	for (size_t i = 0; i < name->len && i < other.len; i++) {
		int diff = ascii_upper(name->ptr[i]) - other.ptr[i];
		if (diff != 0)
			return diff;
	}
	return (name->len > other.len) - (name->len < other.len);
}

const struct imap_cmd_row *
imap_cmd_find(struct slice name)
{
	return bsearch(
	    &name, rows, sizeof(rows) / sizeof(rows[0]), sizeof(rows[0]), row_compare);
}

/* ---- capabilities ---- */

enum {
	CAP_BEFORE = 1 << 0,
	CAP_AFTER = 1 << 1,
	CAP_BOTH = 3,
	CAP_COMPRESS = 1 << 2,
	/* Announced with a value, when there is one. */
	CAP_LIMIT = 1 << 3,
	CAP_SAVING = 1 << 4,
	CAP_QUOTASET = 1 << 5, /* only to those who may */

};

static const struct {
	const char *name;
	unsigned when;
} capabilities[] = {
    {"IMAP4rev1",             CAP_BOTH                },
    {"IMAP4rev2",             CAP_BOTH                },
    {"LITERAL+",              CAP_BOTH                },
    {"SASL-IR",               CAP_BOTH                },
    {"ENABLE",		CAP_BOTH                },
    {"ID",		    CAP_BOTH                },
    {"IDLE",		  CAP_AFTER               },
    {"NOTIFY",		CAP_AFTER               },
    {"NAMESPACE",             CAP_AFTER               },
    {"CHILDREN",              CAP_AFTER               },
    {"LIST-EXTENDED",         CAP_AFTER               },
    {"LIST-STATUS",           CAP_AFTER               },
    {"STATUS=SIZE",           CAP_AFTER               },
    {"METADATA",              CAP_AFTER               },
    {"METADATA-SERVER",       CAP_AFTER               },
    {"LIST-METADATA",         CAP_AFTER               },
    {"ACL",		   CAP_AFTER               },
    {"RIGHTS=texk",           CAP_AFTER               },
    {"LIST-MYRIGHTS",         CAP_AFTER               },
    {"SPECIAL-USE",           CAP_AFTER               },
    {"CREATE-SPECIAL-USE",    CAP_AFTER               },
    {"UIDPLUS",               CAP_AFTER               },
    {"MOVE",		  CAP_AFTER               },
    {"UNSELECT",              CAP_AFTER               },
    {"CONDSTORE",             CAP_AFTER               },
    {"QRESYNC",               CAP_AFTER               },
    {"ESEARCH",               CAP_AFTER               },
    {"SEARCHRES",             CAP_AFTER               },
    {"WITHIN",		CAP_AFTER               },
    {"SORT",		  CAP_AFTER               },
    {"SORT=DISPLAY",          CAP_AFTER               },
    {"ESORT",		 CAP_AFTER               },
    {"CONTEXT=SEARCH",        CAP_AFTER               },
    {"CONTEXT=SORT",          CAP_AFTER               },
    {"SEARCH=FUZZY",          CAP_AFTER               },
    {"MULTISEARCH",           CAP_AFTER               },
    {"PARTIAL",               CAP_AFTER               },
    {"THREAD=ORDEREDSUBJECT", CAP_AFTER               },
    {"THREAD=REFERENCES",     CAP_AFTER               },
    {"THREAD=REFS",           CAP_AFTER               },
    {"BINARY",		CAP_AFTER               },
    {"MULTIAPPEND",           CAP_AFTER               },
    {"CATENATE",              CAP_AFTER               },
    {"REPLACE",               CAP_AFTER               },
    {"I18NLEVEL=1",           CAP_AFTER               },
    {"UTF8=ACCEPT",           CAP_AFTER               },
    {"OBJECTID",              CAP_AFTER               },
    {"SAVEDATE",              CAP_AFTER               },
    {"PREVIEW",               CAP_AFTER               },
    {"QUOTA",		 CAP_AFTER               },
    {"QUOTASET",              CAP_AFTER | CAP_QUOTASET},
    {"QUOTA=RES-STORAGE",     CAP_AFTER               },
    {"QUOTA=RES-MESSAGE",     CAP_AFTER               },
    {"QUOTA=RES-MAILBOX",     CAP_AFTER               },
    {"UNAUTHENTICATE",        CAP_AFTER               },
    {"UIDONLY",               CAP_AFTER               },
    {"INPROGRESS",            CAP_AFTER               },
    {"MESSAGELIMIT",          CAP_AFTER | CAP_LIMIT   },
    {"SAVELIMIT",             CAP_AFTER | CAP_SAVING  },
    {"COMPRESS=DEFLATE",      CAP_AFTER | CAP_COMPRESS},
};

_Static_assert(sizeof(capabilities) / sizeof(capabilities[0]) <= 64, "a mask's bits");

uint64_t
imap_capability_bit(struct slice name)
{
	/* The first is the protocol itself. */
	for (size_t i = 1; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		if (slice_equal_nocase(name, slice_from_cstr(capabilities[i].name)))
			return UINT64_C(1) << i;
	return 0;
}

static void
write_login_capabilities(struct imap_session *s, struct buf *out)
{
	struct slice mechanisms = service_mechanisms(imap_auth(s), s->conn);

	if (s->can_starttls && !s->secure)
		buf_append(out, SLICE(" STARTTLS"));
	if (!service_mechanism_allowed(imap_auth(s), SLICE("PLAIN"), s->conn) &&
	    !service_mechanism_allowed(imap_auth(s), SLICE("LOGIN"), s->conn))
		buf_append(out, SLICE(" LOGINDISABLED"));
	while (mechanisms.len > 0) {
		struct slice name = slice_split(&mechanisms, ' ');
		if (name.len == 0)
			continue;
		buf_append(out, SLICE(" AUTH="));
		buf_append(out, name);
	}
}

/* Does the session's state or the configuration keep it back?  *out_value: what stands
 * behind "=", or 0. */
static bool
is_kept_back(struct imap_session *s, unsigned when, uint32_t *out_value)
{
	const struct conf *conf = imap_conf(s);
	uint32_t limit = conf->imap.message_limit;
	bool saving = conf->imap.message_limit_on == CONF_LIMIT_SAVING;

	*out_value = 0;
	if (when & CAP_COMPRESS)
		return !conf->imap.compress || !s->conn || conn_is_deflated(s->conn);
	if (when & CAP_QUOTASET)
		return !imap_quota_may_set(s);
	if (!(when & (CAP_LIMIT | CAP_SAVING)))
		return false;
	/* One of the two (RFC 9738 section 3). */
	*out_value = limit;
	return limit == 0 || saving != ((when & CAP_SAVING) != 0);
}

void
imap_capabilities_write(struct imap_session *s, struct buf *out)
{
	unsigned now = s->login ? CAP_AFTER : CAP_BEFORE;
	uint32_t value;
	bool first = true;

	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		if (!(capabilities[i].when & now) || (s->masked >> i & 1) ||
		    is_kept_back(s, capabilities[i].when, &value))
			continue;
		if (!first)
			buf_append_byte(out, ' ');
		first = false;
		buf_append_cstr(out, capabilities[i].name);
		if (value)
			buf_append_format(out, "=%u", value);
	}
	if (!s->login) {
		write_login_capabilities(s, out);
		return;
	}
	buf_append(out, SLICE(" APPENDLIMIT="));
	buf_append_u64(out, imap_conf(s)->imap.max_append_size);
}

enum cmd_result
imap_run_capability(struct imap_session *s, struct imap_command *cmd)
{
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("* CAPABILITY "));
	imap_capabilities_write(s, out);
	buf_append(out, SLICE("\r\n"));
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "CAPABILITY completed");
}

/* ---- small commands ---- */

enum cmd_result
imap_run_noop(struct imap_session *s, struct imap_command *cmd)
{
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "completed");
}

static struct slice
id_value(const struct imap_command *cmd, struct slice key)
{
	for (size_t i = 0; i < cmd->u.id.count; i++)
		if (slice_equal_nocase(cmd->u.id.pairs[i].key, key))
			return cmd->u.id.pairs[i].value;
	return SLICE_NULL;
}

enum cmd_result
imap_run_id(struct imap_session *s, struct imap_command *cmd)
{
	LOG_DEBUG("imap.id", LF_STR("sid", s->id),
	    LF("name", id_value(cmd, SLICE("name"))),
	    LF("version", id_value(cmd, SLICE("version"))));
	s->masked |= imap_mask_client(slice_from_cstr(imap_conf(s)->imap.client_masks),
	    id_value(cmd, SLICE("name")));
	buf_append(imap_out(s),
	    SLICE(
		"* ID (\"name\" \"Postroom\" \"version\" \"" POSTROOM_VERSION "\")\r\n"));
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "ID completed");
}

static const struct {
	const char *name;
	uint8_t bits;
} enables[] = {
    {"CONDSTORE",       IMAP_ENABLED_CONDSTORE                       },
    {"QRESYNC",         IMAP_ENABLED_QRESYNC | IMAP_ENABLED_CONDSTORE},
    {"UIDONLY",         IMAP_ENABLED_UIDONLY                         },
    {"UTF8=ACCEPT",     IMAP_ENABLED_UTF8                            },
    {"IMAP4rev2",       IMAP_ENABLED_REV2                            },
    {"METADATA",        IMAP_ENABLED_METADATA                        },
    {"METADATA-SERVER", IMAP_ENABLED_METADATA_SERVER                 },
};

/* Names that are not known are passed over (RFC 5161 section 3.1). */
enum cmd_result
imap_run_enable(struct imap_session *s, struct imap_command *cmd)
{
	struct buf *out = imap_out(s);
	uint8_t before = s->enabled;

	buf_append(out, SLICE("* ENABLED"));
	for (size_t i = 0; i < cmd->u.enable.count; i++) {
		for (size_t k = 0; k < sizeof(enables) / sizeof(enables[0]); k++) {
			if (!slice_equal_nocase(
				cmd->u.enable.names[i], slice_from_cstr(enables[k].name)))
				continue;
			if ((before & enables[k].bits) == enables[k].bits ||
			    (s->masked & imap_capability_bit(cmd->u.enable.names[i])))
				continue;
			if ((enables[k].bits & METADATA_BITS) &&
			    imap_metadata_watch(s) != STATUS_OK)
				continue;
			s->enabled |= enables[k].bits;
			buf_append_format(out, " %s", enables[k].name);
		}
	}
	buf_append(out, SLICE("\r\n"));
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "ENABLE completed");
}

enum cmd_result
imap_run_logout(struct imap_session *s, struct imap_command *cmd)
{
	imap_bye(s, NULL, "see you");
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "LOGOUT completed");
}

/* The reply goes out in clear, everything behind it deflated (RFC 4978 section 3). */
enum cmd_result
imap_run_compress(struct imap_session *s, struct imap_command *cmd)
{
	if (!slice_equal_nocase(cmd->u.algorithm, SLICE("DEFLATE")))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "only DEFLATE is known");
	if (conn_is_deflated(s->conn))
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "COMPRESSIONACTIVE", "DEFLATE is on already");
	if (!imap_conf(s)->imap.compress)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, NULL, "compression is switched off");
	enum cmd_result result =
	    imap_cmd_finish(s, cmd, IMAP_OK, NULL, "DEFLATE is on from here");
	imap_out_flush(s);
	if (conn_start_deflate(s->conn) != STATUS_OK)
		return CMD_CLOSE;
	return result;
}
