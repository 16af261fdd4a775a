/*
 * XCLIENT: a proxy of smtp.xclient_networks says who its client is.  The session begins
 * anew, as if that client had connected: its address decides about trust, limits and log,
 * its log-in (when the proxy says that there was one) about relaying, and its address
 * about XCLIENT too: what follows comes from that client, who must not say that he is
 * somebody else.  For anybody else the command is unknown (SMTP_CMD_XCLIENT_ONLY).
 * A refused one ends the session: a proxy that passes its client on nevertheless would
 * lend him its own trust, and this command (decision 0145).
 */
#include <netinet/in.h>

#include "base/log.h"
#include "smtpd/smtp_cmd.h"
#include "smtpd/smtp_resp.h"
#include "smtpd/smtp_xclient.h"

enum { XCLIENT_ARENA_MAX = 64 * 1024 };

/* True when the account is there and may log in; its id and name are the session's. */
static bool
login_take(struct smtp_session *s, struct slice login)
{
	struct directory_account account;
	if (directory_account_find(service_reader(s->worker), login, &account) !=
		STATUS_OK ||
	    account.disabled)
		return false;
	free(s->login);
	s->account = account.id;
	s->login = slice_to_cstr(account.login);
	return true;
}

static void
address_take(struct smtp_session *s, const struct smtp_xclient *x)
{
	struct sockaddr_storage address = x->address;
	struct sockaddr_in *v4 = (void *)&address;
	struct sockaddr_in6 *v6 = (void *)&address;
	if (!x->has_address)
		return;
	s->trusted = false;
	if (x->address_unknown)
		return;
	if (address.ss_family == AF_INET)
		v4->sin_port = htons(x->port);
	else
		v6->sin6_port = htons(x->port);
	conn_set_peer(s->conn, &address);
	smtp_session_judge_peer(s);
}

void
smtp_cmd_xclient(struct smtp_session *s, struct slice rest)
{
	struct smtp_xclient x;
	if (s->envelope) {
		smtp_resp_bad(s, 503, "5.5.1", "not in a mail transaction: RSET");
		return;
	}
	struct arena *arena = arena_new(XCLIENT_ARENA_MAX);
	if (!smtp_xclient_parse(rest, arena, &x)) {
		smtp_resp(s, 501, "5.5.4",
		    "an attribute is unknown, twice, or has a bad value");
		smtp_session_close(s, "XCLIENT refused");
		arena_free(&arena);
		return;
	}
	char *proxy = xstrdup(conn_peer_text(s->conn));
	smtp_session_forget_client(s);
	if (x.login.ptr && !login_take(s, x.login)) {
		smtp_resp(s, 550, "5.7.8", "LOGIN is no account here");
		smtp_session_close(s, "XCLIENT refused");
	} else {
		s->xclient = false;
		address_take(s, &x);
		if (x.helo.ptr)
			smtp_session_helo(s, x.helo, x.extended);
		LOG_INFO("conn.open", LF_STR("sid", s->id), LF_STR("proxy", proxy),
		    LF_STR("peer", conn_peer_text(s->conn)), LF_STR("user", s->login));
		smtp_resp_format(s, 220, NULL, "%s ESMTP Postroom",
		    service_conf(s->service)->hostname);
	}
	free(proxy);
	arena_free(&arena);
}
