#!/usr/bin/env python3
"""Fills an INBOX by MULTIAPPEND: pop3_fill.py IMAP-PORT USER PASSWORD COUNT [OCTETS].
Sizes are mixed (1 to 20 KB, the same for every server) unless OCTETS is given."""
import random
import socket
import sys

port, user, password, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
sizes = (int(sys.argv[5]),) if len(sys.argv) > 5 else (1000, 2000, 3000, 5000, 8000, 20000)
LINE = b"This is a line of an ordinary message of about seventy octets, no %06d\r\n"
random.seed(7)
s = socket.create_connection(("127.0.0.1", port))
f = s.makefile("rwb")
f.readline()


def answer():
    f.flush()
    while True:
        line = f.readline()
        if not line or line.startswith(b"a ") and not line.startswith(b"a OK"):
            sys.exit(f"pop3_fill: {line!r}")
        if line.startswith(b"a OK"):
            return


f.write(f"a LOGIN {user} {password}\r\n".encode())
answer()
for done in range(0, count, 100):
    f.write(b"a APPEND INBOX")
    for i in range(done, min(done + 100, count)):
        body = (b"From: Amy <amy@example.org>\r\nTo: jo@example.org\r\nSubject: message %d\r\n"
                b"Message-ID: <%d@example.org>\r\n\r\n" % (i, i))
        body += b"".join(LINE % k for k in range(random.choice(sizes) // 72))
        f.write(b" {%d+}\r\n" % len(body) + body)
    f.write(b"\r\n")
    answer()
