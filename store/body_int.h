/*
 * What the engines see of a draft.  A draft belongs to one engine and remembers, for each
 * environment of it, where its bytes were placed; that slot is touched by the
 * environment's writer thread only.  All else is constant after seal.
 */
#ifndef STORE_BODY_INT_H
#define STORE_BODY_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/body.h"
#include "store/body_frame.h"

enum { ENGINE_ENVS_MAX = 2 + 16 };

struct engine;
struct engine_segment;

struct body_place {
	struct engine_segment *segment; /* counted; null: not placed */
	void *memory;                   /* engine_mem's */
	uint64_t body;
	uint64_t offset; /* of the first message byte */
	bool redo;       /* not synced: its bytes go into the transaction */
};

struct body_draft {
	unsigned magic;
	_Atomic uint32_t refs;
	struct body_draft *next;
	const char *spool; /* borrowed from the engine; null: never spills */
	uint64_t size_max; /* bytes, prefix included */
	uint64_t size;
	enum status status; /* sticky */
	bool sealed;
	struct buf prefix;
	struct buf memory; /* until it spills */
	size_t shared;     /* bytes that it has taken of BODY_SHARED_BYTES_MAX */
	int fd;            /* the spool file, or -1 */
	char *map;         /* of the whole spool file, after seal */
	size_t map_size;
	uint64_t start; /* of the first message byte in the spool file, after seal */
	uint32_t crc;
	bool packs;        /* the store compresses */
	struct buf packed; /* what goes to the disk instead of the bytes; or empty */
	uint32_t packed_crc;
	uint8_t line_end_missing; /* octets; after seal */
	struct buf derived;
	/* The engine's; lets a place go. */
	void (*place_release)(struct body_place *place);
	struct body_place places[ENGINE_ENVS_MAX];
};

/* What the frame holds: the packed form when there is one, else the bytes; after seal. */
struct slice body_draft_stored(struct body_draft *draft);
uint32_t body_draft_stored_crc(const struct body_draft *draft);

/* status_from_errno for files of bodies that could not be opened or mapped; tells the
 * log, once a second at most, when the process or the machine has no more descriptors or
 * memory. */
enum status body_errno_status(int err) MUST_USE;

#endif
