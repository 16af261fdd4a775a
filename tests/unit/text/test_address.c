/* RFC 5321 paths and mailboxes: accepted, refused, too long; domains and IDNA. */
#include "unit/text/text_test.h"

#include "text/address.h"

enum { ARENA_BYTES = 1 << 20 };

static void
check_path(const char *text, bool utf8, enum address_result want, const char *local,
    const char *domain, size_t want_used)
{
	struct arena *arena = arena_new(ARENA_BYTES);
	struct mailbox_address address;
	size_t used = 0;
	enum address_result got =
	    address_parse_path(slice_from_cstr(text), utf8, arena, &address, &used);
	if (got != want)
		fail_msg("%s: %d", text, (int)got);
	if (want == ADDRESS_OK) {
		CHECK_TEXT(address.local, local);
		CHECK_TEXT(address.domain, domain);
		assert_int_equal(used, want_used ? want_used : strlen(text));
	}
	arena_free(&arena);
}

static void
test_paths(void **state)
{
	(void)state;
	check_path("<>", false, ADDRESS_OK, "", "", 0);
	check_path("<> SIZE=3", false, ADDRESS_OK, "", "", 2);
	check_path("<PostMaster>", false, ADDRESS_OK, "PostMaster", "", 0);
	check_path("<Joe.Doe@Example.ORG> BODY=7BIT", false, ADDRESS_OK, "Joe.Doe",
	    "example.org", 21);
	check_path("<\"joe \\\"x\\\" doe\"@example.org>", false, ADDRESS_OK,
	    "joe \"x\" doe", "example.org", 0);
	check_path("<@a.example,@b.example:u@c.example>", false, ADDRESS_OK, "u",
	    "c.example", 0);
	check_path("<u@[192.0.2.1]>", false, ADDRESS_OK, "u", "[192.0.2.1]", 0);
	check_path(
	    "<u@[IPv6:2001:DB8::1]>", false, ADDRESS_OK, "u", "[ipv6:2001:db8::1]", 0);
	check_path("<u+tag@localhost>", false, ADDRESS_OK, "u+tag", "localhost", 0);
	check_path("<j\xc3\xb6rg@b\xc3\xbc"
		   "cher.example>",
	    true, ADDRESS_OK, "j\xc3\xb6rg",
	    "b\xc3\xbc"
	    "cher.example",
	    0);
	check_path("<u@B\xc3\x9c"
		   "CHER.example>",
	    true, ADDRESS_OK, "u",
	    "b\xc3\xbc"
	    "cher.example",
	    0);
}

static void
test_paths_refused(void **state)
{
	(void)state;
	static const char *bad[] = {"", "<", "u@example.org", "<u@example.org", "<u>",
	    "< u@example.org>", "<u@example.org >", "<u @example.org>", "<u@>", "<@a>",
	    "<.u@a.b>", "<u.@a.b>", "<u..v@a.b>", "<u@a..b>", "<u@.a>", "<u@a.>",
	    "<u@-a>", "<u@a->", "<u@a_b>", "<u@[1.2.3]>", "<u@[1.2.3.4>",
	    "<u@[IPv6:1.2.3.4]>", "<u@[::1]>", "<\"u@a.b>", "<\"u\"v@a.b>",
	    "<\"u\\\"@a.b>", "<u@a@b>", "<u\r\n@a.b>", "<\"u\r\n\"@a.b>", "<u@a.b\r\n>",
	    "<@a,b:u@c>", "<@a:@b:u@c>", "<@a u@c>", "<j\xc3\xb6rg@a.b>",
	    "<u@b\xc3\xbc.example>", "<postmaster@>", "<(c)u@a.b>"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_path(bad[i], false, ADDRESS_BAD, NULL, NULL, 0);
	check_path("<j\xc3@a.b>", true, ADDRESS_BAD, NULL, NULL, 0);
	check_path("<u@\xff.example>", true, ADDRESS_BAD, NULL, NULL, 0);
}

static void
test_nul_inside(void **state)
{
	(void)state;
	struct arena *arena = arena_new(ARENA_BYTES);
	struct mailbox_address address;
	assert_int_equal(
	    address_parse(SLICE("u\0v@a.b"), false, arena, &address), ADDRESS_BAD);
	assert_int_equal(
	    address_parse(SLICE("\"u\0\"@a.b"), true, arena, &address), ADDRESS_BAD);
	assert_int_equal(
	    address_parse(SLICE("u@a\0.b"), true, arena, &address), ADDRESS_BAD);
	arena_free(&arena);
}

static void
test_lengths(void **state)
{
	(void)state;
	char text[600];
	memset(text, 'a', sizeof(text));
	snprintf(text + 65, sizeof(text) - 65, "@b.c>");
	text[0] = '<';
	check_path(text, false, ADDRESS_OK,
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaa",
	    "b.c", 0);
	memset(text, 'a', sizeof(text));
	snprintf(text + 66, sizeof(text) - 66, "@b.c>");
	text[0] = '<';
	check_path(text, false, ADDRESS_TOO_LONG, NULL, NULL, 0);
	snprintf(text, sizeof(text), "<u@%0300d>", 0);
	check_path(text, false, ADDRESS_TOO_LONG, NULL, NULL, 0);
	snprintf(text, sizeof(text), "<u@%064d.example>", 0);
	check_path(text, false, ADDRESS_BAD, NULL, NULL, 0);
}

static void
test_write(void **state)
{
	(void)state;
	static const char *rows[] = {"joe@example.org", "\"joe doe\"@example.org",
	    "\"a\\\"\\\\b\"@example.org", "\".a\"@example.org", "\"\"@example.org"};
	struct arena *arena = arena_new(ARENA_BYTES);
	struct buf out;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mailbox_address address;
		assert_int_equal(
		    address_parse(slice_from_cstr(rows[i]), false, arena, &address),
		    ADDRESS_OK);
		buf_reset(&out);
		address_write(&address, &out);
		CHECK_TEXT(buf_slice(&out), rows[i]);
	}
	buf_reset(&out);
	address_write(
	    &(struct mailbox_address){SLICE("postmaster"), SLICE(""), false}, &out);
	CHECK_TEXT(buf_slice(&out), "postmaster");
	buf_fini(&out);
	arena_free(&arena);
}

