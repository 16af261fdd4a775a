/*
 * relay: which outbound mail goes by which server.  Rules are read at every attempt, so
 * mail that waits already follows them too.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "postroom/cli.h"
#include "postroom/password.h"
#include "service/relay_pool.h"
#include "text/address.h"

enum {
	PORT_SUBMISSIONS = 465,
	PORT_SUBMISSION = 587,
	PORT_SMTP = 25,
	PORT_LMTP = 24,
	SOCKET_PATH_MAX = 107, /* octets, sun_path */
};

static const char *
tls_word(enum relay_tls tls)
{
	static const char *const words[] = {"opportunistic", "none", "required"};
	return words[tls];
}

static int
tls_option(struct cli *cli, bool has_user, enum relay_tls *out)
{
	const char *text = cli_option(cli, "--tls");
	/* A password must not travel in clear by default. */
	*out = has_user ? RELAY_TLS_REQUIRED : RELAY_TLS_OPPORTUNISTIC;
	if (!text)
		return CLI_OK;
	for (int tls = RELAY_TLS_OPPORTUNISTIC; tls <= RELAY_TLS_REQUIRED; tls++) {
		if (strcmp(text, tls_word((enum relay_tls)tls)) == 0) {
			*out = (enum relay_tls)tls;
			return CLI_OK;
		}
	}
	return cli_fail(CLI_USAGE, "--tls is one of none, opportunistic, required");
}

/* What --protocol and --host say; what cannot be is told. */
static int
protocol_option(struct cli *cli, struct directory_relay *relay)
{
	const char *text = cli_option(cli, "--protocol");
	bool path = slice_has_prefix(relay->host, SLICE("/"));
	if (text && strcmp(text, "smtp") != 0 && strcmp(text, "lmtp") != 0)
		return cli_fail(CLI_USAGE, "--protocol is one of smtp, lmtp");
	relay->lmtp = text && strcmp(text, "lmtp") == 0;
	if (relay->lmtp && !relay->host.len)
		return cli_fail(CLI_USAGE, "--protocol lmtp goes with --host");
	if (!path)
		return CLI_OK;
	if (!relay->lmtp)
		return cli_fail(
		    CLI_USAGE, "the path of a socket goes with --protocol lmtp");
	if (relay->host.len > SOCKET_PATH_MAX)
		return cli_fail(CLI_DATA, "the path of a socket has at most %d octets",
		    SOCKET_PATH_MAX);
	const char *tls = cli_option(cli, "--tls");
	if (cli_option(cli, "--port") || relay->source.len ||
	    (tls && strcmp(tls, "none") != 0))
		return cli_fail(
		    CLI_USAGE, "a Unix socket has no port, no source address and no TLS");
	return CLI_OK;
}

static int
port_option(struct cli *cli, const struct directory_relay *relay, uint16_t *out)
{
	const char *text = cli_option(cli, "--port");
	uint64_t port = relay->lmtp       ? PORT_LMTP
	                : relay->user.len ? PORT_SUBMISSION
	                                  : PORT_SMTP;
	if (slice_has_prefix(relay->host, SLICE("/"))) {
		*out = 0;
		return CLI_OK;
	}
	if (text &&
	    (!slice_to_u64(slice_from_cstr(text), UINT16_MAX, &port) || port == 0))
		return cli_fail(CLI_USAGE, "--port wants a number from 1 to 65535");
	if (relay->lmtp && port == PORT_SMTP)
		return cli_fail(CLI_USAGE,
		    "LMTP never runs on port 25 (RFC 2033 section 5); 24 is its port");
	*out = (uint16_t)port;
	return CLI_OK;
}

/* "*" and a missing option both mean any. */
static struct slice
any_option(struct cli *cli, const char *name)
{
	const char *text = cli_option(cli, name);
	return text && strcmp(text, "*") != 0 ? slice_from_cstr(text) : SLICE_NULL;
}

/* --source is an address or a pool that is there, --ehlo a host name. */
static int
source_check(
    struct cli *cli, struct directory_relay *relay, const char *ehlo, struct buf *name)
{
	struct relay_pool pool;
	if (ehlo && !address_domain_to_ascii(slice_from_cstr(ehlo), name))
		return cli_fail(CLI_DATA, "--ehlo wants a host name");
	relay->ehlo = buf_slice(name);
	if (!relay->source.len)
		return CLI_OK;
	enum status status =
	    relay_pool_find(cli->reader, relay->source, relay->ehlo, &pool);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_DATA,
		    "--source is an address of this machine or a pool: postroom pool "
		    "list shows them");
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "read the pool");
}

