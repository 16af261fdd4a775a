/*
 * Whose mail it is that somebody submits.  Only who has logged in belongs to a tenant:
 * an address that mail comes from can be said by anybody.
 */
#ifndef SERVICE_TENANT_H
#define SERVICE_TENANT_H

#include "store/tenant.h"

/* The tenant of a submitted message: the one that has the log-in's own address as a
 * member; else the one of the envelope sender's domain (the log-in may send as it:
 * smtp.sender_check has seen to that); else that of the log-in's domain.  `login` empty:
 * nobody's.  NOT_FOUND: nobody's.  Slices borrow until the reader's end. */
enum status service_tenant_of(struct store_reader *reader, struct slice login,
    struct slice sender, struct tenant *out) MUST_USE;

#endif
