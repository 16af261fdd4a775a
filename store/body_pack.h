/*
 * A message's bytes packed for the disk: what a frame holds instead of them when the
 *store compresses and it pays (decision 0076).  It says itself what it is, so that a
 *frame can be read without its record.  Big-endian.
 *
 *	0  4 magic 0x50524c5a "PRLZ"
 *	4  4 CRC-32C of the message bytes
 *	8  8 size of the message bytes
 *	16   zlib stream (RFC 1950)
 *
 * Packing and unpacking take memory in proportion to the message, so only messages up to
 * BODY_PACK_RAW_MAX are packed; larger ones are read from their files.  Pure.
 */
#ifndef STORE_BODY_PACK_H
#define STORE_BODY_PACK_H

#include "base/buf.h"
#include "base/slice.h"

enum {
	BODY_PACK_HEAD_SIZE = 16,       /* bytes */
	BODY_PACK_RAW_MIN = 512,        /* bytes; a smaller message is left as it is */
	BODY_PACK_RAW_MAX = 256 * 1024, /* bytes; a larger one too */
	BODY_PACK_SAVES = 8,            /* at least one part in so many must be saved */
	BODY_PACK_LEVEL = 6,            /* zlib's, 1 to 9 */
};

/* Appends the packed form.  False, with nothing appended: it does not pay, or the message
 * is too small or too large. */
bool body_pack(struct slice raw, uint32_t raw_crc, int level, struct buf *out);
/* False when it is not the beginning of a packed body, or of one that is too large. */
bool body_pack_head(struct slice packed, uint64_t *out_raw_size, uint32_t *out_raw_crc);
/* The message bytes into `out`, which has room for raw_size; false unless they are
 * exactly so many, have this checksum, and nothing is behind them.  Never writes more. */
bool body_unpack(struct slice packed, uint64_t raw_size, uint32_t raw_crc, char *out);

#endif
