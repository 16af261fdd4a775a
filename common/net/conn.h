/*
 * A byte transport: one non-blocking stream socket on one loop, in clear or TLS (OpenSSL
 * directly on the descriptor), optionally with DEFLATE (RFC 4978) inside.  It knows
 * nothing of lines.  One event function per connection; a connection is never freed
 * inside its own callback (conn_close frees it at the end of the turn).
 *
 * Input: bytes lie in the receive buffer until conn_consume.  Reading stops by itself
 * while the buffer is full, or while conn_pause is in force.  After CONN_READ the owner
 * consumes what it can use; bytes left over are offered again when more arrive or after
 * conn_resume.
 * Output: conn_write copies; conn_write_file lends a range of a descriptor,
 * conn_write_lent one of memory.  All queue;
 * the queue is flushed at the end of the turn, or when conn_flush is called.  When more
 * than CONN_OUTPUT_HIGH bytes are queued the owner should stop producing until
 * CONN_DRAINED (queue below CONN_OUTPUT_LOW).  File ranges count with their length only
 * as they are read.  CONN_DRAINED comes in a later turn, and only when there was
 * something to wait for: at least CONN_OUTPUT_LOW bytes were queued, or a file range, or
 * the peer did not take all at once; and then when less than the low mark and no range is
 * left. Idle: with nothing to read or write a connection holds no buffer.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <sys/socket.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"
#include "net/loop.h"

struct conn;
struct tls_context;

enum {
	CONN_INPUT_MAX = 64 * 1024,    /* bytes held unread */
	CONN_OUTPUT_HIGH = 256 * 1024, /* bytes queued: stop producing */
	CONN_OUTPUT_LOW = 64 * 1024,   /* bytes queued: produce again */
	CONN_OUTPUT_MAX = 64 << 20,    /* bytes queued: the connection fails */
	CONN_LINGER_MS = 10 * 1000, /* a closed connection's output is flushed so long */
};

enum conn_event {
	CONN_READ,      /* there is input to consume */
	CONN_DRAINED,   /* the output queue fell below the low mark (or is empty) */
	CONN_SECURED,   /* the TLS handshake is done (both sides) */
	CONN_CONNECTED, /* conn_connect: the TCP connection stands */
	CONN_TIMEOUT,   /* the deadline of conn_deadline passed */
	CONN_CLOSED,    /* peer gone, error, or failed handshake; call conn_close now */
};

typedef void (*conn_event_fn)(struct conn *c, enum conn_event event, void *arg);

/* Wraps a connected socket (owned from here on), on the loop's thread. */
struct conn *conn_new(struct loop *loop, int fd, conn_event_fn fn, void *arg);
/* Begins to connect; `source` may be null.  CONN_CONNECTED or CONN_CLOSED follows.  Null
 * when the socket cannot be made (out of descriptors, no such family). */
struct conn *conn_connect(struct loop *loop, const struct sockaddr *to, socklen_t to_len,
    const struct sockaddr *source, socklen_t source_len, conn_event_fn fn, void *arg);
/* Changes the receiver of events (a session handed over). */
void conn_set_events(struct conn *c, conn_event_fn fn, void *arg);

/* Ends it: no more events; queued output is still flushed for at most CONN_LINGER_MS when
 * `flush`, then TLS close_notify and close.  Sets *c to null. */
void conn_close(struct conn **c, bool flush);

/* ---- input ---- */
struct slice conn_input(const struct conn *c);
void conn_consume(struct conn *c, size_t count);
/* Throws away all input that has been received but not consumed; for STARTTLS. */
void conn_discard_input(struct conn *c);
void conn_pause(struct conn *c);
/* Reading goes on; CONN_READ is sent in a later turn when input is waiting already. */
void conn_resume(struct conn *c);
/* Asks for one more CONN_READ in the next turn (the work budget of this one is spent). */
void conn_read_again(struct conn *c);

