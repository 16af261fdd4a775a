#!/usr/bin/env python3
# timeout: 60
"""ETRN (RFC 1985), when smtp.etrn allows it: what waits for a domain is tried at once."""

import os
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("etrn")
busy = {"sink.test", "other.test"}


def answer(stage, argument):
    return ("451 4.3.0 later" if stage == "rcpt" and argument.split("@")[1] in busy
            else None)


sink = Sink(answer)
post = Instance(accounts={"anna@demo.test": "secret-anna-1"},
                conf={"relay": ["allow_private = true", f"port = {sink.port}"],
                      "smtp": ['etrn = trusted', 'trusted_networks = {"127.0.0.2/32"}']},
                dns="".join(f"{d} MX 10 mx.sink.test\n" for d in sorted(busy))
                + "mx.sink.test A 127.0.0.1\n")
s = post.submit("anna@demo.test")
for i in range(3):
    for domain in ("sink.test", "other.test"):
        s.sendmail("anna@demo.test", [f"far{i}@{domain}"],
                   f"From: anna@demo.test\r\nSubject: {i}\r\n\r\nx\r\n")
s.ehlo()
r.check(s.has_extn("etrn"), "offered to who has logged in")


def waiting():
    return sum(1 for _ in post.json("queue", "list"))


end = time.monotonic() + 15
while len([c for c in sink.commands if c.startswith("RCPT")]) < 6 and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(0.3)  # the results are committed
r.equal(waiting(), 6, "all wait for their next attempt")
busy.clear()

out = smtplib.SMTP("127.0.0.1", post.port("smtp"), local_hostname="out.test")
out.ehlo()
r.check(not out.has_extn("etrn"), "not offered to strangers")
r.equal(out.docmd("ETRN", "sink.test")[0], 459, "nor done for them")
out.close()
near = smtplib.SMTP("127.0.0.1", post.port("smtp"), local_hostname="near.test",
                    source_address=("127.0.0.2", 0))
near.ehlo()
for bad in ("", "@sink.test", "#all", "a b", "-", "x" * 300):
    r.equal(near.docmd("ETRN", bad)[0], 501, f"refused: {bad[:12]}")
r.equal(len(sink.messages), 0, "nothing of that sends")
near.mail("a@near.test")
r.equal(near.docmd("ETRN", "sink.test")[0], 503, "not in a transaction")
near.rset()
r.equal(near.docmd("ETRN", "Sink.Test")[0], 250, "a trusted network may")
r.check(sink.wait(3, 20), "it goes out at once")
r.equal(sorted({m[1][0].split("@")[1] for m in sink.messages}), ["sink.test"],
        "the domain's, not the others'")
r.equal(s.docmd("ETRN", "nothing.test")[0], 250, "a log-in may; nothing waits")
near.close()
s.close()
check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
