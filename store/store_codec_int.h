/*
 * Keys and records of store_schema.h to bytes and back.  Private to store/.  Decoders
 * check version and lengths and return false for what is damaged; slices in decoded
 * structs borrow the record.  Pure.
 */
#ifndef STORE_STORE_CODEC_INT_H
#define STORE_STORE_CODEC_INT_H

#include "base/buf.h"
#include "base/ids.h"
#include "store/acl.h"
#include "store/directory.h"
#include "store/engine.h"
#include "store/message.h"
#include "store/metadata.h"
#include "store/pop3.h"
#include "store/queue.h"
#include "store/relay_note.h"
#include "store/store_schema.h"
#include "store/tenant.h"

/* ---- keys ---- */
struct key {
	size_t len;
	char b[ENGINE_KEY_MAX];
};

static inline struct slice
key_slice(const struct key *key)
{
	return (struct slice){key->b, key->len};
}

void key_begin(struct key *key, char class);
void key_u32(struct key *key, uint32_t value);
void key_u64(struct key *key, uint64_t value);
/* The caller has checked the length: a key that does not fit is a bug. */
void key_bytes(struct key *key, struct slice bytes);
void key_name(struct key *key, char class, struct slice name);
void key_mailbox(struct key *key, char class, uint32_t mailbox);
void key_message(struct key *key, char class, uint32_t mailbox, uint32_t uid);
void key_change(struct key *key, uint32_t mailbox, uint64_t modseq, uint32_t uid);
void key_time(struct key *key, int64_t time_s, uint32_t mailbox, uint32_t uid);
/* The first key behind all that begin with this one's bytes. */
void key_next_prefix(struct key *key);

/* uid of an M or X key that is known to be one by its range; false: bad length. */
static inline bool
key_message_uid(struct slice key, uint32_t *out_uid)
{
	if (key.len != 9)
		return false;
	*out_uid = be32_get(key.ptr + 5);
	return true;
}

struct change_key {
	uint32_t mailbox;
	uint64_t modseq;
	uint32_t uid;
};
bool key_change_decode(struct slice key, struct change_key *out);
struct time_key {
	int64_t time_s;
	uint32_t mailbox;
	uint32_t uid;
};
bool key_time_decode(struct slice key, struct time_key *out);

/* ---- account partition ---- */
struct account_state {
	bool removed;
	int64_t created_s;
	struct account_quota quota;
	uint64_t bytes;
	uint64_t messages;
	uint32_t next_mailbox;
	uint32_t mailboxes;
	uint32_t next_uidvalidity;
	uint64_t next_email_id;
	int64_t purged_to_s;
};
struct slice account_encode(
    const struct account_state *account, char out[ACCOUNT_SIZE_MAX]);
bool account_decode(struct slice record, struct account_state *out);

struct mailbox_state {
	uint32_t number; /* of the key */
	uint16_t use;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint32_t exists;
	uint32_t unseen;
	uint32_t deleted;
	uint32_t first_recent;
	uint64_t modseq;
	uint64_t bytes;
	uint64_t horizon;
	bool mapped;       /* B records are kept */
	struct slice name; /* borrowed by decode; state_load gives it a place */
	char name_bytes[MAILBOX_NAME_MAX];
};
enum { STATE_SIZE_MAX = STATE_NAME + MAILBOX_NAME_MAX + 1 };
/* Returns the record's length. */
size_t state_encode(const struct mailbox_state *state, char out[STATE_SIZE_MAX]);
/* Leaves number and name_bytes alone. */
bool state_decode(struct slice record, struct mailbox_state *out);

bool name_decode(struct slice record, uint32_t *out_number);

/* Lists (V). */
enum { ACL_RECORD_MAX = ACL_LIST + ACL_ENTRIES_MAX * ACL_ENTRY_SIZE };
/* Returns the record's length. */
size_t acl_encode(const struct acl *acl, char out[ACL_RECORD_MAX]);
bool acl_decode(struct slice record, struct acl *out);

