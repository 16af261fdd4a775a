/*
 * postroom-smtpd: takes mail in by SMTP and submission, delivers it here or relays it.
 * It also keeps the store's house in order, since it always runs: reclaiming space every
 * minute, old trace files once a day.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "service/relay_proof.h"
#include "smtpd/relay.h"
#include "smtpd/smtp_rate.h"
#include "smtpd/smtp_selftest.h"
#include "smtpd/smtp_session.h"
#include "smtpd/webhook.h"
#include "store/pop3.h"

enum {
	UPKEEP_PERIOD_MS = 60 * 1000,
	PRUNE_PERIOD_S = 86400,
	EXIT_SOFTWARE = 70, /* sysexits: the self-test failed */
};

/* The upkeep's round; on the main loop, its work in the pool, never two at once. */
struct upkeep {
	struct service *service;
	struct loop *loop;
	struct loop_timer timer;
	int64_t pruned_s; /* 0: not yet */
	bool more;
	bool stopped;
};

static struct upkeep upkeep;

/* On a pool thread: bounded work on the store. */
static void
upkeep_work(void *arg)
{
	struct upkeep *u = arg;
	int64_t now_s = clock_wall_s();
	pop3_rule_default_set(
	    service_store(u->service), service_pop3_rule(service_conf(u->service)));
	u->more = store_maintain(service_store(u->service), now_s);
	struct trace *trace = smtp_trace(u->service);
	if (trace && now_s - u->pruned_s >= PRUNE_PERIOD_S) {
		trace_prune(trace, service_conf(u->service)->log.trace_days);
		u->pruned_s = now_s;
	}
}

static void upkeep_done(void *arg);

static void
upkeep_begin(void *arg)
{
	struct upkeep *u = arg;
	loop_work(u->loop, upkeep_work, upkeep_done, u);
}

static void
upkeep_done(void *arg)
{
	struct upkeep *u = arg;
	if (u->stopped)
		return;
	if (u->more)
		upkeep_begin(u);
	else
		loop_timer_start(u->loop, &u->timer, UPKEEP_PERIOD_MS, upkeep_begin, u);
}

/* The send rates' file; on the main loop, its work in the pool. */
static struct {
	struct loop *loop;
	struct loop_timer timer;
	char *path;
	bool stopped;
} rates;

static void
rates_save(void *arg)
{
	(void)arg;
	enum status status = smtp_rate_save(rates.path);
	if (status != STATUS_OK)
		LOG_WARN("store.error", LF_STR("op", "send rates"),
		    LF_STR("path", rates.path), LF_STR("status", status_text(status)));
}

static void rates_begin(void *arg);

static void
rates_done(void *arg)
{
	(void)arg;
	if (!rates.stopped)
		loop_timer_start(
		    rates.loop, &rates.timer, SMTP_RATE_SAVE_MS, rates_begin, NULL);
}

static void
rates_begin(void *arg)
{
	(void)arg;
	loop_work(rates.loop, rates_save, rates_done, NULL);
}

static void
rates_start(struct service *service, struct loop *main_loop)
{
	rates.loop = main_loop;
	int len =
	    asprintf(&rates.path, "%s/send-rates", service_conf(service)->store.path);
	ENSURE(len >= 0);
	enum status status = smtp_rate_load(rates.path);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		LOG_WARN("server.start", LF_STR("reason", "send rates begin anew"),
		    LF_STR("path", rates.path), LF_STR("status", status_text(status)));
	rates_done(NULL);
}

static void
started(struct service *service, struct loop *main_loop)
{
	rates_start(service, main_loop);
	upkeep.service = service;
	upkeep.loop = main_loop;
	loop_timer_start(
	    main_loop, &upkeep.timer, UPKEEP_PERIOD_MS, upkeep_begin, &upkeep);
	relay_start(service, main_loop, smtp_trace(service));
	webhook_start(service, smtp_trace(service));
}

static void
stopping(struct service *service)
{
	(void)service;
	upkeep.stopped = true;
	loop_timer_stop(&upkeep.timer);
	rates.stopped = true;
	loop_timer_stop(&rates.timer);
	rates_save(NULL);
	relay_stop();
	webhook_stop();
}

/* Better no server than an open relay. */
static bool
check(struct service *service, const struct conf *conf)
{
	struct store_reader *reader =
	    store_reader_new(service_store(service), NULL, NULL);
	struct buf why AUTO_BUF;
	buf_init(&why, RELAY_PROOF_TEXT_MAX);
	size_t tried = 0;
	bool proved = relay_proof_run(reader, conf, &tried, &why);
	store_reader_free(&reader);
	if (proved) {
		LOG_INFO("server.start", LF_STR("relay_proof", "no stranger can relay"),
		    LF_U64("rows", tried));
		return true;
	}
	LOG_ERROR(
	    "server.start", LF_STR("status", "refused"), LF("reason", buf_slice(&why)));
	fprintf(stderr, "smtpd: %.*s\n", (int)why.len, why.ptr);
	return false;
}

static void
reloaded(struct service *service)
{
	(void)service;
	relay_reloaded();
	webhook_reloaded();
}

int
main(int argc, char **argv)
{
	static const struct service_options options = {
	    .daemon = "smtpd",
	    .sasl_service = "smtp",
	    .protocols = {CONF_SMTP, CONF_SUBMISSION, CONF_LMTP, CONF_LOCAL},
	    .protocol_count = 4,
	    .refuse_text = SLICE("421 4.7.0 too many connections, try again later\r\n"),
	    .check = check,
	    .accept = smtp_session_accept,
	    .worker_start = smtp_sessions_start,
	    .worker_stop = smtp_sessions_stop,
	    .started = started,
	    .stopping = stopping,
	    .reloaded = reloaded,
	};
	/* Better no server than an open relay. */
	const char *wrong = smtp_route_selftest();
	if (wrong) {
		fprintf(stderr, "smtpd: the open-relay self-test failed at %s\n", wrong);
		return EXIT_SOFTWARE;
	}
	return service_main(argc, argv, &options);
}
