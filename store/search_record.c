/*
 * Records and keys of the search index (store_schema.h), and the classes of header
 * fields.
 */
#include "store/search_int.h"

#include "base/crc32c.h"

enum search_class
search_class_of(struct slice field_name)
{
	static const struct {
		struct slice name;
		enum search_class class;
	} names[] = {
	    {{"subject", 7},  SEARCH_SUBJECT},
	    {{"from", 4},     SEARCH_FROM   },
	    {{"sender", 6},   SEARCH_FROM   },
	    {{"reply-to", 8}, SEARCH_FROM   },
	    {{"to", 2},       SEARCH_TO     },
	    {{"cc", 2},       SEARCH_TO     },
	    {{"bcc", 3},      SEARCH_TO     },
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_equal_nocase(field_name, names[i].name))
			return names[i].class;
	}
	return SEARCH_OTHER;
}

/* ---- keys ---- */
void
key_search_block(struct key *key, uint32_t block)
{
	key_begin(key, KEY_SEARCH_BLOCK);
	key_u32(key, block);
}

void
key_search_page(struct key *key, uint32_t block, uint16_t segment, uint32_t last)
{
	char bytes[2];
	be16_put(bytes, segment);
	key_begin(key, KEY_SEARCH_PAGE);
	key_u32(key, block);
	key_bytes(key, slice_make(bytes, sizeof(bytes)));
	key_u32(key, last);
}

bool
key_search_page_decode(
    struct slice key, uint32_t *out_block, uint16_t *out_segment, uint32_t *out_last)
{
	if (key.len != 11 || key.ptr[0] != KEY_SEARCH_PAGE)
		return false;
	*out_block = be32_get(key.ptr + 1);
	*out_segment = be16_get(key.ptr + 5);
	*out_last = be32_get(key.ptr + 7);
	return true;
}

/* ---- state ---- */
void
search_state_encode(const struct search_state *state, char out[SEARCH_STATE_SIZE])
{
	out[0] = STORE_RECORD_VERSION;
	be64_put(out + SEARCH_STATE_SEQUENCE, state->sequence);
	be64_put(out + SEARCH_STATE_DOCUMENTS, state->documents);
	be64_put(out + SEARCH_STATE_PAGES, state->pages);
	be64_put(out + SEARCH_STATE_TEXT, state->text_bytes);
	be64_put(out + SEARCH_STATE_EMAIL_ID, state->email_id);
	be64_put(out + SEARCH_STATE_BYTES, state->bytes);
	be64_put(out + SEARCH_STATE_SWEPT, (uint64_t)state->swept_s);
	be64_put(out + SEARCH_STATE_REMOVED, state->removed);
}

bool
search_state_decode(struct slice record, struct search_state *out)
{
	const char *p = record.ptr;
	if (record.len != SEARCH_STATE_SIZE || p[0] != STORE_RECORD_VERSION)
		return false;
	out->sequence = be64_get(p + SEARCH_STATE_SEQUENCE);
	out->documents = be64_get(p + SEARCH_STATE_DOCUMENTS);
	out->pages = be64_get(p + SEARCH_STATE_PAGES);
	out->text_bytes = be64_get(p + SEARCH_STATE_TEXT);
	out->email_id = be64_get(p + SEARCH_STATE_EMAIL_ID);
	out->bytes = be64_get(p + SEARCH_STATE_BYTES);
	out->swept_s = (int64_t)be64_get(p + SEARCH_STATE_SWEPT);
	out->removed = be64_get(p + SEARCH_STATE_REMOVED);
	return true;
}

enum status
search_state_load(struct engine_txn *txn, struct search_state *out)
{
	struct key key;
	struct slice value;
	*out = (struct search_state){0};
	key_begin(&key, KEY_SEARCH_STATE);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status == STATUS_OK && !search_state_decode(value, out))
		status = STATUS_CORRUPT;
	return status;
}

/* ---- block ---- */
static size_t
bits_put(const struct search_bits *bits, char *out)
{
	uint16_t docs[SEARCH_BLOCK_DOCS];
	size_t count = search_bits_list(bits, docs);
	return search_posting_put(docs, count, SEARCH_BLOCK_DOCS, (unsigned char *)out);
}

size_t
search_record_encode(const struct search_record *record, char out[SEARCH_RECORD_MAX])
{
	size_t len = SEARCH_RECORD_SEGMENTS;
	out[0] = STORE_RECORD_VERSION;
	be16_put(out + SEARCH_RECORD_NEXT, record->next_id);
	out[SEARCH_RECORD_COUNT] = (char)record->segment_count;
	for (unsigned i = 0; i < record->segment_count; i++) {
		const struct search_segment *segment = &record->segments[i];
		be16_put(out + len, segment->id);
		be16_put(out + len + 2, segment->first);
		be16_put(out + len + 4, segment->span);
		be32_put(out + len + 6, segment->pages);
		len += SEARCH_SEGMENT_SIZE;
	}
	len += bits_put(&record->covered, out + len);
	len += bits_put(&record->always, out + len);
	be32_put(out + SEARCH_RECORD_CRC,
	    crc32c(0, slice_make(out + SEARCH_RECORD_NEXT, len - SEARCH_RECORD_NEXT)));
	return len;
}

bool
search_record_decode(struct slice bytes, struct search_record *out)
{
	memset(out, 0, sizeof(*out));
	if (bytes.len < SEARCH_RECORD_SEGMENTS || bytes.ptr[0] != STORE_RECORD_VERSION ||
	    be32_get(bytes.ptr + SEARCH_RECORD_CRC) !=
		crc32c(0, slice_from(bytes, SEARCH_RECORD_NEXT)))
		return false;
	out->next_id = be16_get(bytes.ptr + SEARCH_RECORD_NEXT);
	out->segment_count = (unsigned char)bytes.ptr[SEARCH_RECORD_COUNT];
	struct slice rest = slice_from(bytes, SEARCH_RECORD_SEGMENTS);
	if (out->segment_count > SEARCH_SEGMENTS_MAX ||
	    rest.len < out->segment_count * (size_t)SEARCH_SEGMENT_SIZE)
		return false;
	for (unsigned i = 0; i < out->segment_count; i++) {
		struct search_segment *segment = &out->segments[i];
		segment->id = be16_get(rest.ptr);
		segment->first = be16_get(rest.ptr + 2);
		segment->span = be16_get(rest.ptr + 4);
		segment->pages = be32_get(rest.ptr + 6);
		rest = slice_from(rest, SEARCH_SEGMENT_SIZE);
		if (segment->first % 64 || segment->span == 0 ||
		    segment->first + segment->span > SEARCH_BLOCK_DOCS)
			return false;
	}
	return search_posting_get(&rest, 0, SEARCH_BLOCK_DOCS, &out->covered) &&
	       search_posting_get(&rest, 0, SEARCH_BLOCK_DOCS, &out->always) &&
	       rest.len == 0;
}

enum status
search_record_load(struct engine_txn *txn, uint32_t block, struct search_record *out)
{
	struct key key;
	struct slice value;
	memset(out, 0, sizeof(*out));
	key_search_block(&key, block);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status == STATUS_OK && !search_record_decode(value, out))
		status = STATUS_CORRUPT;
	return status;
}
