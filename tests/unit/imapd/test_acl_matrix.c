/*
 * Which right lets which command through: what a session of one account may do in a
 * mailbox of another is compared with the table of RFC 4314 section 4, for each right
 * alone, for all rights but one, for none and all, and for random sets.  With what is
 * refused, nothing may have changed.
 */
#include "unit/imapd/imap_harness.h"

#include "store/acl.h"

enum { RANDOM_SETS = 40 };

#define THEIRS "\"Other Users/ann@example.org/Box\""

static struct imap_harness h;
static struct imap_client bob;
static struct account_id bob_id;
static struct store_reader *reader;
static uint32_t box_number, sub_number;
static unsigned tag;

/* ---- the world before each command ---- */

static uint32_t
number_of(const char *name)
{
	struct mailbox_info info;
	enum status status =
	    mailbox_find(reader, h.account, slice_from_cstr(name), &info);
	uint32_t number = status == STATUS_OK ? info.number : 0;
	store_reader_end(reader);
	return number;
}

static void
mailbox_change(enum mailbox_change change, const char *name)
{
	struct mailbox_op op = {
	    .account = h.account, .change = change, .name = slice_from_cstr(name)};
	mailbox_op_submit(reader, &op);
}

/* Exactly these rights for bob. */
static void
grant(uint32_t mailbox, uint16_t rights)
{
	struct acl_op op = {
	    .account = h.account,
	    .domain = SLICE("example.org"),
	    .mailbox = mailbox,
	    .mode = ACL_MODE_SET,
	    .entry = {.who = ACL_WHO_ACCOUNT, .id = bob_id, .rights = rights},
	};
	acl_op_submit(reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
}

static void
message_put(struct account_id account, const char *mailbox, uint8_t flags)
{
	struct arena *arena = arena_new(1 << 20);
	struct append_message message = {
	    .draft = body_draft_new(h.store, 1024), .flags = flags};
	struct append_op op = {.op = {.arena = arena},
	    .account = account,
	    .mailbox = slice_from_cstr(mailbox),
	    .messages = &message,
	    .message_count = 1};
	assert_int_equal(
	    body_draft_append(message.draft, SLICE("A: b\r\n\r\nc\r\n")), STATUS_OK);
	assert_int_equal(body_draft_seal(message.draft), STATUS_OK);
	append_op_submit(reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&message.draft);
	arena_free(&arena);
}

/* Box with a message, Box/sub without; nothing else below. */
static void
world_make(uint16_t rights)
{
	mailbox_change(MAILBOX_DELETE, "Box/made");
	mailbox_change(MAILBOX_DELETE, "Box/moved");
	mailbox_change(MAILBOX_DELETE, "Box/sub");
	mailbox_change(MAILBOX_DELETE, "Box");
	mailbox_change(MAILBOX_CREATE, "Box");
	box_number = number_of("Box");
	message_put(h.account, "Box", MESSAGE_DELETED);
	mailbox_change(MAILBOX_CREATE, "Box/sub");
	sub_number = number_of("Box/sub");
	grant(box_number, rights);
	grant(sub_number, rights);
}

static struct mailbox_info
box_info(void)
{
	struct mailbox_info info;
	assert_int_equal(
	    mailbox_by_number(reader, h.account, box_number, &info), STATUS_OK);
	store_reader_end(reader);
	return info;
}

static uint8_t
box_flags(uint32_t uid)
{
	struct message_record record;
	assert_int_equal(
	    message_get(reader, h.account, box_number, uid, &record), STATUS_OK);
	store_reader_end(reader);
	return record.flags;
}

/* ---- commands ---- */

/* The tagged reply's words: "OK ...", "NO [NOPERM] ...". */
static const char *
ask(const char *command)
{
	static char line[512], want[32], reply[512];
	snprintf(want, sizeof(want), "t%u ", ++tag);
	snprintf(line, sizeof(line), "t%u %s\r\n", tag, command);
	const char *got = client_talk(&bob, line, want);
	const char *at = got;
	while (strncmp(at, want, strlen(want)) != 0)
		at = strchr(at, '\n') + 1;
	snprintf(reply, sizeof(reply), "%s", at + strlen(want));
	return reply;
}

static bool
is_ok(const char *reply)
{
	return strncmp(reply, "OK", 2) == 0;
}

/* A refusal says NOPERM to who may see the mailbox and NONEXISTENT (or TRYCREATE) to who
 * may not (section 6). */
static void
check_refusal(const char *command, const char *reply, uint16_t rights)
{
	bool fits = rights & ACL_LOOKUP
	                ? strstr(reply, "[NOPERM]") != NULL
	                : strstr(reply, "[NONEXISTENT]") || strstr(reply, "[TRYCREATE]");
	if (!fits)
		fail_msg("%s with %x: %s", command, rights, reply);
}

/* The first table: commands in authenticated state that need all of `all` and one of
 * `any` of the mailbox that they name. */
static const struct {
	const char *command;
	uint16_t all, any;
} plain[] = {
    {"SELECT " THEIRS,				  ACL_READ,   0        },
    {"EXAMINE " THEIRS,				 ACL_READ,   0        },
    {"STATUS " THEIRS " (MESSAGES)",                    ACL_READ,   0        },
    {"SETACL " THEIRS " anyone \"\"",                   ACL_ADMIN,  0        },
    {"DELETEACL " THEIRS " anyone",                     ACL_ADMIN,  0        },
    {"GETACL " THEIRS,				  ACL_ADMIN,  0        },
    {"LISTRIGHTS " THEIRS " anyone",                    ACL_ADMIN,  0        },
    {"MYRIGHTS " THEIRS,				0,
     ACL_LOOKUP | ACL_READ | ACL_INSERT | ACL_CREATE | ACL_DELETE | ACL_ADMIN},
    {"APPEND " THEIRS " {9+}\r\nA: b\r\n\r\nc",         ACL_INSERT, 0        },
    {"GETMETADATA " THEIRS " /private/comment",         ACL_LOOKUP,
     ACL_READ | ACL_SEEN | ACL_WRITE | ACL_INSERT | ACL_POST                 },
    {"SETMETADATA " THEIRS " (/private/comment \"x\")", ACL_LOOKUP,
     ACL_READ | ACL_SEEN | ACL_WRITE | ACL_INSERT | ACL_POST                 },
    {"SUBSCRIBE " THEIRS,			       0,          0        },
    {"UNSUBSCRIBE " THEIRS,			     0,          0        },
};

static void
check_plain(uint16_t rights)
{
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		bool may = (rights & plain[i].all) == plain[i].all &&
		           (!plain[i].any || (rights & plain[i].any));
		const char *reply = ask(plain[i].command);
		if (is_ok(reply) != may)
			fail_msg("%s with %x: %s", plain[i].command, rights, reply);
		if (!may)
			check_refusal(plain[i].command, reply, rights);
	}
	(void)ask("UNSELECT");
}

