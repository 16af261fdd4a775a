/*
 * What compressing at rest saves and costs (decision 0076): every file below the folders
 * given is taken as one message.  First packing by itself at levels 1 and 6; then a store
 * without sync (so that CPU is what is measured), once plain and once packed: bytes on
 * the disk, CPU of each delivery (parse, pack, commit) and of each read of a whole
 * message.
 *
 * Usage: store_pack FOLDER...; TMPDIR says where the stores go.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/file.h"
#include "store/body_pack.h"
#include "store/directory.h"
#include "store/message.h"
#include "store/store_maintain.h"

enum {
	MESSAGES_MAX = 20000,
	MESSAGE_MAX = 8 * 1024 * 1024,
	TOTAL_MAX = 512 * 1024 * 1024
};

static struct slice messages[MESSAGES_MAX];
static size_t count;
static uint64_t total;

static int
read_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
	(void)ftw;
	if (flag != FTW_F || stat->st_size == 0 || stat->st_size > MESSAGE_MAX ||
	    count == MESSAGES_MAX || total + (uint64_t)stat->st_size > TOTAL_MAX)
		return 0;
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	char *bytes = xmalloc((size_t)stat->st_size);
	size_t got = fread(bytes, 1, (size_t)stat->st_size, file);
	fclose(file);
	messages[count++] = slice_make(bytes, got);
	total += got;
	return 0;
}

static double
cpu_us(void)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void
measure_level(int level)
{
	struct buf packed AUTO_BUF;
	char *out = xmalloc(BODY_PACK_RAW_MAX);
	uint64_t stored = 0, packs = 0;
	double pack_us = 0, unpack_us = 0;
	buf_init(&packed, BODY_PACK_RAW_MAX);
	for (size_t i = 0; i < count; i++) {
		uint32_t crc = crc32c(0, messages[i]);
		buf_reset(&packed);
		double begin = cpu_us();
		bool pays = body_pack(messages[i], crc, level, &packed);
		double middle = cpu_us();
		pack_us += middle - begin;
		stored += pays ? packed.len : messages[i].len;
		if (!pays)
			continue;
		packs++;
		ENSURE(body_unpack(buf_slice(&packed), messages[i].len, crc, out));
		unpack_us += cpu_us() - middle;
	}
	printf("level %d: %llu of %zu packed, stored %.3f of the octets, pack %.1f us, "
	       "unpack %.1f us a message\n",
	    level, (unsigned long long)packs, count, (double)stored / (double)total,
	    pack_us / (double)count, packs ? unpack_us / (double)packs : 0);
	free(out);
}

static void
deliver_all(struct store *store, struct store_reader *reader, struct account_id account)
{
	struct arena *arena = arena_new(16 * 1024 * 1024);
	for (size_t i = 0; i < count; i++) {
		struct deliver_recipient to = {.account = account};
		struct deliver_op op = {.op = {.arena = arena},
		    .draft = body_draft_new(store, MESSAGE_MAX),
		    .recipients = &to,
		    .recipient_count = 1};
		ENSURE(body_draft_append(op.draft, messages[i]) == STATUS_OK);
		ENSURE(body_draft_seal(op.draft) == STATUS_OK);
		deliver_op_submit(reader, &op);
		ENSURE(op.op.status == STATUS_OK);
		body_draft_unref(&op.draft);
		arena_reset(arena);
	}
	arena_free(&arena);
}

static void
read_all(struct store_reader *reader, struct account_id account, uint32_t inbox)
{
	for (uint32_t uid = 1; uid <= count; uid++) {
		struct message_record record;
		struct body_handle handle;
		ENSURE(message_get(reader, account, inbox, uid, &record) == STATUS_OK);
		ENSURE(message_body_open(reader, account, &record, &handle) == STATUS_OK);
		ENSURE(slice_equal(body_handle_bytes(&handle), messages[uid - 1]));
		body_handle_close(&handle);
		store_reader_end(reader);
	}
}

static void
measure_store(bool compress)
{
	char path[200];
	const char *tmp = getenv("TMPDIR");
	char *error = NULL;
	struct store *store;
	struct account_id account;
	struct mailbox_info info;
	snprintf(path, sizeof path, "%s/postroom-bench-XXXXXX", tmp ? tmp : "/tmp");
	ENSURE(mkdtemp(path));
	struct store_options options = {.path = path,
	    .map_size = UINT64_C(8) << 30,
	    .shards = 1,
	    .create = true,
	    .compress = compress,
	    .undelete_days = 7};
	if (store_open(&options, &store, &error) != STATUS_OK) {
		fprintf(stderr, "store_pack: %s\n", error);
		exit(1);
	}
	struct store_reader *reader = store_reader_new(store, NULL, NULL);
	ENSURE(directory_domain_add(reader, SLICE("example.org")) == STATUS_OK);
	ENSURE(directory_account_add(reader, SLICE("jo@example.org"), SLICE("k"), 0,
		   &account) == STATUS_OK);
	ENSURE(mailbox_find(reader, account, SLICE("INBOX"), &info) == STATUS_OK);
	store_reader_end(reader);
	double begin = cpu_us();
	deliver_all(store, reader, account);
	double delivered = cpu_us();
	read_all(reader, account, info.number); /* once for the page cache and the map */
	double warm = cpu_us();
	read_all(reader, account, info.number);
	double read = cpu_us();
	struct store_space space;
	ENSURE(store_space(store, &space) == STATUS_OK);
	printf("store %s: %.3f of the octets in segments, deliver %.1f us, "
	       "read %.1f us CPU a message\n",
	    compress ? "packed" : "plain ", (double)space.live_bytes / (double)total,
	    (delivered - begin) / (double)count, (read - warm) / (double)count);
	store_reader_free(&reader);
	store_close(&store);
	file_tree_remove(path);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		nftw(argv[i], read_one, 16, FTW_PHYS);
	if (count == 0) {
		fprintf(stderr, "usage: store_pack FOLDER...\n");
		return 2;
	}
	printf("%zu messages, %llu octets, mean %llu\n", count, (unsigned long long)total,
	    (unsigned long long)(total / count));
	measure_level(1);
	measure_level(6);
	measure_store(false);
	measure_store(true);
	for (size_t i = 0; i < count; i++)
		free((char *)(uintptr_t)messages[i].ptr);
	return 0;
}
