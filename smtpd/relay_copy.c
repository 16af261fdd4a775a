/*
 * What one recipient's copy of a message has of its own: its return address (VERP), and
 * the fields in front of the stored text.  The queue keeps the true sender and one text;
 * all of this is made when the copy is sent, so it follows the day and the key.
 *
 * Runs on the relay's loop.
 */
#include "base/clock.h"
#include "service/bulk.h"
#include "smtpd/relay_int.h"

bool
relay_copy_is_single(const struct queue_message *message)
{
	return (message->flags & QUEUE_MESSAGE_VERP) || message->unsubscribe.len > 0;
}

bool
relay_copy_sender(struct relay *relay, const struct queue_message *message,
    struct slice recipient, struct buf *out)
{
	unsigned char key[SIGNED_KEY_SIZE];
	return (message->flags & QUEUE_MESSAGE_VERP) && message->sender.len > 0 &&
	       directory_secret(relay->reader, key) == STATUS_OK &&
	       verp_encode(
		   key, VERP_BOUNCE, clock_wall_s(), message->sender, recipient, out);
}

void
relay_copy_head(struct relay *relay, const struct relay_job *job, struct buf *out)
{
	unsigned char key[SIGNED_KEY_SIZE];
	if (!job->unsubscribe[0] || job->count != 1 ||
	    directory_secret(relay->reader, key) != STATUS_OK)
		return;
	bulk_unsubscribe_write(key, clock_wall_s(), slice_from_cstr(job->sender),
	    slice_from_cstr(job->recipients[0].address),
	    slice_from_cstr(job->unsubscribe), out);
}
