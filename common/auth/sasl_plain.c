/*
 * The mechanisms that send the password: PLAIN (RFC 4616), LOGIN (the old draft of
 * Microsoft's and Netscape's clients), and the protocols' own USER/PASS and LOGIN.  The
 * password is checked against the same SCRAM keys that the other mechanisms use.
 *
 * Unknown accounts, disabled ones and ones without a password take the same way and the
 * same time as a wrong password.  Pool threads.
 */
#include "auth/sasl_int.h"

#include "auth/credential_int.h"
#include "base/hashmap.h"

static uint64_t
guess_hash(struct slice user, struct slice password)
{
	/* Two keyed hashes instead of a copy of the password. */
	uint64_t hash = hash_keyed(user) * 31 + hash_keyed(password);

	return hash ? hash : 1;
}

static void
check_password(struct auth_exchange *x, struct slice login, struct slice password)
{
	struct slice user = auth_canonical_login(x, login);
	struct slice credential, account;

	x->guess = guess_hash(user, password);
	x->result = AUTH_FAILED;
	if (auth_directory(x, user, &credential, &account) != STATUS_OK) {
		x->result = AUTH_TEMPORARY;
		return;
	}
	if (credential_verify(credential, password) == STATUS_OK && account.ptr) {
		x->login = account;
		x->result = AUTH_OK;
	}
}

static void
ask(struct auth_exchange *x, const char *challenge)
{
	buf_append_cstr(&x->output, challenge);
	x->result = AUTH_MORE;
}

void
auth_step_plain(struct auth_exchange *x)
{
	struct slice rest = x->input;

	if (!x->has_input) {
		ask(x, "");
		return;
	}
	/* RFC 4616 section 2: [authzid] NUL authcid NUL passwd */
	struct slice authzid = slice_split(&rest, '\0');
	struct slice authcid = slice_split(&rest, '\0');
	if (!rest.ptr || slice_index(rest, '\0') != SIZE_MAX) {
		x->result = AUTH_BAD;
		return;
	}
	/* Nobody acts for somebody else here. */
	if (!slice_is_empty(authzid) && !slice_equal_nocase(authzid, authcid)) {
		x->result = AUTH_FAILED;
		return;
	}
	check_password(x, authcid, rest);
}

void
auth_step_login(struct auth_exchange *x)
{
	if (!x->has_input) {
		ask(x, "Username:");
		return;
	}
	if (!x->user.ptr) {
		/* Clients send the name with a final NUL or CRLF now and then; it is
		 * taken as it is, an unknown name. */
		x->user = arena_copy(
		    x->arena, slice_sub(x->input, 0, AUTH_LOGIN_BYTES_MAX + 1));
		ask(x, "Password:");
		return;
	}
	check_password(x, x->user, x->input);
}

void
auth_step_password(struct auth_exchange *x)
{
	/* auth_password put the login's length in front: both may hold any byte. */
	uint32_t login_len = be32_get(x->input.ptr);

	check_password(
	    x, slice_sub(x->input, 4, login_len), slice_from(x->input, 4 + login_len));
}
