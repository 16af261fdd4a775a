/*
 * DEFLATE on a connection (RFC 4978): raw streams both ways.
 *
 * Invariants
 *  1. Sending uses a small window (32 KB of state in all); receiving must take the
 *     largest one, since the peer chooses.
 *  2. Both states are dropped when the connection has been idle.  The compressor may go
 *     at any flush boundary: a fresh one refers to nothing that went before.  The
 *     expander may go only between two blocks at a byte boundary, which is where every
 *     flush of the peer leaves it, and the window that later blocks may refer to is kept
 *     in its true size (a few KB of commands instead of 40 KB).
 *
 * Thread: the loop's.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "net/conn_int.h"

enum {
	DEFLATE_LEVEL = 6,
	DEFLATE_WINDOW_BITS = -12, /* raw, 4 KB window: 16 KB of state */
	DEFLATE_MEM_LEVEL = 5,     /* 16 KB of state */
	DEFLATE_PIECE = 4096,      /* bytes of output at a time */
	INFLATE_WINDOW_BITS = -15, /* raw; the peer may use the largest */
	INFLATE_WINDOW_MAX = 32 * 1024,
	/* z_stream.data_type after inflate: no bits held, just behind a block's end and
	 * not in the last one (zlib.h, at inflate). */
	INFLATE_BETWEEN_BLOCKS = 128,
};

static size_t
raw_left(const struct conn_deflate *d)
{
	return d->raw.len - d->raw_used;
}

/* ---- idle ---- */

static void
drop_inflate(struct conn_deflate *d)
{
	static const uInt window_max = INFLATE_WINDOW_MAX;
	if (!d->in_ready || d->in_ended || raw_left(d) > 0 || d->in_more ||
	    d->in.data_type != INFLATE_BETWEEN_BLOCKS)
		return;
	uInt len = 0;
	if (inflateGetDictionary(&d->in, Z_NULL, &len) != Z_OK || len > window_max)
		return;
	d->window = len > 0 ? xmalloc(len) : NULL;
	d->window_len = len;
	if (len > 0)
		ENSURE(inflateGetDictionary(&d->in, (Bytef *)d->window, &len) == Z_OK);
	inflateEnd(&d->in);
	d->in_ready = false;
}

static bool
make_inflate(struct conn_deflate *d)
{
	if (d->in_ready)
		return true;
	memset(&d->in, 0, sizeof(d->in));
	if (inflateInit2(&d->in, INFLATE_WINDOW_BITS) != Z_OK)
		return false;
	d->in_ready = true;
	if (d->window && inflateSetDictionary(&d->in, (const Bytef *)d->window,
			     (uInt)d->window_len) != Z_OK)
		return false;
	free(d->window);
	d->window = NULL;
	return true;
}

static void
on_idle(void *arg)
{
	struct conn *c = OBJ_CAST(conn, arg, CONN_MAGIC);
	struct conn_deflate *d = c->deflate;
	drop_inflate(d);
	if (d->out_ready && !d->out_dirty && list_is_empty(&c->queue)) {
		deflateEnd(&d->out);
		d->out_ready = false;
	}
}

/* The due time is rounded to a second, so most of these calls change nothing. */
static void
note_use(struct conn *c)
{
	loop_timer_start(c->loop, &c->deflate->idle, CONN_DEFLATE_IDLE_MS, on_idle, c);
}

/* ---- sending ---- */

void
conn_deflate_bytes(struct conn *c, struct slice bytes, bool flush)
{
	struct conn_deflate *d = c->deflate;
	char out[DEFLATE_PIECE];
	if (!d->out_ready) {
		memset(&d->out, 0, sizeof(d->out));
		ENSURE(
		    deflateInit2(&d->out, DEFLATE_LEVEL, Z_DEFLATED, DEFLATE_WINDOW_BITS,
			DEFLATE_MEM_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK);
		d->out_ready = true;
	}
	d->out.next_in = (Bytef *)(uintptr_t)bytes.ptr;
	d->out.avail_in = (uInt)bytes.len;
	do {
		d->out.next_out = (Bytef *)out;
		d->out.avail_out = sizeof(out);
		int result = deflate(&d->out, flush ? Z_SYNC_FLUSH : Z_NO_FLUSH);
		ENSURE(result == Z_OK || result == Z_BUF_ERROR);
		conn_queue_wire(c, slice_make(out, sizeof(out) - d->out.avail_out));
	} while (d->out.avail_out == 0);
	ENSURE(d->out.avail_in == 0);
	d->out_dirty = !flush;
	if (flush)
		note_use(c);
}

/* ---- receiving ---- */

bool
conn_inflate_has_more(const struct conn_deflate *d)
{
	return !d->in_ended && (raw_left(d) > 0 || d->in_more);
}

void
conn_inflate_give(struct conn_deflate *d, struct slice raw)
{
	ENSURE(raw_left(d) == 0);
	buf_append(&d->raw, raw);
	ENSURE(buf_ok(&d->raw));
}

static void
release_raw(struct conn_deflate *d)
{
	buf_reset(&d->raw);
	buf_release_if_empty(&d->raw);
	d->raw_used = 0;
}

size_t
conn_inflate(struct conn *c, char *to, size_t size)
{
	struct conn_deflate *d = c->deflate;
	if (size == 0 || d->in_ended)
		return 0;
	if (!make_inflate(d)) {
		d->in_ended = true;
		conn_fail(c, "compressed input", "out of memory");
		return 0;
	}
	d->in.next_in = (Bytef *)d->raw.ptr + d->raw_used;
	d->in.avail_in = (uInt)raw_left(d);
	d->in.next_out = (Bytef *)to;
	d->in.avail_out = (uInt)size;
	int result = inflate(&d->in, Z_SYNC_FLUSH);
	size_t count = size - d->in.avail_out;
	d->raw_used = d->raw.len - d->in.avail_in;
	d->in_more = d->in.avail_out == 0;
	if (raw_left(d) == 0)
		release_raw(d);
	if (result == Z_STREAM_END) {
		d->in_ended = true;
		c->eof = true;
	} else if (result != Z_OK && result != Z_BUF_ERROR) {
		d->in_ended = true;
		conn_fail(c, "compressed input is damaged",
		    d->in.msg ? d->in.msg : "inflate failed");
	}
	note_use(c);
	return count;
}

void
conn_inflate_end(struct conn_deflate *d)
{
	release_raw(d);
	d->in_ended = true;
	d->in_more = false;
}

/* ---- life ---- */

enum status
conn_start_deflate(struct conn *c)
{
	ENSURE(c->magic == CONN_MAGIC && c->fn && !c->deflate && !conn_tls_starting(c));
	struct conn_deflate *d = calloc(1, sizeof(*d));
	if (!d)
		return STATUS_LIMIT;
	/* What was received behind the command is compressed already. */
	buf_init(&d->raw, CONN_INPUT_MAX);
	conn_inflate_give(d, conn_input(c));
	c->deflate = d;
	conn_discard_input(c);
	if (d->raw.len > 0)
		conn_read_again(c);
	return STATUS_OK;
}

bool
conn_is_deflated(const struct conn *c)
{
	return c->deflate != NULL;
}

void
conn_deflate_fini(struct conn *c)
{
	struct conn_deflate *d = c->deflate;
	if (!d)
		return;
	loop_timer_stop(&d->idle);
	if (d->out_ready)
		deflateEnd(&d->out);
	if (d->in_ready)
		inflateEnd(&d->in);
	free(d->window);
	buf_fini(&d->raw);
	free(d);
	c->deflate = NULL;
}
