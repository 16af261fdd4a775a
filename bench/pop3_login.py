#!/usr/bin/env python3
"""Log-in to STAT of a large maildrop, over TLS, on a private instance.

    bench/pop3_login.py [MESSAGES]      (100,000; $POSTROOM_BIN or build/release/bin)
"""

import os
import poplib
import ssl
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests",
                                "lib"))
from postroom_test import Instance  # noqa: E402

USER, PASSWORD = "big@demo.test", "secret-big-1"
MESSAGE = b"From: a@b.test\r\nSubject: x\r\n\r\n" + b"hello there\r\n" * 20
BATCH, LOGINS = 500, 15


def fill(post, count):
    box = post.imap(USER)
    sock = box.socket()
    for first in range(0, count, BATCH):
        some = min(BATCH, count - first)
        tag = b"z%d" % first
        sock.sendall(tag + b" APPEND INBOX" +
                     (b" {%d+}\r\n" % len(MESSAGE) + MESSAGE) * some + b"\r\n")
        got = b""
        while tag + b" " not in got:
            more = sock.recv(65536)
            if not more:
                sys.exit("the connection ended")
            got += more
        if tag + b" OK" not in got:
            sys.exit(got.decode())


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    post = Instance(accounts={USER: PASSWORD}, conf={"pop3": ["delete_on_retrieval = false"]})
    fill(post, count)
    context = ssl.create_default_context(cafile=post.ca)
    context.check_hostname = False
    taken_ms = []
    for _ in range(LOGINS):
        session = poplib.POP3("127.0.0.1", post.port("pop3"))
        session.stls(context)
        began = time.perf_counter()
        session.user(USER)
        session.pass_(PASSWORD)
        if session.stat() != (count, count * len(MESSAGE)):
            sys.exit("STAT is not what was put in")
        taken_ms.append((time.perf_counter() - began) * 1000)
        session.quit()
    post.stop()
    print(f"{count} messages, log-in to STAT: first {taken_ms[0]:.1f} ms, median "
          f"{statistics.median(taken_ms):.1f} ms, slowest {max(taken_ms):.1f} ms of {LOGINS}")


if __name__ == "__main__":
    main()
