/*
 * Dates of RFC 5322 and of IMAP, between text and seconds since 1970.
 *
 * The mail parser reads what mail programs write: comments anywhere, the weekday left
 * out, obsolete zones, two- and three-digit years (RFC 5322 section 4.3), the month
 * before the day (asctime), dashes for blanks.  A leap second is the second before it.
 * Days are counted in the proleptic Gregorian calendar; no libc time zone is used but in
 * date_local_zone_min().
 */
#include "text/date.h"

#include <time.h>

enum {
	DATE_YEAR_MIN = 1000,
	DATE_YEAR_MAX = 9999,
	DAY_S = 86400,          /* seconds */
	ZONE_MAX_MIN = 24 * 60, /* minutes either way */
};

struct fields {
	int year, month, day; /* month and day from 1 */
	int hour, minute, second;
	int zone_min;
};

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";

/* Days since 1970-01-01. */
static int64_t
days_from_civil(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

static void
civil_from_days(int64_t days, struct fields *out)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	out->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	out->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	out->year = (int)(yoe + era * 400 + (out->month <= 2 ? 1 : 0));
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool
fields_to_date(const struct fields *f, struct date *out)
{
	if (f->year < DATE_YEAR_MIN || f->year > DATE_YEAR_MAX || f->month < 1 ||
	    f->month > 12 || f->day < 1 || f->day > days_in_month(f->year, f->month) ||
	    f->hour < 0 || f->hour > 23 || f->minute < 0 || f->minute > 59 ||
	    f->second < 0 || f->second > 60 || f->zone_min <= -ZONE_MAX_MIN ||
	    f->zone_min >= ZONE_MAX_MIN)
		return false;
	int second = f->second == 60 ? 59 : f->second;
	out->unix_s = days_from_civil(f->year, f->month, f->day) * DAY_S +
	              f->hour * 3600 + f->minute * 60 + second -
	              (int64_t)f->zone_min * 60;
	out->zone_min = f->zone_min;
	return true;
}

/* Month of three letters, any case; 0 when unknown. */
static int
month_number(struct slice name)
{
	for (int i = 0; i < 12 && name.len >= 3; i++) {
		if (slice_equal_nocase(slice_sub(name, 0, 3),
			slice_make(month_names + (size_t)i * 3, 3)))
			return i + 1;
	}
	return 0;
}

/* Blanks, line ends, commas and (nested) comments; linear. */
static void
skip_fill(struct slice *in)
{
	size_t i = 0, depth = 0;
	for (; i < in->len; i++) {
		char c = in->ptr[i];
		if (c == '(')
			depth++;
		else if (c == ')' && depth)
			depth--;
		else if (c == '\\' && depth && i + 1 < in->len)
			i++;
		else if (!depth && c != ' ' && c != '\t' && c != '\r' && c != '\n' &&
			 c != ',')
			break;
	}
	*in = slice_from(*in, i);
}

/* At most nine digits; *out_digits is how many. */
static bool
take_number(struct slice *in, int *out, size_t *out_digits)
{
	size_t n = 0;
	int value = 0;
	while (n < in->len && n < 9 && ascii_is_digit(in->ptr[n]))
		value = value * 10 + (in->ptr[n++] - '0');
	if (n == 0)
		return false;
	*in = slice_from(*in, n);
	*out = value;
	if (out_digits)
		*out_digits = n;
	return true;
}

static struct slice
take_letters(struct slice *in)
{
	size_t n = 0;
	while (n < in->len && ascii_is_alpha(in->ptr[n]))
		n++;
	struct slice word = slice_sub(*in, 0, n);
	*in = slice_from(*in, n);
	return word;
}

static void
skip_dash(struct slice *in)
{
	skip_fill(in);
	if (in->len && (in->ptr[0] == '-' || in->ptr[0] == '.'))
		*in = slice_from(*in, 1);
	skip_fill(in);
}

static bool
take_char(struct slice *in, char c)
{
	if (in->len == 0 || in->ptr[0] != c)
		return false;
	*in = slice_from(*in, 1);
	return true;
}

/* Obsolete names (RFC 5322 section 4.3); unknown ones and military letters are -0000. */
static int
zone_by_name(struct slice name)
{
	static const struct {
		char name[5];
		int hours;
	} zones[] = {
	    {"EST",  -5},
	    {"EDT",  -4},
	    {"CST",  -6},
	    {"CDT",  -5},
	    {"MST",  -7},
	    {"MDT",  -6},
	    {"PST",  -8},
	    {"PDT",  -7},
	    {"CET",  1 },
	    {"MET",  1 },
	    {"CEST", 2 },
	    {"MEST", 2 },
	    {"BST",  1 },
	    {"JST",  9 },
	};
	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
		if (slice_equal_nocase(name, slice_from_cstr(zones[i].name)))
			return zones[i].hours * 60;
	}
	return 0;
}

