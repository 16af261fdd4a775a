/*
 * Users of this machine, who submit over a Unix socket (a listener with protocol local;
 * `sendmail` does it for them).  The kernel says who it is (SO_PEERCRED), so there is no
 * log-in and no program with more rights than its user (decision 0116).  They may send to
 * anywhere; as NAME@hostname, and as whom they want when they are root, the daemon's own
 * user, or in smtp.local_any_sender.  Private to smtpd.
 */
#ifndef SMTPD_SMTP_LOCAL_H
#define SMTPD_SMTP_LOCAL_H

#include "smtpd/smtp_session.h"

/* Finds out who is behind `fd`; false when the kernel does not say. */
bool smtp_local_identify(struct smtp_session *s, int fd);
/* May this user send with the sender (not empty; its domain as A-labels)? */
bool smtp_local_owns(
    const struct smtp_session *s, struct slice local, struct slice domain);
/* Is the user in the list of names and numbers, with blanks between?  Pure. */
bool smtp_local_is_listed(struct slice list, const char *name, uint32_t uid);

#endif
