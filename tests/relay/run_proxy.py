#!/usr/bin/env python3
# timeout: 60
"""Load balancers and proxies in front: PROXY headers (versions 1 and 2) before SMTP, IMAP and
POP3, and XCLIENT; the client's address is used everywhere, and nobody else gets anything by
them. 127.0.0.2 is the balancer, 127.0.0.3 the SMTP proxy, 127.0.0.1 an outsider."""

import os
import re
import socket
import ssl
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("proxy")
sink = Sink()
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"}, start=False,
    conf={"relay": ["allow_private = true", f"port = {sink.port}"],
          "smtp": ['trusted_networks = {"10.9.0.0/16"}',
                   'xclient_networks = {"127.0.0.3/32"}']},
    dns="sink.test MX 10 mx.sink.test\nmx.sink.test A 127.0.0.1\n")
path = os.path.join(post.root, "etc", "postroom.conf")
with open(path) as f:
    text = f.read()
text = re.sub(r"protocol = (\w+)",
              r'protocol = \1  max_per_ip = 3  proxy_networks = {"127.0.0.2/32"}', text)
with open(path, "w") as f:
    f.write(text)
post.start()


def v1(client):
    return f"PROXY TCP4 {client} 127.0.0.1 40000 25\r\n".encode()


def v2(client):
    return (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12 + 5)
            + socket.inet_aton(client) + socket.inet_aton("127.0.0.1")
            + struct.pack(">HH", 40000, 25) + b"\4\0\2xx")


