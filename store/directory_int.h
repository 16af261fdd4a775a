/*
 * Keys and loads of the directory partition, shared by directory.c, directory_write.c,
 * directory_resolve.c and relay_rule.c.  Private to store/.
 */
#ifndef STORE_DIRECTORY_INT_H
#define STORE_DIRECTORY_INT_H

#include "store/store_codec_int.h"
#include "store/store_int.h"

enum {
	DIRECTORY_LOCAL_MAX = 128,  /* bytes; RFC 5321 has 64, UTF-8 needs more */
	DIRECTORY_DOMAIN_MAX = 255, /* bytes */
};

/* "local@domain" cut at the last "@"; false without one or with an impossible length.  An
 * empty local part ("@domain") is allowed with `catch_all`. */
bool address_cut(struct slice address, bool catch_all, struct slice *out_local,
    struct slice *out_domain);
/* D domain; L or F domain NUL local; names are folded to lower case.  False when a part
 * is too long or holds what no address may. */
bool key_domain(struct key *key, struct slice domain);
bool key_address(struct key *key, char class, struct slice local, struct slice domain);
void key_id(struct key *key, char class, struct account_id id);

enum status directory_snap(struct store_reader *reader, struct engine_txn **out) MUST_USE;
enum status domain_load(
    struct engine_txn *txn, struct slice domain, struct domain_record *out) MUST_USE;
/* The slices borrow the map. */
enum status login_load(struct engine_txn *txn, struct slice local, struct slice domain,
    struct login_record *out) MUST_USE;
/* The L key of an account (class byte included) from its id. */
enum status login_key_by_id(
    struct engine_txn *txn, struct account_id id, struct key *out) MUST_USE;
/* In a commit: the secret of the account with this L key is now this one, where the
 * domain keeps any; the old one is gone in any case. */
void apop_change(struct engine_txn *txn, const struct key *login_key,
    const struct domain_record *domain, struct slice secret);
/* The account's forwards; out->count is 0 when it has none. */
struct forward_record;
enum status forward_load(
    struct engine_txn *txn, struct account_id account, struct forward_record *out);
enum status first_domain(
    struct engine_txn *txn, struct slice *out_name, bool *out_only) MUST_USE;

#endif
