/*
 * Rates: texts, arithmetic, and the look at the rules and at what is used; the contract
 * is in relay_rate.h.
 *
 * Times are wall-clock milliseconds, since what is used is kept over a restart; a clock
 * that goes back gives nothing.  Any thread that has a reader.
 */
#include "service/relay_rate.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { USED_PARTS = 1000, MS = 1000 };

static const char *const scopes[RELAY_RATE_SCOPES] = {
    "site", "sender", "tenant", "source", "warmup"};

const char *
relay_rate_scope_text(enum relay_rate_scope scope)
{
	return scopes[scope];
}

bool
relay_rate_scope_parse(struct slice text, enum relay_rate_scope *out)
{
	for (int i = 0; i < RELAY_RATE_SCOPES; i++) {
		if (slice_equal(text, slice_from_cstr(scopes[i]))) {
			*out = (enum relay_rate_scope)i;
			return true;
		}
	}
	return false;
}

/* "1h", and "h" for it. */
static bool
period_parse(struct slice text, uint64_t *out_ms)
{
	char one[3] = {'1', text.len == 1 ? text.ptr[0] : '\0', '\0'};
	if (text.len == 1 && !ascii_is_digit(text.ptr[0]))
		text = slice_from_cstr(one);
	return conf_parse_duration_ms(text, out_ms);
}

bool
relay_rate_parse(struct slice text, struct relay_rate *out)
{
	uint64_t count;
	uint64_t period_ms;
	if (slice_equal(text, SLICE("none"))) {
		*out = (struct relay_rate){0};
		return true;
	}
	size_t at = slice_index(text, '/');
	if (at == SIZE_MAX ||
	    !slice_to_u64(slice_sub(text, 0, at), RELAY_RATE_COUNT_MAX, &count) ||
	    !period_parse(slice_from(text, at + 1), &period_ms) || count == 0 ||
	    period_ms % MS != 0 || period_ms / MS < RELAY_RATE_PERIOD_S_MIN ||
	    period_ms / MS > RELAY_RATE_PERIOD_S_MAX)
		return false;
	*out = (struct relay_rate){(uint32_t)count, (uint32_t)(period_ms / MS)};
	return true;
}

void
relay_rate_text(const struct relay_rate *rate, char out[RELAY_RATE_TEXT_MAX])
{
	static const struct {
		uint32_t s;
		char unit;
	} units[] = {
	    {86400, 'd'},
	    {3600,  'h'},
	    {60,    'm'},
	    {1,     's'},
	};
	size_t i = 0;
	if (rate->count == 0) {
		snprintf(out, RELAY_RATE_TEXT_MAX, "none");
		return;
	}
	while (rate->period_s % units[i].s != 0)
		i++;
	snprintf(out, RELAY_RATE_TEXT_MAX, "%u/%u%c", rate->count,
	    rate->period_s / units[i].s, units[i].unit);
}

bool
relay_rate_name(enum relay_rate_scope scope, struct slice name, struct buf *out)
{
	buf_reset(out);
	buf_append_cstr(out, scopes[scope]);
	buf_append_byte(out, ':');
	for (size_t i = 0; i < name.len; i++)
		buf_append_byte(out, ascii_lower(name.ptr[i]));
	return name.len > 0 && name.len <= RELAY_RATE_NAME_MAX && buf_ok(out);
}

double
relay_rate_used(const struct relay_rate *rate, double used, int64_t at_ms, int64_t now_ms)
{
	if (rate->count == 0)
		return 0;
	double passed_s = now_ms > at_ms ? (double)(now_ms - at_ms) / MS : 0;
	double left = used - passed_s * rate->count / rate->period_s;
	return left > 0 ? left : 0;
}

uint64_t
relay_rate_wait_ms(const struct relay_rate *rate, double used)
{
	double over = used + 1 - rate->count;
	/* What the arithmetic of parts leaves over is no reason to wait. */
	if (rate->count == 0 || over < 1e-6)
		return 0;
	return (uint64_t)(over * rate->period_s / rate->count * MS) + 1;
}

double
relay_rate_room(const struct relay_rate *rate, double used, uint32_t ahead_s)
{
	return rate->count - used + (double)ahead_s * rate->count / rate->period_s;
}

