/*
 * MESSAGELIMIT and SAVELIMIT; see imap_limit.h.  Thread: the worker's loop.
 */
#include "imapd/imap_limit.h"

uint32_t
imap_limit(const struct imap_session *s)
{
	const struct conf *conf = imap_conf(s);

	if (conf->imap.message_limit == 0 ||
	    conf->imap.message_limit_on != CONF_LIMIT_ALL)
		return UINT32_MAX;
	return conf->imap.message_limit;
}

uint32_t
imap_limit_saving(const struct imap_session *s)
{
	uint32_t limit = imap_conf(s)->imap.message_limit;

	return limit ? limit : UINT32_MAX;
}

uint32_t
imap_limit_uid(
    const struct imap_uid_ranges *ranges, const struct mailbox_view *view, uint32_t limit)
{
	for (size_t i = ranges->count; i-- > 0;) {
		uint32_t end = mailbox_view_rank(view, ranges->ranges[i].last);
		uint32_t here =
		    end - mailbox_view_rank(view, ranges->ranges[i].first - 1);
		if (here >= limit)
			return mailbox_view_uid(view, end - limit + 1);
		limit -= here;
	}
	return 1;
}

void
imap_limit_cut_at(struct imap_command *cmd, uint32_t limit, uint32_t uid,
    struct imap_uid_ranges *ranges)
{
	size_t kept = 0;

	cmd->limit = limit;
	cmd->limit_uid = uid;
	for (size_t i = 0; i < ranges->count; i++) {
		struct uid_range range = ranges->ranges[i];
		if (range.last < uid)
			continue;
		if (range.first < uid)
			range.first = uid;
		ranges->ranges[kept++] = range;
	}
	ranges->count = kept;
}

void
imap_limit_cut(
    struct imap_session *s, struct imap_command *cmd, struct imap_uid_ranges *ranges)
{
	uint32_t limit = imap_limit(s);

	if (imap_uid_ranges_count(ranges, s->view) > limit)
		imap_limit_cut_at(
		    cmd, limit, imap_limit_uid(ranges, s->view, limit), ranges);
}

struct slice
imap_limit_code(struct imap_session *s, uint32_t limit, uint32_t uid)
{
	return uid ? arena_format(imap_arena(s), "MESSAGELIMIT %u %u", limit, uid)
	           : arena_format(imap_arena(s), "MESSAGELIMIT %u", limit);
}

enum cmd_result
imap_limit_refuse(
    struct imap_session *s, struct imap_command *cmd, uint32_t limit, uint32_t uid)
{
	return imap_cmd_finish_code(s, cmd, IMAP_NO, imap_limit_code(s, limit, uid),
	    "too many messages at once, take fewer");
}
