/*
 * A whole daemon but its main for each input: memory store, real authentication, a worker
 * set with one thread, and a listening socket that only this process knows.  The input
 * goes in, the sending side is shut down, what comes out until the end of the connection
 * is given back to the target, which checks its form.
 *
 * Everything is made anew for each input, so that an input alone says what happens.  The
 * account is "ann@fuzz.test" with the password "secret" (one round of hashing) and three
 * messages, one of them with lines that begin with dots.
 */
#ifndef FUZZ_SESSION_H
#define FUZZ_SESSION_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/log.h"
#include "service/service_int.h"
#include "store/message.h"

enum {
	FUZZ_INPUT_MAX = 16 * 1024, /* octets of an input; longer ones are not run */
	FUZZ_OUTPUT_MAX = 64 * 1024 * 1024, /* octets: more for one input is a bug */
	FUZZ_SILENCE_MS = 60 * 1000,        /* a server that says nothing so long hangs */
	FUZZ_END_MS = 60 * 1000, /* from the end of the output to the session's */
};

#define FUZZ_ACCOUNT "ann@fuzz.test"
#define FUZZ_CREDENTIAL                                                                  \
	"SCRAM-SHA-256$1:cG9zdHJvb20tZnV6emluZw==$11bQX8bhhKfiJ+"                        \
	"BhYlB8UMSlYm3A2rMMpFTON2tu180=:mK6/+Zw9GojhJycc6kenCTIpRz+/Bth4xpE0KyH35so="

/* What differs between the daemons. */
struct fuzz_daemon {
	struct service_options options;
	const char *listener; /* its protocol's word */
	/* On the worker's thread when no connection is left: is nothing under way any
	 * more that would come back to it?  Null: never. */
	bool (*is_quiet)(void *user);
	/* After the worker's thread has ended: frees what worker_start made (the daemon's
	 * own pointer of that worker). */
	void (*fini)(void *user);
};

static struct service fuzz_service = {.lock = PTHREAD_MUTEX_INITIALIZER};
static const struct fuzz_daemon *fuzz_daemon;
static struct service_worker fuzz_worker;
static char fuzz_root[] = "/tmp/postroom-fuzz-XXXXXX";

static const char fuzz_conf[] = "begin = \"postroom.conf\"\n"
				"hostname = \"mail.fuzz.test\"\n"
				"threads = 1\n"
				"auth { allow_plaintext = true\n fail_delay = 0s }\n"
				"imap { compress = false }\n"
				"end = \"postroom.conf\"\n";

static inline void
fuzz_root_remove(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", fuzz_root);
	if (system(command) != 0)
		fprintf(stderr, "could not remove %s\n", fuzz_root);
}

static inline struct conf *
fuzz_conf_read(void)
{
	struct conf_errors errors = {0};
	ENSURE(mkdtemp(fuzz_root));
	atexit(fuzz_root_remove);
	struct conf *conf =
	    conf_parse(slice_from_cstr(fuzz_conf), "fuzz", fuzz_root, &errors);
	for (size_t i = 0; !conf && i < errors.count; i++)
		fprintf(stderr, "%d: %s\n", errors.items[i].line, errors.items[i].text);
	conf_errors_free(&errors);
	ENSURE(conf);
	return conf;
}

/* ---- the store ---- */

static inline void
fuzz_op_done(struct store_op *op)
{
	(void)op;
}

static inline void
fuzz_append(struct store_reader *reader, struct account_id account, const char *text)
{
	struct arena *arena = arena_new(1024 * 1024);
	struct body_draft *draft = body_draft_new(fuzz_service.store, 1024 * 1024);
	ENSURE(body_draft_append(draft, slice_from_cstr(text)) == STATUS_OK);
	ENSURE(body_draft_seal(draft) == STATUS_OK);
	struct append_message message = {.draft = draft, .internaldate_s = 1700000000};
	struct append_op op = {
	    .op = {.done = fuzz_op_done, .arena = arena},
	    .account = account,
	    .mailbox = SLICE("INBOX"),
	    .messages = &message,
	    .message_count = 1
        };
	append_op_submit(reader, &op);
	ENSURE(op.op.status == STATUS_OK);
	body_draft_unref(&draft);
	store_reader_end(reader);
	arena_free(&arena);
}

