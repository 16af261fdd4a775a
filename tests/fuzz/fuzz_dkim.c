/*
 * Fuzzes DKIM's canonical forms and records: whatever comes, a form of a form is the same
 * form, the cut of the body does not matter, and what can be signed has a form.
 */
#include <stdint.h>

#include "auth/dkim_sign.h"
#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
sink(struct slice bytes, void *arg)
{
	buf_append(arg, bytes);
}

static void
body_make(enum dkim_canon form, struct slice text, size_t step, struct buf *out)
{
	struct dkim_body body;
	dkim_body_init(&body, form, sink, out);
	for (size_t at = 0; at < text.len; at += step)
		dkim_body_feed(&body, slice_sub(text, at, step));
	dkim_body_end(&body);
	ENSURE(buf_ok(out));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size);
	struct dkim_fields fields;
	struct buf once, twice;
	buf_init(&once, 2 * size + 16);
	buf_init(&twice, 2 * size + 16);
	for (int form = DKIM_SIMPLE; form <= DKIM_RELAXED; form++) {
		enum dkim_canon f = (enum dkim_canon)form;
		body_make(f, text, size + 1, &once);
		for (size_t step = 1; step <= 3; step++) {
			buf_reset(&twice);
			body_make(f, text, step, &twice);
			ENSURE(slice_equal(buf_slice(&once), buf_slice(&twice)));
		}
		buf_reset(&twice);
		body_make(f, buf_slice(&once), size + 1, &twice);
		ENSURE(slice_equal(buf_slice(&once), buf_slice(&twice)));
		buf_reset(&once);
		buf_reset(&twice);
		dkim_field_canon(f, text, &once);
		dkim_field_canon(f, buf_slice(&once), &twice);
		ENSURE(slice_has_suffix(buf_slice(&once), SLICE("\r\n")));
		ENSURE(slice_equal(buf_slice(&once), buf_slice(&twice)));
		buf_reset(&once);
		buf_reset(&twice);
	}
	if (dkim_fields_make(text, &fields)) {
		ENSURE(fields.names.len > 0 && fields.canonical.len > 0);
		dkim_fields_fini(&fields);
	}
	(void)dkim_record_look(text, DKIM_RSA, SLICE("AAAA"));
	buf_fini(&once);
	buf_fini(&twice);
	return 0;
}
