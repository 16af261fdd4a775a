/*
 * The mechanisms where somebody else vouches for the client: OAUTHBEARER (RFC 7628) and
 * XOAUTH2 by a bearer token, EXTERNAL (RFC 4422 appendix A) by the certificate of the TLS
 * connection.  Pool threads: an introspection waits for its server here.
 *
 * A refused token is told in a challenge of JSON, the client answers with a dummy, and
 * only then comes the failure (RFC 7628 section 3.2.3).  It is counted and kept waiting
 * at the challenge already: hanging up there gains nothing.
 */
#include "auth/bearer.h"
#include "auth/sasl_int.h"
#include "auth/token.h"
#include "base/hashmap.h"
#include "base/log.h"

/* The account of this name that may log in, with or without a password. */
static enum status
account_find(struct auth_exchange *x, struct slice name, struct slice *out_login)
{
	const struct auth_options *options = &x->auth->options;
	struct auth_record record = {0};
	struct slice user = auth_canonical_login(x, name);

	*out_login = SLICE_NULL;
	if (!user.ptr)
		return STATUS_OK;
	enum status status =
	    options->lookup(options->lookup_arg, user, x->arena, &record);
	if (status == STATUS_OK && record.found && !record.disabled)
		*out_login = record.login;
	return status;
}

/* ---- bearer tokens ---- */

static void
refuse_token(struct auth_exchange *x, struct token_rules *rules, const char *why)
{
	LOG_DEBUG("auth.token", LF_STR("peer", x->peer), LF_STR("reason", why));
	bearer_write_failure(x->kind == AUTH_KIND_XOAUTH2, token_rules_scope(rules),
	    token_rules_configuration(rules), &x->output);
	x->refused = true;
	x->result = AUTH_MORE;
}

/* Who the client says it is, when it says so, has to be who the token says. */
static bool
user_agrees(struct auth_exchange *x, const struct bearer_message *message,
    struct slice name, struct slice login)
{
	struct slice user = slice_from_cstr(message->user);

	return user.len == 0 || slice_equal_nocase(user, name) ||
	       slice_equal(auth_canonical_login(x, user), login);
}

static void
check_token(struct auth_exchange *x, struct token_rules *rules,
    const struct bearer_message *message)
{
	struct buf name AUTO_BUF;
	const char *why = NULL;
	struct slice login;

	buf_init(&name, JWT_NAME_MAX);
	x->guess = hash_keyed(message->token) | 1;
	enum status status = token_check(rules, message->token, &name, &why);
	if (status == STATUS_DENIED) {
		refuse_token(x, rules, why);
		return;
	}
	if (status != STATUS_OK ||
	    account_find(x, buf_slice(&name), &login) != STATUS_OK) {
		LOG_DEBUG("auth.token", LF_STR("peer", x->peer), LF_STR("reason", why));
		x->result = AUTH_TEMPORARY;
		return;
	}
	if (!login.ptr || !user_agrees(x, message, buf_slice(&name), login)) {
		refuse_token(
		    x, rules, login.ptr ? "for somebody else" : "for no account of ours");
		return;
	}
	x->login = login;
	x->result = AUTH_OK;
}

void
auth_step_bearer(struct auth_exchange *x)
{
	struct bearer_message message;

	if (x->refused) {
		x->result = AUTH_FAILED;
		return;
	}
	if (!x->has_input) {
		x->result = AUTH_MORE;
		return;
	}
	bool good = x->kind == AUTH_KIND_XOAUTH2
	                ? bearer_parse_xoauth2(x->input, &message)
	                : bearer_parse_oauthbearer(x->input, &message);
	struct token_rules *rules = auth_tokens_ref(x->auth);
	if (!good || !rules)
		x->result = AUTH_BAD;
	else
		check_token(x, rules, &message);
	token_rules_unref(&rules);
}

/* ---- the certificate ---- */

/* The first address of the certificate that is an account; when the client names one, it
 * has to be among them. */
void
auth_step_external(struct auth_exchange *x)
{
	struct slice rest = x->certificate;
	struct slice wanted = x->input;

	if (!x->has_input) {
		x->result = AUTH_MORE;
		return;
	}
	x->result = AUTH_FAILED;
	while (rest.len > 0) {
		struct slice address = slice_split(&rest, '\n');
		struct slice login;
		if (wanted.len > 0 && !slice_equal_nocase(wanted, address))
			continue;
		if (account_find(x, address, &login) != STATUS_OK) {
			x->result = AUTH_TEMPORARY;
			return;
		}
		if (login.ptr) {
			x->login = login;
			x->result = AUTH_OK;
			return;
		}
	}
}
