#!/usr/bin/env python3
# timeout: 120
"""Idle SMTP sessions: many are held, each costs little memory, all still answer. POSTROOM_IDLE is
how many (1,000; 10,000 by hand, with `ulimit -n` above twice that)."""

import os
import resource
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

r = Results("idle smtp")
COUNT = int(os.environ.get("POSTROOM_IDLE", "1000"))
BYTES_MAX = 8 * 1024  # of a session; a twentieth of Postfix's is 84 KB
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
post = Instance(accounts={"anna@demo.test": "secret-anna-1"})


def pss():
    with open(f"/proc/{post.pid('smtpd')}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) * 1024


def reply(sock):
    text = b""
    while not text.endswith(b"\n") or text.rstrip().split(b"\n")[-1][3:4] != b" ":
        got = sock.recv(4096)
        if not got:
            return b""
        text += got
    return text


before = pss()
sessions = []
for i in range(COUNT):
    s = socket.socket()
    s.settimeout(30)
    s.bind((f"127.0.{1 + i // 200}.{1 + i % 200}", 0))
    s.connect(("127.0.0.1", post.port("smtp")))
    sessions.append(s)
greeted = 0
for s in sessions:
    greeted += reply(s).startswith(b"220")
    s.sendall(b"EHLO x\r\n")
greeted = sum(reply(s).startswith(b"250") for s in sessions)
r.equal(greeted, COUNT, "all are greeted and have said EHLO")
time.sleep(0.5)
each = (pss() - before) / COUNT
r.check(each < BYTES_MAX, f"a session costs {each:.0f} bytes")
print(f"{COUNT} idle sessions, {each:.0f} bytes of PSS each")
for s in sessions:
    s.sendall(b"NOOP\r\n")
r.equal(sum(reply(s).startswith(b"250") for s in sessions), COUNT, "all still answer")
for s in sessions:
    s.close()
post.failed = r.failed > 0
sys.exit(r.finish())
