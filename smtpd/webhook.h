/*
 * Delivery events (service/event.h) posted to the operator's URLs in batches, at least
 * once each, in order (decisions 0101 and 0147).  Each receiver has a thread of its own,
 * so that one that is slow or gone costs mail and the others nothing; it reads the trace,
 * and a small file beside the store says how far that receiver has answered.
 *
 * A batch is {"events": […]}; its headers are
 *   X-Postroom-Timestamp: seconds since 1970
 *   X-Postroom-Signature: sha256=<hex of HMAC-SHA256(secret, timestamp "." body)>
 */
#ifndef SMTPD_WEBHOOK_H
#define SMTPD_WEBHOOK_H

#include "service/service.h"
#include "service/trace.h"

enum {
	WEBHOOK_EVENTS_MAX = 500,            /* of a batch */
	WEBHOOK_BATCH_MAX = 1024 * 1024,     /* bytes of its JSON */
	WEBHOOK_WALK_MAX = 64 * 1024 * 1024, /* bytes of trace looked at for a batch */
	WEBHOOK_ANSWER_MAX = 64 * 1024,      /* bytes */
	WEBHOOK_RECEIVERS_MAX = 8,           /* URLs */
	WEBHOOK_SECRETS_MAX = 8 * 1024,      /* bytes of the file, a line for each */
	WEBHOOK_LOOK_MS = 300,               /* between two looks at the trace */
	WEBHOOK_RETRY_MS_MIN = 1000,         /* doubled with each failure */
	WEBHOOK_RETRY_MS_MAX = 5 * 60 * 1000,
};

/* Does nothing without a trace.  The configuration is read before each batch. */
void webhook_start(struct service *service, const struct trace *trace);
/* After a reload: starts the threads of receivers that are new. */
void webhook_reloaded(void);
/* Gives up what is being posted, and waits for the thread. */
void webhook_stop(void);

/* "sha256=" and 64 digits.  Pure. */
enum { WEBHOOK_SIGNATURE_SIZE = 7 + 64 + 1 };
void webhook_sign(struct slice secret, struct slice timestamp, struct slice body,
    char out[WEBHOOK_SIGNATURE_SIZE]);

/* The URL at a position of webhook.url (words with blanks between); null when there is
 * none or it is "-".  Pure. */
struct slice webhook_receiver(struct slice urls, size_t index);
/* The key of that position: a line of the secrets' file, trimmed; empty when there is
 * none.  Pure. */
struct slice webhook_key(struct slice text, size_t index);

#endif