static void
check_list(uint16_t rights)
{
	const char *got = client_talk(&bob, "l LIST \"\" " THEIRS "\r\n", "l ");
	assert_true((strstr(got, "* LIST") != NULL) == ((rights & ACL_LOOKUP) != 0));
}

/* CREATE: k of the parent; DELETE: x; RENAME: x, and k of the new parent. */
static void
check_tree(uint16_t rights)
{
	const char *reply = ask("CREATE \"Other Users/ann@example.org/Box/made\"");
	assert_int_equal(is_ok(reply), (rights & ACL_CREATE) != 0);
	assert_int_equal(number_of("Box/made") != 0, (rights & ACL_CREATE) != 0);
	if (!is_ok(reply))
		assert_non_null(strstr(reply, "[NOPERM]"));
	reply = ask("RENAME \"Other Users/ann@example.org/Box/sub\" "
		    "\"Other Users/ann@example.org/Box/moved\"");
	bool may = (rights & ACL_CREATE) && (rights & ACL_DELETE);
	assert_int_equal(is_ok(reply), may);
	assert_int_equal(number_of("Box/moved") != 0, may);
	reply = may ? ask("DELETE \"Other Users/ann@example.org/Box/moved\"")
	            : ask("DELETE \"Other Users/ann@example.org/Box/sub\"");
	assert_int_equal(is_ok(reply), (rights & ACL_DELETE) != 0);
	if (!is_ok(reply))
		check_refusal("DELETE", reply, rights);
}

/* \Seen with s, \Deleted with t, the others with w. */
static uint8_t
allowed(uint16_t rights)
{
	return (uint8_t)(((rights & ACL_SEEN) ? MESSAGE_SEEN : 0) |
			 ((rights & ACL_TRASH) ? MESSAGE_DELETED : 0) |
			 ((rights & ACL_WRITE) ? MESSAGE_FLAGGED | MESSAGE_ANSWERED : 0));
}

/* APPEND and COPY succeed with i and lose the flags that there is no right for. */
static void
check_copies(uint16_t rights)
{
	const uint8_t all =
	    MESSAGE_SEEN | MESSAGE_DELETED | MESSAGE_FLAGGED | MESSAGE_ANSWERED;
	bool may = rights & ACL_INSERT;

	assert_int_equal(
	    is_ok(ask("APPEND " THEIRS " (\\Seen \\Deleted \\Flagged \\Answered) {9+}\r\n"
		      "A: b\r\n\r\nc")),
	    may);
	uint32_t uid = box_info().uidnext - 1;
	if (may)
		assert_int_equal(box_flags(uid) & all, allowed(rights));
	assert_true(is_ok(ask("SELECT INBOX")));
	assert_int_equal(is_ok(ask("UID COPY 1 " THEIRS)), may);
	assert_int_equal(box_info().uidnext - 1, may ? uid + 1 : uid);
	if (may)
		assert_int_equal(box_flags(uid + 1) & all, allowed(rights));
	(void)ask("UNSELECT");
}