class Talk:
    """Lines with a listener, from one of our addresses, behind a header."""

    def __init__(self, source, header=b"", port="smtp", tls=False):
        self.sock = socket.create_connection(("127.0.0.1", post.port(port)), 20, (source, 0))
        self.sock.sendall(header)
        if tls:
            context = ssl.create_default_context(cafile=post.ca)
            context.check_hostname = False
            self.sock = context.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")

    def read(self):
        lines = []
        while True:
            try:
                line = self.file.readline().decode()
            except ConnectionError:
                return ""
            lines.append(line)
            if not line or line[3:4] != "-":
                return "".join(lines)

    def say(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.read()

    def close(self):
        self.sock.close()


def relays(talk):
    """What a recipient elsewhere is answered."""
    talk.say("EHLO pc.test")
    talk.say("MAIL FROM:<a@from.test>")
    code = talk.say("RCPT TO:<far@sink.test>")[:3]
    talk.say("RSET")
    return code


half = Talk("127.0.0.2", b"PROXY TCP4 ")
half_began = time.monotonic()

# PROXY from the balancer: the client's address decides.
for header in (v1, v2):
    for client, want in (("10.9.9.9", "250"), ("192.0.2.1", "550")):
        t = Talk("127.0.0.2", header(client))
        r.check(t.read().startswith("220"), f"{header.__name__}: greeted behind the header")
        r.equal(relays(t), want, f"{header.__name__}: {client} relays or not")
        t.close()
t = Talk("127.0.0.2")
for part in (b"PROXY TCP4 10.9.9", b".9 127.0.0.1 4 ", b"25\r\n"):
    t.sock.sendall(part)
    time.sleep(0.05)
r.check(t.read().startswith("220"), "in pieces")
t.close()
# Behind the header a command came along.
t = Talk("127.0.0.2", v1("192.0.2.1") + b"EHLO pc.test\r\n")
r.check(t.read().startswith("220") and "250 HELP" in t.read(), "what came along is not lost")
t.close()
# Mail tells the client's address.
t = Talk("127.0.0.2", v1("192.0.2.1"))
t.read()
for line in ("EHLO pc.test", "MAIL FROM:<a@from.test>", "RCPT TO:<anna@demo.test>", "DATA"):
    t.say(line)
r.check(t.say("Subject: x\r\n\r\nx\r\n.").startswith("250"), "mail comes in")
m = post.imap("anna@demo.test")
m.select("INBOX")
r.check(b"from pc.test ([192.0.2.1])" in m.fetch("1", "(BODY[HEADER])")[1][0][1],
        "Received names the client")
m.logout()
t.close()

# From elsewhere the header is nothing.
t = Talk("127.0.0.1", v1("10.9.9.9"))
r.check(t.read().startswith("220"), "an outsider is greeted")
r.check(t.read().startswith("500"), "his header is no command")
r.equal(relays(t), "550", "and he does not relay by it")
t.close()
# The balancer without one gets nothing at all.
for first in (b"EHLO pc.test\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"):
    t = Talk("127.0.0.2", first)
    r.equal(t.read(), "", f"no service behind {first[:8]}")
    t.close()
# Connections are counted by client.
standing = [Talk("127.0.0.2", v1("192.0.2.5")) for _ in range(4)]
r.equal(sorted(s.read()[:3] for s in standing), ["220"] * 3 + ["421"], "max_per_ip of the client")
t = Talk("127.0.0.2", v1("192.0.2.6"))
r.check(t.read().startswith("220"), "another client is served")
for s in (*standing, t):
    s.close()

# IMAP and POP3, TLS behind the header.
for port, login in (("imaps", "a LOGIN anna@demo.test wrong"), ("pop3s", "APOP x y")):
    t = Talk("127.0.0.2", v2("192.0.2.77"), port, tls=True)
    t.file.readline()
    t.sock.sendall(login.encode() + b"\r\n")
    t.file.readline()
    t.close()
r.check("peer=192.0.2.77" in post.log_tail(200), "the log names the client")
t = Talk("127.0.0.2", v2("192.0.2.78"), "pop3s", tls=True)
r.check(t.file.readline().startswith(b"+OK"), "POP3 greets")
t.close()

# XCLIENT.
t = Talk("127.0.0.1")
t.read()
r.check("XCLIENT" not in t.say("EHLO pc.test"), "XCLIENT is not offered to outsiders")
r.check(t.say("XCLIENT ADDR=10.9.9.9 LOGIN=anna@demo.test").startswith("500"), "nor taken")
r.equal(relays(t), "550", "and they do not relay by it")
t.close()
t = Talk("127.0.0.2", v1("192.0.2.9"))
t.read()
r.check(t.say("XCLIENT ADDR=10.9.9.9").startswith("500"), "nor from a client of the balancer")
t.close()
def proxied(what):
    """A connection of the proxy that has said who its client is."""
    talk = Talk("127.0.0.3")
    talk.read()
    r.check(talk.say(f"XCLIENT {what}").startswith("220"), f"taken: {what}")
    return talk


t = Talk("127.0.0.3")
t.read()
r.check("250-XCLIENT NAME ADDR" in t.say("EHLO proxy.test"), "it is offered to the proxy")
r.equal(relays(t), "550", "who does not relay for himself")
t.close()
# A refused one ends the session: who is passed on all the same has nothing of the proxy's.
for bad, code in (("", "501"), ("ADDR=x", "501"), ("WHAT=x", "501"), ("PORT=66000", "501"),
                  ("ADDR=10.9.9.9 ADDR=10.9.9.9", "501"), ("LOGIN=nobody@demo.test", "550"),
                  ("ADDR=10.9.9.9 LOGIN=nobody@demo.test", "550")):
    t = Talk("127.0.0.3")
    t.read()
    t.sock.sendall(f"XCLIENT {bad}\r\nXCLIENT LOGIN=anna@demo.test\r\nMAIL FROM:<>\r\n".encode())
    r.check(t.read().startswith(code), f"refused: {bad}")
    r.equal(t.read(), "", f"and the session has ended: {bad}")
    t.close()
t = Talk("127.0.0.3")
t.read()
t.say("EHLO proxy.test")
t.say("MAIL FROM:<x@from.test>")
r.check(t.say("XCLIENT ADDR=192.0.2.1").startswith("503"), "not in the middle of a message")
t.close()
t = proxied("ADDR=10.9.9.9 HELO=pc.test PROTO=ESMTP")
r.equal(relays(t), "250", "a trusted client relays")
t.close()
t = proxied("ADDR=192.0.2.1 LOGIN=anna@demo.test")
t.say("EHLO pc.test")
r.check(t.say("MAIL FROM:<boss@demo.test>").startswith("553"), "sends as itself only")
t.say("MAIL FROM:<anna@demo.test>")
r.check(t.say("RCPT TO:<far@sink.test>").startswith("250"), "and relays")
t.close()
# What follows is the client's: he does not become somebody else.
for who in ("ADDR=192.0.2.1", "ADDR=[UNAVAILABLE]", "ADDR=10.9.9.9", "HELO=pc.test"):
    t = proxied(who)
    r.check("XCLIENT" not in t.say("EHLO pc.test"), f"not offered to the client {who}")
    for more in ("LOGIN=anna@demo.test", "ADDR=10.9.9.9", "ADDR=127.0.0.3"):
        r.check(t.say(f"XCLIENT {more}").startswith("500"), f"{who} does not become {more}")
    r.equal(relays(t), "250" if "10.9" in who else "550", f"{who} relays by its address")
    t.close()

r.equal(half.read(), "", "half a header is waited for")
r.check(3 < time.monotonic() - half_began < 10, "and no longer than 5 s")
post.failed = r.failed > 0
sys.exit(r.finish())
