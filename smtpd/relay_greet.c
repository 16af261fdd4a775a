/*
 * The SMTP client until mail may be sent: EHLO, TLS as well as the host's level asks for,
 * login.  A connection that is not as well protected as the level says never gets so far.
 *
 * RFC 3207, RFC 4954, RFC 7435, RFC 7672, RFC 8461, RFC 8689.
 */
#include "smtpd/relay_session_int.h"

#include "base/ensure.h"
#include "text/encoding.h"

const char *
relay_session_own_name(const struct relay_session *s)
{
	if (s->origin.set && s->origin.source.ehlo[0])
		return s->origin.source.ehlo;
	return s->site->ehlo[0] ? s->site->ehlo : relay_session_conf(s)->hostname;
}

void
relay_session_ehlo(struct relay_session *s)
{
	s->offer = (struct relay_offer){0};
	relay_session_send(s, STATE_EHLO, s->site->lmtp ? "LHLO %s\r\n" : "EHLO %s\r\n",
	    relay_session_own_name(s));
}

static enum relay_level
level_of(const struct relay_session *s)
{
	return relay_session_address(s)->level;
}

bool
relay_session_tls_required(const struct relay_session *s)
{
	return level_of(s) >= RELAY_LEVEL_ENCRYPT;
}

const char *
relay_session_tls_text(const struct relay_session *s)
{
	if (!conn_is_secure(s->conn))
		return "";
	switch (level_of(s)) {
	case RELAY_LEVEL_VERIFY:
		return " TLS verified";
	case RELAY_LEVEL_DANE:
		return s->dane_unusable ? " TLS" : " TLS by DANE";
	case RELAY_LEVEL_NONE:
	case RELAY_LEVEL_MAY:
	case RELAY_LEVEL_ENCRYPT:
		return " TLS";
	}
	UNREACHABLE();
}

void
relay_session_begin_tls(struct relay_session *s)
{
	const struct relay_address *a = relay_session_address(s);
	bool verify = false;
	s->state = STATE_TLS;
	s->dane_unusable = false;
	conn_deadline(s->conn, relay_session_conf(s)->relay.command_timeout_ms);
	switch (a->level) {
	case RELAY_LEVEL_DANE: {
		/* The domain's own name counts too (RFC 7672 section 3.2.2). */
		const char *names[] = {a->host, s->site->domain};
		if (conn_start_tls_dane(s->conn, s->relay->tls, names, 2,
			a->tlsa->records, a->tlsa->count))
			return;
		/* OpenSSL could use none of them: as if they were unusable. */
		s->dane_unusable = true;
		break;
	}
	case RELAY_LEVEL_VERIFY:
		verify = true;
		break;
	case RELAY_LEVEL_NONE:
	case RELAY_LEVEL_MAY:
	case RELAY_LEVEL_ENCRYPT:
		/* An MX host's name comes from unsigned DNS: there is nothing to verify
		 * against (RFC 7672 section 1.3). */
		break;
	}
	conn_start_tls_client(s->conn, s->relay->tls, a->host, verify);
}

static void
send_base64(struct relay_session *s, enum session_state state, const char *format,
    struct slice bytes)
{
	struct buf text AUTO_BUF;
	buf_init(&text, 1000);
	base64_encode(bytes, &text);
	buf_append_byte(&text, '\0');
	if (!buf_ok(&text)) {
		relay_session_host_failed(
		    s, "at login", "the user name or password is too long");
		return;
	}
	relay_session_send(s, state, format, text.ptr);
}

static void
send_auth(struct relay_session *s)
{
	if (!conn_is_secure(s->conn) && s->site->tls != RELAY_TLS_NONE) {
		relay_session_host_failed(
		    s, "at login", "it offers no TLS, the password was not sent");
		return;
	}
	if (s->offer.auth_plain) {
		struct buf response AUTO_BUF;
		buf_init(&response, 700);
		buf_append_byte(&response, '\0');
		buf_append_cstr(&response, s->site->user);
		buf_append_byte(&response, '\0');
		buf_append_cstr(&response, s->site->password);
		send_base64(s, STATE_AUTH, "AUTH PLAIN %s\r\n", buf_slice(&response));
	} else if (s->offer.auth_login) {
		relay_session_send(s, STATE_AUTH_USER, "AUTH LOGIN\r\n", "");
	} else {
		relay_session_host_failed(
		    s, "at login", "it offers neither AUTH PLAIN nor LOGIN");
	}
}