/* isemail's XML: U+2400+n stands for control n. */
static size_t
xml_text(struct slice raw, char *out, size_t size)
{
	static const char *names[] = {"&lt;", "&gt;", "&amp;", "&quot;", "&apos;"};
	size_t len = 0;
	for (size_t i = 0; i < raw.len && len < size; i++) {
		struct slice rest = slice_from(raw, i);
		bool done = false;
		for (size_t n = 0; n < 5 && !done; n++) {
			if (slice_has_prefix(rest, slice_from_cstr(names[n]))) {
				out[len++] = "<>&\"'"[n];
				i += strlen(names[n]) - 1;
				done = true;
			}
		}
		if (!done && slice_has_prefix(rest, SLICE("&#x24"))) {
			out[len++] = (char)strtoul(rest.ptr + 5, NULL, 16);
			i += slice_index(rest, ';');
		} else if (!done && slice_has_prefix(rest, SLICE("&#x"))) {
			/* The only others are Latin-1 letters: one byte over 127 will do.
			 */
			out[len++] = (char)strtoul(rest.ptr + 3, NULL, 16);
			i += slice_index(rest, ';');
		} else if (!done) {
			out[len++] = raw.ptr[i];
		}
	}
	return len;
}

/* Valid by isemail's categories: what RFC 5321 allows in a path. */
static void
test_isemail(void **state)
{
	(void)state;
	struct slice text = read_vectors("address/isemail/tests.xml"), rest = text;
	struct arena *arena = arena_new(16 << 20);
	size_t wrong = 0, seen = 0;
	for (;;) {
		size_t at = slice_find(rest, SLICE("<test id="));
		if (at == SIZE_MAX)
			break;
		rest = slice_from(rest, at + 5);
		struct slice test =
		    slice_sub(rest, 0, slice_find(rest, SLICE("</test>")));
		size_t from = slice_find(test, SLICE("<address>"));
		size_t to = slice_find(test, SLICE("</address>"));
		if (from == SIZE_MAX || to == SIZE_MAX)
			continue;
		char bytes[1000];
		struct slice raw = slice_sub(test, from + 9, to - from - 9);
		struct slice address =
		    slice_make(bytes, xml_text(raw, bytes, sizeof(bytes)));
		bool valid =
		    slice_find(test, SLICE(">ISEMAIL_VALID_CATEGORY<")) != SIZE_MAX ||
		    slice_find(test, SLICE(">ISEMAIL_DNSWARN<")) != SIZE_MAX ||
		    slice_find(test, SLICE(">ISEMAIL_RFC5321<")) != SIZE_MAX;
		struct mailbox_address out;
		bool got = address_parse(address, false, arena, &out) == ADDRESS_OK;
		seen++;
		if (got != valid) {
			print_message("differs: %.*s (suite: %s)\n", SLICE_ARG(address),
			    valid ? "valid" : "not valid");
			wrong++;
		}
	}
	if (text.ptr)
		assert_true(seen > 100 && wrong == 0);
	free((void *)(uintptr_t)text.ptr);
	arena_free(&arena);
}

static void
test_domains(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1000);
	assert_true(address_domain_to_ascii(SLICE("B\xc3\xbc"
						  "cher.Example"),
	    &out));
	CHECK_TEXT(buf_slice(&out), "xn--bcher-kva.example");
	buf_reset(&out);
	assert_true(address_domain_to_unicode(SLICE("XN--bcher-kva.example"), &out));
	CHECK_TEXT(buf_slice(&out), "b\xc3\xbc"
				    "cher.example");
	buf_reset(&out);
	assert_true(address_domain_to_ascii(SLICE("Mail.Example.ORG"), &out));
	CHECK_TEXT(buf_slice(&out), "mail.example.org");
	static const char *bad[] = {"", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "a_b",
	    "\xff", "a\xcc\x80\xe2\x80\x8b.-", "[1.2.3.4]"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_reset(&out);
		if (address_domain_to_ascii(slice_from_cstr(bad[i]), &out))
			fail_msg("accepted %s", bad[i]);
	}
	assert_true(address_domain_is_valid(SLICE("[192.0.2.1]"), true, false));
	assert_false(address_domain_is_valid(SLICE("[192.0.2.1]"), false, false));
	assert_false(address_domain_is_valid(SLICE("[]"), true, false));
	assert_false(address_domain_is_valid(SLICE("["), true, false));
	assert_false(address_domain_is_valid(SLICE("b\xc3\xbc.de"), false, false));
	assert_true(address_domain_is_valid(SLICE("b\xc3\xbc.de"), false, true));
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_paths_refused),
	    cmocka_unit_test(test_nul_inside),
	    cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_write),
	    cmocka_unit_test(test_isemail),
	    cmocka_unit_test(test_domains),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
