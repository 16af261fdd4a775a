/*
 * Capability masks: what an account (`account set --imap-without`) or a client by its ID
 * (`imap.client_masks`) is not offered, for clients that take an extension wrongly.  A
 * masked capability is not announced and not enabled, and commands that only it brings
 * are unknown; what it adds to other commands still works.  Pure.
 */
#ifndef IMAPD_IMAP_MASK_H
#define IMAPD_IMAP_MASK_H

#include "base/slice.h"

/* The capability's bit, any case; 0 for a name that is not announced or that cannot be
 * masked (IMAP4rev1). */
uint64_t imap_capability_bit(struct slice name);
/* The bits of names with "," or blanks between; unknown ones are passed over. */
uint64_t imap_mask_names(struct slice names);
/* `rules` is "CLIENT=CAP,CAP; CLIENT=CAP": the first whose CLIENT the client's name
 * begins with (any case; "*" is every client). */
uint64_t imap_mask_client(struct slice rules, struct slice client);
/* True for a command all of whose capabilities are masked. */
bool imap_mask_hides(uint64_t masked, struct slice command);

#endif
