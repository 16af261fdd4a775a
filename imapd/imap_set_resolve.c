/*
 * The step that all commands over message sets begin with: the set, the session's view
 * and its "$" to UID ranges, or the tagged reply that refuses it.
 */
#include "imapd/imap_int.h"
#include "imapd/imap_seqset.h"

bool
imap_set_resolve(struct imap_session *s, struct imap_command *cmd,
    const struct imap_seqset *set, struct imap_uid_ranges *out,
    enum cmd_result *out_refused)
{
	switch (imap_seqset_resolve(
	    set, s->view, cmd->uid, false, &s->saved, s->arena, out)) {
	case IMAP_SEQSET_OK:
		return true;
	case IMAP_SEQSET_BEYOND:
		*out_refused = imap_cmd_finish(
		    s, cmd, IMAP_BAD, NULL, "there is no message with that number");
		return false;
	case IMAP_SEQSET_LIMIT:
		break;
	}
	*out_refused = imap_cmd_fail(s, cmd, STATUS_LIMIT);
	return false;
}
