#!/usr/bin/env python3
# timeout: 180
"""A bulk run does not keep others waiting: 20,000 recipients of one sender lie in front of
a slow server, and single messages of others, to the same server and to another one, still
arrive within a second.  Accepting costs the same with a full queue, memory stays bounded."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

BULK, EACH = 20000, 500
r = Results("fairness")
arrived = {}


def answer(stage, argument):
    if stage == "dot":
        for recipient in argument[1]:
            arrived.setdefault(recipient, time.monotonic())
        time.sleep(0.2)
    return None


sink = Sink(answer)
post = Instance(
    accounts={"bulk@demo.test": "secret-bulk-1", "anna@demo.test": "secret-anna-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", "connections = 4"]},
    dns="slow.test MX 10 mx.slow.test\nmx.slow.test A 127.0.0.1\n"
        "other.test MX 10 mx.slow.test\n")


def rss_kb(daemon):
    with open(f"/proc/{post.pid(daemon)}/status") as f:
        return next(int(x.split()[1]) for x in f if x.startswith("VmRSS"))


def send(session, sender, recipients):
    start = time.monotonic()
    session.sendmail(sender, recipients, f"From: {sender}\r\nSubject: x\r\n\r\nx\r\n")
    return time.monotonic() - start


bulk, anna = post.submit("bulk@demo.test"), post.submit("anna@demo.test")
before = rss_kb("smtpd")
took = [send(bulk, "bulk@demo.test", [f"r{n + i}@slow.test" for i in range(EACH)])
        for n in range(0, BULK, EACH)]
waiting = post.status()["queue"]
first, last = sorted(took[:10])[5], sorted(took[-10:])[5]
r.check(last < 3 * first + 0.05, f"accepting costs the same: {first:.3f} s, {last:.3f} s")
for n, to in enumerate(["one@slow.test", "two@other.test", "three@slow.test"]):
    send(anna, "anna@demo.test", [to])
    sent = time.monotonic()
    while to not in arrived and time.monotonic() < sent + 20:
        time.sleep(0.01)
    delay = arrived.get(to, sent + 20) - sent
    r.check(delay < 1.0, f"a single message to {to} waited {delay:.2f} s")
done = sum(1 for address in arrived if address.startswith("r"))
r.check(done < BULK * 0.9, f"the bulk run was still under way ({done}, {waiting})")
grown = rss_kb("smtpd") - before
with open(f"/proc/{post.pid('smtpd')}/maps") as f:
    sanitized = "libasan" in f.read()  # it keeps what was freed
r.check(sanitized or grown * 1024 < 500 * BULK + 16 * 2**20, f"memory grew by {grown} kB")
end = time.monotonic() + 90
while time.monotonic() < end and sum(len(m[1]) for m in sink.messages) < BULK + 3:
    time.sleep(0.1)
r.equal(len(arrived), BULK + 3, "all arrive")
r.equal(sum(len(m[1]) for m in sink.messages), BULK + 3, "once each")
check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
