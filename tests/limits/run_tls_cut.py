#!/usr/bin/env python3
# timeout: 60
"""BDAT case C1: TLS ends in the middle of a chunk and clear octets follow: the connection ends, no
message comes of it, the daemon goes on (RFC 3207 section 4.2: nothing in clear after TLS)."""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

r = Results("tls cut")
post = Instance(accounts={"anna@demo.test": "secret-anna-1"})
pid = post.pid("smtpd")


def begin():
    """A TLS session with 500 of 1000 octets of a chunk sent; its two sockets."""
    raw = socket.create_connection(("127.0.0.1", post.port("smtp")), 10)
    lines = raw.makefile("rb")
    lines.readline()
    raw.sendall(b"EHLO x\r\n")
    while lines.readline()[3:4] == b"-":
        pass
    raw.sendall(b"STARTTLS\r\n")
    assert lines.readline().startswith(b"220")
    lines.close()
    secure = post.tls().wrap_socket(raw, server_hostname="localhost")
    for line in (b"EHLO x", b"MAIL FROM:<x@far.test>", b"RCPT TO:<anna@demo.test>"):
        secure.sendall(line + b"\r\n")
        while not secure.recv(4096).endswith(b"\n"):
            pass
    secure.sendall(b"BDAT 1000 LAST\r\n" + b"x" * 500)
    return secure


def ended(sock):
    sock.settimeout(10)
    try:
        while sock.recv(4096):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


for tail in (b"x", b"x" * 500, b"\r\n.\r\nQUIT\r\n", b""):
    secure = begin()
    secure.settimeout(2)
    try:
        clear = secure.unwrap()  # our close_notify goes first
    except (OSError, ValueError):
        clear = None
    if clear is not None:
        try:
            clear.sendall(tail)
        except OSError:
            pass
        r.check(ended(clear), f"the connection ends, {len(tail)} octets in clear")
        clear.close()
    else:
        r.check(True, "the server has closed at once")
# And without a good-bye.
secure = begin()
secure.close()
s = post.smtp()
r.equal(s.noop()[0], 250, "it goes on")
s.quit()
r.equal(post.pid("smtpd"), pid, "the same process")
m = post.imap("anna@demo.test")
r.equal(m.select("INBOX", readonly=True)[1][0], b"0", "no message")
m.logout()
check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
