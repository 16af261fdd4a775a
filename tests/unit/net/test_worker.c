/*
 * Workers: connections are spread by count, limits refuse with the listener's text,
 * tokens give places back, stopping leaves nothing, and running out of descriptors pauses
 * accepting instead of losing it.
 */
#include "net/worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "net/conn.h"
#include "net/daemon.h"
#include "unit/net/net_harness.h"

enum { WORKERS_MAX = 8 };

/* A session that greets with its worker's number and echoes. */
struct session {
	struct list node;
	struct conn *c;
	struct worker_conn *token;
};

struct bench {
	struct worker_set *set;
	struct listener listener;
	uint16_t port;
	atomic_uint started, stopped, accepted, ended;
	struct list sessions[WORKERS_MAX];
};

static void
end_session(struct bench *b, struct session *s)
{
	list_remove(&s->node);
	conn_close(&s->c, false);
	worker_conn_done(s->token);
	atomic_fetch_add(&b->ended, 1);
	free(s);
}

static struct bench *current;

static void
on_session(struct conn *c, enum conn_event event, void *arg)
{
	struct session *s = arg;
	if (event == CONN_READ) {
		conn_write(c, conn_input(c));
		conn_consume(c, conn_input(c).len);
	} else if (event == CONN_CLOSED) {
		end_session(current, s);
	}
}

static void
on_accept(struct worker *worker, int fd, const struct listener *listener,
    struct worker_conn *token)
{
	struct bench *b = worker_arg(worker);
	assert_string_equal(listener->protocol, "echo");
	assert_ptr_equal(worker_user(worker), &b->sessions[worker_index(worker)]);
	struct session *s = xcalloc(1, sizeof(*s));
	s->token = token;
	s->c = conn_new(worker_loop(worker), fd, on_session, s);
	list_append(worker_user(worker), &s->node);
	conn_write_format(s->c, "%u\n", worker_index(worker));
	atomic_fetch_add(&b->accepted, 1);
}

static void
on_start(struct worker *worker)
{
	struct bench *b = worker_arg(worker);
	atomic_fetch_add(&b->started, 1);
	worker_set_user(worker, &b->sessions[worker_index(worker)]);
}

static void
on_stop(struct worker *worker)
{
	struct bench *b = worker_arg(worker);
	struct list *sessions = worker_user(worker);
	atomic_fetch_add(&b->stopped, 1);
	while (!list_is_empty(sessions))
		end_session(b, LIST_ENTRY(sessions->next, struct session, node));
}

static void
bench_start(struct bench *b, unsigned threads, unsigned max, unsigned max_per_ip)
{
	memset(b, 0, sizeof(*b));
	current = b;
	for (int i = 0; i < WORKERS_MAX; i++)
		list_init(&b->sessions[i]);
	b->listener = (struct listener){
	    .name = "echo-in",
	    .protocol = "echo",
	    .max_connections = max,
	    .max_per_ip = max_per_ip,
	    .refuse_text = SLICE("busy\r\n"),
	};
	assert_int_equal(daemon_bind("127.0.0.1", 0, 128, &b->listener.fd), STATUS_OK);
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	getsockname(b->listener.fd, (struct sockaddr *)&at, &len);
	b->port = ntohs(at.sin_port);
	struct worker_set_options options = {
	    .threads = threads,
	    .listeners = &b->listener,
	    .listener_count = 1,
	    .accept = on_accept,
	    .start = on_start,
	    .stop = on_stop,
	    .arg = b,
	};
	assert_int_equal(worker_set_start(&options, &b->set), STATUS_OK);
}

