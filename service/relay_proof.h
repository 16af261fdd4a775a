/*
 * The proof that nobody who is not allowed to can send to anywhere by this server: every
 * known way of writing a foreign recipient, asked of the decision table for a client from
 * outside who has not logged in, with the configuration and the directory as they are.
 * smtpd runs it before it listens and before a reload, `postroom check` on demand.
 */
#ifndef SERVICE_RELAY_PROOF_H
#define SERVICE_RELAY_PROOF_H

#include "base/buf.h"
#include "conf/conf.h"
#include "store/directory.h"
#include "text/address.h"

enum {
	RELAY_PROOF_TEXT_MAX = 2048,   /* bytes of a reason */
	RELAY_PROOF_DOMAINS_MAX = 100, /* domains that the matrix is tried with */
	RELAY_PROOF_V4_BITS_MIN = 8, /* a trusted network that is wider is the Internet */
	RELAY_PROOF_V6_BITS_MIN = 16,
};

/* The policy that is tried: pure in these. */
struct relay_proof {
	const struct conf *conf;
	/* Where an address leads to, as smtp_recipient_resolve. */
	enum status (*resolve)(const struct mailbox_address *address, struct arena *arena,
	    enum directory_answer *out_answer, struct directory_target **out_targets,
	    size_t *out_count, void *arg);
	void *arg;
};
/* The matrix with one domain of ours.  False: appends the address and why to out_why. */
bool relay_proof_domain(const struct relay_proof *proof, struct slice domain,
    size_t *tried, struct buf *out_why);
/* The networks of the configuration alone. */
bool relay_proof_networks(const struct conf *conf, struct buf *out_why);

/* All of it: the networks, and the matrix with each domain (reader null: the networks
 * only).  *out_tried: rows.  False: out_why is one line that says what to do. */
bool relay_proof_run(struct store_reader *reader, const struct conf *conf,
    size_t *out_tried, struct buf *out_why);

#endif
