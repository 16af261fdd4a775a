/*
 * LMTP: what becomes of each recipient when targets are shared, fail, or are elsewhere;
 * what goes to the queue, and what its failure means.
 */
#include "smtpd/smtp_lmtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { TARGETS_MAX = 4, RECIPIENTS_MAX = 3 };

struct row {
	const char *what;
	const char
	    *targets; /* 'o' stored, 'q' over quota, 'i' disk error, 'x' elsewhere */
	size_t recipients[RECIPIENTS_MAX][TARGETS_MAX]; /* from 1 on, 0 ends */
	const char *queued;                             /* a mark for each target */
	const char *accepted; /* when the queue takes it: a mark for each recipient */
	const char *failed;   /* when it does not */
};

static const struct row rows[] = {
    {"all stored",		      "oo",  {{1}, {2}},    "--",  "++", "++"},
    {"one is full",		     "oq",  {{1}, {2}},    "--",  "+-", "+-"},
    {"all are full",                    "qq",  {{1}, {2}},    "--",  "--", "--"},
    {"the same one twice",              "o",   {{1}, {1}},    "-",   "++", "++"},
    {"elsewhere only",                  "x",   {{1}},         "q",   "+",  "-" },
    {"here and elsewhere",              "ox",  {{1}, {2}},    "-q",  "++", "+-"},
    {"a part of an alias failed",       "oq",  {{1, 2}},      "-q",  "+",  "-" },
    {"all of an alias failed",          "qi",  {{1, 2}},      "--",  "-",  "-" },
    {"shared with one that has a part", "oq",  {{1, 2}, {2}}, "-q",  "++", "--"},
    {"a full one beside what goes out", "qx",  {{1}, {2}},    "-q",  "-+", "--"},
    {"a journal here",                  "oo",  {{1}},         "--",  "+",  "+" },
    {"a journal that failed",           "oi",  {{1}},         "-q",  "+",  "-" },
    {"a journal elsewhere",             "oqx", {{1}, {2}},    "--q", "+-", "--"},
    {"a journal of what nobody took",   "qx",  {{1}},         "--",  "-",  "-" },
};

static struct smtp_envelope *
envelope(const struct row *row, struct deliver_recipient deliveries[TARGETS_MAX])
{
	struct smtp_envelope *e = smtp_envelope_new(NULL, NULL);
	struct directory_target named[TARGETS_MAX] = {0};
	size_t local = 0;
	for (size_t i = 0; row->targets[i]; i++) {
		char kind = row->targets[i];
		struct smtp_target target = {.local = kind != 'x'};
		be32_put(target.account.v, (uint32_t)i);
		if (!target.local)
			target.address = arena_format(e->arena, "u%zu@x.test", i);
		assert_int_equal(smtp_envelope_add(e, &target), SMTP_ENVELOPE_ADDED);
		named[i] = (struct directory_target){.local = target.local,
		    .account = target.account,
		    .address = target.address};
		if (target.local)
			deliveries[local++].status = kind == 'o'   ? STATUS_OK
			                             : kind == 'q' ? STATUS_QUOTA
			                                           : STATUS_IO;
	}
	e->deliver.recipients = deliveries;
	for (size_t i = 0; i < RECIPIENTS_MAX && row->recipients[i][0]; i++) {
		struct directory_target targets[TARGETS_MAX];
		size_t count = 0;
		while (count < TARGETS_MAX && row->recipients[i][count]) {
			targets[count] = named[row->recipients[i][count] - 1];
			count++;
		}
		assert_true(smtp_lmtp_add(e, targets, count));
	}
	return e;
}

static size_t
plus(const char *marks)
{
	size_t count = 0;
	for (; *marks; marks++)
		count += *marks == '+';
	return count;
}

static void
fates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		for (int fails = 0; fails <= 1; fails++) {
			struct deliver_recipient deliveries[TARGETS_MAX] = {0};
			struct smtp_envelope *e = envelope(row, deliveries);
			bool wanted = strchr(row->queued, 'q');
			const char *want = fails ? row->failed : row->accepted;
			assert_int_equal(
			    smtp_lmtp_sort(e), wanted ? STATUS_OK : STATUS_NOT_FOUND);
			for (size_t k = 0; k < e->target_count; k++)
				assert_int_equal(
				    e->queue_wants[k], row->queued[k] == 'q');
			if (wanted)
				smtp_lmtp_queued(e, fails ? STATUS_FULL : STATUS_OK);
			if (smtp_lmtp_accepted(e) != plus(want))
				fail_msg("%s, the queue %s: %zu accepted", row->what,
				    fails ? "fails" : "takes it", smtp_lmtp_accepted(e));
			smtp_envelope_free(&e);
		}
	}
}

static void
parameters(void **state)
{
	(void)state;
	struct smtp_mail mail = {.body_8bit = true, .utf8 = true, .has_size = true};
	struct smtp_rcpt rcpt = {0};
	assert_true(smtp_lmtp_takes_mail(&mail));
	assert_true(smtp_lmtp_takes_rcpt(&rcpt));
	mail.ret = SMTP_RET_HDRS;
	assert_false(smtp_lmtp_takes_mail(&mail));
	mail = (struct smtp_mail){.hold = SMTP_HOLD_FOR};
	assert_false(smtp_lmtp_takes_mail(&mail));
	mail = (struct smtp_mail){.by = SMTP_BY_NOTIFY};
	assert_false(smtp_lmtp_takes_mail(&mail));
	mail = (struct smtp_mail){.requiretls = true};
	assert_false(smtp_lmtp_takes_mail(&mail));
	rcpt.notify = QUEUE_NOTIFY_NEVER;
	assert_false(smtp_lmtp_takes_rcpt(&rcpt));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fates),
	    cmocka_unit_test(parameters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
