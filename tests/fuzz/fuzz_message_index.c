/*
 * The derived record: built from anything it decodes and its texts follow IMAP's grammar;
 * decoded from anything (checksum mended) it never reads outside.
 */
#include "base/crc32c.h"
#include "base/ensure.h"
#include "text/message_index.h"
#include "unit/text/structure_check.h"

static void
check_decode(struct slice in)
{
	struct buf record;
	struct message_index index;
	struct index_part part;
	uint32_t number;

	if (in.len < 4)
		return;
	buf_init(&record, 64 << 20);
	buf_append(&record, in);
	record.ptr[0] = MESSAGE_INDEX_VERSION;
	buf_append_be32(&record, crc32c(0, buf_slice(&record)));
	if (message_index_decode(buf_slice(&record), &index)) {
		for (uint32_t i = 0; i < index.part_count; i++)
			message_index_part(&index, i, &part);
		uint32_t numbers[] = {1, 2, 1};
		for (size_t n = 0; n <= 3; n++)
			message_index_find(&index, numbers, n, &number);
	}
	buf_fini(&record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct buf record;
	struct message_index index;

	check_decode(in);
	buf_init(&record, MESSAGE_INDEX_MAX);
	ENSURE(message_index_build(in, &record));
	ENSURE(message_index_decode(buf_slice(&record), &index));
	ENSURE(imap_envelope_is_valid(index.envelope));
	ENSURE(imap_body_is_valid(index.body, false));
	ENSURE(imap_body_is_valid(index.bodystructure, true));
	buf_fini(&record);
	return 0;
}
