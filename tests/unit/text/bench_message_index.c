/*
 * Micro-benchmark of message_index_build, run by hand (it is no test and no target):
 *
 *	cc -O2 -std=gnu17 -D_GNU_SOURCE -I common tests/unit/text/bench_message_index.c \
 *	    $BUILD/common/text/libpostroom_text.a $BUILD/common/base/libpostroom_base.a \
 *	    -lidn2 -lutf8proc -o bench && ./bench [message.eml ...]
 *
 * Times are this process's processor time, the least of several rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "text/message_index.h"

enum { ROUNDS = 7, ROUND_NS = 150 * 1000 * 1000, MESSAGE_MAX = 64 * 1024 * 1024 };

static int64_t
cpu_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
measure(const char *name, struct slice message)
{
	struct buf out;
	double best = 1e18;
	buf_init(&out, MESSAGE_INDEX_MAX);
	for (int round = 0; round < ROUNDS; round++) {
		int64_t start = cpu_ns(), spent;
		int count = 0;
		do {
			buf_reset(&out);
			if (!message_index_build(message, &out))
				abort();
			count++;
			spent = cpu_ns() - start;
		} while (spent < ROUND_NS);
		if ((double)spent / count < best)
			best = (double)spent / count;
	}
	struct message_index index;
	if (!message_index_decode(buf_slice(&out), &index))
		abort();
	printf("%-34s %9zu bytes %5u parts %11.2f us %8.0f MB/s, record %zu\n", name,
	    message.len, index.part_count, best / 1000, (double)message.len * 1000 / best,
	    out.len);
	buf_fini(&out);
}

static void
add_header(struct buf *m)
{
	for (int i = 0; i < 4; i++)
		buf_append_format(m,
		    "Received: from mx%d.example.org (mx%d.example.org [192.0.2.%d])\r\n"
		    "\tby mail.example.net (Postroom) with ESMTPS id %016d\r\n"
		    "\tfor <someone@example.net>; Tue, 24 Nov 2026 03:47:10 +0000 "
		    "(UTC)\r\n",
		    i, i, i, i);
	buf_append_format(m,
	    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;\r\n"
	    "\ts=s1; h=from:to:subject:date:message-id; bh=%044d;\r\n\tb=%0300d\r\n"
	    "Return-Path: <bounce+1234@example.org>\r\nMIME-Version: 1.0\r\n"
	    "From: =?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <joerg.mueller@example.org>\r\n"
	    "To: Some One <someone@example.net>, other@example.net\r\n"
	    "Cc: \"List, The\" <list@example.net>\r\n"
	    "Subject: [list] Re: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= and the rest of it\r\n"
	    "Date: Tue, 24 Nov 2026 03:47:08 +0100\r\nMessage-ID: "
	    "<1234.5678@example.org>\r\n"
	    "In-Reply-To: <1111.2222@example.net>\r\n"
	    "References: <0000.1111@example.net> <1111.2222@example.net>\r\n"
	    "User-Agent: Some Mailer 1.0\r\nX-Spam-Status: No, score=-1.0\r\n",
	    0, 0);
}

static void
add_lines(struct buf *m, size_t until, const char *line)
{
	while (m->len < until)
		buf_append_cstr(m, line);
}

static void
measure_made(void)
{
	static const char line[] =
	    "The quick brown fox jumps over the lazy dog, and goes on until the end.\r\n";
	struct buf m;
	buf_init(&m, MESSAGE_MAX);
	add_header(&m);
	buf_append(&m, SLICE("Content-Type: text/plain; charset=utf-8\r\n\r\n"));
	add_lines(&m, 10000, line);
	measure("plain text, 10 KB", buf_slice(&m));
	add_lines(&m, 20000000, line);
	measure("plain text, 20 MB", buf_slice(&m));

	buf_reset(&m);
	add_header(&m);
	buf_append(
	    &m, SLICE("Content-Type: multipart/alternative; boundary=\"=_b1\"\r\n\r\n"
		      "--=_b1\r\nContent-Type: text/plain; charset=utf-8\r\n"
		      "Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
	add_lines(&m, 4000, line);
	buf_append(&m, SLICE("--=_b1\r\nContent-Type: text/html; charset=utf-8\r\n"
			     "Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
	add_lines(
	    &m, 10000, "<p style=3D\"color: #123456\">The quick brown fox jumps =\r\n");
	buf_append(&m, SLICE("--=_b1--\r\n"));
	measure("multipart/alternative, 10 KB", buf_slice(&m));

	buf_reset(&m);
	add_header(&m);
	buf_append(&m,
	    SLICE("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee\r\n"
		  "--b\r\nContent-Type: application/pdf; name=\"x.pdf\"\r\n"
		  "Content-Transfer-Encoding: base64\r\n\r\n"));
	add_lines(&m, 20000000,
	    "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBSL0ZpbHRlci9GbGF0ZURl"
	    "\r\n");
	buf_append(&m, SLICE("--b--\r\n"));
	measure("attachment, 20 MB", buf_slice(&m));

	buf_reset(&m);
	buf_append(&m, SLICE("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
	add_lines(&m, 10000000, "--b\r\n\r\n");
	measure("hostile: boundaries, 10 MB", buf_slice(&m));
	buf_reset(&m);
	add_lines(&m, 10000000, "To: a@b, c@d\r\n");
	measure("hostile: fields, 10 MB", buf_slice(&m));
	buf_fini(&m);
}

int
main(int argc, char **argv)
{
	if (argc == 1)
		measure_made();
	for (int i = 1; i < argc; i++) {
		struct buf m;
		FILE *file = fopen(argv[i], "rb");
		buf_init(&m, MESSAGE_MAX);
		for (int c; file && (c = getc(file)) != EOF;)
			buf_append_byte(&m, (char)c);
		if (file)
			fclose(file);
		measure(argv[i], buf_slice(&m));
		buf_fini(&m);
	}
	return 0;
}
