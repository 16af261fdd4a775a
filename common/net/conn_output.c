/*
 * The sending half of a connection: owner → queue → (deflate) → wire → transport.
 *
 * Invariants
 *  1. Bytes leave in the order in which they were queued, file ranges included.
 *  2. What is written in a turn leaves with one send where the transport allows it
 *     (sendmsg over all pieces; one TLS record per CONN_CHUNK_SIZE).
 *  3. A file range in TLS or DEFLATE is read piece by piece, never ahead of the socket by
 *     more than CONN_WIRE_HIGH.
 *  4. The compressor is at a flush boundary whenever `queue` is empty at the end of a
 *     send.
 *
 * Thread: the loop's.  RFC 4978.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/ensure.h"
#include "net/conn_int.h"

enum {
	IOV_COUNT_MAX = 16,
	FORMAT_STACK_SIZE = 1024,
};

static struct conn_out *
first_out(const struct list *list)
{
	return LIST_ENTRY(list->next, struct conn_out, node);
}

/* Appends a copy of the bytes to one of the two lists. */
static void
queue_bytes(struct conn *c, struct list *list, struct slice bytes)
{
	c->out_bytes += bytes.len;
	if (list == &c->wire)
		c->wire_bytes += bytes.len;
	if (!list_is_empty(list)) {
		struct conn_out *last = LIST_ENTRY(list->prev, struct conn_out, node);
		size_t room = last->is_file ? 0 : last->cap - last->end;
		size_t count = bytes.len < room ? bytes.len : room;
		if (count > 0)
			memcpy(last->bytes + last->end, bytes.ptr, count);
		last->end += count;
		bytes = slice_from(bytes, count);
	}
	while (bytes.len > 0) {
		size_t cap = list_is_empty(list) ? CONN_CHUNK_SMALL : CONN_CHUNK_SIZE;
		if (cap < bytes.len)
			cap = bytes.len < CONN_CHUNK_SIZE ? bytes.len : CONN_CHUNK_SIZE;
		size_t count = bytes.len < cap ? bytes.len : cap;
		struct conn_out *out = xmalloc(sizeof(*out) + cap);
		*out = (struct conn_out){.cap = cap, .end = count};
		memcpy(out->bytes, bytes.ptr, count);
		list_append(list, &out->node);
		bytes = slice_from(bytes, count);
	}
}

static void
free_out(struct conn *c, struct conn_out *out)
{
	list_remove(&out->node);
	if (out->is_file) {
		c->file_count--;
		if (out->release)
			loop_defer(c->loop, out->release, out->arg);
	}
	free(out);
}

static bool
takes_output(const struct conn *c)
{
	return c->state == CONN_STATE_CONNECTING || c->state == CONN_STATE_OPEN;
}

/* Where new output goes. */
static struct list *
target_list(struct conn *c)
{
	return c->deflate || conn_tls_starting(c) ? &c->queue : &c->wire;
}

void
conn_write(struct conn *c, struct slice bytes)
{
	ENSURE(c->magic == CONN_MAGIC && c->fn);
	loop_check_thread(c->loop);
	if (bytes.len == 0 || !takes_output(c))
		return;
	if (bytes.len > CONN_OUTPUT_MAX - c->out_bytes) {
		conn_fail(c, "connection", "too much output is queued");
		return;
	}
	queue_bytes(c, target_list(c), bytes);
	if (c->out_bytes >= CONN_OUTPUT_LOW)
		c->drained_wanted = true;
	conn_schedule_flush(c);
}

void
conn_write_format(struct conn *c, const char *format, ...)
{
	char stack[FORMAT_STACK_SIZE];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(stack, sizeof(stack), format, args);
	va_end(args);
	ENSURE(len >= 0);
	if ((size_t)len < sizeof(stack)) {
		conn_write(c, slice_make(stack, (size_t)len));
		return;
	}
	char *heap = xmalloc((size_t)len + 1);
	va_start(args, format);
	vsnprintf(heap, (size_t)len + 1, format, args);
	va_end(args);
	conn_write(c, slice_make(heap, (size_t)len));
	free(heap);
}

/* With `lent` the bytes there, else those of the file. */
static void
queue_range(struct conn *c, const struct conn_out *range)
{
	ENSURE(c->magic == CONN_MAGIC && c->fn);
	loop_check_thread(c->loop);
	if (range->left == 0 || !takes_output(c)) {
		if (range->release)
			loop_defer(c->loop, range->release, range->arg);
		return;
	}
	struct conn_out *out = xmalloc(sizeof(*out));
	*out = *range;
	out->is_file = true;
	list_append(target_list(c), &out->node);
	c->file_count++;
	c->drained_wanted = true;
	conn_schedule_flush(c);
}

void
conn_write_file(
    struct conn *c, int fd, uint64_t offset, uint64_t len, loop_fn release, void *arg)
{
	ENSURE(fd >= 0 && offset <= INT64_MAX && len <= INT64_MAX - offset);
	const struct conn_out range = {
	    .fd = fd, .offset = offset, .left = len, .release = release, .arg = arg};
	queue_range(c, &range);
}

