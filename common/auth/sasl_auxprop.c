/*
 * SCRAM by libsasl2 (RFC 5802, RFC 7677): the library speaks the mechanism, our auxprop
 * plug-in gives it the account's keys as *authPassword, one value a hash.
 *
 * What the library wants: mutex functions before anything else; sasl_server_init once
 * and never sasl_done (it unloads plug-ins under running connections); the plug-in named
 * by the option callback, else every auxprop module of the system is asked; a canonical
 * user callback, else realms are glued on.  An unknown user gets fake keys, because the
 * library itself answers at once and differently when there are none.
 *
 * Pool threads, one at a time for an exchange.
 */
#include "auth/sasl_int.h"

#include <pthread.h>
#include <sasl/saslplug.h>

#include "auth/credential_int.h"
#include "base/ensure.h"
#include "text/encoding.h"

/* Our own number for "the exchange of this connection", beside the library's. */
enum { CALLBACK_EXCHANGE = 0x50520001 };

#define AUXPROP_NAME "postroom"
/* The name's first character says: of the one who logs in, not of the one acted for. */
#define AUXPROP_PROPERTY "*authPassword"

/* sasl_callback_t has one type for all functions. */
#define SASL_FN(fn) ((int (*)(void))(void (*)(void))(fn))

/* Process-wide --------------------------------------------------------------------------
 */

static void *
mutex_new(void)
{
	pthread_mutex_t *mutex = xmalloc(sizeof(pthread_mutex_t));

	ENSURE(pthread_mutex_init(mutex, NULL) == 0);
	return mutex;
}

static int
mutex_lock(void *mutex)
{
	return pthread_mutex_lock(mutex) == 0 ? 0 : -1;
}

static int
mutex_unlock(void *mutex)
{
	return pthread_mutex_unlock(mutex) == 0 ? 0 : -1;
}

static void
mutex_free(void *mutex)
{
	if (mutex)
		(void)pthread_mutex_destroy(mutex);
	free(mutex);
}

static int
option_get(void *context, const char *plugin, const char *option, const char **out_value,
    unsigned *out_len)
{
	static const struct {
		const char *name;
		const char *value;
	} options[] = {
	    {"auxprop_plugin", AUXPROP_NAME               },
	    {"mech_list",      "SCRAM-SHA-256 SCRAM-SHA-1"},
	    {"pwcheck_method", "auxprop"                  },
	};

	(void)context;
	(void)plugin;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strcmp(options[i].name, option) != 0)
			continue;
		*out_value = options[i].value;
		if (out_len)
			*out_len = (unsigned)strlen(options[i].value);
		return SASL_OK;
	}
	return SASL_FAIL;
}

