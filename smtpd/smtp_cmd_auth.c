/*
 * AUTH (RFC 4954), on submission listeners.  Never before TLS, whatever the mechanism,
 * unless the operator allowed it (auth.allow_plaintext).
 */
#include "base/log.h"
#include "smtpd/smtp_cmd.h"
#include "smtpd/smtp_parse.h"
#include "smtpd/smtp_resp.h"
#include "text/encoding.h"

struct slice
smtp_auth_offer(struct smtp_session *s)
{
	bool secure = conn_is_secure(s->conn);
	if (!s->submission ||
	    (!secure && !service_conf(s->service)->auth.allow_plaintext))
		return SLICE_NULL;
	return service_mechanisms(service_auth(s->service), s->conn);
}

void
smtp_auth_cancel(struct smtp_session *s)
{
	auth_end(&s->exchange);
	smtp_set_state(s, SMTP_READY);
}

static void
auth_failed(
    struct smtp_session *s, unsigned code, const char *enhanced, const char *reply)
{
	LOG_INFO("auth.fail", LF_STR("sid", s->id),
	    LF_STR("peer", conn_peer_text(s->conn)), LF_STR("reason", reply));
	smtp_resp_bad(s, code, enhanced, reply);
}

static void
auth_succeeded(struct smtp_session *s, struct slice login)
{
	struct directory_account account;
	enum status status =
	    directory_account_find(service_reader(s->worker), login, &account);
	if (status != STATUS_OK) {
		auth_failed(s, 454, "4.7.0", "the account could not be looked up");
		return;
	}
	s->account = account.id;
	s->login = slice_to_cstr(account.login);
	LOG_INFO("auth.ok", LF_STR("sid", s->id), LF_STR("user", s->login),
	    LF_STR("peer", conn_peer_text(s->conn)), LF("tls", conn_tls_text(s->conn)));
	smtp_resp(s, 235, "2.7.0", "logged in");
}

/* auth_done_fn */
static void
auth_result(
    void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	struct smtp_session *s = OBJ_CAST(smtp_session, arg, SMTP_SESSION_MAGIC);
	if (result == AUTH_MORE) {
		struct buf text AUTO_BUF;
		buf_init(&text, (size_t)SMTP_AUTH_LINE_MAX);
		base64_encode(challenge, &text);
		conn_write_format(s->conn, "334 %.*s\r\n", SLICE_ARG(buf_slice(&text)));
		smtp_set_state(s, SMTP_AUTH_RESPONSE);
		conn_deadline(s->conn, service_conf(s->service)->smtp.command_timeout_ms);
		smtp_session_run(s);
		return;
	}
	/* `login` lives in the exchange: it is ended only behind the use of it. */
	switch (result) {
	case AUTH_OK:
		auth_succeeded(s, login);
		break;
	case AUTH_FAILED:
		auth_failed(s, 535, "5.7.8", "wrong name or password");
		break;
	case AUTH_BLOCKED:
		auth_failed(s, 454, "4.7.0",
		    "too many failed log-ins from your address, try again later");
		break;
	case AUTH_TEMPORARY:
		auth_failed(s, 454, "4.7.0", "the account could not be looked up");
		break;
	case AUTH_BAD:
	case AUTH_MORE:
		smtp_resp_bad(s, 501, "5.5.2", "not a valid response for this mechanism");
		break;
	}
	auth_end(&s->exchange);
	smtp_session_ready(s);
}

void
smtp_cmd_auth(struct smtp_session *s, struct slice rest)
{
	struct auth *auth = service_auth(s->service);
	struct smtp_auth args;
	if (s->login) {
		smtp_resp_bad(s, 503, "5.5.1", "you are logged in already");
		return;
	}
	if (s->envelope) {
		smtp_resp_bad(s, 503, "5.5.1", "not within a mail transaction");
		return;
	}
	if (smtp_auth_offer(s).len == 0) {
		smtp_resp_bad(s, 530, "5.7.0", "not in clear text: STARTTLS first");
		return;
	}
	if (!smtp_auth_parse(rest, &args)) {
		smtp_resp_bad(s, 501, "5.5.4", "use AUTH mechanism [response]");
		return;
	}
	if (!service_mechanism_allowed(auth, args.mechanism, s->conn)) {
		smtp_resp_bad(
		    s, 504, "5.5.4", "unknown mechanism; EHLO lists what is known");
		return;
	}
	struct buf initial AUTO_BUF;
	buf_init(&initial, AUTH_RESPONSE_MAX);
	/* "=" is the empty initial response (RFC 4954 section 4). */
	if (args.has_initial && !slice_equal(args.initial, SLICE("=")) &&
	    (!base64_decode_strict(args.initial, &initial) || !buf_ok(&initial))) {
		smtp_resp_bad(
		    s, 501, "5.5.2", "the initial response is not valid base64");
		return;
	}
	smtp_set_state(s, SMTP_AUTH);
	struct service_channel channel;
	service_channel_init(&channel, s->conn);
	s->exchange = auth_begin(auth, conn_loop(s->conn), args.mechanism,
	    &channel.channel, args.has_initial, buf_slice(&initial), auth_result, s);
	service_channel_fini(&channel);
}

void
smtp_auth_response(struct smtp_session *s, struct slice line)
{
	struct buf response AUTO_BUF;
	buf_init(&response, AUTH_RESPONSE_MAX);
	if (slice_equal(line, SLICE("*"))) {
		smtp_auth_cancel(s);
		smtp_resp_bad(s, 501, "5.7.0", "authentication given up");
		return;
	}
	if (!base64_decode_strict(line, &response) || !buf_ok(&response)) {
		smtp_auth_cancel(s);
		smtp_resp_bad(s, 501, "5.5.2", "this is not valid base64");
		return;
	}
	smtp_set_state(s, SMTP_AUTH);
	auth_step(s->exchange, buf_slice(&response));
}
