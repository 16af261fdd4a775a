/*
 * POP3 replies: +OK, -ERR with response codes (RFC 2449 section 8, RFC 3206), and the
 * only map from store status to them.
 */
#ifndef POP3D_POP3_RESP_H
#define POP3D_POP3_RESP_H

#include "pop3d/pop3_session.h"

void pop3_resp_ok(struct pop3_session *s, const char *text);
void pop3_resp_ok_format(struct pop3_session *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* `code` without brackets, or null: "IN-USE", "SYS/TEMP", "AUTH".  Counts as an error
 * of the client when `code` is null. */
void pop3_resp_err(struct pop3_session *s, const char *code, const char *text);
/* -ERR for a status of the store. */
void pop3_resp_status(struct pop3_session *s, enum status status);

#endif
