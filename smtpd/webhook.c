/*
 * The webhook's thread; see webhook.h.
 *
 *   look at the trace ─► batch full, or nothing more ─► post ─► 2xx ─► the place is kept
 *        ▲                                               └─► else: wait, the same again
 *        └──────────────────── WEBHOOK_LOOK_MS ──────────────────────────┘
 *
 * The place is kept after the answer: a crash in between posts the batch once more, and
 * the events' ids tell the receiver.
 */
#include "smtpd/webhook.h"

#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/file.h"
#include "base/log.h"
#include "base/stats.h"
#include "net/http_post.h"
#include "service/event.h"

enum { SIGNATURE_BYTES = 32, PLACE_MAX = 64 /* bytes of the file */ };

static struct {
	struct service *service;
	char *dir;  /* of the trace */
	char *path; /* of the place */
	pthread_t thread;
	bool running;
	atomic_bool stop;
	pthread_mutex_t lock; /* with `wake`: stop is told */
	pthread_cond_t wake;
	/* the thread's */
	bool placed; /* `place` holds */
	struct trace_place place;
	uint64_t retry_ms; /* 0: the last post went well */
} hook = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

void
webhook_sign(struct slice secret, struct slice timestamp, struct slice body,
    char out[WEBHOOK_SIGNATURE_SIZE])
{
	unsigned char digest[SIGNATURE_BYTES];
	struct buf text AUTO_BUF;
	buf_init(&text, timestamp.len + 1 + body.len);
	buf_append(&text, timestamp);
	buf_append_byte(&text, '.');
	buf_append(&text, body);
	ENSURE(buf_ok(&text) &&
	       HMAC(EVP_sha256(), secret.ptr, (int)secret.len,
		   (const unsigned char *)text.ptr, text.len, digest, NULL));
	strcpy(out, "sha256=");
	for (size_t i = 0; i < SIGNATURE_BYTES; i++)
		snprintf(out + 7 + 2 * i, 3, "%02x", digest[i]);
}

/* ---- the place ---- */

static void
place_save(void)
{
	char text[TRACE_PLACE_TEXT_MAX];
	trace_place_text(&hook.place, text);
	enum status status = file_replace(hook.path, slice_from_cstr(text));
	if (status != STATUS_OK)
		LOG_WARN("webhook.fail", LF_STR("reason", "the place is not kept"),
		    LF_STR("path", hook.path), LF_STR("status", status_text(status)));
}

/* The one that was kept; the first time the trace's end: no old mail is told. */
static bool
place_find(void)
{
	struct buf text AUTO_BUF;
	buf_init(&text, PLACE_MAX);
	if (hook.placed)
		return true;
	enum status status = file_read(hook.path, &text);
	if (status == STATUS_OK &&
	    trace_place_parse(slice_trim(buf_slice(&text)), &hook.place)) {
		hook.placed = true;
		return true;
	}
	if (status == STATUS_IO)
		return false;
	if (trace_place_end(hook.dir, &hook.place) != STATUS_OK)
		return false;
	hook.placed = true;
	place_save();
	return true;
}

/* ---- a batch ---- */

struct batch {
	unsigned kinds;
	struct buf body;
	size_t events;
	uint64_t walked; /* bytes */
};

/* False when it is full: the line comes with the next one. */
static bool
batch_line(struct slice line, const struct trace_place *at, void *arg)
{
	struct batch *batch = arg;
	enum event_kind kind;
	batch->walked += line.len + 1;
	if (!event_kind_of(line, &kind) || !(batch->kinds & 1u << kind))
		return batch->walked < WEBHOOK_WALK_MAX;
	/* An event is not longer than twice its line and its names. */
	if (batch->events == WEBHOOK_EVENTS_MAX ||
	    batch->body.len + 4 * (size_t)TRACE_LINE_MAX > WEBHOOK_BATCH_MAX)
		return false;
	json_t *event = event_json(line, kind, at);
	char *text = json_dumps(event, JSON_COMPACT);
	ENSURE(text);
	buf_append_cstr(&batch->body, batch->events ? "," : "{\"events\":[");
	buf_append_cstr(&batch->body, text);
	batch->events++;
	free(text);
	json_decref(event);
	return true;
}

static bool
secret_read(const char *path, struct buf *out)
{
	if (!path[0] || file_read(path, out) != STATUS_OK)
		return false;
	struct slice rest = buf_slice(out);
	buf_truncate(out, slice_trim(slice_split(&rest, '\n')).len);
	return out->len > 0;
}

