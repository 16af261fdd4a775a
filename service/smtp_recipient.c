/*
 * Recipients; see smtp_recipient.h.  Whoever holds the installation's key can send to
 * anywhere by an SRS address, so nothing here takes one whose hash does not fit.
 */
#include "service/smtp_recipient.h"

#include "auth/srs.h"
#include "base/clock.h"
#include "base/log.h"

/* The address behind an SRS address of ours, as a target elsewhere or here. */
static enum status
srs_resolve(struct store_reader *reader, struct slice local, struct slice delimiters,
    struct arena *arena, enum directory_answer *out_answer,
    struct directory_target **out_targets, size_t *out_count)
{
	unsigned char key[SRS_KEY_SIZE];
	struct mailbox_address address;
	struct buf text AUTO_BUF;
	buf_init(&text, (size_t)2 * ADDRESS_PATH_MAX);
	*out_answer = DIRECTORY_UNKNOWN_USER;
	*out_count = 0;
	enum status status = directory_secret(reader, key);
	if (status != STATUS_OK)
		return status;
	enum srs_result result = srs_reverse(key, local, clock_wall_s(), &text);
	if (result != SRS_OK || !buf_ok(&text) ||
	    address_parse(buf_slice(&text), true, arena, &address) != ADDRESS_OK) {
		LOG_DEBUG("smtp.reject", LF("to", local),
		    LF_STR("reason", result == SRS_EXPIRED
					 ? "an SRS address that is too old"
					 : "a forged SRS address"));
		return STATUS_OK;
	}
	status = directory_resolve(reader, address.local, address.domain, delimiters,
	    arena, out_answer, out_targets, out_count);
	if (status != STATUS_OK || *out_answer != DIRECTORY_NOT_LOCAL)
		return status;
	struct directory_target *target = ARENA_NEW(arena, struct directory_target);
	struct slice copy = arena_copy(arena, buf_slice(&text));
	if (!target || !copy.ptr)
		return STATUS_LIMIT;
	*target = (struct directory_target){.address = copy};
	*out_answer = DIRECTORY_TARGETS;
	*out_targets = target;
	*out_count = 1;
	return STATUS_OK;
}

enum status
smtp_recipient_resolve(struct store_reader *reader, const struct mailbox_address *address,
    struct slice delimiters, struct arena *arena, enum directory_answer *out_answer,
    struct directory_target **out_targets, size_t *out_count)
{
	enum status status = directory_resolve(reader, address->local, address->domain,
	    delimiters, arena, out_answer, out_targets, out_count);
	if (status != STATUS_OK || *out_answer == DIRECTORY_NOT_LOCAL ||
	    !srs_is(address->local))
		return status;
	return srs_resolve(reader, address->local, delimiters, arena, out_answer,
	    out_targets, out_count);
}

bool
smtp_recipient_rewrite_sender(struct store_reader *reader, struct slice sender,
    struct slice domain, struct buf *out)
{
	unsigned char key[SRS_KEY_SIZE];
	struct directory_domain found;
	size_t at = slice_rindex(sender, '@');
	if (at == SIZE_MAX ||
	    directory_domain_find(reader, slice_from(sender, at + 1), &found) !=
		STATUS_NOT_FOUND ||
	    directory_secret(reader, key) != STATUS_OK)
		return false;
	return srs_forward(key, sender, domain, clock_wall_s(), out) && buf_ok(out);
}
