#!/usr/bin/env python3
# timeout: 120
"""Delivery reports (RFC 3461, RFC 3464, RFC 6522): nobody who failed is left out."""

import email
import email.policy
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("dsn")


def answer(stage, argument):
    if stage == "rcpt" and argument.startswith("no"):
        return "550 5.1.1 no such mailbox"
    return None


sink = Sink(answer)
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}"]},
    dns="sink.test MX 10 mx.sink.test\nmx.sink.test A 127.0.0.1\nnull.test MX 0 .\n")


def reports(address):
    m = post.imap(address)
    _, exists = m.select("INBOX", readonly=True)
    data = m.fetch("1:*", "(BODY.PEEK[])")[1] if exists[0] != b"0" else []
    m.logout()
    found = [email.message_from_bytes(row[1]) for row in data or [] if isinstance(row, tuple)]
    return [b for b in found if b.get_content_type() == "multipart/report"]


def recipients_of(found):
    """Final-Recipient addresses of all reports."""
    return [str(part["Final-Recipient"]).split(";")[1].strip()
            for b in found for part in b.get_payload()[1].get_payload()
            if part["Final-Recipient"]]


def wait_recipients(address, count, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(recipients_of(reports(address))) < count:
        time.sleep(0.1)
    return reports(address)


# More failed recipients than one transaction holds: each is told, once.  Refused one by
# one, and all in the same instant (null MX, RFC 7505).
refused = [f"no{i}@sink.test" for i in range(250)]
refused += [f"no{i}@null.test" for i in range(250)]
s = post.submit("anna@demo.test")
s.sendmail("anna@demo.test", refused, "From: anna@demo.test\r\nSubject: many\r\n\r\nx\r\n")
s.quit()
found = wait_recipients("anna@demo.test", len(refused))
r.equal(sorted(recipients_of(found)), sorted(refused), "all 500 are told, each once")
r.check(all(b["Return-Path"] == "<>" for b in found), "by a null sender")
r.equal(post.json("queue", "list"), [], "the queue is empty")

check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