/* The library would write to syslog, with user names. */
static int
log_nothing(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

static int auxprop_lookup(void *context, sasl_server_params_t *params, unsigned flags,
    const char *user, unsigned user_len);

static int
auxprop_init(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_auxprop_plug_t **out_plug, const char *name)
{
	static char plug_name[] = AUXPROP_NAME;
	static sasl_auxprop_plug_t plug = {
	    .auxprop_lookup = auxprop_lookup, .name = plug_name};

	(void)utils;
	(void)name;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_AUXPROP_PLUG_VERSION;
	*out_plug = &plug;
	return SASL_OK;
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_result;

static void
library_start(void)
{
	static const sasl_callback_t callbacks[] = {
	    {SASL_CB_GETOPT,   SASL_FN(option_get),  NULL},
	    {SASL_CB_LOG,      SASL_FN(log_nothing), NULL},
	    {SASL_CB_LIST_END, NULL,                 NULL},
	};

	sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
	library_result = sasl_server_init(callbacks, "postroom");
	if (library_result == SASL_OK)
		library_result = sasl_auxprop_add_plugin(AUXPROP_NAME, auxprop_init);
}

enum status
auth_scram_start(void)
{
	ENSURE(pthread_once(&library_once, library_start) == 0);
	return library_result == SASL_OK ? STATUS_OK : STATUS_IO;
}

bool
auth_scram_has(const char *name)
{
	struct slice mechanism = slice_from_cstr(name);
	sasl_conn_t *conn = NULL;
	const char *list = NULL;
	bool found = false;

	/* A mechanism that can be had can be had with channel binding. */
	if (slice_has_suffix(mechanism, SLICE("-PLUS")))
		mechanism.len -= 5;
	if (sasl_server_new("imap", "localhost", NULL, NULL, NULL, NULL, 0, &conn) !=
	    SASL_OK)
		return false;
	if (sasl_listmech(conn, NULL, "", " ", "", &list, NULL, NULL) == SASL_OK &&
	    list) {
		struct slice rest = slice_from_cstr(list);
		while (rest.ptr && !found)
			found = slice_equal(slice_split(&rest, ' '), mechanism);
	}
	sasl_dispose(&conn);
	return found;
}

/* Of a connection -----------------------------------------------------------------------
 */

static int
user_canonical(sasl_conn_t *conn, void *context, const char *in, unsigned in_len,
    unsigned flags, const char *realm, char *out, unsigned out_max, unsigned *out_len)
{
	(void)conn;
	(void)context;
	(void)flags;
	(void)realm;
	if (in_len == 0 || in_len > AUTH_LOGIN_BYTES_MAX || in_len >= out_max)
		return SASL_BADPROT;
	for (unsigned i = 0; i < in_len; i++)
		out[i] = ascii_lower(in[i]);
	out[in_len] = '\0';
	*out_len = in_len;
	return SASL_OK;
}

/* The value of the property that the mechanism asked for, all schemes. */
static void
property_set(sasl_server_params_t *params, const char *name, struct slice credential)
{
	static const struct slice schemes[] = {
	    {"SCRAM-SHA-256", 13},
	    {"SCRAM-SHA-1",   11},
	};
	struct slice value;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (!credential_find(credential, schemes[i], &value))
			continue;
		/* The first call names the property, the next add to it. */
		(void)params->utils->prop_set(
		    params->propctx, name, value.ptr, (int)value.len);
		name = NULL;
	}
}

static int
auxprop_lookup(void *context, sasl_server_params_t *params, unsigned flags,
    const char *user, unsigned user_len)
{
	sasl_callback_ft proc = NULL;
	void *found = NULL;
	struct slice credential;

	(void)context;
	/* Properties of the one acted for are nobody's business. */
	if (flags & SASL_AUXPROP_AUTHZID)
		return SASL_OK;
	if (params->utils->getcallback(
		params->utils->conn, CALLBACK_EXCHANGE, &proc, &found) != SASL_OK ||
	    !found)
		return SASL_FAIL;
	struct auth_exchange *x = found;
	x->user = auth_canonical_login(x, slice_make(user, user_len));
	if (auth_directory(x, x->user, &credential, &x->login) != STATUS_OK) {
		x->unavailable = true;
		return SASL_UNAVAIL;
	}
	for (const struct propval *p = params->utils->prop_get(params->propctx);
	     p && p->name; p++)
		if (strcmp(p->name, AUXPROP_PROPERTY) == 0 && !p->values) {
			property_set(params, p->name, credential);
			break;
		}
	return SASL_OK;
}

/* Never called: it makes the exchange findable. */
static int
exchange_mark(void)
{
	return SASL_FAIL;
}

static int
conn_start(struct auth_exchange *x, const char **out, unsigned *out_len)
{
	const sasl_security_properties_t properties = {.maxbufsize = 0};

	x->callbacks[0] =
	    (sasl_callback_t){SASL_CB_CANON_USER, SASL_FN(user_canonical), NULL};
	x->callbacks[1] = (sasl_callback_t){CALLBACK_EXCHANGE, exchange_mark, x};
	x->callbacks[2] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
	int rc = sasl_server_new(x->auth->service, x->auth->hostname, NULL, NULL, NULL,
	    x->callbacks, 0, &x->conn);
	if (rc == SASL_OK)
		rc = sasl_setprop(x->conn, SASL_SEC_PROPS, &properties);
	if (rc == SASL_OK && x->plus)
		rc = sasl_setprop(x->conn, SASL_CHANNEL_BINDING, &x->binding);
	if (rc != SASL_OK)
		return SASL_FAIL;
	return sasl_server_start(x->conn, x->mechanism,
	    x->has_input ? (x->input.ptr ? x->input.ptr : "") : NULL,
	    (unsigned)x->input.len, out, out_len);
}

/* The one who logged in is the one who was looked up, and acts for nobody else. */
static bool
names_agree(struct auth_exchange *x)
{
	const void *authcid = NULL, *authzid = NULL;

	return sasl_getprop(x->conn, SASL_AUTHUSER, &authcid) == SASL_OK &&
	       sasl_getprop(x->conn, SASL_USERNAME, &authzid) == SASL_OK &&
	       x->login.ptr && slice_equal(slice_from_cstr(authcid), x->user) &&
	       slice_equal(slice_from_cstr(authzid), x->user);
}

static enum auth_result
result_of(struct auth_exchange *x, int rc)
{
	if (x->unavailable)
		return AUTH_TEMPORARY;
	switch (rc) {
	case SASL_OK:
		return names_agree(x) ? AUTH_OK : AUTH_FAILED;
	case SASL_CONTINUE:
		return AUTH_MORE;
	case SASL_BADPROT:
	case SASL_BADPARAM:
	case SASL_NOMECH:
		return AUTH_BAD;
	case SASL_NOMEM:
	case SASL_UNAVAIL:
	case SASL_TRYAGAIN:
		return AUTH_TEMPORARY;
	default:
		return AUTH_FAILED;
	}
}

/* What the client's last message has to say behind "c=". */
static void
binding_expect(struct auth_exchange *x, struct slice header, struct slice data)
{
	struct buf plain AUTO_BUF, text AUTO_BUF;

	buf_init(&plain, AUTH_RESPONSE_MAX + data.len);
	buf_init(&text, 2 * AUTH_RESPONSE_MAX);
	buf_append(&plain, header);
	buf_append(&plain, data);
	base64_encode(buf_slice(&plain), &text);
	x->binding_text = arena_copy(x->arena, buf_slice(&text));
}

/* The library tells a wrong binding and a broken message with the same word; the first is
 * a failed login, which has to be counted. */
static bool
binding_is_wrong(const struct auth_exchange *x)
{
	struct slice rest = x->input;
	struct slice first = slice_split(&rest, ',');

	return x->plus && slice_has_prefix(first, SLICE("c=")) &&
	       !slice_equal(slice_from(first, 2), x->binding_text);
}

/* The kind of channel binding that the client names in "p=NAME,…", when there is one. */
static bool
binding_choose(struct auth_exchange *x)
{
	struct slice rest = slice_from(x->input, 2);
	struct slice name = slice_split(&rest, ',');
	struct slice data = SLICE_NULL;
	const char *kind = "tls-exporter";

	if (slice_equal(name, slice_from_cstr(kind))) {
		data = x->tls_exporter;
	} else if (slice_equal(name, SLICE("tls-server-end-point"))) {
		kind = "tls-server-end-point";
		data = x->tls_server_end_point;
	}
	if (!rest.ptr || !data.ptr)
		return false;
	(void)slice_split(&rest, ','); /* authzid */
	if (!rest.ptr)
		return false;
	binding_expect(
	    x, slice_sub(x->input, 0, (size_t)(rest.ptr - x->input.ptr)), data);
	x->binding = (sasl_channel_binding_t){.name = kind,
	    .critical = 1,
	    .len = data.len,
	    .data = (const unsigned char *)data.ptr};
	return true;
}

/* The gs2-cbind-flag of the first message (RFC 5802 sections 6 and 7). */
static enum auth_result
check_cbind_flag(struct auth_exchange *x)
{
	bool wants = slice_has_prefix(x->input, SLICE("p="));

	if (x->plus)
		return wants && binding_choose(x) ? AUTH_MORE : AUTH_BAD;
	if (wants)
		return AUTH_BAD;
	/* "I could, but you do not offer it": we did offer it, so somebody in between
	 * took it out of the list. */
	if (x->plus_offered && slice_has_prefix(x->input, SLICE("y")))
		return AUTH_FAILED;
	return AUTH_MORE;
}

/* What RFC 5802 section 7 allows at all in a client's message: UTF-8 without controls.
 * The library looks at less. */
static bool
message_is_plausible(const struct auth_exchange *x)
{
	for (size_t i = 0; i < x->input.len; i++)
		if ((unsigned char)x->input.ptr[i] < ' ' || x->input.ptr[i] == 0x7f)
			return false;
	return utf8_is_valid(x->input);
}

void
auth_step_scram(struct auth_exchange *x)
{
	const char *out = NULL;
	unsigned out_len = 0;
	int rc;

	/* Which channel binding it is has to be known before the library starts, and only
	 * the client's first message tells. */
	if (!x->conn && !x->has_input) {
		x->result = AUTH_MORE;
		return;
	}
	/* Only the last answer is empty; the library would take an empty first message
	 * for none. */
	if (x->said_all != slice_is_empty(x->input) || !message_is_plausible(x)) {
		x->result = AUTH_BAD;
		return;
	}
	if (!x->conn) {
		x->result = check_cbind_flag(x);
		if (x->result != AUTH_MORE)
			return;
		rc = conn_start(x, &out, &out_len);
	} else if (binding_is_wrong(x)) {
		x->result = AUTH_FAILED;
		return;
	} else {
		rc = sasl_server_step(x->conn, x->input.ptr ? x->input.ptr : "",
		    (unsigned)x->input.len, &out, &out_len);
	}
	x->result = result_of(x, rc);
	if (x->result != AUTH_MORE)
		return;
	struct slice challenge = slice_make(out, out ? out_len : 0);
	buf_append(&x->output, challenge);
	/* RFC 5802 section 5.1: "v=" is in the server's final message only; what is left
	 * for the client is an empty answer. */
	x->said_all = slice_has_prefix(challenge, SLICE("v="));
}
