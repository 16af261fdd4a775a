/*
 * Framing: every input gives the same frames however it is cut, no sequence but
 * CRLF.CRLF ends message data (cases B1 to B15), nothing that we stuff can be read as an
 * end, and IMAP literals stay in step.
 */
#include "net/framer.h"
#include "text/message_index.h"

#include "unit/net/net_harness.h"

enum { OUT_MAX = 1 << 20 };

/* ---- lines ---- */

static void
test_line(void **state)
{
	(void)state;
	static const struct {
		struct slice input;
		enum framer_result result;
		size_t used;
		size_t line_len;
	} cases[] = {
	    {SLICE(""),                 FRAMER_MORE,     0,  0 },
	    {SLICE("NOOP"),             FRAMER_MORE,     0,  0 },
	    {SLICE("NOOP\r"),           FRAMER_MORE,     0,  0 },
	    {SLICE("NOOP\r\n"),         FRAMER_DONE,     6,  4 },
	    {SLICE("\r\n"),             FRAMER_DONE,     2,  0 },
	    {SLICE("NOOP\r\nQUIT\r\n"), FRAMER_DONE,     6,  4 },
	    {SLICE("caf\xc3\xa9\r\n"),  FRAMER_DONE,     7,  5 },
	    {SLICE("NOOP\nQUIT\r\n"),   FRAMER_BARE_LF,  5,  0 },
	    {SLICE("\n"),               FRAMER_BARE_LF,  1,  0 },
	    {SLICE("NO\rOP\r\n"),       FRAMER_BARE_CR,  7,  0 },
	    {SLICE("NOOP\r\r\n"),       FRAMER_BARE_CR,  7,  0 },
	    {SLICE("NO\rOP\n"),         FRAMER_BARE_CR,  6,  0 },
	    {SLICE("NO\0OP\r\n"),       FRAMER_NUL,      7,  0 },
	    {SLICE("NO\0OP"),           FRAMER_MORE,     0,  0 },
	    {SLICE("0123456789\r\n"),   FRAMER_DONE,     12, 10},
	    {SLICE("01234567890\r\n"),  FRAMER_TOO_LONG, 13, 0 },
	    {SLICE("0123456789\r"),     FRAMER_MORE,     0,  0 },
	    {SLICE("0123456789ab"),     FRAMER_TOO_LONG, 0,  0 },
	    {SLICE("0123456789abc\n"),  FRAMER_TOO_LONG, 14, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice line = SLICE_NULL;
		size_t used = 99;
		assert_int_equal(
		    framer_line(cases[i].input, 12, &line, &used), cases[i].result);
		assert_int_equal(used, cases[i].used);
		if (cases[i].result == FRAMER_DONE) {
			assert_int_equal(line.len, cases[i].line_len);
			assert_ptr_equal(line.ptr, cases[i].input.ptr);
		}
	}
	bool ended = true;
	assert_int_equal(framer_skip_line(SLICE("abc"), &ended), 3);
	assert_false(ended);
	assert_int_equal(framer_skip_line(SLICE("abc\r\nNOOP\r\n"), &ended), 5);
	assert_true(ended);
	assert_int_equal(framer_skip_line(SLICE_NULL, &ended), 0);
	assert_false(ended);
}

/* Feeds `pieces` as they would arrive and writes down what a session would see. */
struct arrivals {
	struct buf input; /* unconsumed */
	struct buf seen;
	bool skipping;
};

static void
note(struct buf *seen, enum framer_result result, struct slice text)
{
	buf_append_format(seen, "%d[", result);
	buf_append(seen, text);
	buf_append(seen, SLICE("]"));
}

static void
lines_arrive(struct arrivals *a, struct slice piece)
{
	buf_append(&a->input, piece);
	while (a->input.len > 0) {
		size_t used;
		struct slice line = SLICE_NULL;
		if (a->skipping) {
			bool ended;
			used = framer_skip_line(buf_slice(&a->input), &ended);
			a->skipping = !ended;
			buf_consume(&a->input, used);
			continue;
		}
		enum framer_result result =
		    framer_line(buf_slice(&a->input), 12, &line, &used);
		if (result == FRAMER_MORE)
			return;
		note(&a->seen, result, line);
		a->skipping = used == 0;
		buf_consume(&a->input, used);
	}
}

typedef void (*cut_fn)(struct slice input, size_t cut, size_t cut2, struct buf *seen);

static void
cut_lines(struct slice input, size_t cut, size_t cut2, struct buf *seen)
{
	struct arrivals a = {0};
	buf_init(&a.input, OUT_MAX);
	buf_init(&a.seen, OUT_MAX);
	lines_arrive(&a, slice_sub(input, 0, cut));
	lines_arrive(&a, slice_sub(input, cut, cut2 - cut));
	lines_arrive(&a, slice_from(input, cut2));
	*seen = a.seen;
	buf_fini(&a.input);
}

/* Every pair of cuts gives what no cut gives. */
static void
check_cuts(struct slice input, cut_fn fn)
{
	struct buf whole;
	fn(input, 0, 0, &whole);
	for (size_t cut = 0; cut <= input.len; cut++) {
		for (size_t cut2 = cut; cut2 <= input.len; cut2++) {
			struct buf seen;
			fn(input, cut, cut2, &seen);
			assert_int_equal(seen.len, whole.len);
			assert_true(slice_equal(buf_slice(&seen), buf_slice(&whole)));
			buf_fini(&seen);
		}
	}
	buf_fini(&whole);
}

static void
test_line_cuts(void **state)
{
	(void)state;
	static const struct slice inputs[] = {
	    SLICE("NOOP\r\nQUIT\r\n"),
	    SLICE("A\nB\rC\r\nD\r\r\nE\0F\r\n\r\n"),
	    SLICE("0123456789\r\n01234567890\r\nshort\r\n"),
	    SLICE("012345678901234567890123\r\nNOOP\r\n01234567890\nX\r\n"),
	};
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++)
		check_cuts(inputs[i], cut_lines);
}