/* Annotations (E, e): `out` has room for METADATA_VALUE bytes and the value. */
size_t metadata_encode(uint64_t change, struct slice value, char *out);
/* The value borrows the record. */
bool metadata_decode(struct slice record, uint64_t *out_change, struct slice *out_value);
struct metadata_key {
	uint32_t mailbox;
	struct account_id user;
	struct slice entry; /* not empty, at most METADATA_ENTRY_MAX; borrows the key */
};
/* The part of a key that one mailbox and user have in common. */
void key_metadata(struct key *key, uint32_t mailbox, struct account_id user);
bool key_metadata_decode(struct slice key, struct metadata_key *out);

struct keyword_list {
	size_t count;
	struct {
		uint8_t len;
		char text[MAILBOX_KEYWORD_LEN_MAX];
	} at[MAILBOX_KEYWORDS_MAX];
};
enum {
	KEYWORDS_SIZE_MAX =
	    KEYWORDS_LIST + MAILBOX_KEYWORDS_MAX * (1 + MAILBOX_KEYWORD_LEN_MAX)
};
size_t keywords_encode(const struct keyword_list *list, char out[KEYWORDS_SIZE_MAX]);
bool keywords_decode(struct slice record, struct keyword_list *out);
/* Names that borrow the record. */
bool keywords_peek(
    struct slice record, struct slice out[MAILBOX_KEYWORDS_MAX], size_t *out_count);

void message_encode(const struct message_record *message, char out[MESSAGE_SIZE]);
/* In the header: listing 100,000 records goes through here. */
static inline bool
message_decode(struct slice record, uint32_t uid, struct message_record *out)
{
	const char *p = record.ptr;
	if (record.len < MESSAGE_SIZE || p[0] != STORE_RECORD_VERSION)
		return false;
	out->uid = uid;
	out->flags = (uint8_t)p[MESSAGE_FLAGS] & MESSAGE_FLAGS_ALL;
	out->line_end_missing =
	    (uint8_t)((unsigned char)p[MESSAGE_FLAGS] >> MESSAGE_LINE_END_SHIFT);
	out->internaldate_zone_min = (int16_t)be16_get(p + MESSAGE_ZONE);
	out->keywords = be64_get(p + MESSAGE_KEYWORDS);
	out->modseq = be64_get(p + MESSAGE_MODSEQ);
	out->internaldate_s = (int64_t)be64_get(p + MESSAGE_INTERNALDATE);
	out->save_date_s = (int64_t)be64_get(p + MESSAGE_SAVE_DATE);
	out->size = be64_get(p + MESSAGE_BYTES);
	out->body = be64_get(p + MESSAGE_BODY);
	out->email_id = be64_get(p + MESSAGE_EMAIL_ID);
	return record.len == MESSAGE_SIZE && out->line_end_missing <= 2;
}

void expunged_encode(
    const struct message_record *message, int64_t time_s, char out[EXPUNGED_SIZE]);
bool expunged_decode(
    struct slice record, uint32_t uid, struct message_record *out, int64_t *out_time_s);

enum { POP3_RECORD_MAX = POP3_UIDL + POP3_UIDL_MAX };
/* Returns the record's length. */
size_t pop3_record_encode(const struct pop3_record *record, char out[POP3_RECORD_MAX]);
bool pop3_record_decode(struct slice record, struct pop3_record *out);
bool uidl_decode(struct slice record, uint32_t *out_uid);
/* Uids that belong to imports: none was given out of [next, end). */
struct reserved {
	uint32_t end;
	uint32_t next;
};
void reserved_encode(const struct reserved *reserved, char out[RESERVED_SIZE]);
bool reserved_decode(struct slice record, struct reserved *out);

/* ---- directory ---- */
struct domain_record {
	struct pop3_rule pop3;
	uint32_t accounts;
	uint32_t aliases;
	struct account_id postmaster;
	bool apop;
};
enum { DOMAIN_SIZE_MAX = DOMAIN_SIZE + POP3_DAYS_SIZE + 1 };
/* Returns the record's length. */
size_t domain_encode(const struct domain_record *domain, char out[DOMAIN_SIZE_MAX]);
bool domain_decode(struct slice record, struct domain_record *out);

