/*
 * Refusals: what the operator's table (text/reply_rule.h) says about one beyond the
 * recipient that it was given for: the site rests for a while, or gets its mail slower.
 * Both are in memory only, and wear off with what goes through.
 *
 * Runs on the relay's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/ids.h"
#include "base/log.h"
#include "smtpd/relay_int.h"

enum {
	SLOW_AGAIN_MS = 1000, /* what several sessions are told at once counts once */
	GAP_MS_FIRST = 500,
	GAP_MS_MAX = 60 * 1000,
	GAP_MS_NONE = 100, /* a gap that has worn off to less is none */
	PAUSE_SPREAD = 20, /* a paused site's mail is spread over a part of the pause */
};

/* ---- the table ---- */

static char *
file_read(const char *path, size_t *out_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return NULL;
	char *text = NULL;
	if (fstat(fd, &st) == 0 && st.st_size <= REPLY_RULES_BYTES_MAX) {
		text = xcalloc(1, (size_t)st.st_size + 1);
		ssize_t got = read(fd, text, (size_t)st.st_size);
		*out_len = got > 0 ? (size_t)got : 0;
	}
	close(fd);
	return text;
}

void
relay_rules_load(struct relay *relay)
{
	const char *path = service_conf(relay->service)->relay.reply_rules;
	struct slice text = reply_rules_default();
	struct reply_rules *rules = xcalloc(1, sizeof(*rules));
	char *bytes = NULL;
	unsigned line = 0;
	const char *why = "it cannot be read";
	size_t len = 0;
	if (path[0] != '\0' && (bytes = file_read(path, &len)))
		text = slice_make(bytes, len);
	bool read = path[0] == '\0' || bytes;
	if (!read || !reply_rules_parse(text, rules, &line, &why)) {
		LOG_ERROR("relay.rules", LF_STR("file", path), LF_U64("line", line),
		    LF_STR("reason", why));
		free(rules);
		free(bytes);
		/* The ones from before stay; at the start those that are shipped. */
		if (relay->rules)
			return;
		rules = xcalloc(1, sizeof(*rules));
		bytes = NULL;
		ENSURE(reply_rules_parse(reply_rules_default(), rules, &line, &why));
	}
	free(relay->rules);
	free(relay->rules_text);
	relay->rules = rules;
	relay->rules_text = bytes;
}

/* ---- acting ---- */

static void
site_pause(struct relay_site *site, uint32_t wait_s, const char *reply)
{
	int64_t until = clock_wall_s() + wait_s;
	if (until <= site->paused_until_s)
		return;
	site->paused_until_s = until;
	site->paused_spread_s = wait_s / PAUSE_SPREAD + 1;
	free(site->paused_reply);
	site->paused_reply = xstrdup(reply);
	/* It begins carefully then. */
	site->connections_max = 1;
	relay_site_run(site);
}

static void
site_slow(struct relay_site *site)
{
	uint64_t now = clock_mono_ms();
	if (now < site->slowed_ms + SLOW_AGAIN_MS && site->slowed_ms)
		return;
	unsigned limit = service_conf(site->relay->service)->relay.connections;
	unsigned used = site->connections_max < limit ? site->connections_max : limit;
	site->slowed_ms = now;
	site->connections_max = used > 1 ? used / 2 : 1;
	site->gap_ms = site->gap_ms ? site->gap_ms * 2 : GAP_MS_FIRST;
	if (site->gap_ms > GAP_MS_MAX)
		site->gap_ms = GAP_MS_MAX;
	/* It begins with the refusal, whatever else is under way. */
	site->next_ms = now + site->gap_ms;
}

void
relay_site_wear_off(struct relay_site *site)
{
	site->gap_ms -= site->gap_ms / 8;
	if (site->gap_ms < GAP_MS_NONE)
		site->gap_ms = 0;
}

bool
relay_site_is_paused(const struct relay_site *site)
{
	return clock_wall_s() < site->paused_until_s;
}

void
relay_site_put_off(struct relay_site *site)
{
	struct relay_job *job;
	char reply[RELAY_REPLY_TEXT_MAX + 1];
	/* The host's own words, so that they are seen in the queue. */
	snprintf(reply, sizeof(reply), "%s",
	    site->paused_reply ? site->paused_reply : "451 4.7.0 the site rests");
	if (reply[0] == '5')
		reply[0] = '4';
	while ((job = relay_site_next_job_any(site))) {
		for (size_t i = 0; i < job->count; i++)
			job->recipients[i].due_s =
			    site->paused_until_s +
			    (int64_t)(random_u64() % (uint64_t)site->paused_spread_s);
		relay_job_finish(site->relay, job, QUEUE_DEFERRED, reply);
	}
}

enum queue_outcome
relay_refusal_judge(struct relay_site *site, const char *host, unsigned epoch,
    const struct relay_reply *reply, int64_t *out_due_s)
{
	enum queue_outcome outcome =
	    relay_reply_class(reply) == REPLY_PERMANENT ? QUEUE_FAILED : QUEUE_DEFERRED;
	const struct reply_rule *rule = reply_rules_find(
	    site->relay->rules, slice_from_cstr(host), slice_from_cstr(reply->text));
	*out_due_s = 0;
	if (!rule)
		return outcome;
	static const char *const names[] = {"pause", "slow", "retry", "fail", "pool"};
	LOG_INFO("relay.rule", LF_STR("host", host), LF_STR("site", site->domain),
	    LF_U64("line", rule->line), LF_STR("action", names[rule->action]),
	    LF_U64("wait_s", rule->wait_s), LF_STR("reply", reply->text));
	switch (rule->action) {
	case REPLY_PAUSE:
		site_pause(site, rule->wait_s, reply->text);
		*out_due_s = site->paused_until_s;
		return QUEUE_DEFERRED;
	case REPLY_SLOW:
		site_slow(site);
		return outcome;
	case REPLY_RETRY:
		*out_due_s = clock_wall_s() + rule->wait_s;
		return QUEUE_DEFERRED;
	case REPLY_FAIL:
		return QUEUE_FAILED;
	case REPLY_POOL:
		/* From the other pool at once; from there it means what it says. */
		if (epoch == site->epoch &&
		    !relay_source_other(site, rule->pool, rule->wait_s))
			return outcome;
		*out_due_s = clock_wall_s();
		return QUEUE_DEFERRED;
	}
	UNREACHABLE();
}
