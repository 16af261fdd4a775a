/*
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4) of a byte string.  Pure.
 */
#ifndef TEXT_CRC32C_INT_H
#define TEXT_CRC32C_INT_H

#include "base/slice.h"

uint32_t crc32c(struct slice s);
/* Without the processor's instruction; the same sum (for tests). */
uint32_t crc32c_portable(struct slice s);

#endif