/* ---- dot-data ---- */

struct dot_result {
	bool ended;
	size_t used;
	struct framer_dot dot;
	struct buf out;
};

static void
dot_run(struct slice input, size_t cut, size_t cut2, struct dot_result *r)
{
	const struct slice pieces[] = {slice_sub(input, 0, cut),
	    slice_sub(input, cut, cut2 - cut), slice_from(input, cut2)};
	memset(r, 0, sizeof(*r));
	buf_init(&r->out, OUT_MAX);
	framer_dot_init(&r->dot);
	for (int i = 0; i < 3 && !r->ended; i++) {
		size_t used, before = r->out.len;
		r->ended =
		    framer_dot_feed(&r->dot, pieces[i], &r->out, &used) == FRAMER_DONE;
		assert_true(r->out.len - before <= pieces[i].len + 2);
		assert_true(r->ended || used == pieces[i].len);
		r->used += used;
	}
	assert_int_equal(r->dot.bytes, r->out.len);
}

static void
cut_dot(struct slice input, size_t cut, size_t cut2, struct buf *seen)
{
	struct dot_result r;
	dot_run(input, cut, cut2, &r);
	buf_append_format(&r.out, "|%d %zu %d%d%d%d %zu %zu", r.ended, r.used,
	    r.dot.bare_cr, r.dot.bare_lf, r.dot.nul, r.dot.has_8bit, r.dot.line_longest,
	    r.dot.line_len);
	*seen = r.out;
}

