/*
 * How many messages may leave in a time: rates by the recipients' domain (site), by who
 * sends (sender: the login, else the sender's domain), by the tenant whose mail it is and
 * by the address that they leave from (source); and what an address that is warmed up may
 * send (warmup).  A rate is a bucket: it holds `count` messages, what went out of it
 * flows back evenly over the period.  What finds no room waits in the queue; that is no
 * attempt.
 *
 * The rules and what is used lie in the queue's partition (store/relay_note.h), the
 * default for sites is relay.rate.  The relay follows them, `postroom relay rate`,
 * `queue top` and `explain` show them.  No state; everything here is one look.
 */
#ifndef SERVICE_RELAY_RATE_H
#define SERVICE_RELAY_RATE_H

#include "conf/conf.h"
#include "store/relay_note.h"

enum relay_rate_scope {
	/* of a message */
	RELAY_RATE_SITE,
	RELAY_RATE_SENDER,
	RELAY_RATE_TENANT,
	RELAY_RATE_OF_MESSAGE, /* how many these are */
	/* of a connection */
	RELAY_RATE_SOURCE = RELAY_RATE_OF_MESSAGE,
	RELAY_RATE_WARMUP, /* the note's `created_s` is the first day */
	RELAY_RATE_SCOPES,
	RELAY_RATE_OF_SOURCE = RELAY_RATE_SCOPES - RELAY_RATE_SOURCE,
};

enum {
	RELAY_RATE_COUNT_MAX = 1000000000, /* messages */
	RELAY_RATE_PERIOD_S_MIN = 1,
	RELAY_RATE_PERIOD_S_MAX = 31 * 24 * 3600,
	RELAY_RATE_NAME_MAX = 320, /* bytes */
	RELAY_RATE_TEXT_MAX = 32,  /* bytes, with the NUL */
};

struct relay_rate {
	uint32_t count; /* messages; 0: no limit */
	uint32_t period_s;
};

/* "site", "sender", "tenant", "source", "warmup". */
const char *relay_rate_scope_text(enum relay_rate_scope scope);
bool relay_rate_scope_parse(struct slice text, enum relay_rate_scope *out);
/* "100/1h", "100/h", "none"; false: none of them. */
bool relay_rate_parse(struct slice text, struct relay_rate *out);
void relay_rate_text(const struct relay_rate *rate, char out[RELAY_RATE_TEXT_MAX]);
/* The key of a note: "site:example.org"; false: too long or empty. */
bool relay_rate_name(enum relay_rate_scope scope, struct slice name, struct buf *out);

/* What is used now of what was at `at_ms` (wall clock). */
double relay_rate_used(
    const struct relay_rate *rate, double used, int64_t at_ms, int64_t now_ms);
/* Milliseconds until one message more fits in with so much used; 0: now. */
uint64_t relay_rate_wait_ms(const struct relay_rate *rate, double used);
/* Messages that fit in from now until `ahead_s` later. */
double relay_rate_room(const struct relay_rate *rate, double used, uint32_t ahead_s);

/* Messages in the n-th day (from 1) of an address that is warmed up; 0: no limit any
 * more.  As a rate it is spread over the day: what a day allows, any 24 hours do. */
uint32_t relay_warmup_limit(uint32_t day);
void relay_warmup_rate(uint32_t day, struct relay_rate *out);
/* The day that it is for what began at start_s; at least 1. */
uint32_t relay_warmup_day(int64_t start_s, int64_t now_s);

/* The rate that counts for a name: its own rule, else the scope's ("*"), else relay.rate
 * (sites).  count is 0 when there is none. */
enum status relay_rate_find(struct store_reader *reader, const struct conf *conf,
    enum relay_rate_scope scope, struct slice name, struct relay_rate *out) MUST_USE;
/* What the relay has noted as used of it by now; 0 when nothing is. */
enum status relay_rate_used_find(struct store_reader *reader, enum relay_rate_scope scope,
    struct slice name, const struct relay_rate *rate, int64_t now_ms,
    double *out) MUST_USE;
/* The text of a note of what is used, and back; false: damaged. */
void relay_rate_used_write(double used, int64_t at_ms, struct buf *out);
bool relay_rate_used_read(struct slice text, double *out_used, int64_t *out_at_ms);

#endif