static bool
store_goes(uint16_t rights, const char *flag, uint16_t right)
{
	char command[64];
	snprintf(command, sizeof(command), "UID STORE 1 +FLAGS (%s)", flag);
	bool ok = is_ok(ask(command));
	assert_int_equal(ok, (rights & right) != 0);
	return ok;
}

/* With the mailbox selected; r is there. */
static void
check_selected(uint16_t rights)
{
	const uint16_t writes =
	    ACL_INSERT | ACL_EXPUNGE | ACL_SEEN | ACL_WRITE | ACL_TRASH;
	const char *reply = ask("SELECT " THEIRS);

	assert_non_null(strstr(reply, rights & writes ? "[READ-WRITE]" : "[READ-ONLY]"));
	assert_true(is_ok(ask("UID FETCH 1 BODY[]")));
	assert_int_equal((box_flags(1) & MESSAGE_SEEN) != 0, (rights & ACL_SEEN) != 0);
	if (store_goes(rights, "\\Answered", ACL_WRITE))
		assert_true(box_flags(1) & MESSAGE_ANSWERED);
	(void)store_goes(rights, "$Label1", ACL_WRITE);
	(void)store_goes(rights, "\\Seen", ACL_SEEN);
	(void)store_goes(rights, "\\Deleted", ACL_TRASH);
	/* One that may be set is enough, and the only one that is. */
	uint8_t before = box_flags(1);
	(void)ask("UID STORE 1 +FLAGS (\\Seen \\Deleted \\Flagged)");
	assert_int_equal(box_flags(1) & (uint8_t)~before & (uint8_t)~allowed(rights), 0);
	/* Setting none leaves those that may not be changed. */
	before = box_flags(1);
	(void)ask("UID STORE 1 FLAGS ()");
	uint8_t kept = (uint8_t)~allowed(rights) &
	               (MESSAGE_SEEN | MESSAGE_DELETED | MESSAGE_FLAGGED);
	assert_int_equal(box_flags(1) & kept, before & kept);
	(void)store_goes(rights, "\\Deleted", ACL_TRASH);

	bool deleted = box_flags(1) & MESSAGE_DELETED;
	uint32_t exists = box_info().exists;
	bool may = rights & ACL_EXPUNGE;
	assert_true(is_ok(ask("UID COPY 1 Trash")));
	assert_int_equal(is_ok(ask("UID MOVE 1 Trash")), may && (rights & ACL_TRASH));
	if (may && (rights & ACL_TRASH)) {
		assert_int_equal(box_info().exists, exists - 1);
		(void)ask("UNSELECT");
		return;
	}
	/* CLOSE without e is quiet and does nothing. */
	if (!may) {
		assert_false(is_ok(ask("EXPUNGE")));
		assert_true(is_ok(ask("CLOSE")));
		assert_int_equal(box_info().exists, exists);
		return;
	}
	assert_true(is_ok(ask("EXPUNGE")));
	assert_int_equal(
	    box_info().exists, deleted ? exists - box_info().deleted - 1 : exists);
	(void)ask("UNSELECT");
}

static void
check_rights(uint16_t rights)
{
	world_make(rights);
	check_plain(rights);
	check_list(rights);
	check_copies(rights);
	world_make(rights);
	if (rights & ACL_READ)
		check_selected(rights);
	world_make(rights);
	check_tree(rights);
}

static void
matrix(void **state)
{
	(void)state;
	uint32_t random = 4314;

	harness_open(&h);
	reader = store_reader_new(h.store, NULL, NULL);
	harness_account(&h, SLICE("bob@example.org"), &bob_id);
	message_put(bob_id, "INBOX",
	    MESSAGE_SEEN | MESSAGE_DELETED | MESSAGE_FLAGGED | MESSAGE_ANSWERED);
	client_open(&bob, &h);
	assert_non_null(strstr(
	    client_talk(&bob, "l LOGIN bob@example.org secret\r\n", "l "), "l OK"));
	check_rights(0);
	check_rights(ACL_ALL);
	for (unsigned i = 0; i < 11; i++) {
		check_rights((uint16_t)(1 << i));
		check_rights((uint16_t)(1 << i) | ACL_READ);
		check_rights(ACL_ALL & ~(1 << i));
	}
	for (unsigned i = 0; i < RANDOM_SETS; i++) {
		random = random * 1664525u + 1013904223u;
		check_rights((uint16_t)(random >> 16) & ACL_ALL);
	}
	client_close(&bob);
	store_reader_free(&reader);
	harness_close(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(matrix)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