static void
test_dot(void **state)
{
	(void)state;
	static const struct {
		struct slice input, out;
		bool ended;
		size_t used, longest;
	} cases[] = {
	    {SLICE(".\r\n"),                   SLICE(""),                   true,  3,  0},
	    {SLICE("\r\n.\r\n"),               SLICE("\r\n"),               true,  5,  0},
	    {SLICE("a\r\n.\r\nQUIT\r\n"),      SLICE("a\r\n"),              true,  6,  1},
	    {SLICE("..\r\n.\r\n"),             SLICE(".\r\n"),              true,  7,  1},
	    {SLICE("..a\r\n.b\r\n.\r\n"),      SLICE(".a\r\nb\r\n"),        true,  12, 2},
	    {SLICE("a.\r\n.\r\n"),             SLICE("a.\r\n"),             true,  7,  2},
	    {SLICE("long line\r\nx\r\n.\r\n"), SLICE("long line\r\nx\r\n"), true,  17, 9},
	    {SLICE("no end\r\n."),             SLICE("no end\r\n"),         false, 9,  6},
	    {SLICE("no end\r\n.\r"),           SLICE("no end\r\n"),         false, 10, 6},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dot_result r;
		dot_run(cases[i].input, 0, 0, &r);
		assert_int_equal(r.ended, cases[i].ended);
		assert_int_equal(r.used, cases[i].used);
		assert_int_equal(r.dot.line_longest, cases[i].longest);
		assert_true(slice_equal(buf_slice(&r.out), cases[i].out));
		assert_false(
		    r.dot.bare_cr || r.dot.bare_lf || r.dot.nul || r.dot.has_8bit);
		buf_fini(&r.out);
		check_cuts(cases[i].input, cut_dot);
	}
}

/* B1 to B10 and B14, as a message body and then what an attacker wants to be a second
 * message.  The one true end stands last. */
static const struct slice smuggles[] = {
    SLICE("\n.\n"),
    SLICE("\n.\r\n"),
    SLICE("\r\n.\n"),
    SLICE("\r.\r"),
    SLICE("\r\n.\r"),
    SLICE("\r.\r\n"),
    SLICE("\r\r\n.\r\r\n"),
    SLICE("\r\n.\r\r\n"),
    SLICE("\n\r.\r\n"),
    SLICE("\r\n\0.\r\n"),
    SLICE("\r\n.\0\r\n"),
    SLICE("\r\n.\n\r\n"),
    SLICE("\n\n.\n\n"),
    SLICE("\r\r.\r\r"),
    SLICE(".\r\r\n"),
    SLICE(".\n"),
};

static void
test_smuggling(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(smuggles) / sizeof(smuggles[0]); i++) {
		struct buf input;
		struct dot_result r;
		buf_init(&input, OUT_MAX);
		buf_append(&input, SLICE("Subject: x\r\n\r\nbody"));
		buf_append(&input, smuggles[i]);
		buf_append(&input, SLICE("MAIL FROM:<a@x>\r\nDATA\r\nsmuggled"));
		size_t body = input.len;
		buf_append(&input, SLICE("\r\n.\r\nQUIT\r\n"));
		dot_run(buf_slice(&input), 0, 0, &r);
		/* One message, which ends where it should and is marked as bad. */
		assert_true(r.ended);
		assert_int_equal(r.used, body + 5);
		assert_true(r.dot.bare_cr || r.dot.bare_lf || r.dot.nul);
		buf_fini(&r.out);
		check_cuts(buf_slice(&input), cut_dot);
		buf_fini(&input);
	}
}

static void
test_dot_flags(void **state)
{
	(void)state;
	struct dot_result r;
	dot_run(SLICE("a\rb\r\n.\r\n"), 0, 0, &r);
	assert_true(r.dot.bare_cr && !r.dot.bare_lf && !r.dot.nul && !r.dot.has_8bit);
	assert_true(slice_equal(buf_slice(&r.out), SLICE("a\rb\r\n")));
	buf_fini(&r.out);
	dot_run(SLICE("a\nb\r\n.\r\n"), 0, 0, &r);
	assert_true(!r.dot.bare_cr && r.dot.bare_lf);
	buf_fini(&r.out);
	dot_run(SLICE("a\0b\r\n.\r\n"), 0, 0, &r);
	assert_true(!r.dot.bare_cr && !r.dot.bare_lf && r.dot.nul);
	buf_fini(&r.out);
	dot_run(SLICE("\xc3\xa9\r\n.\r\n"), 0, 0, &r);
	assert_true(r.dot.has_8bit);
	buf_fini(&r.out);
	/* Discarding counts all the same. */
	struct framer_dot dot;
	size_t used;
	framer_dot_init(&dot);
	assert_int_equal(
	    framer_dot_feed(&dot, SLICE("abc\r\n.\r\n"), NULL, &used), FRAMER_DONE);
	assert_int_equal(dot.bytes, 5);
	assert_int_equal(framer_dot_feed(&dot, SLICE("more"), NULL, &used), FRAMER_DONE);
	assert_int_equal(used, 0);
	framer_dot_init(&dot);
	assert_int_equal(framer_dot_feed(&dot, SLICE_NULL, NULL, &used), FRAMER_MORE);
}

