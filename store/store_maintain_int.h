/*
 * Steps of reclaiming that others start too.  Private to store/.
 */
#ifndef STORE_STORE_MAINTAIN_INT_H
#define STORE_STORE_MAINTAIN_INT_H

#include "store/store_int.h"

/* One bounded step of emptying the partition of an account that has left the directory
 * (it has a G mark there); *out_more is false when the mark is gone too.  Waits. */
enum status account_empty_step(
    struct store *store, struct account_id id, bool *out_more) MUST_USE;

#endif