static int
client_open(const struct bench *b, const char *source)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	inet_pton(AF_INET, source, &at.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
	at.sin_port = htons(b->port);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The greeting's first byte; 'b' for "busy". */
static char
client_greeting(int fd)
{
	char text[16] = "";
	return recv(fd, text, sizeof(text), 0) > 0 ? text[0] : '\0';
}

static void
test_spread(void **state)
{
	(void)state;
	enum { WORKERS = 4, CLIENTS = 40 };
	struct bench b;
	int fds[CLIENTS];
	unsigned per_worker[WORKERS] = {0};
	bench_start(&b, WORKERS, 0, 0);
	assert_int_equal(worker_set_count(b.set), WORKERS);
	assert_int_equal(worker_index(worker_set_at(b.set, 3)), 3);
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = client_open(&b, "127.0.0.1");
		char greeting = client_greeting(fds[i]);
		assert_in_range(greeting, '0', '3');
		per_worker[greeting - '0']++;
	}
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(per_worker[i], CLIENTS / WORKERS);
	for (int i = 0; i < CLIENTS; i++) {
		char text[8];
		assert_int_equal(send(fds[i], "ping", 4, 0), 4);
		assert_int_equal(recv(fds[i], text, sizeof(text), 0), 4);
	}
	/* Half of them go, the other half stands when all stops. */
	for (int i = 0; i < CLIENTS / 2; i++)
		close(fds[i]);
	worker_set_stop(&b.set);
	assert_null(b.set);
	assert_int_equal(atomic_load(&b.started), WORKERS);
	assert_int_equal(atomic_load(&b.stopped), WORKERS);
	assert_int_equal(atomic_load(&b.accepted), CLIENTS);
	assert_int_equal(atomic_load(&b.ended), CLIENTS);
	for (int i = CLIENTS / 2; i < CLIENTS; i++)
		close(fds[i]);
}

static void
wait_for(atomic_uint *value, unsigned want)
{
	for (int i = 0; i < 5000 && atomic_load(value) != want; i++)
		usleep(1000);
	assert_int_equal(atomic_load(value), want);
}

static void
test_limits(void **state)
{
	(void)state;
	struct bench b;
	int fds[5];
	bench_start(&b, 2, 4, 2);
	/* Two of an address, four in all. */
	fds[0] = client_open(&b, "127.0.0.2");
	fds[1] = client_open(&b, "127.0.0.2");
	assert_int_not_equal(client_greeting(fds[0]), 'b');
	assert_int_not_equal(client_greeting(fds[1]), 'b');
	fds[2] = client_open(&b, "127.0.0.2");
	assert_int_equal(client_greeting(fds[2]), 'b');
	assert_int_equal(client_greeting(fds[2]), '\0');
	close(fds[2]);
	fds[2] = client_open(&b, "127.0.0.3");
	fds[3] = client_open(&b, "127.0.0.4");
	assert_int_not_equal(client_greeting(fds[2]), 'b');
	assert_int_not_equal(client_greeting(fds[3]), 'b');
	fds[4] = client_open(&b, "127.0.0.5");
	assert_int_equal(client_greeting(fds[4]), 'b');
	close(fds[4]);
	/* A place that is given back can be taken. */
	close(fds[0]);
	wait_for(&b.ended, 1);
	fds[0] = client_open(&b, "127.0.0.2");
	assert_int_not_equal(client_greeting(fds[0]), 'b');
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	wait_for(&b.ended, 5);
	worker_set_stop(&b.set);
}

static void
test_stop_accepting(void **state)
{
	(void)state;
	struct bench b;
	char text[8];
	bench_start(&b, 2, 0, 0);
	int fd = client_open(&b, "127.0.0.1");
	assert_int_not_equal(client_greeting(fd), '\0');
	worker_set_stop_accepting(b.set);
	int refused = 0;
	for (int i = 0; i < 1000 && refused >= 0; i++) {
		refused = client_open(&b, "127.0.0.1");
		if (refused >= 0)
			close(refused);
		usleep(1000);
	}
	assert_int_equal(refused, -1);
	/* Those that stand go on. */
	assert_int_equal(send(fd, "ping", 4, 0), 4);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 4);
	worker_set_stop(&b.set);
	close(fd);
}

static void
test_out_of_descriptors(void **state)
{
	(void)state;
	struct bench b;
	struct rlimit limit, low;
	int fds[64], count = 0, client;
	bench_start(&b, 1, 0, 0);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &low);
	while (count < 64 && (fds[count] = open("/dev/null", O_RDONLY)) >= 0)
		count++;
	assert_in_range(count, 1, 63);
	/* The kernel accepts it into the backlog; we cannot take it out yet. */
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(b.port)};
	inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
	struct timeval patience = {.tv_usec = 300 * 1000};
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	assert_int_equal(client_greeting(client), '\0');
	getrusage(RUSAGE_SELF, &after);
	/* Waiting, not spinning: hardly any time was used in those 300 ms. */
	long used_us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
	               after.ru_utime.tv_usec - before.ru_utime.tv_usec +
	               (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
	               after.ru_stime.tv_usec - before.ru_stime.tv_usec;
	assert_true(used_us < 100 * 1000);
	while (count > 0)
		close(fds[--count]);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(client_greeting(client), '0');
	close(client);
	worker_set_stop(&b.set);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_spread),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_stop_accepting),
	    cmocka_unit_test(test_out_of_descriptors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
