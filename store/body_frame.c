/*
 * Segment and frame headers.  Pure, any thread.
 */
#include "store/body_frame.h"

#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"

static const char SEGMENT_MAGIC[8] = {'P', 'R', 'S', 'E', 'G', 'M', 'N', 'T'};

enum { FRAME_MAGIC = 0x5052464d };

void
body_segment_header_put(char out[BODY_SEGMENT_HEADER_SIZE])
{
	memset(out, 0, BODY_SEGMENT_HEADER_SIZE);
	memcpy(out, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC);
	be32_put(out + 8, BODY_SEGMENT_VERSION);
}

bool
body_segment_header_ok(const char *header)
{
	char expected[BODY_SEGMENT_HEADER_SIZE];
	body_segment_header_put(expected);
	return memcmp(header, expected, sizeof expected) == 0;
}

void
body_frame_header_put(char out[BODY_FRAME_HEADER_SIZE], uint64_t size, uint32_t crc)
{
	be32_put(out, FRAME_MAGIC);
	be32_put(out + 4, (uint32_t)BODY_FRAME_VERSION << 24);
	be64_put(out + 8, size);
	be32_put(out + 16, crc);
	be32_put(out + 20, crc32c(0, slice_make(out, 20)));
}

bool
body_frame_header_get(const char *header, uint64_t *out_size, uint32_t *out_crc)
{
	if (be32_get(header) != FRAME_MAGIC || header[4] != BODY_FRAME_VERSION ||
	    be32_get(header + 20) != crc32c(0, slice_make(header, 20)))
		return false;
	*out_size = be64_get(header + 8);
	*out_crc = be32_get(header + 16);
	return true;
}