/* ---- dot-stuffing ---- */

static void
stuff_run(struct slice input, size_t cut, size_t cut2, bool normalise, struct buf *out)
{
	struct framer_stuff s;
	buf_init(out, OUT_MAX);
	framer_stuff_init(&s);
	framer_stuff_feed(&s, slice_sub(input, 0, cut), normalise, out);
	framer_stuff_feed(&s, slice_sub(input, cut, cut2 - cut), normalise, out);
	framer_stuff_feed(&s, slice_from(input, cut2), normalise, out);
	framer_stuff_end(&s, out);
}

/* The way without a copy gives the same bytes. */
static void
stuff_in_place(struct framer_stuff *s, struct slice bytes, struct buf *out)
{
	while (bytes.len > 0) {
		bool dot;
		size_t count = framer_stuff_run(s, bytes, &dot);
		buf_append(out, slice_sub(bytes, 0, count));
		if (dot)
			buf_append_byte(out, '.');
		bytes = slice_from(bytes, count);
	}
}

static void
cut_stuff_in_place(struct slice input, size_t cut, size_t cut2, struct buf *seen)
{
	struct framer_stuff s;
	buf_init(seen, OUT_MAX);
	framer_stuff_init(&s);
	stuff_in_place(&s, slice_sub(input, 0, cut), seen);
	stuff_in_place(&s, slice_sub(input, cut, cut2 - cut), seen);
	stuff_in_place(&s, slice_from(input, cut2), seen);
	framer_stuff_end(&s, seen);
	struct buf want AUTO_BUF;
	stuff_run(input, 0, 0, false, &want);
	assert_true(slice_equal(buf_slice(seen), buf_slice(&want)));
}

static void
cut_stuff(struct slice input, size_t cut, size_t cut2, struct buf *seen)
{
	stuff_run(input, cut, cut2, false, seen);
}

static void
cut_stuff_normalise(struct slice input, size_t cut, size_t cut2, struct buf *seen)
{
	stuff_run(input, cut, cut2, true, seen);
}

static void
test_stuff(void **state)
{
	(void)state;
	static const struct {
		struct slice input, plain, normal;
	} cases[] = {
	    {SLICE(""),               SLICE(".\r\n"),                SLICE(".\r\n")              },
	    {SLICE("a\r\n"),          SLICE("a\r\n.\r\n"),           SLICE("a\r\n.\r\n")         },
	    {SLICE("a"),              SLICE("a\r\n.\r\n"),           SLICE("a\r\n.\r\n")         },
	    {SLICE("a\r"),            SLICE("a\r\n.\r\n"),           SLICE("a\r\n.\r\n")         },
	    {SLICE(".a\r\n..\r\n"),   SLICE("..a\r\n...\r\n.\r\n"),
             SLICE("..a\r\n...\r\n.\r\n")							},
	    {SLICE("."),              SLICE("..\r\n.\r\n"),          SLICE("..\r\n.\r\n")        },
	    {SLICE("a\n.\n"),         SLICE("a\n..\n\r\n.\r\n"),     SLICE("a\r\n..\r\n.\r\n")   },
	    {SLICE("a\r.\r"),         SLICE("a\r.\r\n.\r\n"),        SLICE("a\r\n..\r\n.\r\n")   },
	    {SLICE("a\r\r\n.\r\r\n"), SLICE("a\r\r\n..\r\r\n.\r\n"),
             SLICE("a\r\n\r\n..\r\n\r\n.\r\n")						   },
	    {SLICE("\n\r.\r\n"),      SLICE("\n\r.\r\n.\r\n"),       SLICE("\r\n\r\n..\r\n.\r\n")},
	    {SLICE("\r\n\r\n"),       SLICE("\r\n\r\n.\r\n"),        SLICE("\r\n\r\n.\r\n")      },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out;
		stuff_run(cases[i].input, 0, 0, false, &out);
		assert_true(slice_equal(buf_slice(&out), cases[i].plain));
		buf_fini(&out);
		stuff_run(cases[i].input, 0, 0, true, &out);
		assert_true(slice_equal(buf_slice(&out), cases[i].normal));
		buf_fini(&out);
		check_cuts(cases[i].input, cut_stuff);
		check_cuts(cases[i].input, cut_stuff_in_place);
		check_cuts(cases[i].input, cut_stuff_normalise);
	}
}

