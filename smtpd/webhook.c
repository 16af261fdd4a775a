/*
 * The webhook's threads, one a receiver; see webhook.h.
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
#include "net/daemon.h"
#include "net/http_post.h"
#include "service/event.h"

enum { SIGNATURE_BYTES = 32, PLACE_MAX = 64 /* bytes of the file */ };

/* A receiver: its thread's alone, but for `thread` and `running`. */
struct hook {
	size_t index; /* position in webhook.url, and line of webhook.secret */
	pthread_t thread;
	bool running;
	char *path;  /* of the place */
	bool placed; /* `place` holds */
	struct trace_place place;
	uint64_t retry_ms; /* 0: the last post went well */
};

static struct {
	struct service *service;
	char *dir; /* of the trace */
	struct hook hooks[WEBHOOK_RECEIVERS_MAX];
	atomic_bool stop;
	pthread_mutex_t lock; /* with `wake`: stop is told */
	pthread_cond_t wake;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

struct slice
webhook_receiver(struct slice urls, size_t index)
{
	while (urls.len > 0) {
		struct slice word = slice_split(&urls, ' ');
		if (word.len > 0 && index-- == 0)
			return slice_equal(word, SLICE("-")) ? SLICE_NULL : word;
	}
	return SLICE_NULL;
}

struct slice
webhook_key(struct slice text, size_t index)
{
	struct slice line = SLICE_NULL;
	for (size_t i = 0; i <= index; i++)
		line = slice_split(&text, '\n');
	return slice_trim(line);
}

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
place_save(const struct hook *hook)
{
	char text[TRACE_PLACE_TEXT_MAX];
	trace_place_text(&hook->place, text);
	enum status status = file_replace(hook->path, slice_from_cstr(text));
	if (status != STATUS_OK)
		LOG_WARN("webhook.fail", LF_STR("reason", "the place is not kept"),
		    LF_STR("path", hook->path), LF_STR("status", status_text(status)));
}

/* The one that was kept; the first time the trace's end: no old mail is told. */
static bool
place_find(struct hook *hook)
{
	struct buf text AUTO_BUF;
	buf_init(&text, PLACE_MAX);
	if (hook->placed)
		return true;
	enum status status = file_read(hook->path, &text);
	if (status == STATUS_OK &&
	    trace_place_parse(slice_trim(buf_slice(&text)), &hook->place)) {
		hook->placed = true;
		return true;
	}
	if (status == STATUS_IO)
		return false;
	if (trace_place_end(all.dir, &hook->place) != STATUS_OK)
		return false;
	hook->placed = true;
	place_save(hook);
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

static enum status
batch_post(
    const struct hook *hook, const struct conf *conf, const char *url, struct slice body)
{
	char timestamp[32], sign[WEBHOOK_SIGNATURE_SIZE], first[80], second[128];
	struct buf secrets AUTO_BUF;
	struct buf answer AUTO_BUF;
	struct slice key = SLICE_NULL;
	buf_init(&secrets, WEBHOOK_SECRETS_MAX);
	buf_init(&answer, WEBHOOK_ANSWER_MAX);
	if (conf->webhook.secret[0] &&
	    file_read(conf->webhook.secret, &secrets) == STATUS_OK)
		key = webhook_key(buf_slice(&secrets), hook->index);
	if (key.len == 0) {
		LOG_ERROR("webhook.fail",
		    LF_STR("reason", "no secret: webhook.secret names a file with a line "
				     "for each receiver"),
		    LF_STR("path", conf->webhook.secret),
		    LF_U64("line", hook->index + 1));
		return STATUS_INVALID;
	}
	snprintf(timestamp, sizeof(timestamp), "%lld", (long long)clock_wall_s());
	webhook_sign(key, slice_from_cstr(timestamp), body, sign);
	snprintf(first, sizeof(first), "X-Postroom-Timestamp: %s", timestamp);
	snprintf(second, sizeof(second), "X-Postroom-Signature: %s", sign);
	const char *const headers[] = {first, second, NULL};
	const struct http_post post = {
	    .url = url,
	    .body = body,
	    .type = "application/json",
	    .headers = headers,
	    .anywhere = conf->webhook.allow_private,
	    .stop = &all.stop,
	    .ca_file = conf->webhook.ca,
	    .timeout_ms = conf->webhook.timeout_ms,
	};
	long code = 0;
	enum status status = http_post(&post, &answer, &code);
	if (status != STATUS_OK && !atomic_load(&all.stop))
		LOG_WARN("webhook.fail", LF_STR("url", url),
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
batch_run(struct hook *hook, const struct conf *conf, const char *url)
{
	struct batch batch = {.kinds = kinds_wanted(conf)};
	struct trace_place before = hook->place;
	buf_init(&batch.body, WEBHOOK_BATCH_MAX);
	enum status status = trace_read(all.dir, &hook->place, batch_line, &batch);
	bool more = batch.walked >= WEBHOOK_WALK_MAX;
	if (status == STATUS_INVALID) {
		/* The trace was cut or the clock went back: on from its end. */
		LOG_WARN(
		    "webhook.fail", LF_STR("reason", "the place in the trace is gone"));
		hook->placed = trace_place_end(all.dir, &hook->place) == STATUS_OK;
	} else if (status == STATUS_NOT_FOUND) {
		more = hook->place.day != before.day;
	} else if (status != STATUS_OK) {
		LOG_WARN("webhook.fail", LF_STR("reason", "cannot read the trace"),
		    LF_STR("status", status_text(status)));
	}
	if (batch.events > 0) {
		buf_append_cstr(&batch.body, "]}");
		ENSURE(buf_ok(&batch.body));
		if (batch_post(hook, conf, url, buf_slice(&batch.body)) == STATUS_OK) {
			hook->retry_ms = 0;
			stats_add(stats_get("webhook_events_total"), batch.events);
			place_save(hook);
			more |= batch.events == WEBHOOK_EVENTS_MAX;
		} else {
			stats_add(stats_get("webhook_failures_total"), 1);
			hook->place = before;
			more = false;
			hook->retry_ms =
			    hook->retry_ms ? 2 * hook->retry_ms : WEBHOOK_RETRY_MS_MIN;
			if (hook->retry_ms > WEBHOOK_RETRY_MS_MAX)
				hook->retry_ms = WEBHOOK_RETRY_MS_MAX;
		}
	} else if (more || hook->place.day != before.day) {
		place_save(hook);
	}
	buf_fini(&batch.body);
	return more;
}

/* ---- the threads ---- */

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
	pthread_mutex_lock(&all.lock);
	while (!atomic_load(&all.stop) &&
	       pthread_cond_timedwait(&all.wake, &all.lock, &until) == 0)
		;
	pthread_mutex_unlock(&all.lock);
}

static void *
hook_run(void *arg)
{
	struct hook *hook = arg;
	/* It may have been started by a reload. */
	daemon_signals_block();
	while (!atomic_load(&all.stop)) {
		const struct conf *conf = service_conf(all.service);
		struct slice word =
		    webhook_receiver(slice_from_cstr(conf->webhook.url), hook->index);
		char *url = word.len > 0 ? slice_to_cstr(word) : NULL;
		bool more = url && place_find(hook) && batch_run(hook, conf, url);
		free(url);
		if (!more)
			wait_ms(hook->retry_ms ? hook->retry_ms : WEBHOOK_LOOK_MS);
	}
	return NULL;
}

void
webhook_reloaded(void)
{
	if (!all.service || atomic_load(&all.stop))
		return;
	const struct conf *conf = service_conf(all.service);
	for (size_t i = 0; i < WEBHOOK_RECEIVERS_MAX; i++) {
		struct hook *hook = &all.hooks[i];
		if (hook->running ||
		    !webhook_receiver(slice_from_cstr(conf->webhook.url), i).ptr)
			continue;
		hook->index = i;
		int len =
		    i == 0 ? asprintf(&hook->path, "%s/webhook-place", conf->store.path)
			   : asprintf(&hook->path, "%s/webhook-place-%zu",
				 conf->store.path, i + 1);
		ENSURE(len >= 0);
		hook->running = pthread_create(&hook->thread, NULL, hook_run, hook) == 0;
		if (hook->running)
			continue;
		free(hook->path);
		LOG_ERROR("server.start", LF_STR("reason", "no thread for the webhook"));
	}
}

void
webhook_start(struct service *service, const struct trace *trace)
{
	if (!trace)
		return;
	all.service = service;
	all.dir = xstrdup(trace_dir(trace));
	webhook_reloaded();
}

void
webhook_stop(void)
{
	if (!all.service)
		return;
	pthread_mutex_lock(&all.lock);
	atomic_store(&all.stop, true);
	pthread_cond_broadcast(&all.wake);
	pthread_mutex_unlock(&all.lock);
	for (size_t i = 0; i < WEBHOOK_RECEIVERS_MAX; i++) {
		if (!all.hooks[i].running)
			continue;
		pthread_join(all.hooks[i].thread, NULL);
		free(all.hooks[i].path);
	}
	free(all.dir);
	all.service = NULL;
}
