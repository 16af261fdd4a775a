/*
 * The AUTHORIZATION state: USER and PASS, APOP (RFC 1939), AUTH (RFC 5034), STLS (RFC
 * 2595). Passwords are never taken in clear text unless the operator allowed it.
 */
#include "base/buf.h"
#include "base/log.h"
#include "pop3d/pop3_cmd.h"
#include "pop3d/pop3_resp.h"
#include "text/encoding.h"

static void
auth_failed(struct pop3_session *s, const char *code, const char *reply)
{
	LOG_INFO("auth.fail", LF_STR("sid", s->id),
	    LF_STR("peer", conn_peer_text(s->conn)), LF_STR("user", s->user),
	    LF_STR("reason", reply));
	pop3_resp_err(s, code, reply);
	s->errors++;
}

/* A name that came with APOP is for the log only: PASS wants USER first, which says
 * whether passwords may be sent at all. */
static void
user_forget_apop(struct pop3_session *s)
{
	if (s->user_by_apop)
		s->user[0] = '\0';
	s->user_by_apop = false;
}

/* auth_done_fn */
static void
auth_result(
    void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	struct pop3_session *s = OBJ_CAST(pop3_session, arg, POP3_SESSION_MAGIC);
	if (result == AUTH_MORE) {
		struct buf text AUTO_BUF;
		buf_init(&text, (size_t)POP3_AUTH_LINE_MAX);
		base64_encode(challenge, &text);
		conn_write_format(s->conn, "+ %.*s\r\n", SLICE_ARG(buf_slice(&text)));
		s->waiting = POP3_WAITS_FOR_RESPONSE;
		pop3_session_run(s);
		return;
	}
	s->waiting = POP3_WAITS_FOR_NOTHING;
	/* `login` lives in the exchange: it is ended only behind the use of it. */
	switch (result) {
	case AUTH_OK:
		pop3_session_open(s, login);
		break;
	case AUTH_FAILED:
		auth_failed(s, "AUTH", "wrong name or password");
		break;
	case AUTH_BLOCKED:
		auth_failed(s, "SYS/TEMP",
		    "too many failed log-ins from your address, try again later");
		break;
	case AUTH_TEMPORARY:
		pop3_resp_err(s, "SYS/TEMP", "the account could not be looked up");
		break;
	case AUTH_BAD:
	case AUTH_MORE:
		pop3_resp_err(s, NULL, "not a valid response for this mechanism");
		break;
	}
	auth_end(&s->exchange);
	user_forget_apop(s);
	pop3_session_run(s);
}

void
pop3_cmd_apop(struct pop3_session *s, const struct pop3_line *line)
{
	unsigned char digest[APOP_DIGEST_SIZE];
	s->user[0] = '\0';
	if (s->timestamp[0] == '\0') {
		pop3_resp_err(
		    s, NULL, "the greeting had no timestamp, so there is no APOP here");
		return;
	}
	if (!apop_digest_parse(line->arguments[1], digest)) {
		pop3_resp_err(s, NULL, "the digest is not 32 hexadecimal digits");
		return;
	}
	if (!slice_copy_cstr(line->arguments[0], s->user, sizeof(s->user))) {
		s->user[0] = '\0';
		pop3_resp_err(s, "AUTH", "this name is too long");
		return;
	}
	/* In clear text too: the secret itself does not travel. */
	s->user_by_apop = true;
	s->waiting = POP3_WAITS_FOR_AUTH;
	s->exchange = auth_apop(service_auth(s->service), conn_loop(s->conn),
	    slice_from_cstr(s->user), slice_from_cstr(s->timestamp), digest,
	    conn_peer_text(s->conn), auth_result, s);
}

void
pop3_cmd_user(struct pop3_session *s, const struct pop3_line *line)
{
	if (!service_mechanism_allowed(
		service_auth(s->service), SLICE("PLAIN"), s->conn)) {
		pop3_resp_err(s, NULL, "not in clear text: use STLS or port 995 first");
		return;
	}
	if (!slice_copy_cstr(line->arguments[0], s->user, sizeof(s->user))) {
		pop3_resp_err(s, "AUTH", "this name is too long");
		return;
	}
	/* The same for every name: who exists is not told. */
	pop3_resp_ok(s, "send PASS");
}

