#!/usr/bin/env python3
# timeout: 120
"""Mail for hosts without 8BITMIME (RFC 6152 section 3), and binary mail (RFC 3030 section 3): the
content arrives as it was sent, in a form that may go there."""

import email
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("convert")
narrow = Sink(extensions=("PIPELINING", "SIZE 3000000"))
wide = Sink()
post = Instance(accounts={"anna@demo.test": "secret-anna-1"},
                conf={"relay": ["allow_private = true", f"port = {narrow.port}"]},
                dns="sink.test MX 10 mx.sink.test\nmx.sink.test A 127.0.0.1\n")
post.run("relay", "add", "--to", "wide.test", "--host", "127.0.0.1", "--port", str(wide.port),
         "--tls", "none")
# With all ways to end a message early in it (smuggling B15: our client sends none of them raw).
ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\r\n.\r\r\n",
        b"\r\n.\r\r\n", b"\n\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\r\n")
BINARY = bytes(range(256)) * 4 + b"".join(
    e + b"MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\nsmuggled\r\n" for e in ENDS)
PARTS = (b"From: anna@demo.test\r\nSubject: parts\r\nMIME-Version: 1.0\r\n"
         b"Content-Type: multipart/mixed; boundary=BB\r\n\r\n--BB\r\n"
         b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
         + "gr\u00fc\u00dfe \u2026\r\n.\r\n".encode() +
         b"\r\n--BB\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n"
         + BINARY + b"\r\n--BB--\r\n")


def send(to, data, binary=False):
    s = post.submit("anna@demo.test")
    s.ehlo("test")
    s.mail("anna@demo.test", ["BODY=BINARYMIME"] if binary else ["BODY=8BITMIME"])
    for address in to:
        s.rcpt(address)
    if binary:
        s.send(b"BDAT %d LAST\r\n" % len(data) + data)
        code, text = s.getreply()
    else:
        code, text = s.data(data)
    assert code == 250, text
    s.quit()


def contents(data):
    return [p.get_payload(decode=True) for p in email.message_from_bytes(data).walk()
            if not p.is_multipart()]


def inbox(count):
    end = time.monotonic() + 10
    while True:
        m = post.imap("anna@demo.test")
        _, exists = m.select("INBOX", readonly=True)
        data = m.fetch("1:*", "(BODY.PEEK[])")[1] if int(exists[0]) else []
        m.logout()
        found = [row[1] for row in data if isinstance(row, tuple)]
        if len(found) >= count or time.monotonic() > end:
            return found
        time.sleep(0.1)


TEXT = "gr\u00fc\u00dfe \u2026\r\n.".encode()
send(["a@sink.test", "b@wide.test"],
     b"From: anna@demo.test\r\nSubject: text\r\n\r\n" + TEXT + b"\r\n")
r.check(narrow.wait(1, 10) and wide.wait(1, 10), "sent to both")
if narrow.messages and wide.messages:
    r.check(narrow.messages[0][2].isascii(), "a 7-bit host gets 7 bits")
    r.equal(contents(narrow.messages[0][2])[0].rstrip(b"\r\n"), TEXT, "with the same content")
    r.check(wide.messages[0][2].endswith(TEXT + b"\r\n"), "a host that can gets it unchanged")

send(["a@sink.test", "b@wide.test", "anna@demo.test"], PARTS, binary=True)
r.check(narrow.wait(2, 10) and wide.wait(2, 10), "binary mail is sent to both")
local = inbox(1)
if r.check(local and len(narrow.messages) == 2 and len(wide.messages) == 2, "and stored here"):
    for name, data in (("narrow", narrow.messages[1][2]), ("wide", wide.messages[1][2]),
                       ("stored", local[0])):
        text, image = contents(data)
        r.equal(image, BINARY, f"{name}: the binary part, octet by octet")
        r.check(text.decode("utf-8").startswith("gr\u00fc\u00dfe \u2026\r\n."), f"{name}: the text")
    r.check(narrow.messages[1][2].isascii() and not wide.messages[1][2].isascii() and
            b"\0" not in wide.messages[1][2], "each in the form that its host takes")

r.equal((len(narrow.messages), len(wide.messages)), (2, 2), "nothing in it became a message")

# Signed mail is not changed: it comes back.
send(["a@sink.test"], b"From: anna@demo.test\r\nSubject: signed\r\nMIME-Version: 1.0\r\n"
     b"Content-Type: multipart/signed; boundary=B\r\n\r\n--B\r\n\r\n\xfc\r\n--B--\r\n")
r.check(any(b"5.6.3" in m for m in inbox(2)), "a signature is not broken: 5.6.3")
r.equal(len(narrow.messages), 2, "and nothing was sent")

check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
