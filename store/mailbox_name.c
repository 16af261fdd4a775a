/*
 * Rules for mailbox names.  UTF-8 in NFC, "/" between levels, INBOX in any case kept as
 * "INBOX", also as first level.  Pure.
 */
#include "store/mailbox_int.h"

#include "text/encoding.h"

const struct slice mailbox_inbox = {"INBOX", 5};

struct slice
mailbox_name_parent(struct slice name)
{
	size_t at = slice_rindex(name, '/');
	return at == SIZE_MAX ? SLICE_NULL : slice_sub(name, 0, at);
}

bool
mailbox_name_is_below(struct slice name, struct slice parent)
{
	return name.len > parent.len && name.ptr[parent.len] == '/' &&
	       slice_has_prefix(name, parent);
}

size_t
mailbox_name_depth(struct slice name)
{
	size_t depth = 1;
	for (size_t i = 0; i < name.len; i++)
		depth += name.ptr[i] == '/';
	return depth;
}

/* C0, DEL and C1 controls and the line separators U+2028 and U+2029 (RFC 5198 section 2),
 * in valid UTF-8. */
static bool
has_control(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		if (c < 0x20 || c == 0x7f)
			return true;
		if (c == 0xc2 && i + 1 < name.len &&
		    (unsigned char)name.ptr[i + 1] < 0xa0)
			return true;
		if (c == 0xe2 && i + 2 < name.len &&
		    (unsigned char)name.ptr[i + 1] == 0x80 &&
		    ((unsigned char)name.ptr[i + 2] & 0xfe) == 0xa8)
			return true;
	}
	return false;
}

static bool
has_empty_level(struct slice name)
{
	return name.ptr[0] == '/' || name.ptr[name.len - 1] == '/' ||
	       slice_find(name, SLICE("//")) != SIZE_MAX;
}

enum status
mailbox_name_check(struct slice name, struct arena *arena, struct slice *out)
{
	if (name.len == 0)
		return STATUS_INVALID;
	/* NFC can make text shorter: a longer name is refused only after it. */
	if (name.len > 4 * MAILBOX_NAME_MAX)
		return STATUS_LIMIT;
	AUTO_BUF struct buf nfc;
	buf_init(&nfc, 16 * MAILBOX_NAME_MAX);
	if (!utf8_to_nfc(name, &nfc))
		return STATUS_INVALID;
	if (!buf_ok(&nfc) || nfc.len > MAILBOX_NAME_MAX)
		return STATUS_LIMIT;
	struct slice made = buf_slice(&nfc);
	if (made.len == 0 || has_control(made) || has_empty_level(made))
		return STATUS_INVALID;
	if (mailbox_name_depth(made) > MAILBOX_DEPTH_MAX)
		return STATUS_LIMIT;
	if (slice_has_prefix_nocase(made, mailbox_inbox) &&
	    (made.len == mailbox_inbox.len || made.ptr[mailbox_inbox.len] == '/'))
		memcpy(nfc.ptr, mailbox_inbox.ptr, mailbox_inbox.len);
	struct slice copy = arena_copy(arena, made);
	if (!copy.ptr)
		return STATUS_LIMIT;
	*out = copy;
	return STATUS_OK;
}