static inline void
fuzz_store_fill(void)
{
	struct store_reader *reader = store_reader_new(fuzz_service.store, NULL, NULL);
	struct account_id account;
	ENSURE(directory_domain_add(reader, SLICE("fuzz.test")) == STATUS_OK);
	ENSURE(directory_account_add(reader, SLICE(FUZZ_ACCOUNT), SLICE(FUZZ_CREDENTIAL),
		   0, &account) == STATUS_OK);
	store_reader_end(reader);
	fuzz_append(reader, account,
	    "From: Bo <bo@far.test>\r\nTo: ann@fuzz.test\r\nSubject: one\r\n"
	    "Message-ID: <1@far.test>\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\n"
	    ".dot\r\n..two\r\n.\r\nend\r\n");
	fuzz_append(reader, account,
	    "From: bo@far.test\r\nSubject: Re: one\r\nIn-Reply-To: <1@far.test>\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	    "--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\nhell=C3=B6\r\n"
	    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: "
	    "in\r\n\r\nx\r\n--b--\r\n");
	fuzz_append(reader, account, "\r\nno header, no end of line");
	store_reader_free(&reader);
}

/* ---- the worker ---- */

static inline void
fuzz_turn_end(void *arg)
{
	(void)arg;
	store_reader_end(fuzz_worker.reader);
}

static inline void
fuzz_post(void *loop, void (*fn)(void *), void *arg)
{
	loop_post(loop, fn, arg);
}

static inline void
fuzz_worker_start(struct worker *worker)
{
	fuzz_worker = (struct service_worker){.service = &fuzz_service};
	fuzz_worker.reader =
	    store_reader_new(fuzz_service.store, fuzz_post, worker_loop(worker));
	loop_hook_add(
	    worker_loop(worker), &fuzz_worker.turn_end, fuzz_turn_end, &fuzz_worker);
	worker_set_user(worker, &fuzz_worker);
	fuzz_daemon->options.worker_start(&fuzz_service, worker);
}

static inline void
fuzz_accept(struct worker *worker, int fd, const struct listener *listener,
    struct worker_conn *token)
{
	fuzz_daemon->options.accept(&fuzz_service, worker, fd, listener, token);
}

/* An address of the abstract name space: no file, gone with the socket. */
static inline int
fuzz_socket(bool listening)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int length = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1,
	    "postroom-fuzz-%d", (int)getpid());
	socklen_t size =
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
	int type = SOCK_STREAM | SOCK_CLOEXEC | (listening ? SOCK_NONBLOCK : 0);
	int fd = socket(AF_UNIX, type, 0);
	ENSURE(fd >= 0);
	if (listening)
		ENSURE(
		    bind(fd, (struct sockaddr *)&name, size) == 0 && listen(fd, 4) == 0);
	else
		ENSURE(connect(fd, (struct sockaddr *)&name, size) == 0);
	return fd;
}

/* ---- the client ---- */

/* Sends in pieces of `piece` octets and reads until the server has closed. */
static inline void
fuzz_talk(struct slice input, size_t piece, struct buf *out)
{
	char bytes[65536];
	int fd = fuzz_socket(false);
	ENSURE(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	for (;;) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		if (input.ptr)
			wait.events |= POLLOUT;
		int ready = poll(&wait, 1, FUZZ_SILENCE_MS);
		/* libFuzzer looks at the clock by SIGALRM every few seconds.  A server
		 * that hangs is told of by its -timeout, or below. */
		if (ready < 0 && errno == EINTR)
			continue;
		ENSURE(ready >= 0);
		if (ready == 0) {
			fprintf(
			    stderr, "silence behind:\n%.*s\n", (int)out->len, out->ptr);
			abort(); /* it hangs */
		}
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
		if (got == 0 || (got < 0 && errno == ECONNRESET))
			break;
		ENSURE(got > 0 || errno == EAGAIN);
		if (got > 0)
			buf_append(out, slice_make(bytes, (size_t)got));
		ENSURE(buf_ok(out)); /* FUZZ_OUTPUT_MAX */
		if (!input.ptr || !(wait.revents & POLLOUT))
			continue;
		ssize_t sent = send(
		    fd, input.ptr, input.len < piece ? input.len : piece, MSG_NOSIGNAL);
		if (sent > 0)
			input = slice_from(input, (size_t)sent);
		else if (input.len > 0 && errno == EPIPE)
			input.ptr = NULL; /* it has closed; what it said is still read */
		if (input.ptr && input.len == 0) {
			shutdown(fd, SHUT_WR);
			input.ptr = NULL;
		}
	}
	close(fd);
}

