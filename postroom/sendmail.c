/*
 * sendmail, mailq, newaliases; see sendmail.h.  Options are those that programs use; what
 * has no meaning here is taken and ignored, what asks for a daemon or a mode that is not
 * there is refused.
 */
#include "postroom/sendmail.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"

#define SOCKET_NAME    "sendmail.sock"
#define SOCKET_DEFAULT "/run/postroom/" SOCKET_NAME
/* A letter with a colon has a value, attached or as the next word. */
#define OPTION_LETTERS "+:A:B:C:F:GL:N:O:R:UV:X:b:d::f:h:imno:p:q::r:tv"

enum {
	MESSAGE_MAX_DEFAULT = 1 << 30, /* octets, when the server does not tell */
	READ_CHUNK = 64 * 1024,
	SENDMAIL_ARENA_MAX = 16 * 1024 * 1024,
};

struct request {
	char mode; /* of -b */
	bool take_recipients, dot_ends;
	const char *sender; /* -f; null: the user */
	const char *name, *notify, *ret, *envid;
	const char *socket;
	char **recipients;
	int recipient_count;
};

static int
fail(int code, const char *format, const char *argument)
{
	fputs("sendmail: ", stderr);
	/* `format` is one of our literals with at most one %s. */
	const char *hole = strstr(format, "%s");
	if (hole)
		fprintf(stderr, "%.*s%s%s\n", (int)(hole - format), format, argument,
		    hole + 2);
	else
		fprintf(stderr, "%s\n", format);
	return code;
}

const char *
sendmail_name(const char *argv0)
{
	static const char *const names[] = {"sendmail", "mailq", "newaliases"};
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *base = slash ? slash + 1 : argv0;
	for (size_t i = 0; base && i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(base, names[i]) == 0)
			return names[i];
	}
	return NULL;
}

