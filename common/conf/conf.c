/*
 * Reads a configuration: scan (conf_scan.c), then libconfuse for one block after the
 * other, then values into the struct (conf_value.c), then what concerns the whole.
 *
 * libconfuse stops at its first error, loses the file name inside sections and merges
 * repeated sections silently; so every block is parsed by itself, names are checked
 * before, and lines come from the scanner.  Its scanner is one global state: a mutex
 * keeps callers apart (start, reload and `check` only, so nobody waits).
 *
 * Nothing of a file with an error is used.
 */
#include "conf/conf_int.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"

/* Guards libconfuse's scanner and `library`. */
static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;

/* Where the library's complaints go: its error function has no argument of ours. */
static struct {
	struct conf_errors *errors;
	const char *name;
	int line_offset;
} library;

static void __attribute__((format(printf, 2, 0)))
library_error(cfg_t *cfg, const char *format, va_list args)
{
	char text[CONF_MESSAGE_BYTES_MAX];

	(void)vsnprintf(text, sizeof(text), format, args);
	conf_error_add(library.errors, library.name, cfg->line + library.line_offset,
	    false, "%s", text);
}

/* Names ----------------------------------------------------------------------------- */

/* `begin` and `end` frame a file so that one that is cut off between two settings is
 * recognised as well. */

static bool
is_frame_name(struct slice name)
{
	return slice_equal(name, SLICE("begin")) || slice_equal(name, SLICE("end"));
}

/* The name goes from the supervisor to the daemons as one word of a list. */
static bool
listener_name_is_valid(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alpha(name.ptr[i]) && !ascii_is_digit(name.ptr[i]) &&
		    name.ptr[i] != '-' && name.ptr[i] != '_')
			return false;
	return name.len <= CONF_LISTENER_NAME_MAX;
}

static void
check_section(struct conf_reader *r, struct conf_scan_block *block)
{
	bool is_listener = slice_equal(block->section, SLICE("listener"));
	struct slice shown = slice_sub(block->section, 0, 40);

	if (!conf_section_exists(block->section)) {
		const char *near = conf_nearest(NULL, block->section);
		CONF_FAULT(r, block->line, "there is no section '%.*s'%s%s%s",
		    SLICE_ARG(shown), near ? ": did you mean '" : "", near ? near : "",
		    near ? "'?" : "");
		block->damaged = true;
	} else if (is_listener && (!block->has_title || slice_is_empty(block->title))) {
		CONF_FAULT(
		    r, block->line, "a listener has a name: listener \"imaps\" { ... }");
		block->damaged = true;
	} else if (is_listener && !listener_name_is_valid(block->title)) {
		CONF_FAULT(r, block->line,
		    "'%.*s' is no name for a listener: up to %d letters, digits, '-' and "
		    "'_'",
		    SLICE_ARG(slice_sub(block->title, 0, 40)), CONF_LISTENER_NAME_MAX);
		block->damaged = true;
	} else if (!is_listener && block->has_title) {
		CONF_FAULT(r, block->line,
		    "only listeners have names: write %.*s { ... }", SLICE_ARG(shown));
		block->damaged = true;
	}
	for (const struct conf_scan_block *other = r->scan.blocks; other < block;
	     other++) {
		if (!slice_equal(other->section, block->section))
			continue;
		if (is_listener && slice_equal(other->title, block->title)) {
			CONF_FAULT(r, block->line,
			    "there is a listener '%.*s' in line %d already: give this "
			    "one "
			    "another name",
			    SLICE_ARG(slice_sub(block->title, 0, 40)), other->line);
			block->damaged = true;
			return;
		}
		if (!is_listener) {
			CONF_WARN(r, block->line,
			    "section '%.*s' is in line %d already; both count",
			    SLICE_ARG(shown), other->line);
			return;
		}
	}
}

static void
fault_unknown_key(
    struct conf_reader *r, const struct conf_scan_key *key, struct slice section)
{
	char place[64] = "";
	struct slice shown = slice_sub(key->name, 0, 60);
	char section_text[64];