struct fuzz_quiet {
	struct service_worker *worker;
	atomic_int answer; /* -1: not yet */
};

static inline void
fuzz_quiet_ask(void *arg)
{
	struct fuzz_quiet *q = arg;
	atomic_store(&q->answer, fuzz_daemon->is_quiet(q->worker->user));
}

/* Waits until what the session began in the background has come back. */
static inline void
fuzz_settle(struct worker *worker)
{
	for (int ms = 0; fuzz_daemon->is_quiet; ms++) {
		struct fuzz_quiet q = {.worker = &fuzz_worker};
		atomic_init(&q.answer, -1);
		loop_post(worker_loop(worker), fuzz_quiet_ask, &q);
		while (atomic_load(&q.answer) < 0)
			usleep(200);
		if (atomic_load(&q.answer) == 1)
			return;
		ENSURE(ms < FUZZ_END_MS);
		usleep(1000);
	}
}

/* Runs one session with the input; appends what the server said to `out`. */
static inline void
fuzz_session(
    const struct fuzz_daemon *daemon, struct slice input, size_t piece, struct buf *out)
{
	struct service *s = &fuzz_service;
	fuzz_daemon = daemon;
	if (!service_conf(s)) {
		log_setup("fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, -1);
		atomic_store(&s->conf, fuzz_conf_read());
		s->options = &daemon->options;
	}
	s->sessions = hashmap_new();
	s->store = store_open_mem(0);
	fuzz_store_fill();
	ENSURE(service_auth_start(s, service_conf(s)));
	s->listeners[0] = (struct listener){.name = "fuzz",
	    .protocol = daemon->listener,
	    .tls = LISTENER_TLS_STARTTLS,
	    .fd = fuzz_socket(true)};
	struct worker_set_options workers = {.threads = 1,
	    .listeners = s->listeners,
	    .listener_count = 1,
	    .accept = fuzz_accept,
	    .start = fuzz_worker_start,
	    .arg = s};
	ENSURE(worker_set_start(&workers, &s->workers) == STATUS_OK);
	buf_init(out, FUZZ_OUTPUT_MAX);
	/* An empty slice with a pointer: the end alone is to be sent. */
	fuzz_talk(slice_make(input.ptr ? input.ptr : "", input.len), piece, out);
	for (int ms = 0; worker_set_connections(s->workers) > 0; ms++) {
		ENSURE(ms < FUZZ_END_MS);
		usleep(1000);
	}
	fuzz_settle(worker_set_at(s->workers, 0));
	/* Waits for what runs in the pool; what was posted is run. */
	worker_set_stop(&s->workers);
	daemon->fini(fuzz_worker.user);
	store_reader_free(&fuzz_worker.reader);
	while (s->auth_reader_count > 0)
		store_reader_free(&s->auth_readers[--s->auth_reader_count]);
	auth_free(&s->auth);
	hashmap_free(&s->sessions, NULL);
	store_close(&s->store);
}

/* ---- for the checks ---- */

/* The next line without its CRLF; false at the end.  Every line ends in CRLF. */
static inline bool
fuzz_line(struct slice *rest, struct slice *line)
{
	if (rest->len == 0)
		return false;
	size_t end = slice_find(*rest, SLICE("\r\n"));
	ENSURE(end != SIZE_MAX);
	*line = slice_sub(*rest, 0, end);
	*rest = slice_from(*rest, end + 2);
	return true;
}

static inline size_t
fuzz_count(struct slice text, char byte)
{
	size_t count = 0;
	for (size_t i = 0; i < text.len; i++)
		count += text.ptr[i] == byte;
	return count;
}

/* Whole lines of printable ASCII, none of them long: then each gets exactly one reply. */
static inline bool
fuzz_is_plain(struct slice input)
{
	size_t length = 0;
	for (size_t i = 0; i < input.len; i++) {
		if (input.ptr[i] == '\r' && i + 1 < input.len &&
		    input.ptr[i + 1] == '\n') {
			i++;
			length = 0;
		} else if (input.ptr[i] < ' ' || input.ptr[i] > '~' || ++length > 200) {
			return false;
		}
	}
	return length == 0;
}

/* Is the word anywhere in the text, in any case? */
static inline bool
fuzz_has(struct slice text, const char *word)
{
	struct slice want = slice_from_cstr(word);
	for (size_t i = 0; i + want.len <= text.len; i++)
		if (slice_has_prefix_nocase(slice_from(text, i), want))
			return true;
	return false;
}

#endif
