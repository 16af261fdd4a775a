/*
 * The receiving half of a connection: transport → (inflate) → receive buffer → owner.
 *
 * Invariants
 *  1. The receive buffer never holds more than CONN_INPUT_MAX bytes.  Compressed input is
 *     expanded only as far as there is room, so a compression bomb costs one buffer.
 *  2. Nothing is read from the transport while compressed bytes wait to be expanded.
 *  3. With nothing unread no buffer is held.
 *
 * Thread: the loop's.  RFC 4978.
 */
#include <errno.h>

#include "base/ensure.h"
#include "net/conn_int.h"

enum { TLS_MORE_MIN = 16384 /* bytes: behind a full record more is likely */ };

size_t
conn_input_room(const struct conn *c)
{
	return CONN_INPUT_MAX - (c->in.len - c->in_used);
}

struct slice
conn_input(const struct conn *c)
{
	return slice_from(buf_slice(&c->in), c->in_used);
}

static void
release_input(struct conn *c)
{
	buf_reset(&c->in);
	buf_release_if_empty(&c->in);
	c->in_used = 0;
}

void
conn_consume(struct conn *c, size_t count)
{
	ENSURE(count <= c->in.len - c->in_used);
	if (count == 0)
		return;
	bool was_full = conn_input_room(c) == 0;
	c->in_used += count;
	if (c->in_used == c->in.len)
		release_input(c);
	/* Reading had stopped for want of room. */
	if (was_full && c->state == CONN_STATE_OPEN) {
		if (conn_has_buffered(c)) {
			c->offer_read = true;
			conn_schedule(c);
		}
		conn_schedule_flush(c);
	}
}

void
conn_discard_input(struct conn *c)
{
	conn_consume(c, c->in.len - c->in_used);
}

void
conn_pause(struct conn *c)
{
	c->paused = true;
}

void
conn_read_again(struct conn *c)
{
	if (c->state != CONN_STATE_OPEN)
		return;
	c->offer_read = true;
	conn_schedule(c);
}

void
conn_resume(struct conn *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	if (c->state != CONN_STATE_OPEN)
		return;
	if (c->in.len > c->in_used || c->eof || conn_has_buffered(c)) {
		c->offer_read = true;
		conn_schedule(c);
	}
	/* The poll's interest is put in order at the end of the turn. */
	conn_schedule_flush(c);
}

static enum conn_io
read_transport(struct conn *c, char *to, size_t size, size_t *out_count)
{
	if (c->tls)
		return conn_tls_read(c, to, size, out_count);
	for (;;) {
		ssize_t got = recv(c->fd, to, size, 0);
		if (got > 0) {
			*out_count = (size_t)got;
			return CONN_IO_DONE;
		}
		if (got == 0)
			return CONN_IO_EOF;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return CONN_IO_BLOCKED;
		if (errno != EINTR) {
			conn_fail(c, "cannot receive", strerror(errno));
			return CONN_IO_FAILED;
		}
	}
}

static void
append_input(struct conn *c, const char *bytes, size_t count)
{
	if (c->in_used > 0) {
		buf_consume(&c->in, c->in_used);
		c->in_used = 0;
	}
	buf_append(&c->in, slice_make(bytes, count));
	ENSURE(buf_ok(&c->in));
}

bool
conn_has_buffered(const struct conn *c)
{
	if (c->deflate && conn_inflate_has_more(c->deflate))
		return true;
	return c->tls && c->tls->phase == CONN_TLS_ON && !c->eof &&
	       !c->tls->read_blocked && SSL_has_pending(c->tls->ssl);
}

static void
receive_deflated(struct conn *c)
{
	char *scratch = loop_scratch(c->loop);
	size_t count = 0;
	if (!conn_inflate_has_more(c->deflate)) {
		enum conn_io io = read_transport(c, scratch, CONN_RAW_SIZE, &count);
		if (io == CONN_IO_EOF)
			c->eof = true;
		if (io != CONN_IO_DONE)
			return;
		conn_inflate_give(c->deflate, slice_make(scratch, count));
	}
	count = conn_inflate(c, scratch, conn_input_room(c));
	if (count > 0)
		append_input(c, scratch, count);
}

/* ---- in clear and TLS ---- */

void
conn_receive(struct conn *c)
{
	if (c->deflate) {
		receive_deflated(c);
		return;
	}
	char *scratch = loop_scratch(c->loop);
	size_t room = conn_input_room(c);
	size_t limit = room < LOOP_SCRATCH_SIZE ? room : LOOP_SCRATCH_SIZE;
	size_t total = 0;
	/* A TLS read gives one record at most, a socket read all there is.  Behind a
	 * small record there is mostly nothing, and the poll tells when there is: a
	 * receive that only says so is saved. */
	while (total < limit) {
		size_t got = 0;
		enum conn_io io = read_transport(c, scratch + total, limit - total, &got);
		if (io == CONN_IO_EOF)
			c->eof = true;
		if (io != CONN_IO_DONE)
			break;
		total += got;
		if (!c->tls || (got < TLS_MORE_MIN && !SSL_has_pending(c->tls->ssl)))
			break;
	}
	if (total > 0)
		append_input(c, scratch, total);
}

void
conn_input_fini(struct conn *c)
{
	release_input(c);
	if (c->deflate)
		conn_inflate_end(c->deflate);
}
