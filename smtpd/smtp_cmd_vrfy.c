/*
 * VRFY and EXPN (RFC 5321 section 3.5): told to log-ins and trusted networks when
 * smtp.vrfy says so.  Nobody else learns which addresses there are, RCPT alone tells
 * them.
 */
#include "smtpd/smtp_cmd.h"
#include "smtpd/smtp_resp.h"
#include "text/encoding.h"

enum {
	VRFY_ARENA_MAX = 1024 * 1024,
	EXPN_LINES_MAX = DIRECTORY_ALIAS_TARGETS_MAX, /* members told */
};

bool
smtp_vrfy_is_open(const struct smtp_session *s)
{
	const char *policy = service_conf(s->service)->smtp.vrfy;
	return strcmp(policy, "trusted") == 0 && (s->trusted || s->login);
}

struct lookup {
	struct arena *arena;
	struct slice address; /* as it was asked for */
	enum directory_answer answer;
	struct directory_target *targets;
	size_t count;
};

/* Looks up "a@b" or "<a@b>"; false when it is answered already. */
static bool
lookup_run(struct smtp_session *s, struct slice text, struct lookup *l)
{
	const struct conf *conf = service_conf(s->service);
	struct mailbox_address address;
	if (text.len > 2 && text.ptr[0] == '<' && slice_has_suffix(text, SLICE(">")))
		text = slice_sub(text, 1, text.len - 2);
	l->address = text;
	if (address_parse(text, false, l->arena, &address) != ADDRESS_OK) {
		smtp_resp_bad(s, 501, "5.1.3", "this is not a valid address");
		return false;
	}
	enum status status = directory_resolve(service_reader(s->worker), address.local,
	    address.domain, slice_from_cstr(conf->smtp.recipient_delimiter), l->arena,
	    &l->answer, &l->targets, &l->count);
	if (status != STATUS_OK)
		smtp_resp(s, 451, "4.3.0", "the address could not be looked up");
	return status == STATUS_OK;
}

static void
vrfy_answer(struct smtp_session *s, const struct lookup *l)
{
	switch (l->answer) {
	case DIRECTORY_TARGETS:
		if (l->count > 0)
			smtp_resp_format(
			    s, 250, "2.1.5", "<%.*s>", SLICE_ARG(l->address));
		else
			smtp_resp(s, 550, "5.1.1", "no such user here");
		break;
	case DIRECTORY_NOT_LOCAL:
		smtp_resp(s, 252, "2.1.5", "not one of ours; mail to it is sent on");
		break;
	case DIRECTORY_LOOP:
		smtp_resp(
		    s, 554, "5.4.6", "the aliases of this address go round in a circle");
		break;
	case DIRECTORY_UNKNOWN_USER:
		smtp_resp(s, 550, "5.1.1", "no such user here");
		break;
	}
}

static struct slice
target_address(const struct directory_target *target)
{
	return target->local ? target->login : target->address;
}

static void
expn_answer(struct smtp_session *s, const struct lookup *l)
{
	if (l->answer != DIRECTORY_TARGETS || l->count == 0) {
		vrfy_answer(s, l);
		return;
	}
	if (l->count > EXPN_LINES_MAX) {
		smtp_resp(s, 550, "5.2.4", "there are too many members to tell");
		return;
	}
	for (size_t i = 0; i < l->count; i++) {
		if (!ascii_only(target_address(&l->targets[i]))) {
			smtp_resp(s, 553, "5.6.7", "a member's address is not ASCII");
			return;
		}
	}
	for (size_t i = 0; i < l->count; i++)
		conn_write_format(s->conn, "250%c2.1.5 <%.*s>\r\n",
		    i + 1 < l->count ? '-' : ' ',
		    SLICE_ARG(target_address(&l->targets[i])));
}

static void
ask(struct smtp_session *s, struct slice rest,
    void (*answer)(struct smtp_session *s, const struct lookup *l))
{
	struct lookup l = {.arena = arena_new(VRFY_ARENA_MAX)};
	if (lookup_run(s, rest, &l))
		answer(s, &l);
	arena_free(&l.arena);
}

void
smtp_cmd_vrfy(struct smtp_session *s, struct slice rest)
{
	if (rest.len == 0)
		smtp_resp_bad(s, 501, "5.5.4", "whom? VRFY address");
	else if (!ascii_only(rest))
		smtp_resp_bad(s, 553, "5.6.7", "without SMTPUTF8 only ASCII");
	else if (smtp_vrfy_is_open(s))
		ask(s, rest, vrfy_answer);
	else
		smtp_resp(s, 252, "2.1.5", "send some mail, RCPT will tell");
}

void
smtp_cmd_expn(struct smtp_session *s, struct slice rest)
{
	if (!smtp_vrfy_is_open(s))
		smtp_resp(s, 502, "5.5.1", "lists are not told");
	else if (rest.len == 0)
		smtp_resp_bad(s, 501, "5.5.4", "whom? EXPN address");
	else if (!ascii_only(rest))
		smtp_resp_bad(s, 553, "5.6.7", "without SMTPUTF8 only ASCII");
	else
		ask(s, rest, expn_answer);
}
