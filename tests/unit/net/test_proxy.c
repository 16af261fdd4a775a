/*
 * PROXY headers: both versions, cut at every octet, and everything that is none.
 */
#include "net/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text)                                                                      \
	{                                                                                \
		(text), sizeof(text) - 1                                                 \
	}

static const char *
client_text(const struct proxy_header *header, uint16_t *out_port)
{
	static char text[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const void *)&header->client;
	const struct sockaddr_in6 *v6 = (const void *)&header->client;
	*out_port = 0;
	if (header->client.ss_family == AF_UNSPEC)
		return "";
	bool four = header->client.ss_family == AF_INET;
	*out_port = ntohs(four ? v4->sin_port : v6->sin6_port);
	assert_non_null(inet_ntop(header->client.ss_family,
	    four ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, text,
	    sizeof(text)));
	return text;
}

static void
good(void **state)
{
	static const struct {
		struct slice bytes;
		const char *client;
		uint16_t port;
	} rows[] = {
	    {BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"),                 "192.0.2.7",   40000},
	    {BYTES("PROXY TCP6 2001:db8::7 ::1 65535 25\r\n"),                        "2001:db8::7", 65535},
	    {BYTES("PROXY UNKNOWN\r\n"),					      "",            0    },
	    {BYTES("PROXY UNKNOWN ff::1 ff::2 1 2\r\n"),                              "",            0    },
	    {BYTES(V2 "\x21\x11\0\x0c\xc0\0\2\7\xc6\x33\x64\1\x9c\x40\0\x19"),
             "192.0.2.7",									    40000},
 /* With a TLV behind the addresses. */
	    {BYTES(V2 "\x21\x11\0\x10\xc0\0\2\7\xc6\x33\x64\1\x9c\x40\0\x19\4\0\1x"),
             "192.0.2.7",									    40000},
	    {BYTES(V2 "\x21\x21\0\x24\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\7"
		      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\x19"),
             "2001:db8::7",									  1    },
	    {BYTES(V2 "\x20\0\0\0"),						  "",            0    }, /* LOCAL */
	    {BYTES(V2 "\x20\x11\0\1x"),					       "",            0    }, /* … whatever it says */
	    {BYTES(V2 "\x21\0\0\0"),						  "",            0    }, /* unspecified */
	    {BYTES(V2 "\x21\x31\0\2xx"),					      "",            0    }, /* a Unix socket */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char bytes[200];
		struct proxy_header header;
		size_t used = 0;
		uint16_t port;
		memcpy(bytes, rows[i].bytes.ptr, rows[i].bytes.len);
		memcpy(bytes + rows[i].bytes.len, "EHLO x\r\n", 8);
		for (size_t cut = 0; cut < rows[i].bytes.len; cut++)
			assert_int_equal(
			    proxy_parse(slice_make(bytes, cut), &header, &used),
			    PROXY_MORE);
		assert_int_equal(
		    proxy_parse(slice_make(bytes, rows[i].bytes.len + 8), &header, &used),
		    PROXY_DONE);
		assert_int_equal(used, rows[i].bytes.len);
		assert_string_equal(client_text(&header, &port), rows[i].client);
		assert_int_equal(port, rows[i].port);
	}
}

static void
bad(void **state)
{
	static const struct slice rows[] = {
	    BYTES("EHLO x\r\n"),
	    BYTES("proxy TCP4 192.0.2.7 198.51.100.1 1 25\r\n"),
	    BYTES("PROXY  TCP4 192.0.2.7 198.51.100.1 1 25\r\n"),
	    BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 1 25\n"),
	    BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n"),
	    BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n"),
	    BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 1 25 x\r\n"),
	    BYTES("PROXY TCP4 2001:db8::7 ::1 1 25\r\n"),
	    BYTES("PROXY TCP4 192.0.2 198.51.100.1 1 25\r\n"),
	    BYTES("PROXY UDP4 192.0.2.7 198.51.100.1 1 25\r\n"),
	    BYTES("PROXY \r\n"),
	    BYTES("\r\n\r\n\0\r\nQUIX"),
	    BYTES(V2 "\x11\x11\0\x0c............"),
	    BYTES(V2 "\x22\x11\0\x0c............"),
	    BYTES(V2 "\x21\x11\0\x0b..........."),
	    BYTES(V2 "\x21\x21\0\x0c............"),
	    BYTES(V2 "\x21\x12\0\x0c............"),
	    BYTES(V2 "\x21\x41\0\x0c............"),
	    BYTES(V2 "\x21\x11\xff\xff"),
	};
	struct proxy_header header;
	size_t used;
	char longest[PROXY_V1_MAX + 1];
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(proxy_parse(rows[i], &header, &used), PROXY_BAD);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "PROXY ", 6);
	assert_int_equal(
	    proxy_parse(slice_make(longest, PROXY_V1_MAX - 1), &header, &used),
	    PROXY_MORE);
	assert_int_equal(
	    proxy_parse(slice_make(longest, PROXY_V1_MAX), &header, &used), PROXY_BAD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good),
	    cmocka_unit_test(bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
