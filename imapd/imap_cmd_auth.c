/*
 * LOGIN, AUTHENTICATE with an initial response, STARTTLS, UNAUTHENTICATE.
 *
 * The exchange itself is common/auth's; here its challenges become "+" lines and its
 * result a state.  While it runs (on the worker pool) the command waits.  Passwords stay
 * in the command arena and are never logged.
 *
 * RFC 9051 sections 6.2 and 7.1 (codes), RFC 4959 (SASL-IR), RFC 8437 (UNAUTHENTICATE),
 * RFC 8314.
 */
#include "imapd/imap_int.h"

#include <stdlib.h>

#include "base/log.h"
#include "imapd/imap_mask.h"
#include "text/encoding.h"

/* What auth's done function leaves for the command. */
struct auth_wait {
	enum auth_result result;
	struct slice challenge;
	struct slice login;
	struct slice mechanism;
};

static enum cmd_result auth_done(struct imap_session *s, struct imap_command *cmd);

static void
on_auth(void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	struct imap_session *s = arg;
	struct auth_wait *wait = s->cmd_data;

	wait->result = result;
	wait->challenge = arena_copy(imap_arena(s), challenge);
	if (login.ptr)
		wait->login = arena_copy(imap_arena(s), login);
	imap_resume(s);
}

static struct auth_wait *
auth_wait_new(struct imap_session *s, struct slice mechanism)
{
	struct auth_wait *wait = ARENA_NEW(imap_arena(s), struct auth_wait);

	wait->mechanism = mechanism;
	s->cmd_data = wait;
	s->resume = auth_done;
	return wait;
}

/* ---- the result ---- */

static enum cmd_result
auth_refused(
    struct imap_session *s, struct imap_command *cmd, const char *code, const char *text)
{
	auth_end(&s->exchange);
	stats_add(s->worker->stats->login_failures, 1);
	enum cmd_result result = imap_cmd_finish(s, cmd, IMAP_NO, code, text);
	if (++s->auth_failures >= IMAP_AUTH_TRIES_MAX)
		imap_bye(s, NULL, "too many failed logins");
	return result;
}

static enum cmd_result
auth_failed(struct imap_session *s, struct imap_command *cmd)
{
	const struct auth_wait *wait = s->cmd_data;

	LOG_INFO("auth.fail", LF_STR("sid", s->id), LF("user", wait->login),
	    LF_STR("peer", conn_peer_text(s->conn)), LF("mechanism", wait->mechanism));
	return auth_refused(
	    s, cmd, "AUTHENTICATIONFAILED", "wrong user name or password");
}

/* A list that cannot be read masks nothing: the login is worth more. */
static void
mask_load(struct imap_session *s, struct account_id account)
{
	struct slice names[DIRECTORY_IMAP_WITHOUT_MAX];
	size_t count = 0;

	if (directory_imap_without_get(imap_reader(s), account, names, &count) !=
	    STATUS_OK)
		LOG_WARN("imap.mask", LF_STR("sid", s->id));
	for (size_t i = 0; i < count; i++)
		s->masked |= imap_capability_bit(names[i]);
}

static enum cmd_result
logged_in(struct imap_session *s, struct imap_command *cmd)
{
	const struct auth_wait *wait = s->cmd_data;
	struct directory_account account;
	struct buf code;

	enum status status =
	    directory_account_find(imap_reader(s), wait->login, &account);
	if (status == STATUS_NOT_FOUND)
		return auth_failed(s, cmd);
	if (status != STATUS_OK)
		return auth_refused(s, cmd, "UNAVAILABLE", status_text(status));
	if (s->worker->service) {
		if (!service_session_begin(s->worker->service, account.id,
			imap_conf(s)->imap.max_sessions_per_user))
			return auth_refused(s, cmd, "LIMIT",
			    "too many sessions of this user, close some "
			    "(imap.max_sessions_per_user)");
		s->counted = true;
	}
	auth_end(&s->exchange);
	mask_load(s, account.id);
	s->account = account.id;
	s->login = slice_to_cstr(account.login);
	s->auth_failures = 0;
	s->framer.line_max = IMAP_LINE_MAX;
	s->framer.frame.max = IMAP_FRAME_MAX;
	imap_state_set(s, IMAP_STATE_AUTH);
	imap_deadline(s);
	stats_add(s->worker->stats->logins, 1);
	LOG_INFO("imap.login", LF_STR("sid", s->id), LF_STR("user", s->login),
	    LF_STR("peer", conn_peer_text(s->conn)), LF("mechanism", wait->mechanism),
	    LF("tls", conn_tls_text(s->conn)));
	buf_init(&code, 4096);
	buf_append(&code, SLICE("CAPABILITY "));
	imap_capabilities_write(s, &code);
	enum cmd_result result =
	    imap_cmd_finish_code(s, cmd, IMAP_OK, buf_slice(&code), "logged in");
	buf_fini(&code);
	return result;
}

static enum cmd_result
auth_line(struct imap_session *s, struct imap_command *cmd)
{
	struct buf decoded;

	if (slice_equal(s->line, SLICE("*"))) {
		auth_end(&s->exchange);
		return imap_cmd_finish(
		    s, cmd, IMAP_BAD, NULL, "authentication cancelled");
	}
	buf_init(&decoded, AUTH_RESPONSE_MAX);
	if (!base64_decode_strict(s->line, &decoded) || !buf_ok(&decoded)) {
		buf_fini(&decoded);
		auth_end(&s->exchange);
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "not base64");
	}
	s->resume = auth_done;
	auth_step(s->exchange, buf_slice(&decoded));
	buf_fini(&decoded);
	return CMD_WAIT;
}

