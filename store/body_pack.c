/*
 * Packed bodies: zlib in one piece, from memory to memory.
 *
 * The window and the hash tables are as large as the message needs: for a mail of 4 KB,
 * clearing tables of 256 KB would cost more than compressing it.
 */
#include "store/body_pack.h"

#include <zlib.h>

#include "base/crc32c.h"

enum {
	PACK_MAGIC = 0x50524c5a,
	PACK_WINDOW_MIN = 10, /* bits; 8 and 9 have bugs in some zlibs */
	PACK_WINDOW_MAX = 15,
	PACK_MEMORY_LESS = 6, /* memory level of a window of so many bits more */
};

_Static_assert(BODY_PACK_RAW_MAX < UINT32_MAX / 2, "sizes fit zlib's");

static int
window_bits(size_t size)
{
	int bits = PACK_WINDOW_MIN;
	while (bits < PACK_WINDOW_MAX && (size_t)1 << bits < size)
		bits++;
	return bits;
}

bool
body_pack(struct slice raw, uint32_t raw_crc, int level, struct buf *out)
{
	z_stream z = {0};
	int bits = window_bits(raw.len);
	if (raw.len < BODY_PACK_RAW_MIN || raw.len > BODY_PACK_RAW_MAX)
		return false;
	size_t room = raw.len - raw.len / BODY_PACK_SAVES;
	int memory = bits - PACK_MEMORY_LESS < 8 ? bits - PACK_MEMORY_LESS : 8;
	if (!buf_reserve(out, room) ||
	    deflateInit2(&z, level, Z_DEFLATED, bits, memory, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	char *head = out->ptr + out->len;
	z.next_in = (unsigned char *)(uintptr_t)raw.ptr;
	z.avail_in = (unsigned)raw.len;
	z.next_out = (unsigned char *)head + BODY_PACK_HEAD_SIZE;
	z.avail_out = (unsigned)(room - BODY_PACK_HEAD_SIZE);
	bool pays = deflate(&z, Z_FINISH) == Z_STREAM_END; /* else it has no room */
	size_t len = room - z.avail_out;
	deflateEnd(&z);
	if (!pays)
		return false;
	be32_put(head, PACK_MAGIC);
	be32_put(head + 4, raw_crc);
	be64_put(head + 8, raw.len);
	buf_commit(out, len);
	return true;
}

bool
body_pack_head(struct slice packed, uint64_t *out_raw_size, uint32_t *out_raw_crc)
{
	if (packed.len <= BODY_PACK_HEAD_SIZE || be32_get(packed.ptr) != PACK_MAGIC)
		return false;
	*out_raw_crc = be32_get(packed.ptr + 4);
	*out_raw_size = be64_get(packed.ptr + 8);
	return *out_raw_size > 0 && *out_raw_size <= BODY_PACK_RAW_MAX;
}

bool
body_unpack(struct slice packed, uint64_t raw_size, uint32_t raw_crc, char *out)
{
	z_stream z = {0};
	uint64_t size;
	uint32_t crc;
	if (!body_pack_head(packed, &size, &crc) || size != raw_size || crc != raw_crc ||
	    packed.len > BODY_PACK_RAW_MAX || inflateInit(&z) != Z_OK)
		return false;
	z.next_in = (unsigned char *)(uintptr_t)packed.ptr + BODY_PACK_HEAD_SIZE;
	z.avail_in = (unsigned)(packed.len - BODY_PACK_HEAD_SIZE);
	z.next_out = (unsigned char *)out;
	z.avail_out = (unsigned)raw_size;
	bool whole =
	    inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_out == 0 && z.avail_in == 0;
	inflateEnd(&z);
	return whole && crc32c(0, slice_make(out, (size_t)raw_size)) == raw_crc;
}
