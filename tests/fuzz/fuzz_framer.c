/*
 * Fuzzes the framer: the input's first two bytes choose a framer and two cuts; the rest
 * is fed whole and in three pieces, and both must be seen alike.  What dot-stuffing sends
 * must be read back as one message.
 */
#include "net/framer.h"

#include <stdlib.h>

#include "base/ensure.h"

enum { LINE_MAX_BYTES = 64, FRAME_MAX_BYTES = 160, OUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct pieces {
	struct slice at[3];
};

/* Feeds pieces to `step`, which consumes from input and writes to seen. */
struct feeder {
	struct buf input, seen;
	bool skipping;
	struct framer_imap imap;
};

static bool
skip_rest_of_line(struct feeder *f)
{
	bool ended;
	size_t used = framer_skip_line(buf_slice(&f->input), &ended);
	ENSURE(used <= f->input.len);
	f->skipping = !ended;
	buf_consume(&f->input, used);
	return f->input.len > 0;
}

static void
feed_lines(struct feeder *f)
{
	while (f->input.len > 0) {
		if (f->skipping) {
			skip_rest_of_line(f);
			continue;
		}
		struct slice line = SLICE_NULL;
		size_t used;
		enum framer_result result =
		    framer_line(buf_slice(&f->input), LINE_MAX_BYTES, &line, &used);
		ENSURE(used <= f->input.len);
		if (result == FRAMER_MORE)
			return;
		if (result == FRAMER_DONE)
			ENSURE(!memchr(line.ptr, '\n', line.len) &&
			       !memchr(line.ptr, '\r', line.len) &&
			       !memchr(line.ptr, '\0', line.len));
		buf_append_format(&f->seen, "%d:%zu[", result, line.len);
		buf_append(&f->seen, line);
		f->skipping = used == 0;
		buf_consume(&f->input, used);
	}
}

static void
feed_imap(struct feeder *f)
{
	while (f->input.len > 0) {
		if (f->skipping) {
			skip_rest_of_line(f);
			continue;
		}
		size_t used;
		enum framer_result result =
		    framer_imap_feed(&f->imap, buf_slice(&f->input), &used);
		ENSURE(used <= f->input.len && f->imap.frame.len <= FRAME_MAX_BYTES);
		buf_consume(&f->input, used);
		if (result == FRAMER_MORE && used == 0)
			return;
		if (result == FRAMER_MORE)
			continue;
		buf_append_format(&f->seen, "%d:%llu", result,
		    (unsigned long long)f->imap.literal_size);
		if (result == FRAMER_LITERAL) {
			/* Some are streamed, which here means that nothing of them comes.
			 */
			if (f->imap.literal_size % 3 == 2)
				framer_imap_stream(&f->imap);
			else
				framer_imap_accept(&f->imap);
			continue;
		}
		if (result == FRAMER_DONE)
			buf_append(&f->seen, framer_imap_frame(&f->imap));
		f->skipping = used == 0;
		framer_imap_reset(&f->imap);
	}
}

static struct buf
run_feeder(void (*feed)(struct feeder *f), const struct pieces *pieces)
{
	struct feeder f = {0};
	buf_init(&f.input, OUT_MAX);
	buf_init(&f.seen, OUT_MAX);
	framer_imap_init(&f.imap, LINE_MAX_BYTES, FRAME_MAX_BYTES);
	for (int i = 0; i < 3; i++) {
		buf_append(&f.input, pieces->at[i]);
		feed(&f);
	}
	framer_imap_fini(&f.imap);
	buf_fini(&f.input);
	return f.seen;
}

static struct buf
run_dot(const struct pieces *pieces)
{
	struct framer_dot dot;
	struct buf out;
	enum framer_result result = FRAMER_MORE;
	size_t used, total = 0;
	buf_init(&out, OUT_MAX);
	framer_dot_init(&dot);
	for (int i = 0; i < 3 && result == FRAMER_MORE; i++) {
		size_t before = out.len;
		result = framer_dot_feed(&dot, pieces->at[i], &out, &used);
		ENSURE(used <= pieces->at[i].len);
		ENSURE(out.len - before <= pieces->at[i].len + 2);
		total += used;
	}
	ENSURE(dot.bytes == out.len);
	buf_append_format(&out, "|%d %zu %d%d%d%d %zu", result, total, dot.bare_cr,
	    dot.bare_lf, dot.nul, dot.has_8bit, dot.line_longest);
	return out;
}

static struct buf
run_stuff(const struct pieces *pieces, bool normalise)
{
	struct framer_stuff stuff;
	struct buf out;
	buf_init(&out, OUT_MAX);
	framer_stuff_init(&stuff);
	for (int i = 0; i < 3; i++)
		framer_stuff_feed(&stuff, pieces->at[i], normalise, &out);
	framer_stuff_end(&stuff, &out);
	return out;
}

/* Read back it is one message, and nobody finds an end in it but the last. */
static void
check_stuffed(struct slice sent, bool normalise)
{
	struct framer_dot dot;
	size_t used;
	framer_dot_init(&dot);
	ENSURE(
	    framer_dot_feed(&dot, sent, NULL, &used) == FRAMER_DONE && used == sent.len);
	ENSURE(!normalise || (!dot.bare_cr && !dot.bare_lf));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 64 * 1024)
		return 0;
	unsigned kind = data[0] % 5u;
	struct slice input = slice_make((const char *)data + 2, size - 2);
	size_t cut = input.len * (data[0] / 5u) / 52;
	size_t cut2 = cut + (input.len - cut) * data[1] / 256;
	const struct pieces whole = {
	    {input, SLICE_NULL, SLICE_NULL}
        };
	const struct pieces cuts = {
	    {slice_sub(input, 0, cut), slice_sub(input, cut, cut2 - cut),
             slice_from(input, cut2)}
        };
	struct buf a, b;
	if (kind == 0) {
		a = run_feeder(feed_lines, &whole);
		b = run_feeder(feed_lines, &cuts);
	} else if (kind == 1) {
		a = run_feeder(feed_imap, &whole);
		b = run_feeder(feed_imap, &cuts);
	} else if (kind == 2) {
		a = run_dot(&whole);
		b = run_dot(&cuts);
	} else {
		a = run_stuff(&whole, kind == 3);
		b = run_stuff(&cuts, kind == 3);
		check_stuffed(buf_slice(&a), kind == 3);
	}
	ENSURE(slice_equal(buf_slice(&a), buf_slice(&b)));
	buf_fini(&a);
	buf_fini(&b);
	return 0;
}