/* Nothing there is a zone of +0000; false only for digits out of range. */
static bool
take_zone(struct slice *in, int *out)
{
	*out = 0;
	skip_fill(in);
	if (in->len == 0)
		return true;
	char sign = in->ptr[0];
	if (sign != '+' && sign != '-') {
		*out = zone_by_name(take_letters(in));
		return true;
	}
	*in = slice_from(*in, 1);
	int value = 0;
	size_t digits = 0;
	if (!take_number(in, &value, &digits))
		return true;
	if (digits <= 2 && take_char(in, ':')) { /* +01:00 */
		int minutes = 0;
		if (take_number(in, &minutes, NULL))
			value = value * 100 + minutes;
	} else if (digits <= 2) {
		value *= 100;
	}
	if (value / 100 > 23 || value % 100 > 59)
		return false;
	*out = value / 100 * 60 + value % 100;
	if (sign == '-')
		*out = -*out;
	return true;
}

static bool
take_time(struct slice *in, struct fields *f)
{
	if (!take_number(in, &f->hour, NULL))
		return false;
	skip_fill(in);
	if (!take_char(in, ':') && !take_char(in, '.'))
		return false;
	skip_fill(in);
	if (!take_number(in, &f->minute, NULL))
		return false;
	skip_fill(in);
	f->second = 0;
	if (take_char(in, ':') || take_char(in, '.')) {
		skip_fill(in);
		if (!take_number(in, &f->second, NULL))
			return false;
	}
	return true;
}

/* RFC 5322 section 4.3: 00-49 are 20xx, 50-99 and three digits count from 1900. */
static int
year_full(int year, size_t digits)
{
	if (digits <= 2)
		return year < 50 ? 2000 + year : 1900 + year;
	return digits == 3 ? 1900 + year : year;
}

bool
date_parse_mail(struct slice in, struct date *out)
{
	struct fields f = {0};
	size_t year_digits = 0;
	bool asctime = false; /* "Thu Nov 24 14:22:01 1997" */

	skip_fill(&in);
	struct slice word = take_letters(&in);
	if (word.len) {
		f.month = month_number(word);
		if (!f.month) { /* the weekday */
			take_char(&in, '.');
			skip_fill(&in);
			f.month = month_number(take_letters(&in));
		}
		asctime = f.month != 0;
		skip_fill(&in);
	}
	if (!take_number(&in, &f.day, NULL))
		return false;
	skip_dash(&in);
	if (!asctime) {
		f.month = month_number(take_letters(&in));
		if (!f.month && !take_number(&in, &f.month, NULL))
			return false;
		skip_dash(&in);
		if (!take_number(&in, &f.year, &year_digits))
			return false;
		skip_fill(&in);
		if (!take_time(&in, &f))
			return false;
	} else {
		if (!take_time(&in, &f))
			return false;
		skip_fill(&in);
		struct slice zone = take_letters(&in);
		skip_fill(&in);
		if (!take_number(&in, &f.year, &year_digits))
			return false;
		f.zone_min = zone_by_name(zone);
	}
	f.year = year_full(f.year, year_digits);
	int zone = 0;
	if (!take_zone(&in, &zone))
		return false;
	if (zone)
		f.zone_min = zone;
	return fields_to_date(&f, out);
}

static void
date_fields(struct date date, struct fields *f, int *out_weekday)
{
	int64_t local = date.unix_s + (int64_t)date.zone_min * 60;
	int64_t days = local >= 0 ? local / DAY_S : -((-local + DAY_S - 1) / DAY_S);
	int64_t rest = local - days * DAY_S;
	civil_from_days(days, f);
	f->hour = (int)(rest / 3600);
	f->minute = (int)(rest / 60 % 60);
	f->second = (int)(rest % 60);
	f->zone_min = date.zone_min;
	*out_weekday = (int)(((days + 4) % 7 + 7) % 7);
}

