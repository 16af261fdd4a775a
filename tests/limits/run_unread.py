#!/usr/bin/env python3
# timeout: 120
"""A client that sends commands and does not read the replies: its commands wait, the replies that
lie for it are bounded, nobody else notices; when it reads, every command has its reply."""

import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

r = Results("unread")
COMMANDS = 5_000_000
post = Instance(accounts={"anna@demo.test": "secret-anna-1"})


def rss_mib():
    with open(f"/proc/{post.pid('smtpd')}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


before = rss_mib()
client = socket.socket()
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
client.connect(("127.0.0.1", post.port("smtp")))
flood = b"EHLO x\r\n" + b"NOOP\r\n" * COMMANDS
sent = 0
client.settimeout(3)
try:
    while sent < len(flood):
        sent += client.send(flood[sent:sent + 65536])
except TimeoutError:
    pass
r.check(sent < len(flood), f"the commands wait: {sent} of {len(flood)} octets were taken")
grown = rss_mib() - before
r.check(grown < 16, f"memory is bounded: {grown:.1f} MiB more")
other = post.smtp()
r.equal(other.noop()[0], 250, "another session is served")
other.quit()

# Now it reads: every command that was taken has its reply, in order.
client.settimeout(30)
rest = flood[sent:sent + (-(sent - len(b"EHLO x\r\n"))) % len(b"NOOP\r\n")]
wanted = (flood[:sent] + rest).count(b"NOOP\r\n")
writer = threading.Thread(target=lambda: client.sendall(rest + b"QUIT\r\n"))
writer.start()
with client.makefile("rb") as lines:
    ends = sum(line.startswith(b"250 2.0.0 nothing") for line in lines)
writer.join()
r.equal(ends, wanted, "every command has its reply")

check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