/* ---- output ---- */
void conn_write(struct conn *c, struct slice bytes);
void conn_write_format(struct conn *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Sends `len` bytes of fd from `offset`; `release` (may be null) is called with arg when
 * the range has been sent or the connection ends.  sendfile where it is clear text. */
void conn_write_file(
    struct conn *c, int fd, uint64_t offset, uint64_t len, loop_fn release, void *arg);
/* The same for bytes in memory, which stay where they are until `release`. */
void conn_write_lent(struct conn *c, struct slice bytes, loop_fn release, void *arg);
size_t conn_output_pending(const struct conn *c);
/* Bytes that the peer's TCP has not acknowledged: queued here or in the kernel (file
 * ranges not counted).  SIZE_MAX when the connection has failed: what was sent may be
 * lost. */
size_t conn_output_unacked(const struct conn *c);
void conn_flush(struct conn *c);

/* ---- layers ---- */
/* Server side of STARTTLS or implicit TLS: input not consumed yet is discarded, queued
 * output is flushed in clear first.  CONN_SECURED or CONN_CLOSED follows. */
void conn_start_tls_server(struct conn *c, struct tls_context *context);
/* Client side.  `name` is the reference identity for SNI and, when `verify`, for the
 * certificate; both name checks and chain follow RFC 6125. */
void conn_start_tls_client(
    struct conn *c, struct tls_context *context, const char *name, bool verify);
/* The same with DANE (RFC 7672): the certificate must match one of the TLSA records
 * (rdata).  Usages DANE-TA and DANE-EE count; for DANE-TA one of `names` must be the
 * certificate's, the first is sent as SNI.  False, and nothing is begun, when no record
 * can be used. */
bool conn_start_tls_dane(struct conn *c, struct tls_context *context,
    const char *const *names, size_t name_count, const struct slice *tlsa,
    size_t tlsa_count);
bool conn_is_secure(const struct conn *c);
/* For logs and Received fields: "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty in clear. */
struct slice conn_tls_text(const struct conn *c);
/* Why the connection or handshake failed, one line, for logs; never null. */
const char *conn_error(const struct conn *c);
/* What OpenSSL says of the peer's certificate, X509_V_*; 0 without TLS or a check. */
long conn_verify_code(const struct conn *c);
/* tls-exporter channel binding (RFC 9266), 32 bytes; false in clear. */
bool conn_channel_binding(struct conn *c, unsigned char out[32]);
/* tls-server-end-point channel binding (RFC 5929 section 4): the hash of the server's
 * certificate; its length, 0 in clear or when the certificate defines none. */
enum { CONN_END_POINT_MAX = 64 };
size_t conn_server_end_point(struct conn *c, unsigned char out[CONN_END_POINT_MAX]);
/* Server side: the mail addresses in the client's certificate, if it has one that was
 * verified (tls_context_ask_clients): appended one a line, at most
 * CONN_CLIENT_ADDRESSES_MAX.  RFC 822 names and RFC 8398 mailboxes of the subject's
 * alternative names; without any, the subject's e-mail addresses. */
enum { CONN_CLIENT_ADDRESSES_MAX = 8 };
void conn_client_addresses(struct conn *c, struct buf *out);
/* DEFLATE both ways from the next byte on (RFC 4978).  STATUS_LIMIT: out of memory. */
enum status conn_start_deflate(struct conn *c) MUST_USE;
bool conn_is_deflated(const struct conn *c);

/* ---- the rest ---- */
/* CONN_TIMEOUT once, `ms` from now, unless moved; 0 ends it. */
void conn_deadline(struct conn *c, uint64_t ms);
struct loop *conn_loop(const struct conn *c);
/* The peer's and our own address as text: "192.0.2.1", "2001:db8::1". */
const char *conn_peer_text(const struct conn *c);
uint16_t conn_peer_port(const struct conn *c);
const char *conn_local_text(const struct conn *c);
uint16_t conn_local_port(const struct conn *c);
const struct sockaddr *conn_peer(const struct conn *c);
/* The peer is who a trusted proxy says it is: AF_INET or AF_INET6. */
void conn_set_peer(struct conn *c, const struct sockaddr_storage *peer);

#endif