/* What is said to be added is what is added: all texts of up to five of these. */
static void
test_line_end_missing(void **state)
{
	(void)state;
	static const char alphabet[] = "\r\n.a";
	for (unsigned n = 0; n < 5 * 1024; n++) {
		char text[5];
		size_t len = n / 1024 + 1;
		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[n >> 2 * i & 3];
		struct slice input = slice_make(text, len);
		size_t dots = 0;
		for (size_t i = 0; i < len; i++)
			dots += text[i] == '.' && (i == 0 || text[i - 1] == '\n');
		struct buf out;
		stuff_run(input, 0, 0, false, &out);
		assert_int_equal(
		    out.len, len + dots + message_line_end_missing(input) + 3);
		buf_fini(&out);
	}
	assert_int_equal(message_line_end_missing(SLICE("")), 0);
	assert_int_equal(message_line_end_missing(SLICE("a\r\n")), 0);
	assert_int_equal(message_line_end_missing(SLICE("a\r")), 1);
	assert_int_equal(message_line_end_missing(SLICE("a\n")), 2);
	assert_int_equal(message_line_end_missing(SLICE("a")), 2);
}

/* A receiver as careless as they come: any kind of line end, then a dot, then any kind of
 * line end, is an end of data. */
static size_t
careless_ends(struct slice s)
{
	size_t count = 0;
	for (size_t i = 0; i < s.len; i++) {
		bool start = i == 0 || s.ptr[i - 1] == '\n' || s.ptr[i - 1] == '\r';
		bool end =
		    i + 1 < s.len && (s.ptr[i + 1] == '\n' || s.ptr[i + 1] == '\r');
		count += s.ptr[i] == '.' && start && end;
	}
	return count;
}

/* B11 and B15: what we send never holds an end but the last, for whoever reads it; and a
 * strict reader gets back one message. */
static void
test_stuff_smuggling(void **state)
{
	(void)state;
	static const char alphabet[] = "\r\n.a";
	unsigned seed = 1;
	for (int round = 0; round < 20000; round++) {
		char text[12];
		size_t len = 0;
		struct buf out;
		struct dot_result r;
		for (unsigned n = (seed >> 8) % (sizeof(text) + 1); len < n; len++) {
			seed = seed * 1103515245u + 12345u;
			text[len] = alphabet[(seed >> 16) % 4];
		}
		seed = seed * 1103515245u + 12345u;
		stuff_run(slice_make(text, len), 0, 0, true, &out);
		assert_int_equal(careless_ends(buf_slice(&out)), 1);
		dot_run(buf_slice(&out), 0, 0, &r);
		assert_true(r.ended && r.used == out.len);
		assert_false(r.dot.bare_cr || r.dot.bare_lf);
		buf_fini(&r.out);
		buf_fini(&out);
	}
}

/* ---- IMAP ---- */

enum { IMAP_LINE_MAX = 60, IMAP_FRAME_MAX = 80 };