	if (!slice_copy_cstr(section, section_text, sizeof(section_text)))
		return;
	if (*section_text)
		(void)snprintf(place, sizeof(place), " in section '%.30s'", section_text);
	const char *near = conf_nearest(*section_text ? section_text : NULL, key->name);
	if (near) {
		CONF_FAULT(r, key->line, "there is no key '%.*s'%s: did you mean '%s'?",
		    SLICE_ARG(shown), place, near);
		return;
	}
	for (size_t i = 0; i < conf_key_count; i++) {
		if (!slice_equal(slice_from_cstr(conf_keys[i].name), key->name))
			continue;
		CONF_FAULT(r, key->line, "there is no key '%.*s'%s: it belongs %s%s",
		    SLICE_ARG(shown), place,
		    *conf_keys[i].section ? "in section " : "outside of all sections",
		    conf_keys[i].section);
		return;
	}
	CONF_FAULT(r, key->line, "there is no key '%.*s'%s", SLICE_ARG(shown), place);
}

/* Two blocks whose keys are the same thing: the top level, or the same section. */
static bool
same_place(const struct conf_scan_block *a, const struct conf_scan_block *b)
{
	return slice_equal(a->section, b->section) && slice_equal(a->title, b->title);
}

/* Takes a setting that cannot be used out of what the library gets to see. */
static void
key_blank(struct conf_reader *r, struct conf_scan_key *key)
{
	key->refused = true;
	for (size_t i = key->start; i < key->end; i++)
		if (r->scan.clean[i] != '\n')
			r->scan.clean[i] = ' ';
}

static void
check_key(struct conf_reader *r, struct conf_scan_key *key)
{
	const struct conf_scan_block *block = &r->scan.blocks[key->block];
	const struct conf_key *row = conf_key_find(block->section, key->name);
	bool frame = slice_is_empty(block->section) && is_frame_name(key->name);
	struct slice shown = slice_sub(key->name, 0, 60);

	if (key->refused) {
		key_blank(r, key);
		return;
	}
	if (!row && !frame) {
		if (slice_is_empty(block->section) || conf_section_exists(block->section))
			fault_unknown_key(r, key, block->section);
		key_blank(r, key);
		return;
	}
	if (key->list != (row && conf_key_is_list(row))) {
		CONF_FAULT(r, key->line,
		    key->list ? "'%.*s' takes one value: write %.*s = value"
			      : "'%.*s' is a list: write %.*s = {\"a\", \"b\"}",
		    SLICE_ARG(shown), SLICE_ARG(shown));
		key_blank(r, key);
		return;
	}
	if (block->damaged)
		return;
	for (const struct conf_scan_key *other = key; other-- > r->scan.keys;) {
		if (slice_equal(other->name, key->name) &&
		    same_place(&r->scan.blocks[other->block], block)) {
			CONF_WARN(r, key->line,
			    "'%.*s' is set in line %d already; this one counts",
			    SLICE_ARG(shown), other->line);
			return;
		}
	}
}

/* The library ------------------------------------------------------------------------ */

/* The options of one section as libconfuse wants them.  All are texts to it: units and
 * bounds are ours. */
static cfg_opt_t *
section_options(const char *section)
{
	cfg_opt_t *options = xcalloc(conf_key_count + 3, sizeof(*options));
	size_t count = 0;

	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		if (strcmp(key->section, section) != 0)
			continue;
		options[count++] =
		    conf_key_is_list(key)
			? (cfg_opt_t)CFG_STR_LIST(key->name, NULL, CFGF_NODEFAULT)
			: (cfg_opt_t)CFG_STR(key->name, NULL, CFGF_NODEFAULT);
	}
	if (*section == '\0') {
		options[count++] = (cfg_opt_t)CFG_STR("begin", NULL, CFGF_NODEFAULT);
		options[count++] = (cfg_opt_t)CFG_STR("end", NULL, CFGF_NODEFAULT);
	}
	options[count] = (cfg_opt_t)CFG_END();
	return options;
}

