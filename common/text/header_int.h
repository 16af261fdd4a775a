/*
 * Pieces of header values that files of common/text share.  Pure.
 */
#ifndef TEXT_HEADER_INT_H
#define TEXT_HEADER_INT_H

#include "text/header.h"

/* RFC 2231: from parameters as written to joined and decoded ones.  When nothing is to
 * be joined, *out shares written's array. */
void header_value_join(
    const struct header_value *written, struct arena *arena, struct header_value *out);

#endif