static void
write_zone(int zone_min, struct buf *out)
{
	int minutes = zone_min < 0 ? -zone_min : zone_min;
	buf_append_format(
	    out, " %c%02d%02d", zone_min < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

void
date_write_mail(struct date date, struct buf *out)
{
	struct fields f;
	int weekday;
	date_fields(date, &f, &weekday);
	buf_append_format(out, "%.3s, %d %.3s %04d %02d:%02d:%02d",
	    day_names + weekday * 3, f.day, month_names + (f.month - 1) * 3, f.year,
	    f.hour, f.minute, f.second);
	write_zone(date.zone_min, out);
}

void
date_write_imap(struct date date, struct buf *out)
{
	struct fields f;
	int weekday;
	date_fields(date, &f, &weekday);
	buf_append_format(out, "%02d-%.3s-%04d %02d:%02d:%02d", f.day,
	    month_names + (f.month - 1) * 3, f.year, f.hour, f.minute, f.second);
	write_zone(date.zone_min, out);
}

/* Exactly `digits` digits. */
static bool
take_fixed(struct slice *in, size_t digits, int *out)
{
	uint64_t value = 0;
	if (!slice_to_u64(slice_sub(*in, 0, digits), 9999, &value) || in->len < digits)
		return false;
	*in = slice_from(*in, digits);
	*out = (int)value;
	return true;
}

static bool
take_imap_month_year(struct slice *in, struct fields *f)
{
	if (!take_char(in, '-'))
		return false;
	f->month = month_number(slice_sub(*in, 0, 3));
	*in = slice_from(*in, 3);
	return f->month && take_char(in, '-') && take_fixed(in, 4, &f->year);
}

bool
date_parse_imap(struct slice in, struct date *out)
{
	struct fields f = {0};
	int zone = 0;
	/* RFC 9051 section 9: date-day-fixed is two digits or a space and one. */
	bool ok = in.len && in.ptr[0] == ' '
	              ? take_char(&in, ' ') && take_fixed(&in, 1, &f.day)
	              : take_fixed(&in, 2, &f.day);
	if (!ok || !take_imap_month_year(&in, &f) || !take_char(&in, ' ') ||
	    !take_fixed(&in, 2, &f.hour) || !take_char(&in, ':') ||
	    !take_fixed(&in, 2, &f.minute) || !take_char(&in, ':') ||
	    !take_fixed(&in, 2, &f.second) || !take_char(&in, ' '))
		return false;
	bool west = in.len && in.ptr[0] == '-';
	if ((!take_char(&in, '+') && !take_char(&in, '-')) ||
	    !take_fixed(&in, 4, &zone) || in.len || zone % 100 > 59)
		return false;
	f.zone_min = zone / 100 * 60 + zone % 100;
	if (west)
		f.zone_min = -f.zone_min;
	return fields_to_date(&f, out);
}

bool
date_parse_imap_day(struct slice in, int64_t *out_day)
{
	struct fields f = {0};
	struct date date;
	size_t digits = in.len > 1 && ascii_is_digit(in.ptr[1]) ? 2 : 1;
	if (!take_fixed(&in, digits, &f.day) || !take_imap_month_year(&in, &f) ||
	    in.len || !fields_to_date(&f, &date))
		return false;
	*out_day = date_day(date);
	return true;
}

int64_t
date_day(struct date date)
{
	int64_t local = date.unix_s + (int64_t)date.zone_min * 60;
	return local >= 0 ? local / DAY_S : -((-local + DAY_S - 1) / DAY_S);
}

int
date_local_zone_min(int64_t unix_s)
{
	struct tm tm;
	time_t t = (time_t)unix_s;
	if (!localtime_r(&t, &tm))
		return 0;
	return (int)(tm.tm_gmtoff / 60);
}

void
date_write_rfc3339(int64_t unix_ms, struct buf *out)
{
	struct fields f;
	int weekday;
	int64_t seconds = unix_ms >= 0 ? unix_ms / 1000 : -((-unix_ms + 999) / 1000);
	date_fields((struct date){seconds, 0}, &f, &weekday);
	buf_append_format(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", f.year, f.month,
	    f.day, f.hour, f.minute, f.second, (int)(unix_ms - seconds * 1000));
}