int
cmd_relay_add(struct cli *cli)
{
	const char *host = cli_option(cli, "--host");
	const char *user = cli_option(cli, "--user");
	const char *source = cli_option(cli, "--source");
	const char *ehlo = cli_option(cli, "--ehlo");
	if (!host && !source && !ehlo)
		return cli_fail(CLI_USAGE,
		    "--host says by which server to send, --source from which address");
	if (!host && (user || cli_option(cli, "--port") || cli_option(cli, "--tls")))
		return cli_fail(CLI_USAGE, "--port, --tls and --user go with --host");
	if (!user && cli_option(cli, "--password-stdin"))
		return cli_fail(CLI_USAGE, "--password-stdin goes with --user");
	struct directory_relay relay = {
	    .from = any_option(cli, "--from"),
	    .to = any_option(cli, "--to"),
	    .host = slice_from_cstr(host),
	    .user = slice_from_cstr(user),
	    .source = slice_from_cstr(source),
	};
	struct buf name AUTO_BUF;
	buf_init(&name, ADDRESS_DOMAIN_MAX);
	char *password = NULL;
	int code = protocol_option(cli, &relay);
	if (code == CLI_OK)
		code = port_option(cli, &relay, &relay.port);
	if (code == CLI_OK)
		code = tls_option(cli, user != NULL, &relay.tls);
	if (code == CLI_OK)
		code = cli_need_store(cli);
	if (code == CLI_OK)
		code = source_check(cli, &relay, ehlo, &name);
	if (code == CLI_OK && user)
		code = password_read(cli, 0, &password);
	if (code != CLI_OK)
		return code;
	if (relay.port == 0)
		relay.tls = RELAY_TLS_NONE;
	relay.implicit_tls = relay.port == PORT_SUBMISSIONS && !relay.lmtp;
	relay.password = slice_from_cstr(password);
	char id[ID_TEXT_SIZE];
	enum status status = directory_relay_add(cli->reader, &relay, id);
	free(password);
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA,
		    "--from is an address or domain, --to a domain, "
		    "--host a host name or address");
	if (status != STATUS_OK)
		return cli_fail_status(status, "add the relay rule");
	if (cli->quiet)
		return CLI_OK;
	printf("%s: mail from %s to %s goes by %s", id,
	    cli_option(cli, "--from") ? cli_option(cli, "--from") : "anybody",
	    relay.to.ptr ? cli_option(cli, "--to") : "anywhere", host ? host : "MX");
	if (relay.port)
		printf(" port %u, TLS %s", relay.port, tls_word(relay.tls));
	printf("%s%s%s%s%s\n", relay.lmtp ? ", LMTP" : "", source ? ", from " : "",
	    source ? source : "", ehlo ? ", as " : "", ehlo ? ehlo : "");
	return CLI_OK;
}

static json_t *
any_text(struct slice s)
{
	return s.ptr && s.len ? json_stringn(s.ptr, s.len) : json_string("*");
}

static bool
relay_list_one(const struct directory_relay *relay, void *arg)
{
	json_t *row = json_object();
	json_object_set_new(row, "id", json_stringn(relay->id.ptr, relay->id.len));
	json_object_set_new(row, "from", any_text(relay->from));
	json_object_set_new(row, "to", any_text(relay->to));
	if (relay->host.len) {
		json_object_set_new(
		    row, "host", json_stringn(relay->host.ptr, relay->host.len));
		json_object_set_new(
		    row, "protocol", json_string(relay->lmtp ? "lmtp" : "smtp"));
		if (relay->port)
			json_object_set_new(row, "port", json_integer(relay->port));
		json_object_set_new(row, "tls", json_string(tls_word(relay->tls)));
	}
	if (relay->source.len)
		json_object_set_new(
		    row, "source", json_stringn(relay->source.ptr, relay->source.len));
	if (relay->ehlo.len)
		json_object_set_new(
		    row, "ehlo", json_stringn(relay->ehlo.ptr, relay->ehlo.len));
	if (relay->user.len)
		json_object_set_new(
		    row, "user", json_stringn(relay->user.ptr, relay->user.len));
	json_array_append_new(arg, row);
	return true;
}

static void
rule_print(const json_t *row)
{
	const char *id, *from, *to, *host = NULL, *tls = NULL;
	const char *user = NULL, *source = NULL, *ehlo = NULL, *protocol = NULL;
	int port = 0;
	json_unpack((json_t *)row, "{s:s, s:s, s:s, s?s, s?s, s?i, s?s, s?s, s?s, s?s}",
	    "id", &id, "from", &from, "to", &to, "host", &host, "protocol", &protocol,
	    "port", &port, "tls", &tls, "user", &user, "source", &source, "ehlo", &ehlo);
	printf("%-6s from %s to %s by %s", id, from, to, host ? host : "MX");
	if (port)
		printf(" port %d, TLS %s", port, tls);
	printf("%s%s%s%s%s%s%s\n",
	    protocol && strcmp(protocol, "lmtp") == 0 ? ", LMTP" : "",
	    user ? ", as " : "", user ? user : "", source ? ", from " : "",
	    source ? source : "", ehlo ? ", EHLO " : "", ehlo ? ehlo : "");
}

int
cmd_relay_list(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	json_t *list = json_array();
	enum status status = directory_relay_each(cli->reader, relay_list_one, list);
	if (status != STATUS_OK)
		return cli_fail_status(status, "list the relay rules");
	return cli_rows_show(cli, list, rule_print, NULL);
}

int
cmd_relay_remove(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	enum status status = directory_relay_remove(cli->reader, cli_argument(cli, 0));
	if (status != STATUS_OK)
		return cli_fail_status(status, "remove relay rule %s", cli->arguments[0]);
	return CLI_OK;
}
