/*
 * Fuzzes the record of TLS reports: its places are bounded, printable, and of a known
 * kind.
 */
#include "text/tls_report.h"

#include <stdlib.h>

#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_report_place places[TLS_REPORT_PLACES_MAX];
	size_t count = 0;
	if (!tls_report_record_parse(
		slice_make((const char *)data, size), places, &count))
		return 0;
	ENSURE(count > 0 && count <= TLS_REPORT_PLACES_MAX);
	for (size_t i = 0; i < count; i++) {
		struct slice text = slice_from_cstr(places[i].text);
		ENSURE(text.len > 0 && text.len <= TLS_REPORT_PLACE_MAX);
		ENSURE(
		    places[i].mail || slice_has_prefix_nocase(text, SLICE("https://")));
		for (size_t c = 0; c < text.len; c++)
			ENSURE(text.ptr[c] > ' ' && text.ptr[c] <= '~');
	}
	return 0;
}
