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

#endif
