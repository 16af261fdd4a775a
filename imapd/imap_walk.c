/*
 * The walk over records.
 */
#include "imapd/imap_walk.h"

enum {
	REACH_MIN = 16, /* messages looked ahead for holes in the view */
	REACH_MAX = 1 << 16,
};

void
imap_msn_walk_init(struct imap_msn_walk *walk, const struct mailbox_view *view)
{
	*walk = (struct imap_msn_walk){
	    .view = view, .uid_first = 1, .uid_last = 0, .reach = REACH_MIN};
}

/* Message msn+reach has uid+reach: then nothing is missing in between. */
static bool
is_dense(const struct imap_msn_walk *walk, uint32_t uid, uint32_t msn, uint32_t reach)
{
	return UINT32_MAX - uid >= reach &&
	       mailbox_view_uid(walk->view, msn + reach) == uid + reach;
}

uint32_t
imap_msn_walk_to(struct imap_msn_walk *walk, uint32_t uid)
{
	if (uid >= walk->uid_first && uid <= walk->uid_last)
		return walk->msn_first + (uid - walk->uid_first);
	uint32_t msn = mailbox_view_msn(walk->view, uid);
	if (msn == 0)
		return 0;
	walk->uid_first = walk->uid_last = uid;
	walk->msn_first = msn;
	uint32_t reach = walk->reach;
	while (reach >= REACH_MIN && !is_dense(walk, uid, msn, reach))
		reach /= 4;
	if (reach >= REACH_MIN) {
		walk->uid_last = uid + reach;
		walk->reach = reach < REACH_MAX ? reach * 4 : reach;
	} else {
		walk->reach = REACH_MIN;
	}
	return msn;
}

void
imap_walk_init(struct imap_walk *walk, const struct mailbox_view *view,
    struct account_id account, uint32_t mailbox, const struct imap_uid_ranges *ranges)
{
	*walk = (struct imap_walk){.view = view,
	    .account = account,
	    .mailbox = mailbox,
	    .ranges = *ranges,
	    .turn_records = IMAP_TURN_RECORDS};
}

/* One turn of a walk downwards, by the view: each record is looked up by itself. */
static bool
walk_down(struct imap_session *s, struct imap_walk *walk, imap_walk_fn fn,
    enum status *out_status)
{
	struct message_record record;
	uint32_t looked_at = 0;

	for (; walk->range < walk->ranges.count; walk->range++) {
		const struct uid_range *range =
		    &walk->ranges.ranges[walk->ranges.count - 1 - walk->range];
		uint32_t last = range->last;
		if (walk->next && walk->next <= last)
			last = (uint32_t)walk->next - 1;
		uint32_t msn = mailbox_view_rank(walk->view, last);
		for (; msn; msn--) {
			uint32_t uid = mailbox_view_uid(walk->view, msn);
			if (uid < range->first)
				break;
			walk->next = uid;
			*out_status = message_get(
			    imap_reader(s), walk->account, walk->mailbox, uid, &record);
			bool go_on = true;
			if (*out_status == STATUS_OK) {
				walk->examined++;
				go_on = fn(s, &record, msn);
			} else if (*out_status != STATUS_NOT_FOUND) {
				return true;
			}
			*out_status = STATUS_OK;
			if (!go_on || ++looked_at > walk->turn_records)
				return false;
		}
	}
	return true;
}

bool
imap_walk_run(struct imap_session *s, struct imap_walk *walk, imap_walk_fn fn,
    enum status *out_status)
{
	struct imap_msn_walk msns;
	struct message_record record;
	uint32_t looked_at = 0;

	imap_msn_walk_init(&msns, walk->view);
	*out_status = STATUS_OK;
	if (walk->down)
		return walk_down(s, walk, fn, out_status);
	for (; walk->range < walk->ranges.count; walk->range++) {
		const struct uid_range *range = &walk->ranges.ranges[walk->range];
		if (walk->next > range->last)
			continue;
		if (++looked_at > walk->turn_records)
			return false;
		uint32_t first =
		    walk->next > range->first ? (uint32_t)walk->next : range->first;
		struct message_cursor *cursor = message_cursor_open(
		    imap_reader(s), walk->account, walk->mailbox, first, range->last);
		while (
		    (*out_status = message_cursor_next(cursor, &record)) == STATUS_OK) {
			uint32_t msn = imap_msn_walk_to(&msns, record.uid);
			bool go_on = true;
			walk->next = (uint64_t)record.uid + 1;
			if (msn) {
				walk->examined++;
				go_on = fn(s, &record, msn);
			}
			if (!go_on || ++looked_at > walk->turn_records) {
				message_cursor_close(&cursor);
				return false;
			}
		}
		message_cursor_close(&cursor);
		if (*out_status != STATUS_NOT_FOUND)
			return true;
		*out_status = STATUS_OK;
	}
	return true;
}
