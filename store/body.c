/*
 * The door from the store to its engine's drafts.  In a file of its own, so that the
 * engine's tests link without the store above it.
 */
#include "store/body.h"

#include "store/engine.h"
#include "store/store_int.h"

struct body_draft *
body_draft_new(struct store *store, uint64_t size_max)
{
	return engine_draft_new(store_engine(store), size_max);
}
