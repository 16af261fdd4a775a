#!/usr/bin/env python3
# timeout: 240
"""The exactly-once ledger: messages go through a sink that refuses, hangs up and delays at
every stage while smtpd is killed at random. Nothing that was acknowledged is lost: each
recipient is in the sink, in a report to the sender, or in the queue. A recipient is in the
sink twice only where the sink's reply to the final dot was lost: it was not sent, or nothing
was heard after it, or smtpd was killed less than KILL_S after it. $POSTROOM_LEDGER: how many
messages (400); above 1,000 it is killed every 5 to 15 seconds for as long as they are sent."""

import os
import random
import re
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("ledger")
COUNT = int(os.environ.get("POSTROOM_LEDGER", "400"))
KILLS = int(os.environ.get("POSTROOM_LEDGER_KILLS", "3"))
LONG = COUNT > 1000
SENDERS, KILL_S = 16 if LONG else 4, 1.0
DRAIN_S = int(os.environ.get("POSTROOM_LEDGER_DRAIN", max(150, COUNT // 250)))
seed = int(os.environ.get("POSTROOM_SEED", time.time()))
dice = random.Random(seed)
print(f"seed {seed}")
calm = threading.Event()  # set: no more faults


def answer(stage, argument):
    if stage == "rcpt" and argument.startswith("perm"):
        return "550 5.1.1 no such mailbox"
    if calm.is_set():
        return None
    chance = dice.random()
    if chance > 0.08:
        return None
    if chance > 0.06:
        time.sleep(0.2)
        return None
    if chance > 0.03:
        return "451 4.3.0 not now"
    if stage == "dot" and chance > 0.015:
        return "drop-after"
    return "drop"


sink = Sink(answer)
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"1s"}'],
          "smtp": ['trusted_networks = {"127.0.0.0/8"}']},
    dns="far.test MX 10 mx.far.test\nmx.far.test A 127.0.0.1\n")
acknowledged = {}  # number → recipients


def recipients_of(number):
    one = random.Random(number)
    kind = "perm" if one.random() < 0.05 else "to"
    return [f"{kind}{number}x{i}@far.test" for i in range(one.choice((1, 1, 1, 2, 3)))]


def connect():
    while True:
        try:
            return post.smtp()
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)


def send_range(numbers):
    session = connect()
    for number in numbers:
        to = recipients_of(number)
        try:
            session.sendmail("anna@demo.test", to, f"From: anna@demo.test\r\nSubject: "
                             f"number {number}\r\n\r\n" + "text of it\r\n" * 20)
            acknowledged[number] = to
        except (OSError, smtplib.SMTPException):
            # Perhaps it was taken: a number without its 250 is not in the ledger, and not
            # tried again.
            session = connect()


threads = [threading.Thread(target=send_range, args=(range(i, COUNT, SENDERS),))
           for i in range(SENDERS)]
kills = []
began = time.monotonic()
for t in threads:
    t.start()
while len(kills) < KILLS or (LONG and any(t.is_alive() for t in threads)):
    # Not while it is being restarted: the supervisor waits longer after each early death.
    post.wait_running(60)
    time.sleep(dice.uniform(0.2, 1.0) if not LONG else dice.uniform(5, 15))
    if LONG and len(kills) >= KILLS and not any(t.is_alive() for t in threads):
        break
    try:
        post.kill("smtpd")
        kills.append(time.monotonic())
    except (RuntimeError, KeyError, ProcessLookupError):
        pass
for t in threads:
    t.join()
sent_s = time.monotonic() - began
calm.set()
post.wait_running(30)
end = time.monotonic() + DRAIN_S
while time.monotonic() < end and post.status()["queue"]["recipients"]:
    time.sleep(0.5)

arrived = {}  # recipient → indices of messages
for index, (_, to, _) in enumerate(sink.messages):
    for recipient in to:
        arrived.setdefault(recipient, []).append(index)
reported = {}
box = post.imap("anna@demo.test")
_, exists = box.select("INBOX", readonly=True)
total = int(exists[0])
for first in range(1, total + 1, 500):
    _, rows = box.fetch(f"{first}:{min(first + 499, total)}", "(BODY.PEEK[])")
    for row in rows:
        if isinstance(row, tuple):
            for to in re.findall(rb"Final-Recipient: rfc822;(\S+)", row[1]):
                reported[to.decode()] = reported.get(to.decode(), 0) + 1
box.logout()
waiting = {x["to"] for m in post.json("queue", "list") for x in m["recipients"]}

expected = [to for number in acknowledged for to in acknowledged[number]]
lost = [to for to in expected
        if to not in arrived and to not in reported and to not in waiting]
r.check(len(acknowledged) > COUNT * 0.5, f"{len(acknowledged)} of {COUNT} acknowledged")
r.equal(lost, [], f"none of {len(expected)} recipients is lost")
r.equal(sorted(waiting), [], "the queue is drained")
failed = [to for to in expected if to.startswith("perm")]
r.equal([to for to in failed if not reported.get(to)], [], "a report for each that failed")
# A report is delivered here and then leaves the queue: a kill in between doubles it.
again = sum(reported[to] > 1 for to in failed)
r.check(again <= 3 * len(kills), f"{again} of {len(failed)} reports twice, {len(kills)} kills")
r.equal([to for to in reported if to.startswith("to")], [], "and for no other")
unsure = set(sink.unsure)
doubled = {to: at for to, at in arrived.items() if len(at) > 1}
unexplained = []
for to, at in doubled.items():
    # All attempts but the last must have ended in doubt.
    for index in at[:-1]:
        near_kill = any(0 <= k - sink.kept_at[index] < KILL_S for k in kills)
        if index not in unsure and not near_kill:
            unexplained.append((to, at))
r.equal(unexplained, [], f"doubled only in doubt ({len(doubled)} doubled)")
r.check(len(kills) >= KILLS, f"killed {len(kills)} times")
r.equal(post.run("check", check=False).returncode, 0, "check")
print(f"{len(acknowledged)} messages, {len(expected)} recipients, {len(kills)} kills: "
      f"{len(lost)} lost, {len(doubled)} doubled in doubt, {len(unexplained)} otherwise, "
      f"{again} reports doubled, {len(sink.unsure)} replies lost; sent in {sent_s:.0f} s, "
      f"all in {time.monotonic() - began:.0f} s")
post.failed = r.failed > 0
sys.exit(r.finish())