/* After EHLO: what is still missing before mail may be sent. */
static void
greeted(struct relay_session *s)
{
	bool secure = conn_is_secure(s->conn);
	bool wanted = !secure && level_of(s) != RELAY_LEVEL_NONE && !s->no_tls;
	if (wanted && s->offer.starttls) {
		relay_session_send(s, STATE_STARTTLS, "STARTTLS\r\n", "");
		return;
	}
	if (secure || wanted)
		relay_tlsrpt_session(s, secure ? NULL : "starttls-not-supported", NULL);
	if (!secure && relay_session_tls_required(s)) {
		s->unfit |= s->site->want == RELAY_WANT_TLS;
		relay_session_host_failed(s, "TLS", "it is required and not offered");
		return;
	}
	if (s->site->want == RELAY_WANT_TLS &&
	    (!s->offer.requiretls || s->dane_unusable)) {
		s->unfit = true;
		relay_session_host_failed(
		    s, "REQUIRETLS", "it is demanded and not offered");
		return;
	}
	if (s->site->user[0] != '\0')
		send_auth(s);
	else
		relay_session_ready(s);
}

static void
ehlo_reply(struct relay_session *s, enum relay_reply_class class)
{
	if (class == REPLY_GOOD)
		greeted(s);
	else if (class == REPLY_PERMANENT && s->state == STATE_EHLO &&
		 !conn_is_secure(s->conn) && !s->site->lmtp)
		/* An old server: HELO (RFC 5321 section 3.2). */
		relay_session_send(
		    s, STATE_HELO, "HELO %s\r\n", relay_session_own_name(s));
	else
		relay_session_host_failed(s,
		    s->site->lmtp            ? "LHLO"
		    : s->state == STATE_EHLO ? "EHLO"
					     : "HELO",
		    s->reply.text);
}

static void
starttls_reply(struct relay_session *s, enum relay_reply_class class)
{
	if (class == REPLY_GOOD) {
		relay_session_begin_tls(s);
		return;
	}
	relay_tlsrpt_session(s, "starttls-not-supported", s->reply.text);
	if (relay_session_tls_required(s)) {
		relay_session_host_failed(s, "STARTTLS", s->reply.text);
	} else {
		s->no_tls = true;
		greeted(s);
	}
}

static void
login_reply(struct relay_session *s, enum relay_reply_class class)
{
	if (s->state == STATE_AUTH_USER && class == REPLY_MORE)
		send_base64(
		    s, STATE_AUTH_PASSWORD, "%s\r\n", slice_from_cstr(s->site->user));
	else if (s->state == STATE_AUTH_PASSWORD && class == REPLY_MORE)
		send_base64(s, STATE_AUTH, "%s\r\n", slice_from_cstr(s->site->password));
	else if (s->state == STATE_AUTH && class == REPLY_GOOD)
		relay_session_ready(s);
	else
		relay_session_host_failed(s, "login was refused", s->reply.text);
}

void
relay_session_greet_reply(struct relay_session *s)
{
	enum relay_reply_class class = relay_reply_class(&s->reply);
	int64_t due_s;
	/* A refusal to talk at all: what it means for the site. */
	if ((s->state == STATE_BANNER || s->state == STATE_EHLO) &&
	    (class == REPLY_TRANSIENT || class == REPLY_PERMANENT))
		(void)relay_refusal_judge(
		    s->site, relay_session_address(s)->host, s->epoch, &s->reply, &due_s);
	if (s->state == STATE_BANNER) {
		if (class == REPLY_GOOD)
			relay_session_ehlo(s);
		else
			relay_session_host_failed(s, "greeting", s->reply.text);
	} else if (s->state == STATE_EHLO || s->state == STATE_HELO) {
		ehlo_reply(s, class);
	} else if (s->state == STATE_STARTTLS) {
		starttls_reply(s, class);
	} else {
		login_reply(s, class);
	}
}
