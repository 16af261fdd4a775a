/*
 * Bodies on disk.  A segment file begins with a header of BODY_SEGMENT_HEADER_SIZE bytes
 * and holds frames; a frame is a header of BODY_FRAME_HEADER_SIZE bytes directly followed
 * by the message bytes.  Frames of shared segments start at multiples of
 * BODY_FRAME_ALIGN.  What LMDB does not refer to is garbage, so a torn tail needs no
 * repair; headers are there for checks and for salvage.  Big-endian.
 *
 *	segment header               frame header
 *	0  8 "PRSEGMNT"              0  4 magic 0x5052464d "PRFM"
 *	8  4 format version 1        4  1 version 1
 *	12 52 zero                   5  3 zero
 *	                             8  8 size of the message bytes
 *	                             16 4 CRC-32C of the message bytes
 *	                             20 4 CRC-32C of bytes 0 to 19
 *
 * Pure.
 */
#ifndef STORE_BODY_FRAME_H
#define STORE_BODY_FRAME_H

#include "base/slice.h"

enum {
	BODY_SEGMENT_HEADER_SIZE = 64, /* bytes */
	BODY_SEGMENT_VERSION = 1,
	BODY_FRAME_HEADER_SIZE = 24, /* bytes */
	BODY_FRAME_VERSION = 1,
	BODY_FRAME_ALIGN = 8,
};

void body_segment_header_put(char out[BODY_SEGMENT_HEADER_SIZE]);
bool body_segment_header_ok(const char *header);

void body_frame_header_put(char out[BODY_FRAME_HEADER_SIZE], uint64_t size, uint32_t crc);
/* False when it is not a frame header. */
bool body_frame_header_get(const char *header, uint64_t *out_size, uint32_t *out_crc);

#endif
