/*
 * ETRN (RFC 1985): whoever smtp.etrn allows asks that the mail that waits for a domain is
 * tried now, as `postroom queue retry --site` does.  The reply says that it was begun;
 * the work is in the pool, one request at a time in the process, bounded by ETRN_SCAN_MAX
 * and ETRN_MESSAGES_MAX: what is over it goes with its own schedule or the next request.
 * Mail goes where the relay's rules and the domain's MX say, never to who asked.
 */
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "smtpd/smtp_cmd.h"
#include "smtpd/smtp_resp.h"
#include "store/queue.h"
#include "text/address.h"

enum {
	ETRN_SCAN_MAX = 200000,                  /* waiting recipients looked at */
	ETRN_MESSAGES_MAX = QUEUE_WISH_MANY_MAX, /* messages tried again */
};

/* One request, in the pool. */
struct etrn {
	struct service *service;
	char *domain;
	uint64_t site;
	size_t scanned;
	size_t count;
	char ids[ETRN_MESSAGES_MAX][ID_TEXT_SIZE];
	uint64_t recipients;
	enum status status;
};

static atomic_bool under_way;

bool
smtp_etrn_is_open(const struct smtp_session *s)
{
	const char *policy = service_conf(s->service)->smtp.etrn;
	return strcmp(policy, "trusted") == 0 && (s->trusted || s->login);
}

static bool
due_note(const struct queue_due *due, void *arg)
{
	struct etrn *e = arg;
	bool again = e->count > 0 && strcmp(e->ids[e->count - 1], due->id) == 0;
	if (due->site == e->site && !again)
		memcpy(e->ids[e->count++], due->id, sizeof(e->ids[0]));
	return ++e->scanned < ETRN_SCAN_MAX && e->count < ETRN_MESSAGES_MAX;
}

static void
etrn_work(void *arg)
{
	struct etrn *e = arg;
	const char *ids[ETRN_MESSAGES_MAX];
	int64_t next_due_s;
	struct store_reader *reader =
	    store_reader_new(service_store(e->service), NULL, NULL);
	e->status = queue_due_each(reader, NULL, INT64_MAX, due_note, e, &next_due_s);
	store_reader_end(reader);
	for (size_t i = 0; i < e->count; i++)
		ids[i] = e->ids[i];
	if (e->status == STATUS_OK && e->count > 0)
		e->status = queue_wish_many(
		    reader, ids, e->count, QUEUE_RETRY, clock_wall_s(), &e->recipients);
	store_reader_free(&reader);
}

static void
etrn_done(void *arg)
{
	struct etrn *e = arg;
	LOG_INFO("smtp.etrn", LF_STR("domain", e->domain), LF_U64("messages", e->count),
	    LF_U64("rcpts", e->recipients), LF_STR("status", status_text(e->status)));
	atomic_store(&under_way, false);
	free(e->domain);
	free(e);
}

void
smtp_cmd_etrn(struct smtp_session *s, struct slice rest)
{
	if (!smtp_etrn_is_open(s)) {
		smtp_resp_bad(s, 459, "4.7.1", "ETRN is not for you");
		return;
	}
	if (s->envelope) {
		smtp_resp_bad(s, 503, "5.5.1", "not in a mail transaction: RSET");
		return;
	}
	/* "@domain" for all below it and "#queue" (section 5.3) are not offered. */
	struct buf domain AUTO_BUF;
	buf_init(&domain, ADDRESS_DOMAIN_MAX);
	if (rest.len == 0 || !address_domain_is_valid(rest, false, false) ||
	    !address_domain_to_ascii(rest, &domain)) {
		smtp_resp_bad(s, 501, "5.5.4", "which domain? ETRN domain");
		return;
	}
	if (atomic_exchange(&under_way, true)) {
		smtp_resp(s, 458, "4.3.2", "another ETRN is under way, try again later");
		return;
	}
	struct etrn *e = xcalloc(1, sizeof(*e));
	e->service = s->service;
	e->domain = slice_to_cstr(buf_slice(&domain));
	e->site = queue_site_hash(buf_slice(&domain));
	LOG_INFO("smtp.etrn", LF_STR("sid", s->id), LF_STR("domain", e->domain),
	    LF_STR("peer", conn_peer_text(s->conn)), LF_STR("user", s->login));
	smtp_resp_format(s, 250, "2.0.0", "what waits for %s is tried now", e->domain);
	loop_work(worker_loop(s->worker), etrn_work, etrn_done, e);
}
