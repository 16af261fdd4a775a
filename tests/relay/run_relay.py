#!/usr/bin/env python3
# timeout: 300
"""Outbound mail: MX and smart host targets, TLS, AUTH, retries, bounces, the operator's
queue and trace commands (RFC 5321 sections 4.5.4 and 5.1, RFC 3464, RFC 7505)."""

import email
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("relay")
fail_until = {"slow@sink.test": 1}
seen = {}


def answer(stage, argument):
    if stage == "rcpt":
        seen[argument] = seen.get(argument, 0) + 1
        if argument == "hard@sink.test":
            return "550 5.1.1 no such mailbox\x1b[31m"
        if argument.startswith("slow") and seen[argument] <= 1:
            return "451 4.7.1 greylisted, try again"
        if argument == "never@sink.test":
            return "450 4.2.0 not now"
    return None


sink = Sink(answer)
DNS = """
sink.test MX 10 mx.sink.test
mx.sink.test A 127.0.0.1
null.test MX 0 .
implicit.test A 127.0.0.1
private.test MX 10 mx.sink.test
broken.test MX SERVFAIL
localhost A 127.0.0.1
"""
conf = {
    "relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"1s", "2s"}',
              'lifetime = "6s"'],
}
post = Instance(accounts={"anna@demo.test": "secret-anna-1", "bob@demo.test": "secret-bob-1"},
                conf=conf, dns=DNS)


def send(sender, recipients, subject, body="hello\r\n.dot\r\n..two\r\n"):
    s = post.submit(sender)
    s.sendmail(sender, recipients,
               f"From: {sender}\r\nTo: x@sink.test\r\nSubject: {subject}\r\n\r\n{body}")
    s.quit()


def inbox(address):
    m = post.imap(address)
    _, exists = m.select("INBOX", readonly=True)
    out = []
    if exists[0] == b"0":
        m.logout()
        return out
    _, data = m.fetch("1:*", "(BODY.PEEK[])")
    for row in data or []:
        if isinstance(row, tuple):
            out.append(email.message_from_bytes(row[1]))
    m.logout()
    return out


