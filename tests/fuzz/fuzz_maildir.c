/*
 * Maildir++ texts and names: UIDs ascend, what is returned lies in the input, and a
 * folder name that decodes is encoded and decoded to the same.
 */
#include "base/ensure.h"
#include "text/encoding.h"
#include "text/maildir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice input;

static void
inside(struct slice part)
{
	ENSURE(part.len == 0 ||
	       (part.ptr >= input.ptr && part.ptr + part.len <= input.ptr + input.len));
}

static void
fuzz_lists(void)
{
	struct maildir_uidlist list;
	struct maildir_uid entry;
	struct slice keywords[MAILDIR_KEYWORDS_MAX];
	enum maildir_line line;
	uint32_t above = 0;
	if (maildir_uidlist_open(input, &list)) {
		ENSURE(list.uidvalidity > 0);
		while ((line = maildir_uidlist_next(&list, above, &entry)) !=
		       MAILDIR_LINE_END) {
			if (line == MAILDIR_LINE_BAD)
				continue;
			ENSURE(entry.uid > above && entry.base.len > 0);
			inside(entry.base);
			inside(entry.uidl);
			above = entry.uid;
		}
	}
	(void)maildir_keywords_parse(input, keywords);
	for (size_t i = 0; i < MAILDIR_KEYWORDS_MAX; i++)
		inside(keywords[i]);
}

static void
fuzz_names(void)
{
	struct maildir_name name;
	struct maildir_subscriptions list;
	struct buf first AUTO_BUF, second AUTO_BUF, text AUTO_BUF;
	buf_init(&first, 4096);
	buf_init(&second, 4096);
	buf_init(&text, 16384);
	maildir_name_parse(input, &name);
	inside(name.base);
	if (maildir_folder_decode(input, '.', &first) &&
	    utf8_is_valid(buf_slice(&first))) {
		maildir_folder_encode(buf_slice(&first), &text);
		ENSURE(buf_ok(&text));
		ENSURE(maildir_folder_decode(buf_slice(&text), '.', &second));
		ENSURE(slice_equal(buf_slice(&first), buf_slice(&second)));
	}
	maildir_subscriptions_open(input, &list);
	while (maildir_subscriptions_next(&list, &first))
		ENSURE(first.len > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = slice_make((const char *)data, size);
	fuzz_lists();
	fuzz_names();
	return 0;
}
