/*
 * Users of this machine; see smtp_local.h.  On the session's worker thread.
 */
#include "smtpd/smtp_local.h"

#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PASSWD_TEXT_MAX = 4096 /* bytes of one entry */ };

bool
smtp_local_is_listed(struct slice list, const char *name, uint32_t uid)
{
	while (list.len > 0) {
		struct slice word = slice_split(&list, ' ');
		uint32_t number;
		if (slice_to_u32(word, &number)
			? number == uid
			: word.len > 0 && name &&
			      slice_equal(word, slice_from_cstr(name)))
			return true;
	}
	return false;
}

bool
smtp_local_identify(struct smtp_session *s, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct passwd entry, *found = NULL;
	char text[PASSWD_TEXT_MAX];
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	s->uid = peer.uid;
	if (getpwuid_r(peer.uid, &entry, text, sizeof(text), &found) == 0 && found)
		s->user = xstrdup(found->pw_name);
	s->any_sender =
	    peer.uid == 0 || peer.uid == geteuid() ||
	    smtp_local_is_listed(
		slice_from_cstr(service_conf(s->service)->smtp.local_any_sender), s->user,
		peer.uid);
	/* No account has such a number: what it sends in an hour is counted under it. */
	memset(s->account.v, 0xff, sizeof(s->account.v));
	be32_put(s->account.v, peer.uid);
	return true;
}

bool
smtp_local_owns(const struct smtp_session *s, struct slice local, struct slice domain)
{
	if (s->any_sender)
		return true;
	return s->user && slice_equal_nocase(local, slice_from_cstr(s->user)) &&
	       slice_equal_nocase(
		   domain, slice_from_cstr(service_conf(s->service)->hostname));
}