static enum cmd_result
auth_challenge(struct imap_session *s)
{
	const struct auth_wait *wait = s->cmd_data;
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("+ "));
	base64_encode(wait->challenge, out);
	buf_append(out, SLICE("\r\n"));
	s->resume = auth_line;
	return CMD_LINE;
}

static enum cmd_result
auth_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct auth_wait *wait = s->cmd_data;

	switch (wait->result) {
	case AUTH_MORE:
		return auth_challenge(s);
	case AUTH_OK:
		return logged_in(s, cmd);
	case AUTH_FAILED:
		return auth_failed(s, cmd);
	case AUTH_BAD:
		auth_end(&s->exchange);
		return imap_cmd_finish(
		    s, cmd, IMAP_BAD, NULL, "malformed authentication exchange");
	case AUTH_BLOCKED:
		return auth_refused(s, cmd, "UNAVAILABLE",
		    "too many failed logins from your address, try later");
	case AUTH_TEMPORARY:
		break;
	}
	return auth_refused(s, cmd, "UNAVAILABLE", "the directory cannot be read now");
}

/* ---- the commands ---- */

enum cmd_result
imap_run_login(struct imap_session *s, struct imap_command *cmd)
{
	struct auth *auth = imap_auth(s);

	if (!service_mechanism_allowed(auth, SLICE("PLAIN"), s->conn) &&
	    !service_mechanism_allowed(auth, SLICE("LOGIN"), s->conn))
		return imap_cmd_finish(s, cmd, IMAP_NO,
		    s->secure ? "CANNOT" : "PRIVACYREQUIRED",
		    s->secure ? "LOGIN is switched off, use AUTHENTICATE"
			      : "a password needs TLS first");
	struct auth_wait *wait = auth_wait_new(s, SLICE("LOGIN"));
	wait->login = cmd->u.login.user;
	s->exchange = auth_password(auth, s->worker->loop, cmd->u.login.user,
	    cmd->u.login.password, conn_peer_text(s->conn), on_auth, s);
	return CMD_WAIT;
}

enum cmd_result
imap_run_authenticate(struct imap_session *s, struct imap_command *cmd)
{
	struct auth *auth = imap_auth(s);
	struct slice mechanism = cmd->u.authenticate.mechanism;
	struct slice initial = cmd->u.authenticate.initial;
	struct buf decoded;

	if (!service_mechanism_allowed(auth, mechanism, s->conn)) {
		const struct auth_channel with_tls = {.secure = true};
		if (!s->secure && auth_mechanism_allowed(auth, mechanism, &with_tls))
			return imap_cmd_finish(s, cmd, IMAP_NO, "PRIVACYREQUIRED",
			    "this mechanism needs TLS first");
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "CANNOT", "mechanism not offered");
	}
	buf_init(&decoded, AUTH_RESPONSE_MAX);
	/* "=" stands for an initial response of no octets (RFC 4959 section 3). */
	if (cmd->u.authenticate.has_initial && !slice_equal(initial, SLICE("=")) &&
	    (!base64_decode_strict(initial, &decoded) || !buf_ok(&decoded))) {
		buf_fini(&decoded);
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "not base64");
	}
	auth_wait_new(s, mechanism);
	struct service_channel channel;
	service_channel_init(&channel, s->conn);
	s->exchange = auth_begin(auth, s->worker->loop, mechanism, &channel.channel,
	    cmd->u.authenticate.has_initial, buf_slice(&decoded), on_auth, s);
	service_channel_fini(&channel);
	buf_fini(&decoded);
	return CMD_WAIT;
}

/* What the client sent behind STARTTLS in clear is thrown away by conn_start_tls_server
 * (CVE-2011-0411 and its family). */
enum cmd_result
imap_run_starttls(struct imap_session *s, struct imap_command *cmd)
{
	struct tls_context *tls = NULL;

	if (s->secure)
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "TLS is on already");
	if (s->can_starttls && s->worker->service)
		tls = service_tls(s->worker->service);
	if (!tls)
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "TLS is not offered here");
	enum cmd_result result =
	    imap_cmd_finish(s, cmd, IMAP_OK, NULL, "begin the TLS handshake");
	imap_out_flush(s);
	conn_start_tls_server(s->conn, tls);
	tls_context_unref(&tls);
	s->phase = IMAP_PHASE_TLS;
	return result;
}

enum cmd_result
imap_run_unauthenticate(struct imap_session *s, struct imap_command *cmd)
{
	LOG_INFO("imap.logout", LF_STR("sid", s->id), LF_STR("user", s->login),
	    LF_STR("reason", "unauthenticate"), LF_U64("commands", s->command_count),
	    LF_U64("bytes", s->bytes_out));
	imap_deselect(s);
	imap_notify_free(&s->notify);
	imap_metadata_watch_free(&s->metadata);
	if (s->state == IMAP_STATE_SELECTED)
		imap_state_set(s, IMAP_STATE_AUTH);
	if (s->counted)
		service_session_end(s->worker->service, s->account);
	s->counted = false;
	free(s->login);
	s->login = NULL;
	s->account = (struct account_id){{0}};
	s->enabled = 0;
	s->masked = 0;
	s->framer.line_max = IMAP_PREAUTH_LINE_MAX;
	s->framer.frame.max = IMAP_PREAUTH_FRAME_MAX;
	imap_state_set(s, IMAP_STATE_NOT_AUTH);
	imap_deadline(s);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "logged out, log in again");
}