def wait_inbox(address, count, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        messages = inbox(address)
        if len(messages) >= count:
            return messages
        time.sleep(0.1)
    return inbox(address)


# By MX, several recipients in one transaction, and byte for byte.
send("anna@demo.test", ["one@sink.test", "two@sink.test"], "by mx")
r.check(sink.wait(1), "a message by MX arrives")
sender, recipients, data = sink.messages[0]
r.equal(sender, "anna@demo.test", "envelope sender")
r.equal(sorted(recipients), ["one@sink.test", "two@sink.test"], "both in one transaction")
r.check(data.endswith(b"hello\r\n.dot\r\n..two\r\n"), "the body is unchanged")
r.check(b"Received:" in data and b"Message-ID:" in data and b"Date:" in data,
        "trace and submission fields are there")

# Implicit MX (RFC 5321 section 5.1), a mix of local and external.
send("anna@demo.test", ["x@implicit.test", "bob@demo.test"], "implicit and local")
r.check(sink.wait(2), "a domain without MX is reached by its address")
r.equal(len(wait_inbox("bob@demo.test", 1)), 1, "the local half arrives once")

# A refused recipient comes back, the other one went out.
send("anna@demo.test", ["hard@sink.test", "good@sink.test"], "half refused")
r.check(sink.wait(3), "the good recipient got it")
bounce = wait_inbox("anna@demo.test", 1)
if r.equal(len(bounce), 1, "one report"):
    b = bounce[0]
    r.equal(b.get_content_type(), "multipart/report", "RFC 6522")
    r.equal(b["Return-Path"], "<>", "null sender")
    status = b.get_payload()[1].as_string()
    r.check("Final-Recipient: rfc822;hard@sink.test" in status, "names the recipient")
    r.check("good@sink.test" not in status, "and not the good one")
    r.check("Status: 5.1.1" in status and "Action: failed" in status, "status fields")
    r.check("no such mailbox" in status and "\x1b" not in b.as_string(),
            "the remote's words, made safe")
    r.check("half refused" in b.get_payload()[2].as_string(), "the original's header")

# A passing failure is tried again, and arrives once.
send("anna@demo.test", ["slow@sink.test"], "greylisted")
r.check(sink.wait(4, 20), "delivered at the second attempt")
r.equal(seen["slow@sink.test"], 2, "attempts")

# Null MX (RFC 7505) and an unknown domain fail at once, in their own words.
send("anna@demo.test", ["a@null.test"], "null mx")
send("anna@demo.test", ["a@nowhere.test"], "no domain")
texts = [m.as_string() for m in wait_inbox("anna@demo.test", 3)]
r.check(any("5.1.10" in t for t in texts), "null MX says 5.1.10")
r.check(any("5.1.2" in t and "nowhere.test" in t for t in texts), "no domain says 5.1.2")

# Never delivered: waits, is shown with its reply, expires with a report.
send("anna@demo.test", ["never@sink.test"], "expires")
end = time.monotonic() + 5
row = []
while time.monotonic() < end and not (row and row[0]["recipients"][0]["attempts"]):
    row = post.json("queue", "list")
    time.sleep(0.1)
r.check(row and row[0]["recipients"][0]["last_reply"].startswith("450 4.2.0"),
        "queue list shows the last reply")
top = post.json("queue", "top")
r.check(len(top) == 1 and top[0]["site"] == "sink.test" and top[0]["waiting"] == 1 and
        top[0]["ages"]["5m"] == 1 and top[0]["last_reply"].startswith("450") and
        top[0]["next_try"] > 0, f"queue top: {top}")
r.check("450 4.2.0" in post.run("queue", "top").stdout, "queue top as text")
reports = wait_inbox("anna@demo.test", 4, 25)
r.check(any("5.4.7" in m.as_string() for m in reports), "an expired message says 5.4.7")
r.equal(post.json("queue", "list"), [], "the queue is empty then")

# How mail would leave.
def explain(to, sender="anna@demo.test"):
    return post.json("explain", "--from", sender, "--to", to)


told = explain("x@sink.test")
r.equal((told["route"], told["hosts"][0]["host"], told["hosts"][0]["addresses"],
         told["port"], told["tls"]),
        ("mx", "mx.sink.test", ["127.0.0.1"], sink.port, "opportunistic"), "explain by MX")
told = explain("x@implicit.test")
r.check(told["mx_implicit"] and told["hosts"][0]["addresses"] == ["127.0.0.1"], "implicit MX")
r.check("5.1.10" in explain("x@null.test")["problem"], "explain null MX")
r.check("5.1.2" in explain("x@nowhere.test")["problem"], "explain no domain")
r.check("problem" in explain("x@broken.test"), "explain a failing name server")
r.equal(explain("bob@demo.test")["route"], "local", "explain local")
post.run("relay", "add", "--to", "sink.test", "--host", "127.0.0.1", "--port", "2525")
told = explain("x@sink.test")
r.equal((told["route"], told["rule_to"], told["port"]), ("rule", "sink.test", 2525),
        "explain the rule that wins")
post.run("relay", "remove", told["rule"])
r.check("mx.sink.test" in post.run("explain", "--from", "a@demo.test", "--to",
                                   "x@sink.test").stdout, "explain as text")
r.equal(post.run("explain", "--from", "a@b", "--to", "x", check=False).returncode, 65,
        "no address is told")

# The operator's wishes.
send("anna@demo.test", ["slow2@sink.test"], "held")
post.run("queue", "hold", "--all")
time.sleep(0.3)
row = post.json("queue", "list")
if r.check(row and row[0]["recipients"][0]["state"] == "held", "held"):
    before = len(sink.messages)
    time.sleep(2.5)
    r.equal(len(sink.messages), before, "held mail stays")
    post.run("queue", "release", row[0]["id"])
    post.run("queue", "retry", row[0]["id"], check=False)
    r.check(sink.wait(before + 1, 10), "released mail goes")
    events = post.json("trace", row[0]["id"])
    names = [e["event"] for e in events[0]["events"]] if events else []
    r.check("relay.done" in names, f"trace follows it to the end: {names}")
r.check(post.run("queue", "show", "0000000000000000", check=False).returncode == 66,
        "an unknown id is told")

# A paused site.
post.run("queue", "pause", "Sink.test")
before = len(sink.messages)
send("anna@demo.test", ["paused@sink.test", "free@implicit.test"], "paused")
r.check(sink.wait(before + 1, 10), "other sites go on")
time.sleep(0.5)
r.equal([m[1] for m in sink.messages[before:]], [["free@implicit.test"]], "the paused one stays")
top = post.json("queue", "top")
r.check(len(top) == 1 and top[0]["paused"] and top[0]["waiting"] == 1, f"told by top: {top}")
r.check("paused" in post.run("queue", "top").stdout, "as text too")
post.run("queue", "resume", "sink.test")
r.check(sink.wait(before + 2, 10), "resumed mail goes at once")
r.equal(post.run("queue", "resume", "sink.test", check=False).returncode, 66, "not paused")
r.equal(post.run("queue", "pause", "no domain", check=False).returncode, 65, "no domain")
r.equal(post.run("check", check=False).returncode, 0, "check")

# A smart host with a login, by sender domain; without TLS the password is not sent.
post.run("relay", "add", "--from", "demo.test", "--to", "*", "--host", "127.0.0.1",
         "--port", str(sink.port), "--tls", "none")
rules = post.json("relay", "list")
r.equal(len(rules), 1, "one relay rule")
before = len(sink.messages)
send("anna@demo.test", ["far@unlisted.test"], "by smart host")
r.check(sink.wait(before + 1, 10) and any(
    "far@unlisted.test" in m[1] for m in sink.messages), "the rule wins over MX")
post.run("relay", "remove", rules[0]["id"])
r.equal(post.json("relay", "list"), [], "no rule any more")

# Another Postroom as smart host: STARTTLS with a verified name, AUTH.
upstream = Instance(domains=("up.test",), accounts={"relay@up.test": "secret-relay-1",
                                                     "box@up.test": "secret-box-11"},
                    hostname="localhost")
post.configure({"tls": [f'ca_file = "{upstream.ca}"']})
post.run("reload")
post.stop()
post.start()
post.run("relay", "add", "--to", "up.test", "--host", "localhost", "--port",
         str(upstream.port("submission")), "--tls", "required", "--user", "relay@up.test",
         "--password-stdin", input="secret-relay-1\n")
s = post.submit("anna@demo.test")
s.sendmail("anna@demo.test", ["box@up.test"],
           "From: anna@demo.test\r\nSubject: upstream\r\n\r\nx\r\n")
s.quit()
end = time.monotonic() + 15
events = []
while time.monotonic() < end:
    found = post.run("trace", "box@up.test", "--json", check=False)
    if "relay.done" in found.stdout or "relay.fail" in found.stdout or \
            "relay.defer" in found.stdout:
        break
    time.sleep(0.1)
# The upstream refuses: the login does not own anna's address; that is its 5xx, told back.
r.check("553 5.7.1" in found.stdout,
        f"TLS and AUTH worked as far as MAIL FROM: {found.stdout[-600:]}")

check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