uint32_t
relay_warmup_limit(uint32_t day)
{
	/* Half as much again to twice as much a day: what providers advise. */
	static const uint32_t limits[] = {50, 100, 200, 400, 700, 1000, 1500, 2000, 3000,
	    4000, 6000, 8000, 12000, 16000, 24000, 32000, 48000, 64000, 96000, 128000,
	    192000};
	if (day == 0)
		day = 1;
	return day > sizeof(limits) / sizeof(limits[0]) ? 0 : limits[day - 1];
}

void
relay_warmup_rate(uint32_t day, struct relay_rate *out)
{
	/* At once what is an hour's, and what flows back in 24 hours is 23 hours'. */
	uint64_t limit = relay_warmup_limit(day);
	*out = (struct relay_rate){0};
	if (limit == 0)
		return;
	out->count = (uint32_t)(limit / 24);
	out->period_s = (uint32_t)(out->count * UINT64_C(24 * 86400) / (limit * 23)) + 1;
}

uint32_t
relay_warmup_day(int64_t start_s, int64_t now_s)
{
	int64_t day = (now_s - start_s) / 86400 + 1;
	return now_s < start_s ? 1 : day > UINT32_MAX ? UINT32_MAX : (uint32_t)day;
}

/* NOT_FOUND: there is no such rule. */
static enum status
rule_get(struct store_reader *reader, enum relay_rate_scope scope, struct slice name,
    struct relay_rate *out)
{
	struct relay_note note;
	struct buf key AUTO_BUF;
	buf_init(&key, RELAY_NOTE_NAME_MAX);
	if (!relay_rate_name(scope, name, &key))
		return STATUS_NOT_FOUND;
	enum status status = relay_note_get(
	    reader, RELAY_NOTE_RATE, buf_slice(&key), clock_wall_s(), &note);
	if (status != STATUS_OK)
		return status;
	if (scope == RELAY_RATE_WARMUP) {
		relay_warmup_rate(relay_warmup_day(note.created_s, clock_wall_s()), out);
		return STATUS_OK;
	}
	return relay_rate_parse(note.text, out) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
relay_rate_find(struct store_reader *reader, const struct conf *conf,
    enum relay_rate_scope scope, struct slice name, struct relay_rate *out)
{
	enum status status = rule_get(reader, scope, name, out);
	if (status == STATUS_NOT_FOUND && scope != RELAY_RATE_WARMUP)
		status = rule_get(reader, scope, SLICE("*"), out);
	if (status != STATUS_NOT_FOUND)
		return status;
	*out = (struct relay_rate){0};
	if (scope == RELAY_RATE_SITE && conf->relay.rate)
		*out = (struct relay_rate){conf->relay.rate, 60};
	return STATUS_OK;
}

enum status
relay_rate_used_find(struct store_reader *reader, enum relay_rate_scope scope,
    struct slice name, const struct relay_rate *rate, int64_t now_ms, double *out)
{
	struct relay_note note;
	struct buf key AUTO_BUF;
	int64_t at_ms;
	buf_init(&key, RELAY_NOTE_NAME_MAX);
	*out = 0;
	if (!relay_rate_name(scope, name, &key))
		return STATUS_OK;
	enum status status =
	    relay_note_get(reader, RELAY_NOTE_USED, buf_slice(&key), now_ms / MS, &note);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	if (!relay_rate_used_read(note.text, out, &at_ms))
		return STATUS_CORRUPT;
	*out = relay_rate_used(rate, *out, at_ms, now_ms);
	return STATUS_OK;
}

void
relay_rate_used_write(double used, int64_t at_ms, struct buf *out)
{
	buf_append_format(out, "%llu %llu", (unsigned long long)(used * USED_PARTS),
	    (unsigned long long)(at_ms > 0 ? at_ms : 0));
}

bool
relay_rate_used_read(struct slice text, double *out_used, int64_t *out_at_ms)
{
	uint64_t parts;
	uint64_t at_ms;
	struct slice first = slice_split(&text, ' ');
	if (!slice_to_u64(first, (uint64_t)USED_PARTS * RELAY_RATE_COUNT_MAX, &parts) ||
	    !slice_to_u64(text, INT64_MAX, &at_ms))
		return false;
	*out_used = (double)parts / USED_PARTS;
	*out_at_ms = (int64_t)at_ms;
	return true;
}