/* K: the secret borrows the record; it has 1 to DIRECTORY_APOP_SECRET_MAX bytes. */
enum { APOP_RECORD_MAX = 1 + DIRECTORY_APOP_SECRET_MAX };
void apop_encode(struct slice secret, struct buf *out);
bool apop_decode(struct slice record, struct slice *out_secret);

struct login_record {
	bool disabled;
	struct pop3_rule pop3;
	struct account_id id;
	int64_t created_s;
	struct slice login;
	struct slice credential;
};
enum { LOGIN_RECORD_MAX = 8 * 1024 };
void login_encode(const struct login_record *login, struct buf *out);
bool login_decode(struct slice record, struct login_record *out);

enum { ALIAS_RECORD_MAX = ALIAS_LIST + DIRECTORY_ALIAS_TARGETS_MAX * (2 + 512) };
void alias_encode(const struct slice *targets, size_t count, struct buf *out);
/* At most DIRECTORY_ALIAS_TARGETS_MAX targets. */
bool alias_decode(struct slice record, struct slice out[DIRECTORY_ALIAS_TARGETS_MAX],
    size_t *out_count);

/* E and J. */
struct forward_record {
	uint8_t flags;
	size_t count;
	struct slice to[DIRECTORY_FORWARD_MAX];
};
enum { FORWARD_RECORD_MAX = 8 + DIRECTORY_FORWARD_MAX * (2 + 512) };
void forward_encode(const struct forward_record *forward, struct buf *out);
/* The slices borrow the record; at least one. */
bool forward_decode(struct slice record, struct forward_record *out);

struct relay_record {
	uint32_t number;
	uint16_t port;
	enum relay_tls tls;
	bool lmtp;
	bool implicit_tls;
	struct slice host, user, password;
	struct slice source, ehlo; /* not kept when both are empty */
};
enum { RELAY_RECORD_MAX = 4 * 1024 };
void relay_encode(const struct relay_record *relay, struct buf *out);
bool relay_decode(struct slice record, struct relay_record *out);

/* ---- queue ---- */
void counts_encode(const struct queue_counts *counts, char out[COUNTS_SIZE]);
/* Without oldest_s. */
bool counts_decode(struct slice record, struct queue_counts *out);
enum { QUEUE_RECORD_MAX = 16 * 1024 };
void queue_message_encode(const struct queue_message *message, struct buf *out);
/* The id is the caller's, from the key. */
bool queue_message_decode(
    struct slice record, struct slice id, struct queue_message *out);
void queue_recipient_encode(const struct queue_recipient *recipient, struct buf *out);
bool queue_recipient_decode(
    struct slice record, struct slice id, uint32_t number, struct queue_recipient *out);

/* ---- the relay's notes ---- */
enum { RELAY_NOTE_RECORD_MAX = 16 * 1024 };
void relay_note_encode(const struct relay_note *note, struct buf *out);
/* The name is the caller's, from the key. */
bool relay_note_decode(struct slice record, struct relay_note *out);

/* ---- parts of records, for store_codec*.c ---- */
/* The version, and at least so many bytes. */
bool record_fits(struct slice record, size_t size_min);
/* A text: its length u16, and the bytes. */
void record_text_append(struct buf *out, struct slice text);
bool record_text_take(struct slice *rest, struct slice *out);
/* An optional field at a record's end; an empty one is left out. */
void record_field_append(struct buf *out, char tag, struct slice value);
/* The next field; its tag must be above `tag`, so that there is one way to write it. */
bool record_field_take(struct slice *rest, char *tag, struct slice *out);

/* Tenants and their members; slices borrow the record.  Decoding leaves the name alone.
 */
enum { TENANT_RECORD_MAX = TENANT_TEXTS + 2 * (2 + TENANT_TEXT_MAX) };
void tenant_encode(const struct tenant *tenant, struct buf *out);
bool tenant_decode(struct slice record, struct tenant *out);
void tenant_member_encode(struct slice tenant, struct buf *out);
bool tenant_member_decode(struct slice record, struct slice *out_tenant);

#endif
