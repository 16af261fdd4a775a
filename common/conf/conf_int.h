/*
 * Private to common/conf: the schema table, the scanner's result and the value setter.
 */
#ifndef CONF_CONF_INT_H
#define CONF_CONF_INT_H

#include "conf/conf.h"

enum {
	CONF_FILE_BYTES_MAX = 1024 * 1024,
	CONF_VALUE_BYTES_MAX = 4096, /* of one value */
	CONF_KEYS_MAX = 4096,        /* settings in one file */
	CONF_BLOCKS_MAX = 1024,      /* sections and settings of the top level */
	CONF_ERRORS_MAX = 200,       /* after these, one line says that there are more */
	CONF_WARNINGS_MAX = 100,     /* later ones are not told */
	CONF_MESSAGE_BYTES_MAX = 512,
};

enum conf_type {
	CONF_TYPE_BOOL,
	CONF_TYPE_U16,
	CONF_TYPE_U32,
	CONF_TYPE_PERCENT,     /* uint32_t; "5%" */
	CONF_TYPE_DAYS,        /* uint32_t; "never" is 0 */
	CONF_TYPE_SIZE,        /* uint64_t bytes */
	CONF_TYPE_DURATION_MS, /* uint64_t */
	CONF_TYPE_DURATION_S,
	CONF_TYPE_TEXT, /* char *; bounds are octets */
	CONF_TYPE_PATH, /* char *; relative ones are taken from the root */
	CONF_TYPE_HOSTNAME,
	CONF_TYPE_WORD, /* char *; one of `words` */
	CONF_TYPE_ENUM, /* the place of the word in `words` */
	CONF_TYPE_LIST_WORD,
	CONF_TYPE_LIST_ADDRESS, /* "1.2.3.4", "[::1]" */
	CONF_TYPE_LIST_SERVER,  /* "1.2.3.4", "::1", "::1@5353" */
	CONF_TYPE_LIST_NETWORK, /* "10.0.0.0/8", "::1/128" */
	CONF_TYPE_LIST_DURATION_S,
};

/* One row a key: everything that is said about a key anywhere comes from here. */
struct conf_key {
	const char *section; /* "" for the top level */
	const char *name;
	enum conf_type type;
	uint64_t min; /* in the unit of the field; octets, or items of a list */
	uint64_t max;
	const char
	    *fallback; /* default as the file would have it; lists: "a,b"; null: none */
	const char *words;   /* "a|b" for words, else null */
	bool restart;        /* a change needs a restart, else a reload */
	const char *help;    /* one line */
	size_t offset;       /* of the field in struct conf or struct conf_listener */
	size_t count_offset; /* of the count, for durations in a list */
};

extern const struct conf_key conf_keys[];
extern const size_t conf_key_count;

/* The row, or null. */
const struct conf_key *conf_key_find(struct slice section, struct slice name);
bool conf_section_exists(struct slice section);
bool conf_key_is_list(const struct conf_key *key);
/* The nearest name by edit distance, or null when nothing is near: a key of the section,
 * or with a null `section` a name of the top level (a section or a key). */
const char *conf_nearest(const char *section, struct slice name);

/* conf_value.c ---------------------------------------------------------------------- */

/* Sets the key's field in `base` from `count` values (one, when the key is no list),
 * replacing what was there.  False with the reason in `why`, which teaches the form. */
bool conf_value_set(const struct conf_key *key, void *base, const char *root,
    const char *const *values, size_t count, struct buf *why);
/* The same from the row's default. */
void conf_value_set_default(const struct conf_key *key, void *base, const char *root);
void conf_value_free(const struct conf_key *key, void *base);
bool conf_value_equal(const struct conf_key *key, const void *a, const void *b);
/* A number of the key's unit as a person would write it. */
void conf_value_write_number(const struct conf_key *key, uint64_t value, struct buf *out);
/* The default as the file would have it, quoted where needed. */
void conf_value_write_default(const struct conf_key *key, struct buf *out);

/* conf_address.c -------------------------------------------------------------------- */

/* The one spelling of it, owned by the caller, or null with the reason in `why`. */
char *conf_address_normal(const char *text, struct buf *why); /* "192.0.2.1", "[::1]" */
char *conf_server_normal(const char *text, struct buf *why); /* "192.0.2.1", "::1@5353" */
char *conf_network_normal(
    const char *text, struct buf *why); /* "10.0.0.0/8", "::1/128" */

/* conf_scan.c ----------------------------------------------------------------------- */

/* One `name = value` as the scanner saw it. */
struct conf_scan_key {
	struct slice name; /* borrows the text */
	int line;
	size_t start; /* offsets in the text: the whole setting */
	size_t end;
	size_t block; /* index of its block */
	bool list;    /* the value is in braces */
	bool refused; /* an error was reported: its value is not looked at */
};

/* One thing of the top level: a section, or a setting by itself. */
struct conf_scan_block {
	struct slice section; /* "" for a setting of the top level */
	struct slice title;   /* of a listener, without quotes */
	bool has_title;
	int line;
	size_t start;
	size_t end;
	bool damaged; /* a syntax error is in it: do not hand it to the library */
};

struct conf_scan {
	struct conf_scan_block *blocks;
	size_t block_count;
	struct conf_scan_key *keys;
	size_t key_count;
	char *clean; /* the text with comments blanked out; same length, NUL-terminated */
	int last_line;
};

/* Finds blocks and keys, and reports what is wrong with braces, quotes and form. */
void conf_scan(struct slice text, const char *name, struct conf_scan *out,
    struct conf_errors *errors);
void conf_scan_free(struct conf_scan *scan);

/* conf_error.c ---------------------------------------------------------------------- */

void conf_error_add(struct conf_errors *errors, const char *file, int line, bool warning,
    const char *format, ...) __attribute__((format(printf, 5, 6)));
/* True when there is more than warnings from `first` on. */
bool conf_errors_fatal(const struct conf_errors *errors, size_t first);
/* Sorts those from `first` on by line; what concerns no line comes last. */
void conf_errors_sort(struct conf_errors *errors, size_t first);

/* conf_check.c ---------------------------------------------------------------------- */

/* A file that is being read: what the files of this folder hand to each other. */
struct conf_reader {
	struct conf *conf;
	struct conf_scan scan;
	struct conf_errors *errors;
	const char *name;
	const char *root;
	size_t before; /* errors->count at the start */
};

#define CONF_FRAME_WORD "postroom.conf" /* of begin and end */

#define CONF_FAULT(r, line, ...)                                                         \
	conf_error_add((r)->errors, (r)->name, (line), false, __VA_ARGS__)
#define CONF_WARN(r, line, ...)                                                          \
	conf_error_add((r)->errors, (r)->name, (line), true, __VA_ARGS__)

/* What concerns the whole of it, and a Unix socket's path put where addresses are. */
void conf_check_whole(struct conf_reader *r);

#endif
