/*
 * pop3d for fuzz_session.h, of the fuzz target and of the unit test of whole sessions.
 */
#ifndef SESSION_POP3_H
#define SESSION_POP3_H

#include "fuzz/fuzz_session.h"
#include "pop3d/pop3_session.h"

static inline void
fuzz_pop3_fini(void *user)
{
	ENSURE(list_is_empty(user));
	free(user);
}

static const struct fuzz_daemon fuzz_pop3 = {
    .options = {.daemon = "pop3d",
		.sasl_service = "pop",
		.accept = pop3_session_accept,
		.worker_start = pop3_sessions_start},
    .listener = "pop3",
    .fini = fuzz_pop3_fini,
};

#endif