static enum status
batch_post(const struct conf *conf, struct slice body)
{
	char timestamp[32], sign[WEBHOOK_SIGNATURE_SIZE], first[80], second[128];
	struct buf secret AUTO_BUF;
	struct buf answer AUTO_BUF;
	buf_init(&secret, WEBHOOK_SECRET_MAX);
	buf_init(&answer, WEBHOOK_ANSWER_MAX);
	if (!secret_read(conf->webhook.secret, &secret)) {
		LOG_ERROR("webhook.fail",
		    LF_STR("reason", "no secret: webhook.secret names a file whose first "
				     "line is it"),
		    LF_STR("path", conf->webhook.secret));
		return STATUS_INVALID;
	}
	snprintf(timestamp, sizeof(timestamp), "%lld", (long long)clock_wall_s());
	webhook_sign(buf_slice(&secret), slice_from_cstr(timestamp), body, sign);
	snprintf(first, sizeof(first), "X-Postroom-Timestamp: %s", timestamp);
	snprintf(second, sizeof(second), "X-Postroom-Signature: %s", sign);
	const char *const headers[] = {first, second, NULL};
	const struct http_post post = {
	    .url = conf->webhook.url,
	    .body = body,
	    .type = "application/json",
	    .headers = headers,
	    .anywhere = conf->webhook.allow_private,
	    .stop = &hook.stop,
	    .ca_file = conf->webhook.ca,
	    .timeout_ms = conf->webhook.timeout_ms,
	};
	long code = 0;
	enum status status = http_post(&post, &answer, &code);
	if (status != STATUS_OK && !atomic_load(&hook.stop))
		LOG_WARN("webhook.fail", LF_STR("url", conf->webhook.url),
		    LF_STR("reason", code ? "refused" : "no answer"),
		    LF_U64("code", (uint64_t)code));
	return status;
}

static unsigned
kinds_wanted(const struct conf *conf)
{
	unsigned bits = 0;
	for (size_t i = 0; i < conf->webhook.events.count; i++)
		(void)event_kind_parse(
		    slice_from_cstr(conf->webhook.events.items[i]), &bits);
	return bits;
}

/* True when there may be more at once. */
static bool
batch_run(const struct conf *conf)
{
	struct batch batch = {.kinds = kinds_wanted(conf)};
	struct trace_place before = hook.place;
	buf_init(&batch.body, WEBHOOK_BATCH_MAX);
	enum status status = trace_read(hook.dir, &hook.place, batch_line, &batch);
	bool more = batch.walked >= WEBHOOK_WALK_MAX;
	if (status == STATUS_INVALID) {
		/* The trace was cut or the clock went back: on from its end. */
		LOG_WARN(
		    "webhook.fail", LF_STR("reason", "the place in the trace is gone"));
		hook.placed = trace_place_end(hook.dir, &hook.place) == STATUS_OK;
	} else if (status == STATUS_NOT_FOUND) {
		more = hook.place.day != before.day;
	} else if (status != STATUS_OK) {
		LOG_WARN("webhook.fail", LF_STR("reason", "cannot read the trace"),
		    LF_STR("status", status_text(status)));
	}
	if (batch.events > 0) {
		buf_append_cstr(&batch.body, "]}");
		ENSURE(buf_ok(&batch.body));
		if (batch_post(conf, buf_slice(&batch.body)) == STATUS_OK) {
			hook.retry_ms = 0;
			stats_add(stats_get("webhook_events_total"), batch.events);
			place_save();
			more |= batch.events == WEBHOOK_EVENTS_MAX;
		} else {
			stats_add(stats_get("webhook_failures_total"), 1);
			hook.place = before;
			more = false;
			hook.retry_ms =
			    hook.retry_ms ? 2 * hook.retry_ms : WEBHOOK_RETRY_MS_MIN;
			if (hook.retry_ms > WEBHOOK_RETRY_MS_MAX)
				hook.retry_ms = WEBHOOK_RETRY_MS_MAX;
		}
	} else if (more || hook.place.day != before.day) {
		place_save();
	}
	buf_fini(&batch.body);
	return more;
}

/* ---- the thread ---- */

static void
wait_ms(uint64_t ms)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&hook.lock);
	while (!atomic_load(&hook.stop) &&
	       pthread_cond_timedwait(&hook.wake, &hook.lock, &until) == 0)
		;
	pthread_mutex_unlock(&hook.lock);
}

static void *
hook_run(void *arg)
{
	(void)arg;
	while (!atomic_load(&hook.stop)) {
		const struct conf *conf = service_conf(hook.service);
		bool more =
		    conf->webhook.url[0] != '\0' && place_find() && batch_run(conf);
		if (!more)
			wait_ms(hook.retry_ms ? hook.retry_ms : WEBHOOK_LOOK_MS);
	}
	return NULL;
}

void
webhook_start(struct service *service, const struct trace *trace)
{
	if (!trace)
		return;
	hook.service = service;
	hook.dir = xstrdup(trace_dir(trace));
	int len =
	    asprintf(&hook.path, "%s/webhook-place", service_conf(service)->store.path);
	ENSURE(len >= 0);
	hook.running = pthread_create(&hook.thread, NULL, hook_run, NULL) == 0;
	if (!hook.running)
		LOG_ERROR("server.start", LF_STR("reason", "no thread for the webhook"));
}

void
webhook_stop(void)
{
	if (!hook.running)
		return;
	pthread_mutex_lock(&hook.lock);
	atomic_store(&hook.stop, true);
	pthread_cond_signal(&hook.wake);
	pthread_mutex_unlock(&hook.lock);
	pthread_join(hook.thread, NULL);
	hook.running = false;
	free(hook.dir);
	free(hook.path);
}
