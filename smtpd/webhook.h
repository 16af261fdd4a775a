/*
 * Delivery events (service/event.h) posted to the operator's URL in batches, at least
 * once each, in order (decision 0101).  A thread of its own, so that a receiver that is
 * slow or gone costs mail nothing; it reads the trace, and a small file beside the store
 * says how far the receiver has answered.
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
	WEBHOOK_SECRET_MAX = 1024,           /* bytes */
	WEBHOOK_LOOK_MS = 300,               /* between two looks at the trace */
	WEBHOOK_RETRY_MS_MIN = 1000,         /* doubled with each failure */
	WEBHOOK_RETRY_MS_MAX = 5 * 60 * 1000,
};

/* Does nothing without a trace.  The configuration is read before each batch. */
void webhook_start(struct service *service, const struct trace *trace);
/* Gives up what is being posted, and waits for the thread. */
void webhook_stop(void);

/* "sha256=" and 64 digits.  Pure. */
enum { WEBHOOK_SIGNATURE_SIZE = 7 + 64 + 1 };
void webhook_sign(struct slice secret, struct slice timestamp, struct slice body,
    char out[WEBHOOK_SIGNATURE_SIZE]);

#endif
