/*
 * The connection's inside, shared by conn.c (life, events, readiness), conn_input.c
 * (reading and inflating), conn_output.c (queue, deflating, sending) and conn_tls.c.
 * Private to common/net.
 *
 * Two output lists: `wire` holds what goes to the transport as it is (the transport being
 * the socket or, once the handshake is done, TLS); `queue` holds what must wait: for the
 * handshake to end, or to be deflated.
 */
#ifndef NET_CONN_INT_H
#define NET_CONN_INT_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/un.h>
#include <uv.h>
#include <zlib.h>

#include "base/buf.h"
#include "net/conn.h"
#include "net/loop_int.h"
#include "net/tls.h"

enum {
	CONN_MAGIC = 0xc0221ec7,
	CONN_CHUNK_SIZE = 16 * 1024,      /* bytes of one output piece; one TLS record */
	CONN_CHUNK_SMALL = 1024,          /* the first piece of an empty queue */
	CONN_TURN_OUTPUT_MAX = 1 << 20,   /* bytes sent for one connection in one turn */
	CONN_WIRE_HIGH = 64 * 1024,       /* deflated bytes ready to be sent */
	CONN_RAW_SIZE = 16 * 1024,        /* bytes read at once for inflating */
	CONN_DRAIN_BYTES_MAX = 1 << 20,   /* thrown away after our side is closed */
	CONN_DEFLATE_IDLE_MS = 20 * 1000, /* then the compressor is freed */
	CONN_ADDRESS_TEXT_SIZE = 48,
};

enum conn_state {
	CONN_STATE_CONNECTING,
	CONN_STATE_OPEN,
	CONN_STATE_FAILED, /* CONN_CLOSED is due or told; waits for conn_close */
	CONN_STATE_LINGER, /* owner gone, output is still flushed */
	CONN_STATE_DRAIN,  /* owner gone, our side shut; input is thrown away */
	CONN_STATE_GONE,   /* freed when libuv lets go of the handle */
};

enum conn_tls_phase {
	CONN_TLS_WAITS, /* for clear output to be flushed */
	CONN_TLS_HANDSHAKE,
	CONN_TLS_ON,
	CONN_TLS_BROKEN, /* OpenSSL reported a fatal error: not even a close_notify */
};

struct conn_tls {
	SSL *ssl;
	struct tls_context *context;
	enum conn_tls_phase phase;
	bool handshake_writes; /* the handshake waits for the socket to be writable */
	bool read_blocked;     /* the last read found no whole record */
	bool read_wants_write;
	bool write_wants_read;
	char text[64];
};

struct conn_deflate {
	z_stream out;
	bool out_ready; /* `out` is initialised */
	bool out_dirty; /* bytes went in since the last sync flush */
	z_stream in;
	bool in_ready; /* `in` is initialised */
	bool in_more;  /* inflate has output that did not fit */
	bool in_ended;
	char *window; /* what `in` must know when it is made anew; may be null */
	size_t window_len;
	struct buf raw;  /* received, not inflated */
	size_t raw_used; /* bytes at its front that are done */
	struct loop_timer idle;
};

struct conn_out {
	struct list node;
	bool is_file;
	/* bytes */
	size_t begin;
	size_t end;
	size_t cap;
	/* file, or bytes that are lent */
	const char *lent; /* null: a file */
	int fd;
	uint64_t offset;
	uint64_t left;
	loop_fn release;
	void *arg;
	char bytes[];
};

union conn_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct conn {
	unsigned magic;
	int fd;
	struct loop *loop;
	conn_event_fn fn; /* null once the owner has let go */
	void *arg;
	enum conn_state state;

	bool paused : 1;
	bool eof : 1;
	bool told_closed : 1;
	bool end_due : 1;        /* the peer's end of stream is to be told next turn */
	bool offer_read : 1;     /* CONN_READ is due in the next turn */
	bool drained_due : 1;    /* CONN_DRAINED is due in the next turn */
	bool drained_wanted : 1; /* there was enough output that the owner may wait */
	bool blocked : 1;        /* the socket takes no more output now */
	bool flushing : 1;
	bool no_sendfile : 1;

	uv_poll_t poll;
	int poll_events;
	struct loop_hook flush_hook;
	struct loop_hook again_hook;
	struct loop_hook end_hook;
	struct loop_timer deadline;

	struct buf in;
	size_t in_used; /* bytes at its front that are consumed */

	struct list wire;
	struct list queue;
	size_t out_bytes; /* in both lists, file ranges not counted */
	size_t wire_bytes;
	size_t file_count;    /* ranges in both lists */
	size_t drained_bytes; /* thrown away in CONN_STATE_DRAIN */

	struct conn_tls *tls;
	struct conn_deflate *deflate;
	char *error;

	union conn_address peer;
	uint16_t local_port;
	char peer_text[CONN_ADDRESS_TEXT_SIZE];
	char local_text[CONN_ADDRESS_TEXT_SIZE];
};

/* conn.c */
/* Ends it for the owner: CONN_CLOSED follows in the next turn.  The first reason stays.
 */
void conn_fail(struct conn *c, const char *what, const char *reason);
void conn_schedule(struct conn *c);
void conn_schedule_flush(struct conn *c);
/* Adjusts what libuv watches.  Interest in reading is given up only with `drop`, when it
 * has proved useless: pause and resume within a turn then cost no system call. */
void conn_update_poll(struct conn *c, bool drop);
bool conn_emit(struct conn *c, enum conn_event event);
/* The output of a closed connection has been sent. */
void conn_linger_sent(struct conn *c);

/* conn_input.c */
/* Reads what the transport has, at most a buffer full. */
void conn_receive(struct conn *c);
/* True while conn_receive would find bytes without asking the socket. */
bool conn_has_buffered(const struct conn *c);
size_t conn_input_room(const struct conn *c);
void conn_input_fini(struct conn *c);

/* conn_output.c */
void conn_send(struct conn *c);
void conn_output_fini(struct conn *c);
/* What was held for the handshake may go. */
void conn_output_secured(struct conn *c);

/* Appends to the wire: what the compressor gives. */
void conn_queue_wire(struct conn *c, struct slice bytes);

/* conn_deflate.c */
/* Compresses into the wire; with `flush` all that was given so far can be read. */
void conn_deflate_bytes(struct conn *c, struct slice bytes, bool flush);
bool conn_inflate_has_more(const struct conn_deflate *d);
void conn_inflate_give(struct conn_deflate *d, struct slice raw);
/* Expands at most `size` bytes into `to`; tells end and damage to the connection. */
size_t conn_inflate(struct conn *c, char *to, size_t size);
/* No more input is wanted. */
void conn_inflate_end(struct conn_deflate *d);
void conn_deflate_fini(struct conn *c);

/* conn_tls.c */
enum conn_io { CONN_IO_DONE, CONN_IO_BLOCKED, CONN_IO_EOF, CONN_IO_FAILED };
bool conn_tls_starting(const struct conn *c);
void conn_tls_step(struct conn *c);
enum conn_io conn_tls_read(struct conn *c, char *to, size_t size, size_t *out_count);
enum conn_io conn_tls_write(
    struct conn *c, const char *from, size_t size, size_t *out_count);
void conn_tls_shutdown(struct conn *c);
void conn_tls_fini(struct conn *c);

#endif
