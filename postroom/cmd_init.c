/*
 * init: makes an instance. A private one below --root needs no root and listens on
 * loopback; without --root it is the system's. Nothing that is there is overwritten.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "net/tls.h"
#include "postroom/cli.h"
#include "text/address.h"

enum { PORT_BASE_MAX = 64000, HOSTNAME_SIZE = 256, SAMPLE_MAX = 256 * 1024 };

static int
folder_make(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return CLI_OK;
	return cli_fail(
	    CLI_CANNOT_CREATE, "could not make the folder %s: %s", path, strerror(errno));
}

static int
folders_make(const struct cli *cli)
{
	static const struct {
		const char *below_root, *system;
		mode_t mode;
	} folders[] = {
	    {"",         NULL,                0755},
	    {"/etc",     "/etc/postroom",     0755},
	    {"/etc/tls", "/etc/postroom/tls", 0750},
	    {"/store",   "/var/lib/postroom", 0700},
	    {"/run",     "/run/postroom",     0755},
	    {"/log",     "/var/log/postroom", 0750},
	};
	int code = CLI_OK;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !code; i++) {
		char *path = cli->root           ? cli_path(cli, folders[i].below_root)
		             : folders[i].system ? xstrdup(folders[i].system)
		                                 : NULL;
		if (path)
			code = folder_make(path, folders[i].mode);
		free(path);
	}
	return code;
}

/* Writes a new file whole or not at all. */
static int
file_write_new(const char *path, struct slice text)
{
	char *temporary = NULL;
	if (asprintf(&temporary, "%s.new", path) < 0)
		abort();
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool ok = fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len &&
	          fsync(fd) == 0;
	int err = errno;
	if (fd >= 0)
		close(fd);
	if (ok && rename(temporary, path) != 0) {
		ok = false;
		err = errno;
	}
	if (!ok)
		unlink(temporary);
	free(temporary);
	return ok ? CLI_OK
	          : cli_fail(
			CLI_CANNOT_CREATE, "could not write %s: %s", path, strerror(err));
}

/* --hostname, else mail.<domain>, else the machine's own name. */
static int
hostname_choose(const struct cli *cli, char out[HOSTNAME_SIZE])
{
	const char *given = cli_option(cli, "--hostname");
	const char *domain = cli_option(cli, "--domain");
	if (given)
		snprintf(out, HOSTNAME_SIZE, "%s", given);
	else if (domain)
		snprintf(out, HOSTNAME_SIZE, "mail.%s", domain);
	else if (gethostname(out, HOSTNAME_SIZE) != 0)
		snprintf(out, HOSTNAME_SIZE, "localhost");
	out[HOSTNAME_SIZE - 1] = '\0';
	struct buf ascii AUTO_BUF;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	if (!address_domain_to_ascii(slice_from_cstr(out), &ascii))
		return cli_fail(
		    CLI_DATA, "\"%s\" is no host name: give one with --hostname", out);
	slice_copy_cstr(buf_slice(&ascii), out, HOSTNAME_SIZE);
	return CLI_OK;
}

static int
config_write(const struct cli *cli, const char *hostname)
{
	uint64_t port_base = 0;
	const char *text = cli_option(cli, "--port-base");
	if (text && !slice_to_u64(slice_from_cstr(text), PORT_BASE_MAX, &port_base))
		return cli_fail(
		    CLI_USAGE, "--port-base wants a number from 0 to %d", PORT_BASE_MAX);
	struct buf sample AUTO_BUF;
	buf_init(&sample, SAMPLE_MAX);
	bool public_addresses = !cli->root || cli_option(cli, "--public");
	conf_write_sample(&sample, hostname, (unsigned)port_base, public_addresses);
	ENSURE(buf_ok(&sample));
	char *path = cli_config_path(cli);
	int code = file_write_new(path, buf_slice(&sample));
	free(path);
	return code;
}

static int
certificate_make(const struct cli *cli, const char *hostname)
{
	char *paths[4];
	static const char *const below_root[] = {"/etc/ca.pem", "/etc/tls/ca.key",
	    "/etc/tls/server.pem", "/etc/tls/server.key"};
	static const char *const system_paths[] = {"/etc/postroom/ca.pem",
	    "/etc/postroom/tls/ca.key", "/etc/postroom/tls/server.pem",
	    "/etc/postroom/tls/server.key"};
	for (size_t i = 0; i < 4; i++)
		paths[i] =
		    cli->root ? cli_path(cli, below_root[i]) : xstrdup(system_paths[i]);
	const char *const names[] = {hostname, "localhost", "127.0.0.1", "::1"};
	char *error = NULL;
	int code = CLI_OK;
	if (access(paths[2], F_OK) != 0) {
		enum status status = tls_make_self_signed(
		    paths[0], paths[1], paths[2], paths[3], names, 4, &error);
		if (status != STATUS_OK)
			code = cli_fail(CLI_CANNOT_CREATE,
			    "could not make the certificate: %s",
			    error ? error : status_text(status));
	}
	free(error);
	for (size_t i = 0; i < 4; i++)
		free(paths[i]);
	return code;
}

static int
store_make(struct cli *cli)
{
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	struct store_options options = {
	    .path = cli->conf->store.path,
	    .map_size = cli->conf->store.map_size,
	    .shards = cli->conf->store.shards,
	    .sync = cli->conf->store.sync,
	    .undelete_days = cli->conf->store.undelete_days,
	    .create = true,
	};
	char *error = NULL;
	enum status status = store_open(&options, &cli->store, &error);
	if (status != STATUS_OK) {
		code = cli_fail(CLI_CANNOT_CREATE, "could not make the store %s: %s",
		    options.path, error ? error : status_text(status));
		free(error);
		return code;
	}
	cli->reader = store_reader_new(cli->store, NULL, NULL);
	const char *domain = cli_option(cli, "--domain");
	if (!domain)
		return CLI_OK;
	status = directory_domain_add(cli->reader, slice_from_cstr(domain));
	if (status != STATUS_OK)
		return cli_fail_status(status, "add domain %s", domain);
	return CLI_OK;
}

int
cmd_init(struct cli *cli)
{
	char hostname[HOSTNAME_SIZE];
	char *config = cli_config_path(cli);
	bool there = access(config, F_OK) == 0;
	int code = CLI_OK;
	if (there)
		code = cli_fail(CLI_CANNOT_CREATE,
		    "%s is there already: this instance was made before", config);
	if (code == CLI_OK)
		code = hostname_choose(cli, hostname);
	if (code == CLI_OK)
		code = folders_make(cli);
	if (code == CLI_OK)
		code = certificate_make(cli, hostname);
	if (code == CLI_OK)
		code = config_write(cli, hostname);
	if (code == CLI_OK)
		code = store_make(cli);
	if (code == CLI_OK && !cli->quiet) {
		const char *root = cli->root ? " --root " : "";
		const char *dir = cli->root ? cli->root : "";
		printf("host name  %s\nwrote      %s, a self-signed certificate\n"
		       "store      %s\n",
		    hostname, config, cli->conf->store.path);
		if (!cli_option(cli, "--domain"))
			printf("next       postroom%s%s domain add DOMAIN\n", root, dir);
		printf("next       postroom%s%s account add USER@DOMAIN\n"
		       "           postroom%s%s start --detach\n",
		    root, dir, root, dir);
	}
	free(config);
	return code;
}
