/*
 * The open-relay proof: it holds for a right policy, whatever its aliases, and finds each
 * policy that is wrong in one way.
 */
#include "service/relay_proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum mode {
	RIGHT,
	CATCH_ALL,     /* everybody of ours is sent on to one address elsewhere */
	PERCENT,       /* user%there@us is taken for user@there */
	BANG,          /* there!user@us as well */
	QUOTED,        /* "user@there"@us */
	SUBDOMAINS,    /* what is below a domain of ours is sent on */
	SRS_UNCHECKED, /* any SRS0 address is taken */
	BROKEN,        /* the directory cannot be read */
};

/* A target elsewhere, as a policy with a mistake makes it. */
static enum status
to_outside(struct arena *arena, const char *address, enum directory_answer *out_answer,
    struct directory_target **out_targets, size_t *out_count)
{
	struct directory_target *target = ARENA_NEW(arena, struct directory_target);
	*target = (struct directory_target){.address = slice_from_cstr(address)};
	*out_answer = DIRECTORY_TARGETS;
	*out_targets = target;
	*out_count = 1;
	return STATUS_OK;
}

static enum status
resolve(const struct mailbox_address *address, struct arena *arena,
    enum directory_answer *out_answer, struct directory_target **out_targets,
    size_t *out_count, void *arg)
{
	enum mode mode = *(const enum mode *)arg;
	static const char *const there = "user@relay-test.invalid";
	bool ours = slice_equal(address->domain, SLICE("us.test"));
	struct slice local = address->local;
	*out_answer = ours ? DIRECTORY_UNKNOWN_USER : DIRECTORY_NOT_LOCAL;
	*out_count = 0;
	if (mode == BROKEN)
		return STATUS_IO;
	if (mode == SUBDOMAINS && slice_has_suffix(address->domain, SLICE(".us.test")))
		return to_outside(arena, there, out_answer, out_targets, out_count);
	if (!ours || mode == RIGHT || mode == SUBDOMAINS)
		return STATUS_OK;
	if (mode == CATCH_ALL)
		return to_outside(
		    arena, "me@private.test", out_answer, out_targets, out_count);
	if ((mode == PERCENT && slice_index(local, '%') != SIZE_MAX) ||
	    (mode == BANG && slice_index(local, '!') != SIZE_MAX) ||
	    (mode == QUOTED && slice_index(local, '@') != SIZE_MAX) ||
	    (mode == SRS_UNCHECKED && slice_has_prefix(local, SLICE("SRS0="))))
		return to_outside(arena, there, out_answer, out_targets, out_count);
	return STATUS_OK;
}

static bool
holds(enum mode mode, const struct conf *conf, const char *want)
{
	struct relay_proof proof = {.conf = conf, .resolve = resolve, .arg = &mode};
	struct buf why;
	size_t tried = 0;
	buf_init(&why, RELAY_PROOF_TEXT_MAX);
	bool held = relay_proof_domain(&proof, SLICE("us.test"), &tried, &why);
	assert_true(tried > 0);
	assert_true(held == (why.len == 0));
	buf_append_byte(&why, '\0');
	if (want && !strstr(why.ptr, want))
		fail_msg("%s", why.ptr);
	buf_fini(&why);
	return held;
}

static void
policies(void **state)
{
	(void)state;
	static const struct conf conf;
	assert_true(holds(RIGHT, &conf, NULL));
	assert_true(holds(CATCH_ALL, &conf, NULL));
	assert_false(holds(PERCENT, &conf, "<user%relay-test.invalid@us.test>"));
	assert_false(holds(BANG, &conf, "<relay-test.invalid!user@us.test>"));
	assert_false(holds(QUOTED, &conf, "<\"user@relay-test.invalid\"@us.test>"));
	assert_false(holds(SUBDOMAINS, &conf, "<user@relay-test.invalid.us.test>"));
	assert_false(holds(SRS_UNCHECKED, &conf, "<SRS0=AAAAAAAA="));
	assert_false(holds(BROKEN, &conf, "could not be proved"));
}

static void
trusted_stranger(void **state)
{
	(void)state;
	char network[] = "198.51.100.0/24";
	char *list[] = {network};
	struct conf conf = {
	    .smtp.trusted_networks = {list, 1}
        };
	assert_false(holds(RIGHT, &conf, "198.51.100.99"));
	assert_false(holds(RIGHT, &conf, "smtp.trusted_networks"));
}

static void
networks(void **state)
{
	static const struct {
		const char *network;
		bool holds;
	} rows[] = {
	    {"0.0.0.0/0",     false},
	    {"128.0.0.0/1",   false},
	    {"8.0.0.0/7",     false},
	    {"10.0.0.0/8",    true },
	    {"192.0.2.1/32",  true },
	    {"::/0",          false},
	    {"2000::/3",      false},
	    {"2001::/15",     false},
	    {"2001:db8::/32", true },
	    {"fc00::/7",      true },
	    {"fd00::/8",      true },
	    {"::1/128",       true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[40];
		char *list[] = {text};
		strcpy(text, rows[i].network);
		struct conf_listener imap = {
		    .protocol = CONF_IMAP, .proxy_networks = {list, 1}
                };
		struct conf_listener smtp = {
		    .protocol = CONF_SMTP, .proxy_networks = {list, 1}
                };
		const struct conf confs[] = {
		    {.smtp.trusted_networks = {list, 1}},
		    {                  .smtp.xclient_networks = {list, 1}                                 },
		    { .listeners = &smtp,                                  .listener_count = 1},
		};
		for (size_t c = 0; c < sizeof(confs) / sizeof(confs[0]); c++) {
			struct buf why;
			buf_init(&why, RELAY_PROOF_TEXT_MAX);
			if (relay_proof_networks(&confs[c], &why) != rows[i].holds)
				fail_msg("%s in list %zu", text, c);
			buf_fini(&why);
		}
		/* Who cannot send mail cannot relay. */
		const struct conf other = {.listeners = &imap, .listener_count = 1};
		struct buf why;
		buf_init(&why, RELAY_PROOF_TEXT_MAX);
		assert_true(relay_proof_networks(&other, &why));
		buf_fini(&why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(policies),
	    cmocka_unit_test(trusted_stranger),
	    cmocka_unit_test(networks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
