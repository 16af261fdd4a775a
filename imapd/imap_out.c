/*
 * A session's output: what commands wrote into the worker's scratch buffer goes to the
 * connection, and ranges of message files go behind it.
 *
 * The scratch buffer is empty whenever no session is on the stack; its size is bounded by
 * IMAP_OUT_MAX, and generators stop at imap_out_full.  Thread: the worker's loop.
 */
#include "imapd/imap_int.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"

void
imap_out_flush(struct imap_session *s)
{
	struct buf *out = &s->worker->out;

	if (!buf_ok(out)) {
		/* Cannot be told in step any more. */
		LOG_WARN(
		    "imap.output", LF_STR("sid", s->id), LF_U64("limit", IMAP_OUT_MAX));
		s->closing = true;
	} else if (s->conn && out->len > 0) {
		s->bytes_out += out->len;
		conn_write(s->conn, buf_slice(out));
	}
	buf_reset(out);
	if (out->cap > IMAP_TURN_BYTES)
		buf_release_if_empty(out);
}

bool
imap_out_full(struct imap_session *s)
{
	return s->ranges >= IMAP_RANGES_MAX ||
	       s->worker->out.len + (s->conn ? conn_output_pending(s->conn) : 0) >
	           CONN_OUTPUT_HIGH;
}

struct range_sent {
	struct imap_session *session;
	struct body_handle handle;
};

static void
on_range_sent(void *arg)
{
	struct range_sent *r = arg;
	struct imap_session *s = OBJ_CAST(imap_session, r->session, IMAP_SESSION_MAGIC);

	body_handle_close(&r->handle);
	free(r);
	s->ranges--;
	s->ops_pending--;
	if (s->phase == IMAP_PHASE_RUN)
		imap_run(s);
	imap_leave(s);
}

void
imap_out_range(
    struct imap_session *s, struct body_handle *handle, uint64_t offset, uint64_t len)
{
	ENSURE(offset <= handle->size && len <= handle->size - offset);
	if (len < IMAP_RANGE_MIN || !s->conn) {
		buf_append(imap_out(s), slice_make(handle->map + offset, (size_t)len));
		body_handle_close(handle);
		return;
	}
	imap_out_flush(s);
	struct range_sent *r = xcalloc(1, sizeof(*r));
	*r = (struct range_sent){s, *handle};
	*handle = (struct body_handle){.fd = -1};
	s->ranges++;
	s->ops_pending++;
	s->bytes_out += len;
	if (r->handle.fd >= 0)
		conn_write_file(s->conn, r->handle.fd, r->handle.offset + offset, len,
		    on_range_sent, r);
	else
		conn_write_lent(s->conn, slice_make(r->handle.map + offset, (size_t)len),
		    on_range_sent, r);
}
