/*
 * What import and export tell: progress, problems by name, a row a mailbox and the sums,
 * as text or JSON; and the hash by which messages are compared.  Private to postroom/.
 */
#ifndef POSTROOM_TRANSFER_H
#define POSTROOM_TRANSFER_H

#include <jansson.h>
#include <openssl/evp.h>

#include "postroom/cli.h"
#include "postroom/mail_source.h"

enum { TRANSFER_PROBLEMS_MAX = 10000 /* told one by one; all are counted */ };

/* Of SHA-256, its first half. */
struct mail_hash {
	unsigned char v[16];
};
struct mail_hasher {
	EVP_MD_CTX *context;
};
void mail_hasher_init(struct mail_hasher *hasher);
void mail_hasher_fini(struct mail_hasher *hasher);
void mail_hash_begin(struct mail_hasher *hasher);
void mail_hash_add(struct mail_hasher *hasher, struct slice bytes);
void mail_hash_end(struct mail_hasher *hasher, struct mail_hash *out);
static inline bool
mail_hash_equal(const struct mail_hash *a, const struct mail_hash *b)
{
	return memcmp(a->v, b->v, sizeof(a->v)) == 0;
}

struct transfer_counts {
	uint64_t messages, bytes; /* that there are */
	uint64_t done;            /* moved in this run */
	uint64_t already;         /* there from before */
	uint64_t failed;
	uint64_t verified;  /* of done and already: the same bytes on both sides */
	uint64_t uids_kept; /* of done and already */
};

struct transfer {
	struct cli *cli;
	const char *verb; /* "imported" */
	bool dry_run;
	json_t *folders, *problems;
	uint64_t problem_count;
	struct transfer_counts total;
	uint64_t shown_at_ms;
	bool shown;
};

void transfer_init(struct transfer *transfer, struct cli *cli, const char *verb);
/* Told at once on standard error, and in the JSON report.  The last argument is the
 * transfer. */
void transfer_problem(const char *where, const char *text, void *arg);
/* Now and then a line on a terminal. */
void transfer_progress(struct transfer *transfer, struct slice mailbox,
    const struct transfer_counts *counts, uint64_t expected);
/* `uids`: a clause about them for people. */
void transfer_folder(struct transfer *transfer, struct slice mailbox,
    uint32_t uidvalidity, const struct transfer_counts *counts, const char *uids);
/* Prints the report; 0, or CLI_FINDINGS with one line when there were problems. */
int transfer_finish(struct transfer *transfer, const char *account, const char *path);

/* --format, --mbox and the path of the command; 0 or an exit code. */
int transfer_options(struct cli *cli, struct mail_source_options *out);

#endif