struct imap_run {
	struct framer_imap f;
	struct buf input;
	struct buf seen;
	bool skipping;
	uint64_t streaming; /* bytes of a streamed literal still to come */
};

/* Literals over 50 octets are streamed, as APPEND does. */
static void
imap_arrives(struct imap_run *run, struct slice piece)
{
	buf_append(&run->input, piece);
	while (run->input.len > 0) {
		struct slice input = buf_slice(&run->input);
		size_t used;
		if (run->streaming > 0) {
			used = run->streaming < input.len ? (size_t)run->streaming
			                                  : input.len;
			run->streaming -= used;
			buf_append(&run->seen, slice_sub(input, 0, used));
			buf_consume(&run->input, used);
			continue;
		}
		if (run->skipping) {
			bool ended;
			used = framer_skip_line(input, &ended);
			run->skipping = !ended;
			buf_consume(&run->input, used);
			continue;
		}
		enum framer_result result = framer_imap_feed(&run->f, input, &used);
		buf_consume(&run->input, used);
		if (result == FRAMER_MORE) {
			if (used == 0)
				return;
			continue;
		}
		if (result == FRAMER_LITERAL) {
			buf_append_format(&run->seen, "L%llu%c%c ",
			    (unsigned long long)run->f.literal_size,
			    run->f.literal_sync ? 's' : 'n',
			    run->f.literal_binary ? 'b' : 't');
			if (run->f.literal_size > 50 && run->f.literal_size < 70) {
				run->streaming = run->f.literal_size;
				framer_imap_stream(&run->f);
			} else {
				framer_imap_accept(&run->f);
			}
			continue;
		}
		note(&run->seen, result,
		    result == FRAMER_DONE ? framer_imap_frame(&run->f) : SLICE_NULL);
		run->skipping = used == 0;
		framer_imap_reset(&run->f);
		assert_null(run->f.frame.ptr);
	}
}

static void
cut_imap(struct slice input, size_t cut, size_t cut2, struct buf *seen)
{
	struct imap_run run = {0};
	buf_init(&run.input, OUT_MAX);
	buf_init(&run.seen, OUT_MAX);
	framer_imap_init(&run.f, IMAP_LINE_MAX, IMAP_FRAME_MAX);
	imap_arrives(&run, slice_sub(input, 0, cut));
	imap_arrives(&run, slice_sub(input, cut, cut2 - cut));
	imap_arrives(&run, slice_from(input, cut2));
	*seen = run.seen;
	framer_imap_fini(&run.f);
	buf_fini(&run.input);
}

#define TEN "0123456789"

