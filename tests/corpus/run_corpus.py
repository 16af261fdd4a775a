#!/usr/bin/env python3
# timeout: 900
"""The main job on real mail: a corpus goes in by SMTP to several accounts, is read back by
IMAP and by POP3 byte for byte (but for the trace fields in front), with ENVELOPE and
BODYSTRUCTURE answered for every message, and is relayed out through submission to a sink
with none lost and none doubled. $POSTROOM_CORPUS names the corpus; without it generated
messages are used. $POSTROOM_CORPUS_LIMIT takes only the first messages."""

import collections
import poplib
import hashlib
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, corpus_messages  # noqa: E402

r = Results("corpus")
poplib._MAXLINE = 16 * 1024 * 1024  # real mail has lines of more than 2 KB
limit = int(os.environ.get("POSTROOM_CORPUS_LIMIT", "0")) or None
PASSWORD = "secret-corpus-1"
accounts = [f"user{i}@demo.test" for i in range(4)]
sink = Sink()
post = Instance(
    accounts={a: PASSWORD for a in accounts + ["sender@demo.test"]},
    conf={"relay": ["allow_private = true", f"port = {sink.port}"]},
    dns="sink.test MX 10 mx.sink.test\nmx.sink.test A 127.0.0.1\n")


def without_trace(data):
    """The message without the fields that delivery puts in front."""
    while data[:12].lower() == b"return-path:" or data[:9].lower() == b"received:" or \
            data[:13].lower() == b"delivered-to:":
        end = data.find(b"\r\n") + 2
        while data[end:end + 1] in (b" ", b"\t"):
            end = data.find(b"\r\n", end) + 2
        data = data[end:]
        if data[:1] not in (b"R", b"D") or not trace_next(data):
            break
    return data


def as_stored(data):
    """A first line that begins with a blank would continue our last field: an empty line
    keeps it apart. All else is stored as it came."""
    return b"\r\n" + data if data[:1] in (b" ", b"\t") else data


def trace_next(data):
    return data.startswith((b"Received: from client.test", b"Delivered-To: user"))


# ---- in by SMTP ----
began = time.monotonic()
sent = {a: [] for a in accounts}
s = post.smtp()
s.ehlo()
for i, (name, data) in enumerate(corpus_messages(limit)):
    account = accounts[i % len(accounts)]
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    s.putcmd("MAIL FROM:<sender@remote.test> BODY=8BITMIME")
    s.putcmd(f"RCPT TO:<{account}>")
    s.putcmd("DATA")
    codes = [s.getreply()[0] for _ in range(3)]
    if not r.equal(codes, [250, 250, 354], f"envelope of {name}"):
        s = post.smtp()
        s.ehlo()
        continue
    s.send(stuffed + b".\r\n")
    code, text = s.getreply()
    if r.equal(code, 250, f"{name} is accepted ({text!r})"):
        sent[account].append((name, data))
s.quit()
total = sum(len(v) for v in sent.values())
print(f"sent {total} messages in {time.monotonic() - began:.1f} s", flush=True)
r.check(total > 0, "there is a corpus")

# ---- back by IMAP ----
began = time.monotonic()
read = structures = 0
for account in accounts:
    m = post.imap(account)
    _, count = m.select("INBOX", readonly=True)
    r.equal(int(count[0]), len(sent[account]), f"messages of {account}")
    number = 0
    step = 200
    for first in range(1, len(sent[account]) + 1, step):
        last = min(first + step - 1, len(sent[account]))
        _, rows = m.fetch(f"{first}:{last}", "(BODY.PEEK[])")
        bodies = [row for row in rows if isinstance(row, tuple)]
        r.equal(len(bodies), last - first + 1, f"bodies {first}:{last} of {account}")
        for (name, data), row in zip(sent[account][first - 1:last], bodies):
            got = without_trace(row[1])
            read += r.check(got == as_stored(data), f"{name} by IMAP is what was sent "
                                         f"({len(got)} and {len(data)} octets)")
        _, rows = m.fetch(f"{first}:{last}", "(ENVELOPE BODYSTRUCTURE RFC822.SIZE)")
        # Strings with 8-bit bytes come as literals: join what belongs together.
        text = b"".join(b"".join(row) if isinstance(row, tuple) else row + b"\n"
                        for row in rows if row)
        structures += text.count(b"ENVELOPE (") and min(
            text.count(b"ENVELOPE ("), text.count(b"BODYSTRUCTURE ("))
    m.logout()
r.equal(read, total, "messages read back by IMAP as sent")
r.check(structures >= total, f"ENVELOPE and BODYSTRUCTURE of all: {structures} of {total}")
print(f"read by IMAP in {time.monotonic() - began:.1f} s", flush=True)

# ---- out by submission, to the sink, exactly once ----
began = time.monotonic()
out = collections.Counter()
s = post.submit("sender@demo.test")
relayed = 0
for account in accounts:
    for name, data in sent[account]:
        mark = hashlib.sha256(name.encode()).hexdigest()[:24]
        try:
            s.sendmail("sender@demo.test", [f"m-{mark}@sink.test"], data,
                       mail_options=["BODY=8BITMIME"])
            relayed += 1
        except Exception as e:
            r.check(False, f"{name} by submission: {e}")
            s = post.submit("sender@demo.test")
s.quit()
sink.wait(relayed, 240)
time.sleep(1)
wanted = {hashlib.sha256(n.encode()).hexdigest()[:24]: d for v in sent.values() for n, d in v}
whole = 0
for _, recipients, data in sink.messages:
    for recipient in recipients:
        mark = recipient[2:].split("@")[0]
        out[mark] += 1
        body = wanted[mark].split(b"\r\n\r\n", 1)[-1]
        whole += data.endswith(body) or data.endswith(wanted[mark])
r.equal(len(out), relayed, "messages that reached the sink")
r.equal(sum(n - 1 for n in out.values()), 0, "messages that reached it twice")
r.equal(whole, relayed, "bodies that reached it unchanged")
r.equal(post.json("queue", "list"), [], "the queue is empty")
print(f"relayed {relayed} in {time.monotonic() - began:.1f} s", flush=True)

# ---- back by POP3, which removes ----
began = time.monotonic()
read = 0
for account in accounts:
    p = post.pop3(account)
    count, _ = p.stat()
    r.equal(count, len(sent[account]), f"maildrop of {account}")
    for number, (name, data) in enumerate(sent[account], 1):
        _, lines, _ = p.retr(number)
        got = without_trace(b"\r\n".join(lines) + b"\r\n")
        read += r.check(got == as_stored(data), f"{name} by POP3 is what was sent")
    p.quit()
    p = post.pop3(account)
    r.equal(p.stat()[0], 0, f"{account} is empty after QUIT")
    p.quit()
r.equal(read, total, "messages read back by POP3 as sent")
print(f"read by POP3 in {time.monotonic() - began:.1f} s", flush=True)

check = post.run("check", "--bodies", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout[-500:]}{check.stderr}")
post.failed = r.failed > 0
print(f"{total} messages: in by SMTP, {structures} structures, {len(out)} relayed once")
sys.exit(r.finish())
