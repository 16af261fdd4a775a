/*
 * mbox files: every message lies in the file behind the one before, its pieces lie in it
 * one behind the other, and reading ends.
 */
#include "base/ensure.h"
#include "text/mbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
message_check(const struct mbox_message *message)
{
	struct mbox_meta meta;
	struct slice piece;
	const char *before = message->text.ptr;
	size_t cursor = 0;
	mbox_meta_parse(message, &meta);
	ENSURE(meta.keyword_count <= MBOX_KEYWORDS_MAX);
	ENSURE(meta.block_len <= message->header_len);
	while (mbox_piece_next(message, &meta, &cursor, &piece)) {
		ENSURE(piece.ptr >= before);
		before = piece.ptr + piece.len;
		ENSURE(before <= message->text.ptr + message->text.len);
	}
	ENSURE(cursor == message->text.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct slice file = slice_make((const char *)data + 1, size - 1);
	struct mbox_message message;
	const char *before = file.ptr;
	size_t at = 0;
	int64_t date;
	(void)mbox_from_line_parse(file, &date);
	(void)mbox_is_one(file);
	while (mbox_next(file, data[0] % 4, &at, &message)) {
		ENSURE(at <= file.len && message.quoting != MBOX_QUOTING_AUTO);
		ENSURE(message.text.ptr >= before);
		ENSURE(message.header_len <= message.text.len);
		before = message.text.ptr + message.text.len;
		ENSURE(before <= file.ptr + file.len);
		message_check(&message);
	}
	return 0;
}
