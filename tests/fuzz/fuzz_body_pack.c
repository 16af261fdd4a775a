/*
 * Packed bodies: no stream makes body_unpack write more than was asked for or read
 * outside of its input; what is accepted has the size and checksum that its head tells.
 * Taken as a message, any input that is packed comes out as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "store/body_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fuzz_unpack(struct slice packed)
{
	uint64_t raw_size;
	uint32_t raw_crc;
	if (!body_pack_head(packed, &raw_size, &raw_crc))
		return;
	ENSURE(raw_size > 0 && raw_size <= BODY_PACK_RAW_MAX);
	char *out = xmalloc((size_t)raw_size); /* exactly: a sanitizer sees one more */
	if (body_unpack(packed, raw_size, raw_crc, out))
		ENSURE(crc32c(0, slice_make(out, (size_t)raw_size)) == raw_crc);
	free(out);
}

static void
fuzz_pack(struct slice raw)
{
	struct buf packed AUTO_BUF;
	uint32_t crc = crc32c(0, raw);
	buf_init(&packed, BODY_PACK_RAW_MAX);
	if (!body_pack(raw, crc, BODY_PACK_LEVEL, &packed))
		return;
	char *out = xmalloc(raw.len);
	ENSURE(packed.len <= raw.len - raw.len / BODY_PACK_SAVES);
	ENSURE(body_unpack(buf_slice(&packed), raw.len, crc, out));
	ENSURE(memcmp(out, raw.ptr, raw.len) == 0);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = slice_make((const char *)data, size);
	fuzz_unpack(input);
	fuzz_pack(input);
	/* With a head that fits, so that the stream is reached. */
	if (size > BODY_PACK_HEAD_SIZE) {
		char *copy = xmalloc(size);
		memcpy(copy, data, size);
		be32_put(copy, 0x50524c5a);
		be64_put(copy + 8, be64_get(copy + 8) % BODY_PACK_RAW_MAX + 1);
		fuzz_unpack(slice_make(copy, size));
		free(copy);
	}
	return 0;
}
