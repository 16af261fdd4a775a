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


# ---- what was asked for (RFC 3461) ----
def send(recipients, mail=(), subject="dsn", body="x\r\n", sender="anna@demo.test", post=post):
    """recipients: (address, RCPT parameters)."""
    s = post.submit("anna@demo.test")
    s.ehlo("test")
    code, text = s.mail(sender, list(mail))
    assert code == 250, text
    for address, options in recipients:
        code, text = s.rcpt(address, list(options))
        assert code == 250, text
    code, text = s.data(f"From: anna@demo.test\r\nSubject: {subject}\r\n\r\n{body}"
                        .encode("utf-8"))
    assert code == 250, text
    s.quit()


def about(subject, count, seconds=10, where=None, post=post):
    """Reports on the message with that subject, by recipient: (fields, report)."""
    end = time.monotonic() + seconds
    while True:
        rows = {}
        for b in reports("anna@demo.test") if where is None else where():
            parts = b.get_payload()
            if f"Subject: {subject}" not in parts[2].as_string():
                continue
            for fields in parts[1].get_payload():
                if fields["Final-Recipient"]:
                    to = str(fields["Final-Recipient"]).split(";")[1].strip()
                    rows.setdefault(to, []).append((fields, b))
        if len(rows) >= count or time.monotonic() > end:
            return rows
        time.sleep(0.1)


def settled(seconds=10):
    end = time.monotonic() + seconds
    while post.json("queue", "list") and time.monotonic() < end:
        time.sleep(0.1)


# Failures: NEVER is not told of, who did not say is, and the report says what was given.
send([("no-a@sink.test", ("NOTIFY=NEVER",)),
      ("no-b@sink.test", ("NOTIFY=FAILURE", "ORCPT=rfc822;No+2Bb@sink.test")),
      ("no-c@sink.test", ()),
      ("no-d@sink.test", ("NOTIFY=SUCCESS,DELAY",))],
     ("ENVID=Q+2B1", "RET=HDRS"), "some fail")
rows = about("some fail", 2)
settled()
r.equal(sorted(about("some fail", 2)), ["no-b@sink.test", "no-c@sink.test"],
        "NOTIFY=NEVER and one without FAILURE are not told of (section 5.2.6)")
if rows.get("no-b@sink.test"):
    fields, report = rows["no-b@sink.test"][0]
    head = report.get_payload()[1].get_payload()[0]
    r.equal(head["Original-Envelope-Id"], "Q+1", "ENVID, decoded (section 6.3 (a))")
    r.check(str(head["Reporting-MTA"]).startswith("dns;"), "Reporting-MTA")
    r.equal(fields["Original-Recipient"], "rfc822;No+b@sink.test", "ORCPT, decoded")
    r.equal((fields["Action"], fields["Status"]), ("failed", "5.1.1"), "Action and Status")
    r.equal(fields["Remote-MTA"], "dns; mx.sink.test", "Remote-MTA (section 6.3 (h))")
    r.equal(fields["Diagnostic-Code"], "smtp; 550 5.1.1 no such mailbox", "Diagnostic-Code")
    r.check(fields["Last-Attempt-Date"] is not None, "Last-Attempt-Date")
    r.equal(report.get_payload()[2].get_content_type(), "text/rfc822-headers", "RET=HDRS")
    r.check(rows["no-c@sink.test"][0][0]["Original-Recipient"] is None,
            "no Original-Recipient where no ORCPT was (section 6.3 (d))")

# RET=FULL returns all of it, 8-bit octets labelled.
send([("no-full@sink.test", ())], ("RET=FULL",), "all of it", "gr\u00fc\u00dfe\r\n.dot\r\n")
rows = about("all of it", 1)
if r.check(rows, "a report with the message"):
    part = rows["no-full@sink.test"][0][1].get_payload()[2]
    r.equal(part.get_content_type(), "message/rfc822", "RET=FULL (section 4.3)")
    r.check("gr\u00fc\u00dfe\r\n.dot".encode() in part.get_payload()[0].as_bytes(
        policy=email.policy.SMTP), "the body, byte for byte")
    r.equal(part["Content-Transfer-Encoding"], "8bit", "labelled")
    r.check(part.get_payload()[0]["Return-Path"] is None, "without our own Return-Path")

# Success: a local mailbox is "delivered", a host without DSN "relayed" (section 5.2.2).
send([("anna@demo.test", ("NOTIFY=SUCCESS",)), ("yes@sink.test", ("NOTIFY=SUCCESS,FAILURE",)),
      ("silent@sink.test", ())], (), "arrives")
