/*
 * What concerns a configuration as a whole, once every value is in: keys that must be
 * there, listeners that exclude each other, sockets by path, what is allowed but hardly
 * meant.  Faults are added to the reader's errors.
 */
#include "conf/conf_int.h"

#include <stdlib.h>

#include "base/ensure.h"

enum { SMTP_PORT = 25 };

static const struct conf_scan_key *
find_key(const struct conf_reader *r, const char *section, struct slice title,
    const char *name)
{
	for (size_t i = r->scan.key_count; i-- > 0;) {
		const struct conf_scan_key *key = &r->scan.keys[i];
		const struct conf_scan_block *block = &r->scan.blocks[key->block];
		if (slice_equal(block->section, slice_from_cstr(section)) &&
		    slice_equal(block->title, title) &&
		    slice_equal(key->name, slice_from_cstr(name)))
			return key;
	}
	return NULL;
}

static int
listener_line(const struct conf_reader *r, const struct conf_listener *listener)
{
	for (size_t i = 0; i < r->scan.block_count; i++)
		if (r->scan.blocks[i].has_title &&
		    slice_equal(r->scan.blocks[i].title, slice_from_cstr(listener->name)))
			return r->scan.blocks[i].line;
	return 0;
}

static bool
listeners_clash(const struct conf_listener *a, const struct conf_listener *b)
{
	if (a->port != b->port || !a->enabled || !b->enabled)
		return false;
	for (size_t i = 0; i < a->addresses.count; i++)
		for (size_t j = 0; j < b->addresses.count; j++)
			if (strcmp(a->addresses.items[i], b->addresses.items[j]) == 0)
				return true;
	return false;
}

/* Where sendmail looks for it, and for everybody. */
static void
local_defaults(struct conf_reader *r, struct conf_listener *l)
{
	struct slice title = slice_from_cstr(l->name);

	if (!l->path[0]) {
		struct buf out;
		buf_init(&out, strlen(r->conf->run_dir) + 20);
		buf_append_cstr(&out, r->conf->run_dir);
		buf_append_cstr(&out, "/sendmail.sock");
		free(l->path);
		l->path = slice_to_cstr(buf_slice(&out));
		buf_fini(&out);
	}
	if (!find_key(r, "listener", title, "mode")) {
		free(l->mode);
		l->mode = xstrdup("0666");
	}
}

/* A Unix socket: its path becomes the listener's only address. */
static void
check_socket(struct conf_reader *r, struct conf_listener *l, int line)
{
	struct slice title = slice_from_cstr(l->name);

	/* RFC 2033 section 5. */
	if (l->protocol == CONF_LMTP && l->port == SMTP_PORT)
		CONF_FAULT(r, line,
		    "listener '%.40s': LMTP never runs on port 25 (RFC 2033 section 5); "
		    "24 is its port",
		    l->name);
	if (l->protocol == CONF_LOCAL)
		local_defaults(r, l);
	if (!l->path[0])
		return;
	if (l->protocol != CONF_LMTP && l->protocol != CONF_LOCAL)
		CONF_FAULT(
		    r, line, "listener '%.40s': path is for lmtp and local", l->name);
	if (l->path[0] != '/' || strlen(l->path) > CONF_SOCKET_PATH_MAX)
		CONF_FAULT(r, line,
		    "listener '%.40s': path is an absolute path of at most %d octets",
		    l->name, CONF_SOCKET_PATH_MAX);
	if (find_key(r, "listener", title, "port") ||
	    find_key(r, "listener", title, "address"))
		CONF_FAULT(r, line,
		    "listener '%.40s' has a path, and so neither port nor address",
		    l->name);
	l->tls = CONF_TLS_NONE;
	for (size_t i = 0; i < l->addresses.count; i++)
		free(l->addresses.items[i]);
	l->addresses.count = 1;
	l->addresses.items[0] = xstrdup(l->path);
}

static void
check_listeners(struct conf_reader *r)
{
	size_t enabled = 0;

	for (size_t i = 0; i < r->conf->listener_count; i++) {
		const struct conf_listener *one = &r->conf->listeners[i];
		struct slice title = slice_from_cstr(one->name);
		int line = listener_line(r, one);

		enabled += one->enabled;
		if (!find_key(r, "listener", title, "protocol"))
			CONF_FAULT(r, line,
			    "listener '%.40s' has no protocol: smtp, submission, imap, "
			    "pop3, lmtp or local",
			    one->name);
		check_socket(r, &r->conf->listeners[i], line);
		if (!one->path[0] && !find_key(r, "listener", title, "port")) {
			CONF_FAULT(r, line, "listener '%.40s' has no port", one->name);
			continue;
		}
		for (size_t j = 0; j < i; j++)
			if (listeners_clash(&r->conf->listeners[j], one))
				CONF_FAULT(r, line,
				    "listener '%.40s' has the port and address of "
				    "'%.40s' "
				    "(line %d)",
				    one->name, r->conf->listeners[j].name,
				    listener_line(r, &r->conf->listeners[j]));
	}
	if (enabled == 0)
		CONF_WARN(r, 0, "no listener is enabled: nobody can connect");
}

static void
check_frame_closed(struct conf_reader *r)
{
	const struct conf_scan_key *begin = find_key(r, "", SLICE_NULL, "begin");

	if (begin && !find_key(r, "", SLICE_NULL, "end"))
		CONF_FAULT(r, r->scan.last_line,
		    "the file ends without end = \"%s\", which begin in line %d "
		    "promises: is "
		    "it cut off?",
		    CONF_FRAME_WORD, begin->line);
}

void
conf_check_whole(struct conf_reader *r)
{
	const struct conf *conf = r->conf;
	const struct conf_scan_key *warn = find_key(r, "relay", SLICE_NULL, "warn_after");

	check_frame_closed(r);
	if (!find_key(r, "", SLICE_NULL, "hostname"))
		CONF_FAULT(r, r->scan.last_line,
		    "hostname is missing: write hostname = \"mail.example.org\"");
	check_listeners(r);
	if (conf->relay.warn_after_s > conf->relay.lifetime_s)
		CONF_WARN(r, warn ? warn->line : 0,
		    "relay: warn_after is longer than lifetime: no delay notice is sent");
	if (!conf->store.sync)
		CONF_WARN(r, 0, "store: sync = false may lose mail: for measuring only");
}