void
pop3_cmd_pass(struct pop3_session *s, const struct pop3_line *line)
{
	if (s->user[0] == '\0') {
		pop3_resp_err(s, NULL, "USER first");
		return;
	}
	s->waiting = POP3_WAITS_FOR_AUTH;
	/* Blanks belong to the password (RFC 1939 section 7). */
	s->exchange = auth_password(service_auth(s->service), conn_loop(s->conn),
	    slice_from_cstr(s->user), line->rest, conn_peer_text(s->conn), auth_result,
	    s);
}

void
pop3_cmd_auth(struct pop3_session *s, const struct pop3_line *line)
{
	struct auth *auth = service_auth(s->service);
	bool secure = conn_is_secure(s->conn);
	if (line->argument_count == 0) {
		/* Without an argument old clients want the list (RFC 1734's habit). */
		struct slice rest = service_mechanisms(auth, s->conn);
		pop3_resp_ok(s, "mechanisms follow");
		while (!slice_is_empty(rest)) {
			struct slice name = slice_split(&rest, ' ');
			conn_write_format(s->conn, "%.*s\r\n", SLICE_ARG(name));
		}
		conn_write(s->conn, SLICE(".\r\n"));
		return;
	}
	if (!service_mechanism_allowed(auth, line->arguments[0], s->conn)) {
		pop3_resp_err(s, NULL,
		    secure ? "unknown mechanism; CAPA lists what is known"
			   : "not without TLS: use STLS or port 995 first");
		return;
	}
	struct buf initial AUTO_BUF;
	buf_init(&initial, AUTH_RESPONSE_MAX);
	bool has_initial = line->argument_count == 2;
	/* "=" is the empty initial response (RFC 5034 section 4). */
	if (has_initial && !slice_equal(line->arguments[1], SLICE("=")) &&
	    !base64_decode_strict(line->arguments[1], &initial)) {
		pop3_resp_err(s, NULL, "the initial response is not valid base64");
		return;
	}
	s->user[0] = '\0';
	s->waiting = POP3_WAITS_FOR_AUTH;
	struct service_channel channel;
	service_channel_init(&channel, s->conn);
	s->exchange = auth_begin(auth, conn_loop(s->conn), line->arguments[0],
	    &channel.channel, has_initial, buf_slice(&initial), auth_result, s);
	service_channel_fini(&channel);
}

void
pop3_auth_response(struct pop3_session *s, struct slice line)
{
	struct buf response AUTO_BUF;
	buf_init(&response, AUTH_RESPONSE_MAX);
	if (slice_equal(line, SLICE("*")) || !base64_decode_strict(line, &response) ||
	    !buf_ok(&response)) {
		auth_end(&s->exchange);
		s->waiting = POP3_WAITS_FOR_NOTHING;
		pop3_resp_err(s, NULL,
		    slice_equal(line, SLICE("*")) ? "authentication given up"
						  : "this is not valid base64");
		return;
	}
	s->waiting = POP3_WAITS_FOR_AUTH;
	auth_step(s->exchange, buf_slice(&response));
}

void
pop3_cmd_stls(struct pop3_session *s, const struct pop3_line *line)
{
	(void)line;
	struct tls_context *tls = s->has_tls_settings ? service_tls(s->service) : NULL;
	if (!tls || conn_is_secure(s->conn)) {
		tls_context_unref(&tls);
		pop3_resp_err(s, NULL, "TLS is not to be had here, or is there already");
		return;
	}
	pop3_resp_ok(s, "begin TLS now");
	/* What came behind the command in clear text is thrown away by conn: nothing of
	 * it survives into the secured session (RFC 2595 section 4). */
	s->user[0] = '\0';
	pop3_set_state(s, POP3_GREET);
	conn_start_tls_server(s->conn, tls);
	tls_context_unref(&tls);
}