rows = about("arrives", 2)
settled()
rows = about("arrives", 2)
r.equal(sorted(rows), ["anna@demo.test", "yes@sink.test"], "who asked for success is told")
if len(rows) == 2:
    r.equal([rows[x][0][0]["Action"] for x in sorted(rows)], ["delivered", "relayed"], "Actions")
    r.check(all(str(rows[x][0][0]["Status"]).startswith("2.") for x in rows), "Status 2.x.x")
    r.check(rows["anna@demo.test"][0][0]["Remote-MTA"] is None and
            rows["yes@sink.test"][0][0]["Remote-MTA"] is not None, "Remote-MTA where one was")
r.check(not any("NOTIFY" in c or "ENVID" in c or "ORCPT" in c for c in sink.commands),
        "nothing is said to a host that does not offer it (section 5.2.2 (a))")

# Aliases: of one target is passed on, of several is "expanded" and SUCCESS stops there.
post.run("alias", "add", "one@demo.test", "two-a@sink.test")
post.run("alias", "add", "list@demo.test", "yes-l@sink.test", "no-l@sink.test",
         "anna@demo.test")
sink.extensions = (*sink.extensions, "DSN")
sink.commands.clear()
send([("one@demo.test", ("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;one@demo.test")),
      ("list@demo.test", ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;list@demo.test"))],
     ("ENVID=E1", "RET=FULL"), "aliases")
rows = about("aliases", 2)
settled()
rows = about("aliases", 2)
r.equal({to: [f["Action"] for f, _ in found] for to, found in rows.items()},
        {"list@demo.test": ["expanded"], "no-l@sink.test": ["failed"]},
        "expanded, and the member that failed (section 5.2.7.3 (c))")
if "no-l@sink.test" in rows:
    r.equal(rows["no-l@sink.test"][0][0]["Original-Recipient"], "rfc822;list@demo.test",
            "in the sender's words")
said = {c.split("<")[1].split(">")[0]: c for c in sink.commands if c.startswith("RCPT")}
r.equal(said.get("two-a@sink.test"), "RCPT TO:<two-a@sink.test> NOTIFY=SUCCESS,DELAY "
        "ORCPT=rfc822;one@demo.test", "passed on as it came (section 5.2.1, 5.2.7.2)")
r.equal(said.get("yes-l@sink.test"), "RCPT TO:<yes-l@sink.test> NOTIFY=FAILURE "
        "ORCPT=rfc822;list@demo.test", "without SUCCESS to a member")
r.check(any("RET=FULL ENVID=E1" in c for c in sink.commands if c.startswith("MAIL")),
        "RET and ENVID go along")
m = post.imap("anna@demo.test")
m.select("INBOX", readonly=True)
r.equal(len(m.search(None, "SUBJECT", "aliases", "NOT", "SUBJECT", "Your")[1][0].split()), 1,
        "the local member got it, once")
m.logout()

# Nothing is reported to the null sender, nor about a report.
before = len(reports("anna@demo.test"))
s = post.smtp()
s.ehlo("test")
s.mail("", ["ENVID=1"])
s.rcpt("list@demo.test", ["NOTIFY=SUCCESS"])
s.data(b"Subject: nobody\r\n\r\nx\r\n")
s.quit()
settled()
r.equal(len(reports("anna@demo.test")), before, "no report without a sender (RFC 5321 6.1)")

# UTF-8 (RFC 6533): addresses as they are, in the global types.
s = post.submit("anna@demo.test")
s.ehlo("test")
s.command_encoding = "utf-8"
for line in ("MAIL FROM:<anna@demo.test> SMTPUTF8",
             "RCPT TO:<no-\u00e4@sink.test> ORCPT=utf-8;no-\\x{E4}@sink.test"):
    code, text = s.docmd(line)
    assert code == 250, text
s.data(b"From: anna@demo.test\r\nSubject: global\r\n\r\nx\r\n")
s.quit()
end = time.monotonic() + 10
found = []
while not found and time.monotonic() < end:
    found = [b for b in reports("anna@demo.test") if "Subject: global" in b.as_string()]
    time.sleep(0.1)
if r.check(found, "a report on an internationalized message"):
    parts = found[0].get_payload()
    r.equal([p.get_content_type() for p in parts],
            ["text/plain", "message/global-delivery-status", "message/global-headers"],
            "RFC 6533 section 4")
    text = found[0].as_bytes().decode("utf-8")
    r.check("Final-Recipient: utf-8;no-\u00e4@sink.test" in text and
            "Original-Recipient: utf-8;no-\u00e4@sink.test" in text, "addresses, decoded")

check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
