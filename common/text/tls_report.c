/*
 * The record of TLS reports; see tls_report.h.
 */
#include "text/tls_report.h"

static int
hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "%21" as "!" (RFC 3986 section 2.1); false when it is damaged, not of printable ASCII
 * or too long. */
static bool
unescape(struct slice in, char out[TLS_REPORT_PLACE_MAX + 1])
{
	size_t len = 0;
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (c == '%') {
			if (i + 2 >= in.len || hex_value(in.ptr[i + 1]) < 0 ||
			    hex_value(in.ptr[i + 2]) < 0)
				return false;
			c = (char)(hex_value(in.ptr[i + 1]) * 16 +
				   hex_value(in.ptr[i + 2]));
			i += 2;
		}
		if (c <= ' ' || c > '~' || len == TLS_REPORT_PLACE_MAX)
			return false;
		out[len++] = c;
	}
	out[len] = '\0';
	return len > 0;
}

static bool
url_copy(struct slice in, char out[TLS_REPORT_PLACE_MAX + 1])
{
	for (size_t i = 0; i < in.len; i++)
		if (in.ptr[i] <= ' ' || in.ptr[i] > '~')
			return false;
	return slice_copy_cstr(in, out, TLS_REPORT_PLACE_MAX + 1);
}

static bool
place_parse(struct slice uri, struct tls_report_place *out)
{
	if (slice_has_prefix_nocase(uri, SLICE("mailto:"))) {
		uri = slice_from(uri, 7);
		out->mail = true;
		return unescape(slice_split(&uri, '?'), out->text);
	}
	out->mail = false;
	return slice_has_prefix_nocase(uri, SLICE("https://")) && uri.len > 8 &&
	       url_copy(uri, out->text);
}

bool
tls_report_record_parse(struct slice txt,
    struct tls_report_place out[TLS_REPORT_PLACES_MAX], size_t *out_count)
{
	size_t count = 0;
	bool seen = false;
	if (!slice_equal(slice_trim(slice_split(&txt, ';')), SLICE("v=TLSRPTv1")))
		return false;
	while (!slice_is_empty(txt)) {
		struct slice value = slice_trim(slice_split(&txt, ';'));
		struct slice name = slice_trim(slice_split(&value, '='));
		if (!slice_equal(name, SLICE("rua")) || seen)
			continue;
		seen = true;
		while (value.len > 0 && count < TLS_REPORT_PLACES_MAX)
			count += place_parse(
			    slice_trim(slice_split(&value, ',')), &out[count]);
	}
	*out_count = count;
	return count > 0;
}