static void
set_value(struct conf_reader *r, const struct conf_scan_key *key,
    const struct conf_key *row, cfg_t *section, void *base)
{
	const char *values[CONF_LIST_MAX + 1] = {NULL};
	unsigned count = cfg_size(section, row->name);
	struct buf why;

	if (count > CONF_LIST_MAX) {
		CONF_FAULT(
		    r, key->line, "%s: more than %d values", row->name, CONF_LIST_MAX);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		values[i] = cfg_getnstr(section, row->name, i);
	if (!conf_key_is_list(row) && (count != 1 || !values[0])) {
		CONF_FAULT(r, key->line, "%s: one value is expected", row->name);
		return;
	}
	buf_init(&why, CONF_MESSAGE_BYTES_MAX);
	if (!conf_value_set(row, base, r->root, values, count, &why))
		CONF_FAULT(
		    r, key->line, "%s: %.*s", row->name, SLICE_ARG(buf_slice(&why)));
	buf_fini(&why);
}

static void
check_frame(struct conf_reader *r, const struct conf_scan_key *key, cfg_t *cfg)
{
	char name[8];

	if (!slice_copy_cstr(key->name, name, sizeof(name)))
		return;
	const char *value = cfg_getstr(cfg, name);
	if (!value || strcmp(value, CONF_FRAME_WORD) != 0)
		CONF_FAULT(
		    r, key->line, "%s: the value is \"%s\"", name, CONF_FRAME_WORD);
}

static void
take_values(struct conf_reader *r, size_t index, cfg_t *cfg, cfg_t *section, void *base)
{
	const struct conf_scan_block *block = &r->scan.blocks[index];

	for (size_t i = 0; i < r->scan.key_count; i++) {
		const struct conf_scan_key *key = &r->scan.keys[i];
		if (key->block != index || key->refused)
			continue;
		const struct conf_key *row = conf_key_find(block->section, key->name);
		if (row)
			set_value(r, key, row, section, base);
		else
			check_frame(r, key, cfg);
	}
}

static struct conf_listener *
listener_add(struct conf *conf, struct slice title)
{
	conf->listeners = xrealloc(
	    conf->listeners, (conf->listener_count + 1) * sizeof(*conf->listeners));
	struct conf_listener *listener = &conf->listeners[conf->listener_count++];
	*listener = (struct conf_listener){.name = slice_to_cstr(title)};
	for (size_t i = 0; i < conf_key_count; i++)
		if (strcmp(conf_keys[i].section, "listener") == 0)
			conf_value_set_default(&conf_keys[i], listener, NULL);
	return listener;
}

static void
parse_block(struct conf_reader *r, size_t index)
{
	const struct conf_scan_block *block = &r->scan.blocks[index];
	bool top = slice_is_empty(block->section);
	bool titled = block->has_title;
	void *base = r->conf;
	char name[64] = "";

	if (block->damaged || !slice_copy_cstr(block->section, name, sizeof(name)))
		return;
	if (titled) {
		if (r->conf->listener_count == CONF_LISTENERS_MAX) {
			CONF_FAULT(
			    r, block->line, "more than %d listeners", CONF_LISTENERS_MAX);
			return;
		}
		base = listener_add(r->conf, block->title);
	}
	cfg_opt_t *options = section_options(name);
	cfg_opt_t sections[] = {
	    CFG_SEC(name, options, titled ? CFGF_MULTI | CFGF_TITLE : CFGF_NONE),
	    CFG_END()};
	char *text = slice_to_cstr(
	    slice_make(r->scan.clean + block->start, block->end - block->start));
	library.line_offset = block->line - 1;
	cfg_t *cfg = cfg_init(top ? options : sections, CFGF_NONE);
	ENSURE(cfg);
	cfg_set_error_function(cfg, library_error);
	size_t before = r->errors->count;
	int rc = cfg_parse_buf(cfg, text);
	if (rc != CFG_SUCCESS && r->errors->count == before)
		CONF_FAULT(r, block->line, "this cannot be understood");
	if (rc == CFG_SUCCESS) {
		cfg_t *section = top ? cfg : cfg_getsec(cfg, name);
		if (section)
			take_values(r, index, cfg, section, base);
		else
			CONF_FAULT(r, block->line, "this cannot be understood");
	}
	cfg_free(cfg);
	free(text);
	free(options);
}

/* The whole -------------------------------------------------------------------------- */

/* What the root, or its absence, gives to paths that were left empty. */
static void
default_path(char **field, const char *root, const char *below, const char *otherwise)
{
	struct buf out;

	if (**field)
		return;
	free(*field);
	if (!root) {
		*field = xstrdup(otherwise);
		return;
	}
	buf_init(&out, strlen(root) + strlen(below) + 2);
	buf_append_cstr(&out, root);
	if (!slice_has_suffix(slice_from_cstr(root), SLICE("/")))
		buf_append_byte(&out, '/');
	buf_append_cstr(&out, below);
	*field = slice_to_cstr(buf_slice(&out));
	buf_fini(&out);
}

/* Beside the log file, else where it would be. */
static void
fill_log_dir(struct conf *conf, const char *root)
{
	struct slice to = slice_from_cstr(conf->log.to);
	const char *slash = strrchr(conf->log.to, '/');

	if (slash) {
		conf->log.dir =
		    slice_to_cstr(slice_sub(to, 0, (size_t)(slash - conf->log.to)));
		return;
	}
	conf->log.dir = xstrdup("");
	default_path(&conf->log.dir, root, "log", "/var/log/postroom");
}

static void
fill_paths(struct conf *conf, const char *root)
{
	default_path(&conf->run_dir, root, "run", "/run/postroom");
	default_path(&conf->store.path, root, "store", "/var/lib/postroom");
	default_path(&conf->tls.certificate, root, "etc/tls/server.pem",
	    "/etc/postroom/tls/server.pem");
	default_path(&conf->tls.private_key, root, "etc/tls/server.key",
	    "/etc/postroom/tls/server.key");
	default_path(&conf->log.to, root, "log/postroom.log", "stderr");
	fill_log_dir(conf, root);
}

static bool
text_is_readable(struct conf_reader *r, struct slice text)
{
	int line = 1;

	if (text.len > CONF_FILE_BYTES_MAX) {
		CONF_FAULT(r, 0, "the file is larger than %d bytes", CONF_FILE_BYTES_MAX);
		return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if ((c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
			CONF_FAULT(
			    r, line, "a control character (0x%02x) is not allowed", c);
			return false;
		}
		line += c == '\n';
	}
	return true;
}

static void
parse_all(struct conf_reader *r)
{
	for (size_t i = 0; i < r->scan.block_count; i++)
		if (!slice_is_empty(r->scan.blocks[i].section))
			check_section(r, &r->scan.blocks[i]);
	for (size_t i = 0; i < r->scan.key_count; i++)
		check_key(r, &r->scan.keys[i]);
	ENSURE(pthread_mutex_lock(&library_lock) == 0);
	library.errors = r->errors;
	library.name = r->name;
	for (size_t i = 0; i < r->scan.block_count; i++)
		parse_block(r, i);
	ENSURE(pthread_mutex_unlock(&library_lock) == 0);
}

struct conf *
conf_parse(
    struct slice text, const char *name, const char *root, struct conf_errors *errors)
{
	struct conf_reader r = {
	    .errors = errors, .name = name, .root = root, .before = errors->count};

	if (!text_is_readable(&r, text))
		return NULL;
	r.conf = xcalloc(1, sizeof(*r.conf));
	for (size_t i = 0; i < conf_key_count; i++)
		if (strcmp(conf_keys[i].section, "listener") != 0)
			conf_value_set_default(&conf_keys[i], r.conf, root);
	conf_scan(text, name, &r.scan, errors);
	parse_all(&r);
	fill_paths(r.conf, root);
	conf_check_whole(&r);
	conf_scan_free(&r.scan);
	conf_errors_sort(errors, r.before);
	if (conf_errors_fatal(errors, r.before))
		conf_free(&r.conf);
	return r.conf;
}

/* The whole file, or an errno. */
static int
read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = 0;
	struct stat st;

	if (fd < 0)
		return errno;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		return EISDIR;
	}
	for (;;) {
		enum { CHUNK_BYTES = 16 * 1024 };
		char *room = buf_reserve(out, CHUNK_BYTES);
		if (!room)
			break;
		ssize_t got = read(fd, room, CHUNK_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err = errno;
		if (got <= 0)
			break;
		buf_commit(out, (size_t)got);
	}
	close(fd);
	return err;
}

struct conf *
conf_read(const char *path, const char *root, struct conf_errors *errors)
{
	AUTO_BUF struct buf text;

	buf_init(&text, CONF_FILE_BYTES_MAX + 64 * 1024);
	int err = read_file(path, &text);
	if (err) {
		conf_error_add(errors, path, 0, false, "cannot be read: %s%s",
		    strerror(err), err == ENOENT ? " (postroom init makes one)" : "");
		return NULL;
	}
	if (!buf_ok(&text)) {
		conf_error_add(errors, path, 0, false, "the file is larger than %d bytes",
		    CONF_FILE_BYTES_MAX);
		return NULL;
	}
	return conf_parse(buf_slice(&text), path, root, errors);
}

void
conf_free(struct conf **conf)
{
	struct conf *c = *conf;

	if (!c)
		return;
	for (size_t i = 0; i < conf_key_count; i++) {
		if (strcmp(conf_keys[i].section, "listener") != 0)
			conf_value_free(&conf_keys[i], c);
		else
			for (size_t j = 0; j < c->listener_count; j++)
				conf_value_free(&conf_keys[i], &c->listeners[j]);
	}
	for (size_t i = 0; i < c->listener_count; i++)
		free(c->listeners[i].name);
	free(c->listeners);
	free(c->log.dir);
	free(c);
	*conf = NULL;
}