static void
test_imap(void **state)
{
	(void)state;
	static const struct {
		struct slice input, seen;
	} cases[] = {
	    {SLICE("a NOOP\r\n"),						SLICE("1[a NOOP]")                   },
	    {SLICE("a NOOP\r\nb IDLE\r\n"),                                      SLICE("1[a NOOP]1[b IDLE]")          },
	    {SLICE("\r\n"),						      SLICE("1[]")                         },
	    {SLICE("a LOGIN {5}\r\nalice {3+}\r\nb\r\n\r\nc X\r\n"),
             SLICE("L5st L3nt 1[a LOGIN {5}\r\nalice {3+}\r\nb\r\n]1[c X]")                                           },
	    {SLICE("a X {0}\r\n\r\nb Y\r\n"),                                    SLICE("L0st 1[a X {0}\r\n]1[b Y]")   },
	    {SLICE("a X ~{3+}\r\n\0\r\n \r\n"),                                  SLICE("L3nb 1[a X ~{3+}\r\n\0\r\n ]")},
	    {SLICE("a X {3+}\r\n\0\r\n \r\nb Y\r\n"),                            SLICE("L3nt 6[]1[b Y]")              },
	    {SLICE("a X {05+}\r\nhello\r\n"),                                    SLICE("L5nt 1[a X {05+}\r\nhello]")  },
	    {SLICE("a X {}\r\n"),						SLICE("1[a X {}]")                   },
	    {SLICE("a X {+}\r\n"),					       SLICE("1[a X {+}]")                  },
	    {SLICE("a X {5} \r\n"),					      SLICE("1[a X {5} ]")                 },
	    {SLICE("a X 5}\r\n}\r\n5}\r\n"),                                     SLICE("1[a X 5}]1[}]1[5}]")          },
	    {SLICE("a X {-5}\r\n"),					      SLICE("1[a X {-5}]")                 },
	    {SLICE("a X {5-}\r\n"),					      SLICE("1[a X {5-}]")                 },
	    {SLICE("a X {9223372036854775808}\r\nb Y\r\n"),                      SLICE("3[]1[b Y]")                   },
	    {SLICE("a X {99999999999999999999999999}\r\nb Y\r\n"),               SLICE("3[]1[b Y]")                   },
	    {SLICE("a\nb Y\r\n"),						SLICE("5[]1[b Y]")                   },
	    {SLICE("a\rb\r\nb Y\r\n"),					   SLICE("4[]1[b Y]")                   },
	    {SLICE("a\0b\r\nb Y\r\n"),					   SLICE("6[]1[b Y]")                   },
	    {SLICE("a X {1+}\r\nx\n\r\nb Y\r\n"),                                SLICE("L1nt 5[]1[]1[b Y]")           },
 /* command text over the line limit, in one line and summed up */
	    {SLICE("a " TEN TEN TEN TEN TEN TEN "\r\nb Y\r\n"),                  SLICE("3[]1[b Y]")                   },
	    {SLICE("a {1+}\r\nx" TEN TEN TEN TEN TEN "y\r\nb Y\r\n"),
             SLICE("L1nt 3[]1[b Y]")										  },
 /* a literal without room is read and dropped, and the stream stays in step */
	    {SLICE("a X {79+}\r\n" TEN TEN TEN TEN TEN TEN TEN "abc\r\n"
		   "bad} \r\nb Y\r\n"),
             SLICE("L79nt 3[]1[b Y]")										 },
 /* a streamed one never enters the frame */
	    {SLICE("a APPEND x {60}\r\n" TEN TEN TEN TEN TEN TEN "\r\nb Y\r\n"),
             SLICE("L60st " TEN TEN TEN TEN TEN TEN "1[a APPEND x {60}\r\n]1[b Y]")                                   },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf seen;
		cut_imap(cases[i].input, 0, 0, &seen);
		if (!slice_equal(buf_slice(&seen), cases[i].seen))
			fail_msg("case %zu: %.*s", i, SLICE_ARG(buf_slice(&seen)));
		buf_fini(&seen);
		check_cuts(cases[i].input, cut_imap);
	}
}

/* A synchronising literal that is refused is followed by nothing: reset is enough. */
static void
test_imap_refuse(void **state)
{
	(void)state;
	struct framer_imap f;
	size_t used;
	framer_imap_init(&f, IMAP_LINE_MAX, IMAP_FRAME_MAX);
	assert_int_equal(
	    framer_imap_feed(&f, SLICE("a X {1000}\r\nb Y\r\n"), &used), FRAMER_LITERAL);
	assert_int_equal(used, 12);
	assert_true(f.waiting && f.literal_sync);
	assert_int_equal(f.literal_size, 1000);
	framer_imap_reset(&f);
	assert_int_equal(framer_imap_feed(&f, SLICE("b Y\r\n"), &used), FRAMER_DONE);
	assert_true(slice_equal(framer_imap_frame(&f), SLICE("b Y")));
	framer_imap_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_line),
	    cmocka_unit_test(test_line_cuts),
	    cmocka_unit_test(test_dot),
	    cmocka_unit_test(test_smuggling),
	    cmocka_unit_test(test_dot_flags),
	    cmocka_unit_test(test_stuff),
	    cmocka_unit_test(test_line_end_missing),
	    cmocka_unit_test(test_stuff_smuggling),
	    cmocka_unit_test(test_imap),
	    cmocka_unit_test(test_imap_refuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
