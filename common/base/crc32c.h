/*
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4) of bytes: what guards bodies, derived
 * records and backups against a flipped bit.  No defence against an attacker.  Pure.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/slice.h"

/* Goes on from `crc`, the sum of the bytes before these; 0 for the first. */
uint32_t crc32c(uint32_t crc, struct slice bytes);
/* Without the processor's instruction; the same sum (for tests). */
uint32_t crc32c_portable(uint32_t crc, struct slice bytes);

#endif
