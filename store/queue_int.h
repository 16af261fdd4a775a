/*
 * Keys and loads of the queue's partition.  Private to store/.
 */
#ifndef STORE_QUEUE_INT_H
#define STORE_QUEUE_INT_H

#include "store/store_codec_int.h"
#include "store/store_int.h"

/* The id in lower case; false when it is none. */
bool queue_id_fold(struct slice id, char out[ID_TEXT_SIZE]);
void key_queue_message(struct key *key, const char id[ID_TEXT_SIZE]);
void key_queue_oldest(struct key *key, int64_t created_s, const char id[ID_TEXT_SIZE]);
void key_queue_recipient(struct key *key, const char id[ID_TEXT_SIZE], uint32_t number);
void key_queue_due(
    struct key *key, int64_t due_s, const char id[ID_TEXT_SIZE], uint32_t number);

/* Slices borrow the map (inside a commit: until its next write). */
enum status queue_message_load(struct engine_txn *txn, const char id[ID_TEXT_SIZE],
    struct queue_message *out) MUST_USE;
enum status queue_recipient_load(struct engine_txn *txn, const char id[ID_TEXT_SIZE],
    uint32_t number, struct queue_recipient *out) MUST_USE;
/* Zeros when there is no record yet. */
enum status queue_counts_load(struct engine_txn *txn, struct queue_counts *out) MUST_USE;
void queue_counts_save(struct engine_txn *txn, const struct queue_counts *counts);

/* ---- queue_write.c: what queue_wish.c shares ---- */
enum { QUEUE_ADDRESS_MAX = 1024 /* bytes */ };

/* Whose a recipient is, for the due index. */
struct queue_owner {
	uint64_t sender, tenant, campaign;
};
void queue_owner_of(const struct queue_message *message, struct queue_owner *out);
/* Zeros when the message is not there: fairness alone depends on it. */
struct queue_owner queue_owner_load(struct engine_txn *txn, const char id[ID_TEXT_SIZE]);
void queue_recipient_put(struct engine_txn *txn, const struct queue_recipient *recipient);
void queue_due_put(struct engine_txn *txn, const struct queue_recipient *recipient,
    const struct queue_owner *owner);
/* Of a waiting one; does nothing for others. */
void queue_due_del(struct engine_txn *txn, const struct queue_recipient *recipient);
int64_t queue_due_clamp(int64_t due_s);
void queue_count_down(uint64_t *value, uint64_t by);
/* The recipient leaves; with the last one the message and its body go too. */
enum status queue_recipient_leave(struct engine_txn *txn,
    const struct queue_recipient *recipient, struct queue_counts *counts) MUST_USE;

/* ---- queue_count.c ---- */
void key_queue_tenant(struct key *key, struct slice tenant, struct slice campaign);
/* False: damaged.  Slices borrow the key. */
bool key_queue_tenant_decode(
    struct slice key, struct slice *out_tenant, struct slice *out_campaign);
/* Adds `more` to what is counted for the message's tenant and campaign and takes `fewer`
 * from it; the message's slices need not live over it. */
enum status queue_tenant_count(struct engine_txn *txn,
    const struct queue_message *message, const struct queue_counts *more,
    const struct queue_counts *fewer) MUST_USE;
/* QUOTA: the tenant has its max_queued. */
enum status queue_tenant_room(struct engine_txn *txn, struct slice tenant) MUST_USE;

/* ---- queue_pause.c ---- */
/* Of a p or h key; false: damaged.  Slices borrow the key. */
bool key_queue_paused_decode(struct slice key, struct queue_pause *out);

#endif
