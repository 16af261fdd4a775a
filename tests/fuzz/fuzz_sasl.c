/*
 * Everything a client can say while it logs in.  The first byte chooses the mechanism and
 * whether there is an initial response; the rest, cut at 0xFE bytes, are the responses.
 * Nobody without the password gets in, every step is answered once, and the parsers of
 * keys and of SASLprep take any bytes.
 */
#include <stdlib.h>

#include "auth/credential.h"
#include "auth/sasl.h"
#include "base/ensure.h"

enum { JOBS_MAX = 8, STEPS_MAX = 6 };

/* A loop without threads: work runs when the loop is turned. */
static struct job {
	void (*work)(void *);
	void (*done)(void *);
	void *arg;
} jobs[JOBS_MAX];
static size_t job_count;

static void
fuzz_work(void *loop, void (*work)(void *), void (*done)(void *), void *arg)
{
	(void)loop;
	ENSURE(job_count < JOBS_MAX);
	jobs[job_count++] = (struct job){work, done, arg};
}

static void
fuzz_delay(void *loop, uint64_t ms, void (*fn)(void *), void *arg)
{
	(void)ms;
	fuzz_work(loop, NULL, fn, arg);
}

static void
run_jobs(void)
{
	while (job_count > 0) {
		struct job job = jobs[--job_count];
		if (job.work)
			job.work(job.arg);
		job.done(job.arg);
	}
}

static char *credential;

static enum status
fuzz_lookup(void *arg, struct slice login, struct arena *arena, struct auth_record *out)
{
	(void)arg;
	if (slice_equal(login, SLICE("user"))) {
		out->found = true;
		out->login = arena_copy(arena, login);
		out->credential = arena_copy(arena, slice_from_cstr(credential));
	}
	return STATUS_OK;
}

static struct auth *
fuzz_auth(void)
{
	static struct auth *auth;
	static const char *const mechanisms[] = {
	    "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"};
	struct auth_options options = {
	    .service = "imap",
	    .hostname = "localhost",
	    .mechanisms = mechanisms,
	    .mechanism_count = 4,
	    .fail_delay_ms = 1,
	    .iterations = 1,
	    .lookup = fuzz_lookup,
	    .work = fuzz_work,
	    .delay = fuzz_delay,
	};

	if (!auth) {
		struct buf keys;
		buf_init(&keys, CREDENTIAL_TEXT_MAX);
		/* A password that no mutation finds. */
		ENSURE(
		    credential_make(SLICE("Xq7#mV2!zL9@wK4$"), 4096, &keys) == STATUS_OK);
		credential = slice_to_cstr(buf_slice(&keys));
		buf_fini(&keys);
		ENSURE(auth_new(&options, &auth) == STATUS_OK);
	}
	return auth;
}

static void
told(void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	int *out = arg;

	(void)challenge;
	(void)login;
	ENSURE(result != AUTH_OK);
	ENSURE(*out < 0);
	*out = (int)result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
	    "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"};
	struct auth *auth = fuzz_auth();
	struct buf out;
	int result = -1;

	if (size < 1)
		return 0;
	struct slice rest = slice_make((const char *)data + 1, size - 1);
	buf_init(&out, 4 * size + 64);
	(void)saslprep(rest, &out);
	buf_fini(&out);
	ENSURE(credential_verify(rest, SLICE("x")) != STATUS_OK);

	bool has_initial = data[0] & 4;
	struct slice initial = has_initial ? slice_split(&rest, '\xfe') : SLICE_NULL;
	const struct auth_channel channel = {.secure = true, .peer = "192.0.2.1"};
	struct auth_exchange *exchange =
	    auth_begin(auth, NULL, slice_from_cstr(names[data[0] & 3]), &channel,
		has_initial, initial, told, &result);
	ENSURE(result < 0);
	run_jobs();
	for (int i = 0; i < STEPS_MAX && result == AUTH_MORE && rest.ptr; i++) {
		result = -1;
		auth_step(exchange, slice_split(&rest, '\xfe'));
		ENSURE(result < 0);
		/* Some leave in the middle of a step. */
		if (data[0] & 8 && i == 1)
			auth_end(&exchange);
		run_jobs();
		if (!exchange)
			return 0;
		ENSURE(result >= 0);
	}
	auth_end(&exchange);
	return 0;
}
