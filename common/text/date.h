/*
 * Dates of RFC 5322 and of IMAP.  Pure; time zones are offsets in minutes.
 */
#ifndef TEXT_DATE_H
#define TEXT_DATE_H

#include "base/buf.h"

struct date {
	int64_t unix_s; /* seconds since 1970 UTC */
	int zone_min;   /* minutes east of UTC as written */
};

/* A Date field's value, lenient as clients are: comments, obsolete zones and two-digit
 * years (RFC 5322 section 4.3). */
bool date_parse_mail(struct slice in, struct date *out);
/* "Tue, 24 Nov 2026 03:47:10 +0000" */
void date_write_mail(struct date date, struct buf *out);
/* IMAP date-time without quotes: "24-Nov-2026 03:47:10 +0000"; strict. */
bool date_parse_imap(struct slice in, struct date *out);
void date_write_imap(struct date date, struct buf *out);
/* IMAP date, "1-Feb-1994": the day as days since 1970. */
bool date_parse_imap_day(struct slice in, int64_t *out_day);
/* Day number in the date's own zone, for SEARCH's zone-less comparison. */
int64_t date_day(struct date date);
/* Local zone offset now, in minutes. */
int date_local_zone_min(int64_t unix_s);
/* "2026-11-24T03:47:10.123Z" */
void date_write_rfc3339(int64_t unix_ms, struct buf *out);

#endif
