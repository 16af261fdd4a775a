/*
 * Dates: what a parser accepts is written and read back to the same second.
 */
#include "base/ensure.h"
#include "text/date.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct date date, again;
	struct buf out;
	int64_t day;

	buf_init(&out, 200);
	if (date_parse_mail(in, &date)) {
		date_write_mail(date, &out);
		ENSURE(date_parse_mail(buf_slice(&out), &again));
		ENSURE(again.unix_s == date.unix_s && again.zone_min == date.zone_min);
		date_write_rfc3339(date.unix_s * 1000, &out);
		ENSURE(buf_ok(&out));
	}
	buf_reset(&out);
	if (date_parse_imap(in, &date)) {
		date_write_imap(date, &out);
		ENSURE(date_parse_imap(buf_slice(&out), &again));
		ENSURE(again.unix_s == date.unix_s && again.zone_min == date.zone_min);
	}
	date_parse_imap_day(in, &day);
	buf_fini(&out);
	return 0;
}