void
conn_write_lent(struct conn *c, struct slice bytes, loop_fn release, void *arg)
{
	const struct conn_out range = {.lent = bytes.ptr,
	    .fd = -1,
	    .left = bytes.len,
	    .release = release,
	    .arg = arg};
	queue_range(c, &range);
}

void
conn_queue_wire(struct conn *c, struct slice bytes)
{
	queue_bytes(c, &c->wire, bytes);
}

size_t
conn_output_pending(const struct conn *c)
{
	return c->out_bytes;
}

size_t
conn_output_unacked(const struct conn *c)
{
	int unacked = 0;
	if (c->state != CONN_STATE_OPEN || ioctl(c->fd, SIOCOUTQ, &unacked) != 0)
		return SIZE_MAX;
	return c->out_bytes + (size_t)unacked;
}

void
conn_flush(struct conn *c)
{
	ENSURE(c->magic == CONN_MAGIC && c->fn);
	conn_send(c);
	conn_update_poll(c, false);
}

/* ---- file ranges by piece ---- */

/* Reads the next piece of a range; 0 when that failed (the connection has failed then:
 * its peer was promised those bytes). */
static size_t
read_piece(struct conn *c, struct conn_out *file, char *to, size_t size)
{
	if (size > file->left)
		size = (size_t)file->left;
	if (file->lent) {
		memcpy(to, file->lent + file->offset, size);
		file->offset += size;
		file->left -= size;
		return size;
	}
	ssize_t got;
	do {
		got = pread(file->fd, to, size, (off_t)file->offset);
	} while (got < 0 && errno == EINTR);
	if (got <= 0) {
		conn_fail(c, "cannot read a file range",
		    got < 0 ? strerror(errno) : "the file is too short");
		return 0;
	}
	file->offset += (uint64_t)got;
	file->left -= (uint64_t)got;
	return (size_t)got;
}

/* Puts the next piece of the range at the head of the wire in front of it. */
static bool
stage_file(struct conn *c, struct conn_out *file)
{
	struct conn_out *out = xmalloc(sizeof(*out) + CONN_CHUNK_SIZE);
	*out = (struct conn_out){.cap = CONN_CHUNK_SIZE};
	out->end = read_piece(c, file, out->bytes, CONN_CHUNK_SIZE);
	if (out->end == 0) {
		free(out);
		return false;
	}
	c->out_bytes += out->end;
	c->wire_bytes += out->end;
	list_prepend(&c->wire, &out->node);
	if (file->left == 0)
		free_out(c, file);
	return true;
}

/* ---- through the compressor ---- */

static void
deflate_head(struct conn *c, struct conn_out *out)
{
	if (out->is_file) {
		char *scratch = loop_scratch(c->loop);
		size_t got = read_piece(c, out, scratch, CONN_CHUNK_SIZE);
		if (got == 0)
			return;
		conn_deflate_bytes(c, slice_make(scratch, got), false);
		if (out->left == 0)
			free_out(c, out);
		return;
	}
	size_t count = out->end - out->begin;
	conn_deflate_bytes(c, slice_make(out->bytes + out->begin, count), false);
	c->out_bytes -= count;
	free_out(c, out);
}

/* Moves queued output through the compressor while the wire is short of bytes. */
static void
fill_wire(struct conn *c)
{
	if (!c->deflate || conn_tls_starting(c))
		return;
	enum conn_state state = c->state;
	while (!list_is_empty(&c->queue) && c->wire_bytes < CONN_WIRE_HIGH) {
		deflate_head(c, first_out(&c->queue));
		/* A range that cannot be read ends the connection, and `deflate` with it.
		 */
		if (c->state != state)
			return;
	}
	if (list_is_empty(&c->queue) && c->deflate->out_dirty)
		conn_deflate_bytes(c, SLICE_NULL, true);
}

/* ---- sending ---- */

static void
consume_wire(struct conn *c, size_t count)
{
	c->out_bytes -= count;
	c->wire_bytes -= count;
	while (count > 0) {
		struct conn_out *out = first_out(&c->wire);
		size_t here = out->end - out->begin;
		if (count < here) {
			out->begin += count;
			return;
		}
		count -= here;
		free_out(c, out);
	}
}

static enum conn_io
send_bytes(struct conn *c, size_t *out_count)
{
	struct iovec iov[IOV_COUNT_MAX];
	struct msghdr message = {.msg_iov = iov};
	int flags = MSG_NOSIGNAL;
	LIST_EACH(&c->wire, node)
	{
		struct conn_out *out = LIST_ENTRY(node, struct conn_out, node);
		if (out->is_file || message.msg_iovlen == IOV_COUNT_MAX) {
			flags |= MSG_MORE; /* the rest follows at once */
			break;
		}
		iov[message.msg_iovlen].iov_base = out->bytes + out->begin;
		iov[message.msg_iovlen++].iov_len = out->end - out->begin;
	}
	ssize_t sent = sendmsg(c->fd, &message, flags);
	if (sent < 0)
		return CONN_IO_FAILED;
	consume_wire(c, (size_t)sent);
	*out_count = (size_t)sent;
	return CONN_IO_DONE;
}

