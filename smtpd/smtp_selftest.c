/*
 * The open-relay matrix against the parser; see smtp_selftest.h.
 */
#include "smtpd/smtp_selftest.h"

#include "service/smtp_route.h"
#include "smtpd/smtp_parse.h"

/* The directory of the test: one domain, one user. */
static enum directory_answer
test_resolve(const struct mailbox_address *address)
{
	if (!slice_equal_nocase(address->domain, SLICE("us.example")))
		return DIRECTORY_NOT_LOCAL;
	return slice_equal_nocase(address->local, SLICE("user")) ? DIRECTORY_TARGETS
	                                                         : DIRECTORY_UNKNOWN_USER;
}

/* True when a stranger's RCPT with this argument is accepted. */
static bool
stranger_may_send(const char *argument)
{
	struct arena *arena = arena_new(64 * 1024);
	struct smtp_rcpt rcpt;
	bool accepted = false;
	if (smtp_rcpt_parse(slice_from_cstr(argument), arena, &rcpt) == SMTP_PARSE_DONE) {
		struct smtp_route_facts facts = {
		    .answer = test_resolve(&rcpt.address),
		    .targets = 1,
		};
		enum smtp_route route = smtp_route_decide(&facts);
		accepted = route == SMTP_ROUTE_TARGETS || route == SMTP_ROUTE_RELAY;
	}
	arena_free(&arena);
	return accepted;
}

const char *
smtp_route_selftest(void)
{
	static const struct {
		const char *argument;
		bool accepted;
	} rows[] = {
	    {"TO:<user@us.example>",                           true },
	    {"TO:<USER@US.EXAMPLE>",                           true },
	    {"TO:<@ext.example:user@us.example>",              true }, /* the route is dropped */
	    {"TO:<other@us.example>",                          false},
	    {"TO:<user@ext.example>",                          false},
	    {"TO:<user%ext.example@us.example>",               false},
	    {"TO:<user%us.example@ext.example>",               false},
	    {"TO:<\"user@ext.example\"@us.example>",           false},
	    {"TO:<\"user%ext.example\"@us.example>",           false},
	    {"TO:<@us.example:user@ext.example>",              false},
	    {"TO:<@us.example,@ext.example:user@ext.example>", false},
	    {"TO:<user@ext.example@us.example>",               false},
	    {"TO:<user@us.example@ext.example>",               false},
	    {"TO:<ext.example!user@us.example>",               false},
	    {"TO:<us.example!ext.example!user>",               false},
	    {"TO:<ext.example!user@ext.example>",              false},
	    {"TO:<\"ext.example!user\"@us.example>",           false},
	    {"TO:<user@[203.0.113.9]>",                        false},
	    {"TO:<user@[IPv6:2001:db8::9]>",                   false},
	    {"TO:<user@us.example.>",                          false},
	    {"TO:<user@us.example.ext.example>",               false},
	    {"TO:<user@ext-us.example>",                       false},
	    {"TO:<user>",				      false},
	    {"TO:<>",					  false},
	    {"TO:user@ext.example",                            false},
	    {"TO:<user@ext.example",                           false},
	    {"TO:<user@us.example>,<user@ext.example>",        false},
	    {"TO:<user@us.example> <user@ext.example>",        false},
	    {"TO:<user@us.example >",                          false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (stranger_may_send(rows[i].argument) != rows[i].accepted)
			return rows[i].argument;
	}
	return NULL;
}
