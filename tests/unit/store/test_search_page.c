/*
 * Postings, pages and records of the search index: every kind of set there and back, and
 * nothing damaged is taken for good.
 */
#include "store/search_int.h"
#include "unit/store/store_fixture.h"

static uint32_t
next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static size_t
random_docs(uint64_t *state, unsigned span, unsigned one_in, uint16_t *out)
{
	size_t count = 0;
	for (unsigned i = 0; i < span; i++) {
		if (next_random(state) % one_in == 0)
			out[count++] = (uint16_t)i;
	}
	return count;
}

static void
postings(void **unused)
{
	(void)unused;
	static const unsigned spans[] = {1, 5, 63, 64, 65, 1000, 4095, 4096};
	static const unsigned rates[] = {1, 2, 3, 9, 100, 2000};
	uint64_t state = 1;
	uint16_t docs[SEARCH_BLOCK_DOCS];
	uint16_t got[SEARCH_BLOCK_DOCS];
	unsigned char bytes[SEARCH_POSTING_MAX];
	for (size_t s = 0; s < sizeof(spans) / sizeof(spans[0]); s++) {
		for (size_t r = 0; r < 6 * sizeof(rates) / sizeof(rates[0]); r++) {
			size_t count = random_docs(&state, spans[s], rates[r % 6], docs);
			/* All but a few, too. */
			if (r % 2 && count < spans[s] && spans[s] > 64) {
				count = 0;
				for (unsigned i = 0; i < spans[s]; i++)
					if (next_random(&state) % 200)
						docs[count++] = (uint16_t)i;
			}
			size_t len = search_posting_put(docs, count, spans[s], bytes);
			assert_true(len <= sizeof(bytes));
			struct search_bits bits = {{0}};
			struct slice in = slice_make((const char *)bytes, len);
			unsigned first = spans[s] <= 1000 ? 128 : 0;
			assert_true(search_posting_get(&in, first, spans[s], &bits));
			assert_int_equal(in.len, 0);
			assert_int_equal(search_bits_list(&bits, got), count);
			for (size_t i = 0; i < count; i++)
				assert_int_equal(got[i], docs[i] + first);
			/* Cut anywhere it is damaged or another set, never more. */
			for (size_t cut = 0; cut < len; cut++) {
				in = slice_make((const char *)bytes, cut);
				memset(&bits, 0, sizeof(bits));
				(void)search_posting_get(&in, 0, spans[s], &bits);
				if (spans[s] < SEARCH_BLOCK_DOCS)
					assert_true(
					    !(bits.w[spans[s] / 64] >> spans[s] % 64));
			}
		}
	}
}

static void
sizes(void **unused)
{
	(void)unused;
	uint16_t docs[SEARCH_BLOCK_DOCS];
	unsigned char bytes[SEARCH_POSTING_MAX];
	for (unsigned i = 0; i < SEARCH_BLOCK_DOCS; i++)
		docs[i] = (uint16_t)i;
	/* Everything, nothing, one. */
	assert_int_equal(search_posting_put(docs, 4096, 4096, bytes), 1);
	assert_int_equal(search_posting_put(docs, 0, 4096, bytes), 1);
	assert_int_equal(search_posting_put(docs + 77, 1, 4096, bytes), 2);
	assert_int_equal(search_posting_put(docs + 777, 1, 4096, bytes), 3);
	/* No set is larger than its bitmap and a head. */
	for (unsigned step = 1; step < 64; step++) {
		size_t count = 0;
		for (unsigned i = 0; i < SEARCH_BLOCK_DOCS; i += step)
			docs[count++] = (uint16_t)i;
		assert_true(search_posting_put(docs, count, 4096, bytes) <= 514);
	}
}

static void
pages(void **unused)
{
	(void)unused;
	enum { KEYS = 3000 };
	uint64_t state = 7;
	struct search_pages all;
	struct search_writer writer;
	uint16_t docs[SEARCH_BLOCK_DOCS];
	static struct search_bits want[KEYS];
	static uint32_t keys[KEYS];
	uint32_t key = 0;
	search_pages_init(&all);
	search_writer_begin(&writer, &all, 4096);
	memset(want, 0, sizeof(want));
	for (size_t k = 0; k < KEYS; k++) {
		key += 1 + next_random(&state) % 50000;
		keys[k] = key;
		size_t count =
		    random_docs(&state, 4096, 1 + next_random(&state) % 900, docs);
		if (count == 0)
			docs[count++] = 9;
		for (size_t i = 0; i < count; i++)
			search_bits_set(&want[k], docs[i]);
		search_writer_add(&writer, key, docs, count);
	}
	search_writer_end(&writer);
	assert_true(search_pages_ok(&all));
	const struct search_page *list = all.list.ptr;
	size_t at = 0;
	for (size_t p = 0; p < all.list.count; p++) {
		struct slice page =
		    slice_sub(buf_slice(&all.bytes), list[p].offset, list[p].len);
		assert_true(search_page_fits(page));
		for (; at < KEYS && keys[at] <= list[p].key; at++) {
			struct search_bits got = {{0}};
			assert_true(
			    search_page_find(page, keys[at], keys[at], 0, 4096, &got));
			assert_memory_equal(&got, &want[at], sizeof(got));
			memset(&got, 0, sizeof(got));
			assert_true(search_page_find(
			    page, keys[at] + 1, keys[at] + 1, 0, 4096, &got));
			if (at + 1 == KEYS || keys[at + 1] != keys[at] + 1)
				assert_true(search_bits_is_empty(&got));
		}
		/* A flipped bit anywhere is seen. */
		char copy[SEARCH_PAGE_MAX];
		memcpy(copy, page.ptr, page.len);
		for (size_t i = 0; i < page.len; i += 1 + i % 7) {
			copy[i] = (char)(copy[i] ^ (1 << i % 8));
			assert_false(search_page_fits(slice_make(copy, page.len)));
			copy[i] = (char)(copy[i] ^ (1 << i % 8));
		}
	}
	assert_int_equal(at, KEYS);
	search_pages_fini(&all);
}

static void
records(void **unused)
{
	(void)unused;
	uint64_t state = 3;
	struct search_record record = {.next_id = 65535, .segment_count = 3};
	struct search_record got;
	char bytes[SEARCH_RECORD_MAX];
	for (unsigned i = 0; i < 3; i++)
		record.segments[i] = (struct search_segment){
		    (uint16_t)(i * 7), (uint16_t)(i * 64), (uint16_t)(100 + i), i + 1};
	for (unsigned i = 0; i < SEARCH_BLOCK_DOCS; i++) {
		if (next_random(&state) % 3)
			search_bits_set(&record.covered, i);
		if (next_random(&state) % 100 == 0)
			search_bits_set(&record.always, i);
	}
	size_t len = search_record_encode(&record, bytes);
	assert_true(len <= sizeof(bytes));
	assert_true(search_record_decode(slice_make(bytes, len), &got));
	assert_memory_equal(&got.covered, &record.covered, sizeof(got.covered));
	assert_memory_equal(&got.always, &record.always, sizeof(got.always));
	assert_int_equal(got.segment_count, 3);
	assert_int_equal(got.segments[2].first, 128);
	for (size_t i = 0; i < len; i++) {
		bytes[i] = (char)(bytes[i] ^ 4);
		assert_false(search_record_decode(slice_make(bytes, len), &got));
		bytes[i] = (char)(bytes[i] ^ 4);
		assert_false(search_record_decode(slice_make(bytes, i), &got));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(postings),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(pages),
	    cmocka_unit_test(records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