static enum conn_io
send_file(struct conn *c, struct conn_out *file, size_t budget, size_t *out_count)
{
	off_t offset = (off_t)file->offset;
	size_t size = file->left < budget ? (size_t)file->left : budget;
	ssize_t sent = sendfile(c->fd, file->fd, &offset, size);
	if (sent < 0)
		return CONN_IO_FAILED;
	if (sent == 0) {
		conn_fail(c, "cannot read a file range", "the file is too short");
		return CONN_IO_EOF;
	}
	file->offset += (uint64_t)sent;
	file->left -= (uint64_t)sent;
	*out_count = (size_t)sent;
	if (file->left == 0)
		free_out(c, file);
	return CONN_IO_DONE;
}

static enum conn_io
send_clear(struct conn *c, size_t budget, size_t *out_count)
{
	struct conn_out *head = first_out(&c->wire);
	bool by_sendfile = head->is_file && !head->lent && !c->no_sendfile;
	if (head->is_file && !by_sendfile && !stage_file(c, head))
		return CONN_IO_EOF;
	enum conn_io io = by_sendfile ? send_file(c, head, budget, out_count)
	                              : send_bytes(c, out_count);
	if (io != CONN_IO_FAILED)
		return io;
	if (errno == EINTR)
		return CONN_IO_DONE;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return CONN_IO_BLOCKED;
	/* Not every file system can; reading can. */
	if (by_sendfile && (errno == EINVAL || errno == ENOSYS || errno == EOVERFLOW)) {
		c->no_sendfile = true;
		return CONN_IO_DONE;
	}
	conn_fail(c, "cannot send", strerror(errno));
	return CONN_IO_FAILED;
}

static enum conn_io
send_tls(struct conn *c, size_t *out_count)
{
	struct conn_out *head = first_out(&c->wire);
	if (head->is_file && !stage_file(c, head))
		return CONN_IO_EOF;
	head = first_out(&c->wire);
	enum conn_io io = conn_tls_write(
	    c, head->bytes + head->begin, head->end - head->begin, out_count);
	if (io == CONN_IO_DONE)
		consume_wire(c, *out_count);
	return io;
}

static void
finish_send(struct conn *c)
{
	bool empty = list_is_empty(&c->wire) && list_is_empty(&c->queue);
	if (c->state == CONN_STATE_LINGER && empty) {
		conn_linger_sent(c);
		return;
	}
	if (c->state != CONN_STATE_OPEN)
		return;
	if (c->tls && c->tls->phase == CONN_TLS_WAITS && list_is_empty(&c->wire))
		c->tls->phase = CONN_TLS_HANDSHAKE;
	if (c->blocked)
		c->drained_wanted = true;
	if (c->drained_wanted && c->out_bytes < CONN_OUTPUT_LOW && c->file_count == 0) {
		c->drained_wanted = false;
		c->drained_due = true;
		conn_schedule(c);
	}
}

void
conn_send(struct conn *c)
{
	if (c->flushing || c->blocked ||
	    (c->state != CONN_STATE_OPEN && c->state != CONN_STATE_LINGER))
		return;
	if (c->tls && c->tls->phase != CONN_TLS_WAITS && c->tls->phase != CONN_TLS_ON)
		return;
	c->flushing = true;
	size_t budget = CONN_TURN_OUTPUT_MAX;
	bool secure = conn_is_secure(c);
	enum conn_io io = CONN_IO_DONE;
	enum conn_state state = c->state;
	fill_wire(c);
	while (io == CONN_IO_DONE && c->state == state && !list_is_empty(&c->wire) &&
	       budget > 0) {
		size_t sent = 0;
		io = secure ? send_tls(c, &sent) : send_clear(c, budget, &sent);
		budget -= sent < budget ? sent : budget;
		if (c->state == state)
			fill_wire(c);
	}
	c->flushing = false;
	/* Out of budget counts as blocked: the socket is writable and the next turn goes
	 * on.  While TLS wants to read first, waiting for writability would spin. */
	c->blocked = c->state == state && !list_is_empty(&c->wire) &&
	             !(c->tls && c->tls->write_wants_read);
	finish_send(c);
}

static void
free_list(struct conn *c, struct list *list)
{
	while (!list_is_empty(list))
		free_out(c, first_out(list));
}

void
conn_output_fini(struct conn *c)
{
	free_list(c, &c->wire);
	free_list(c, &c->queue);
	c->out_bytes = c->wire_bytes = 0;
}

void
conn_output_secured(struct conn *c)
{
	if (c->deflate)
		return;
	struct list *node;
	while ((node = list_pop(&c->queue)))
		list_append(&c->wire, node);
	c->wire_bytes = c->out_bytes;
	if (!list_is_empty(&c->wire))
		conn_schedule_flush(c);
}