static bool
words_are_safe(const char *text)
{
	return text[strspn(text,
		   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,")] == '\0';
}

static int
option_take(struct request *r, int letter, char *value)
{
	switch (letter) {
	case 'b':
		if (strlen(value) != 1 || !strchr("mspi", value[0]))
			return fail(SENDMAIL_USAGE,
			    "-b%s is not there: m, s, p or i (the server itself: "
			    "postroom "
			    "start)",
			    value);
		r->mode = value[0];
		return SENDMAIL_OK;
	case 'f':
	case 'r':
		r->sender = value;
		return SENDMAIL_OK;
	case 'F':
		r->name = value;
		return SENDMAIL_OK;
	case 'i':
		r->dot_ends = false;
		return SENDMAIL_OK;
	case 't':
		r->take_recipients = true;
		return SENDMAIL_OK;
	case 'N':
		r->notify = value;
		return words_are_safe(value)
		           ? SENDMAIL_OK
		           : fail(SENDMAIL_USAGE, "-N: success, failure, delay or never",
				 "");
	case 'R':
		r->ret = value;
		return strcasecmp(value, "full") == 0 || strcasecmp(value, "hdrs") == 0
		           ? SENDMAIL_OK
		           : fail(SENDMAIL_USAGE, "-R: full or hdrs", "");
	case 'V':
		r->envid = value;
		return SENDMAIL_OK;
	case 'o':
		/* -oi is -i; others are of other servers. */
		if (strcmp(value, "i") == 0)
			r->dot_ends = false;
		return SENDMAIL_OK;
	case 'O':
		if (strcasecmp(value, "IgnoreDots") == 0 ||
		    strcasecmp(value, "IgnoreDots=true") == 0)
			r->dot_ends = false;
		return SENDMAIL_OK;
	case ':':
		return fail(SENDMAIL_USAGE, "an option lacks its value", "");
	case '?':
		return fail(
		    SENDMAIL_USAGE, "an option is not known: see sendmail(1)", "");
	default:
		/* -A -B -C -G -L -U -X -d -h -m -n -p -q -v */
		return SENDMAIL_OK;
	}
}

/* ---- sending ---- */

/* What is on standard input without NULs; false when it is over `max`. */
static bool
input_read(uint64_t max, struct buf *out)
{
	for (uint64_t total = 0;;) {
		char *room = buf_reserve(out, READ_CHUNK);
		if (!room)
			return false;
		ssize_t got = read(STDIN_FILENO, room, READ_CHUNK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got == 0;
		buf_commit(out, sendmail_without_nul(room, (size_t)got));
		/* NULs count, though they go: there may be no end of them. */
		total += (uint64_t)got;
		if (total > max)
			return false;
	}
}

/* The reply as an exit code; `bad` is for a lasting refusal. */
static int
refusal(const struct sendmail_link *l, int bad, const char *what)
{
	fprintf(stderr, "sendmail: %s: %s\n", what, l->text);
	if (l->code < 500)
		return SENDMAIL_TRY_AGAIN;
	return bad;
}

static int
mail_say(struct sendmail_link *l, const struct request *r, const char *sender,
    const struct sendmail_text *text)
{
	struct buf envid AUTO_BUF;
	buf_init(&envid, 400);
	if (r->envid)
		sendmail_xtext(slice_from_cstr(r->envid), &envid);
	if (!buf_ok(&envid))
		return fail(SENDMAIL_USAGE, "-V: at most 100 characters", "");
	bool utf8 = false;
	for (const char *c = sender; *c; c++)
		utf8 |= (unsigned char)*c > 127;
	for (size_t i = 0; i < text->recipient_count; i++)
		for (size_t k = 0; k < text->recipients[i].len; k++)
			utf8 |= (unsigned char)text->recipients[i].ptr[k] > 127;
	if (!sendmail_link_say(l, "MAIL FROM:<%s>%s%s%s%s%s%.*s", sender,
		text->has_8bit ? " BODY=8BITMIME" : "", utf8 ? " SMTPUTF8" : "",
		r->ret ? " RET=" : "", r->ret ? r->ret : "", envid.len ? " ENVID=" : "",
		SLICE_ARG(buf_slice(&envid))) ||
	    l->code != 250)
		return refusal(l, SENDMAIL_NOT_ALLOWED, sender);
	return SENDMAIL_OK;
}

/* All recipients.  A passing refusal sends nothing; one for good is told, and the others
 * get the message: *out_refused is its exit code. */
static int
rcpts_say(struct sendmail_link *l, const struct request *r,
    const struct sendmail_text *text, size_t *out_accepted, int *out_refused)
{
	for (size_t i = 0; i < text->recipient_count; i++) {
		char name[400];
		snprintf(name, sizeof(name), "%.*s", SLICE_ARG(text->recipients[i]));
		if (!sendmail_link_say(l, "RCPT TO:<%.*s>%s%s",
			SLICE_ARG(text->recipients[i]), r->notify ? " NOTIFY=" : "",
			r->notify ? r->notify : ""))
			return refusal(l, SENDMAIL_TRY_AGAIN, name);
		if (l->code == 250) {
			++*out_accepted;
			continue;
		}
		bool unknown = strncmp(l->text, "550 5.1.1", 9) == 0;
		int code =
		    refusal(l, unknown ? SENDMAIL_NO_USER : SENDMAIL_UNAVAILABLE, name);
		if (code == SENDMAIL_TRY_AGAIN)
			return code;
		*out_refused = code;
	}
	return SENDMAIL_OK;
}

static int
message_send(struct sendmail_link *l, const struct request *r, const char *sender,
    const struct sendmail_text *text)
{
	size_t accepted = 0;
	int refused = SENDMAIL_OK;
	int code = mail_say(l, r, sender, text);
	if (code == SENDMAIL_OK)
		code = rcpts_say(l, r, text, &accepted, &refused);
	if (code != SENDMAIL_OK || accepted == 0)
		return code != SENDMAIL_OK ? code : refused;
	if (!sendmail_link_say(l, "DATA") || l->code != 354)
		return refusal(l, SENDMAIL_UNAVAILABLE, "DATA");
	/* 250 is said when it is durable. */
	if (!sendmail_link_data(l, buf_slice(&text->header), text->body) ||
	    l->code != 250)
		return refusal(l,
		    l->code == 552 || strncmp(l->text, "550 5.6", 7) == 0
			? SENDMAIL_DATA
			: SENDMAIL_UNAVAILABLE,
		    "the message was refused");
	(void)sendmail_link_say(l, "QUIT");
	return refused;
}

/* The envelope's sender as MAIL wants it; null when it is no address. */
static const char *
sender_text(const struct request *r, const char *user, const char *host,
    struct arena *arena, struct sendmail_text *scratch)
{
	const char *given = r->sender ? r->sender : user;
	if (given[0] == '\0' || strcmp(given, "<>") == 0)
		return "";
	size_t count = scratch->recipient_count;
	if (!sendmail_recipients_add(
		slice_from_cstr(given), slice_from_cstr(host), arena, scratch) ||
	    scratch->recipient_count != count + 1)
		return NULL;
	scratch->recipient_count = count;
	return arena_cstr(arena, scratch->recipients[count]);
}

static int
message_make(const struct request *r, const struct sendmail_link *l, const char *user,
    struct arena *arena, struct slice raw, struct sendmail_text *text,
    const char **out_sender)
{
	struct slice host = slice_from_cstr(l->host);
	*out_sender = sender_text(r, user, l->host, arena, text);
	if (!*out_sender)
		return fail(SENDMAIL_USAGE, "%s is no sender", r->sender);
	struct sendmail_wish wish = {
	    .dot_ends = r->dot_ends,
	    .take_recipients = r->take_recipients,
	    .name = slice_from_cstr(r->name),
	    .host = host,
	    .from = slice_from_cstr(*out_sender),
	};
	/* Without a sender it is still from somebody. */
	if (wish.from.len == 0)
		wish.from = arena_format(arena, "%s@%s", user, l->host);
	for (int i = 0; i < r->recipient_count; i++) {
		if (!sendmail_recipients_add(
			slice_from_cstr(r->recipients[i]), host, arena, text))
			return fail(
			    SENDMAIL_USAGE, "%s is no recipient", r->recipients[i]);
	}
	const char *why;
	if (!sendmail_text_make(raw, &wish, arena, text, &why))
		return fail(SENDMAIL_DATA, "%s", why);
	if (text->recipient_count == 0)
		return fail(SENDMAIL_USAGE, "there is no recipient", "");
	return SENDMAIL_OK;
}

static int
deliver(const struct request *r)
{
	const struct passwd *entry = getpwuid(getuid());
	char user[64];
	if (entry)
		snprintf(user, sizeof(user), "%s", entry->pw_name);
	else
		snprintf(user, sizeof(user), "uid%u", (unsigned)getuid());
	if (!r->take_recipients && r->recipient_count == 0)
		return fail(SENDMAIL_USAGE, "there is no recipient", "");
	/* First its name and limits; a program may take long to write its message, so the
	 * connection for it is another one. */
	struct sendmail_link link;
	if (!sendmail_link_open(&link, r->socket))
		return fail(
		    SENDMAIL_TRY_AGAIN, "the server cannot be reached: %s", link.text);
	(void)sendmail_link_say(&link, "QUIT");
	sendmail_link_close(&link);
	uint64_t max = link.size_max ? link.size_max : MESSAGE_MAX_DEFAULT;
	struct buf raw AUTO_BUF;
	buf_init(&raw, max + 2 * (size_t)READ_CHUNK);
	if (!input_read(max, &raw))
		return fail(
		    SENDMAIL_DATA, "the message is larger than the server takes", "");
	struct arena *arena = arena_new(SENDMAIL_ARENA_MAX);
	struct sendmail_text *text = xcalloc(1, sizeof(*text));
	buf_init(&text->header, SENDMAIL_HEADER_MAX);
	const char *sender = NULL;
	int code = message_make(r, &link, user, arena, buf_slice(&raw), text, &sender);
	if (code == SENDMAIL_OK && !sendmail_link_open(&link, r->socket))
		code = fail(
		    SENDMAIL_TRY_AGAIN, "the server cannot be reached: %s", link.text);
	else if (code == SENDMAIL_OK)
		code = message_send(&link, r, sender, text);
	sendmail_link_close(&link);
	buf_fini(&text->header);
	free(text);
	arena_free(&arena);
	return code;
}

/* Nothing here has more rights than who calls it, so the environment may say where. */
static const char *
socket_find(char *out, size_t size)
{
	const char *path = getenv("POSTROOM_SENDMAIL_SOCKET");
	const char *root = getenv("POSTROOM_ROOT");
	if (path && path[0])
		return path;
	if (!root || !root[0])
		return SOCKET_DEFAULT;
	snprintf(out, size, "%s/run/%s", root, SOCKET_NAME);
	return out;
}

static int
show_queue(int (*queue_list)(int argc, char **argv))
{
	static char name[] = "postroom", queue[] = "queue", list[] = "list";
	static char option[] = "--root";
	char *root = getenv("POSTROOM_ROOT");
	char *words[] = {name, queue, list, root && root[0] ? option : NULL, root, NULL};
	return queue_list(words[3] ? 5 : 3, words);
}

int
sendmail_main(
    const char *name, int argc, char **argv, int (*queue_list)(int argc, char **argv))
{
	char path[1024];
	struct request r = {
	    .mode = strcmp(name, "mailq") == 0        ? 'p'
	            : strcmp(name, "newaliases") == 0 ? 'i'
	                                              : 'm',
	    .dot_ends = true,
	    .socket = socket_find(path, sizeof(path)),
	};
	opterr = 0;
	for (int letter; (letter = getopt(argc, argv, OPTION_LETTERS)) != -1;) {
		int code = option_take(&r, letter, optarg);
		if (code != SENDMAIL_OK)
			return code;
		/* "Run the queue": the server does that by itself. */
		if (letter == 'q')
			return SENDMAIL_OK;
	}
	r.recipients = argv + optind;
	r.recipient_count = argc - optind;
	switch (r.mode) {
	case 'p':
		return show_queue(queue_list);
	case 'i':
		puts("aliases live in the store, there is nothing to make anew: postroom "
		     "alias list");
		return SENDMAIL_OK;
	case 's':
		return sendmail_link_copy(r.socket);
	default:
		return deliver(&r);
	}
}
