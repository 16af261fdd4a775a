#!/usr/bin/env python3
# timeout: 120
"""Forwarding: aliases and accounts that lead elsewhere, with rewritten senders (SRS) whose
reports find their way back; domains' journals; loops; what explain tells of it."""

import os
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("forward")
sink = Sink()
post = Instance(domains=("demo.test", "two.test"),
                accounts={"anna@demo.test": "secret-anna-1", "bob@demo.test": "secret-bob-1",
                          "kim@two.test": "secret-kim-1"},
                conf={"relay": ["allow_private = true", f"port = {sink.port}"]},
                dns="".join(f"{d} MX 10 mx.sink.test\n" for d in ("sink.test", "from.test"))
                + "mx.sink.test A 127.0.0.1\n")


def send(sender, to, body="Subject: x\r\n\r\nx\r\n", options=()):
    """From outside, without logging in: the reply's code and text."""
    s = post.smtp()
    s.ehlo("outside.test")
    try:
        for code, text in [s.mail(sender), *(s.rcpt(a, list(options)) for a in to)]:
            if code != 250:
                return code, text.decode()
        code, text = s.data(body)
        return code, text.decode()
    except smtplib.SMTPDataError as e:
        return e.smtp_code, e.smtp_error.decode()
    finally:
        s.close()


def inbox(address):
    m = post.imap(address)
    count = int(m.select("INBOX", readonly=True)[1][0])
    m.logout()
    return count


def next_message(what):
    """The next one that the sink gets."""
    have = next_message.seen
    next_message.seen += 1
    if not r.check(sink.wait(have + 1, 20), what):
        return "", [], b""
    return sink.messages[have]


next_message.seen = 0

# An alias to elsewhere: accepted from anybody, its sender rewritten.
post.run("alias", "add", "away@demo.test", "me@sink.test")
r.equal(send("who@from.test", ["away@demo.test"])[0], 250, "an alias to elsewhere takes mail")
sender, to, body = next_message("it is forwarded")
r.check(sender.startswith("SRS0=") and sender.endswith("=from.test=who@demo.test"),
        f"with a sender of ours: {sender}")
r.equal(to, ["me@sink.test"], "to the target")
r.check(b"\r\nDelivered-To: away@demo.test\r\n" in body, "marked with where it was")
r.equal(send("who@from.test", ["me@sink.test"])[0], 550, "which opens no relay")

# A report to that sender finds its way back; nobody else can use it.
r.equal(send("", [sender])[0], 250, "a report to the rewritten sender is taken")
back, to, body = next_message("and goes back")
r.equal((back, to), ("", ["who@from.test"]), "to who sent it")
name, domain = sender.split("@")
for bad in (name.replace("who", "else") + "@" + domain, "SRS0=AAAAAAAA=AA=from.test=a@" + domain,
            "SRS0=@" + domain, "SRS1=AAAAAAAA=x.test==y@" + domain):
    r.equal(send("", [bad])[0], 550, f"forged: {bad}")
r.equal(send("", ["SRS0=AAAAAAAA=AA=from.test=a@elsewhere.test"])[0], 550, "nor elsewhere")
# A chain: the sender of another forwarder.
r.equal(send("SRS0=XXXX=YY=first.test=a@from.test", ["away@demo.test"])[0], 250, "a second hop")
sender, _, _ = next_message("goes on")
r.check(sender.startswith("SRS1=") and sender.endswith("=from.test==XXXX=YY=first.test=a@demo.test"),
        f"as SRS1: {sender}")
r.equal(send("", [sender])[0], 250, "its report")
_, to, _ = next_message("goes")
r.equal(to, ["SRS0=XXXX=YY=first.test=a@from.test"], "to the first forwarder")
# No rewriting of reports and of our own.
r.equal(send("", ["away@demo.test"])[0], 250, "a report to an alias")
r.equal(next_message("goes on")[0], "", "has no sender still")
s = post.submit("anna@demo.test")
s.sendmail("anna@demo.test", ["away@demo.test", "direct@sink.test"],
           "From: anna@demo.test\r\nSubject: own\r\n\r\nx\r\n")
s.quit()
left = {"me@sink.test", "direct@sink.test"}
while left:  # in one transaction or in two
    sender, to, _ = next_message("own mail")
    r.equal(sender, "anna@demo.test", "our own sender stays")
    if not left & set(to):
        break
    left -= set(to)
r.equal(left, set(), "to both")
# It comes back from where it went: refused.
code, text = send("who@from.test", ["away@demo.test"],
                  "Delivered-To: away@demo.test\r\nSubject: loop\r\n\r\nx\r\n")
r.equal((code, "loops" in text), (554, True), f"a loop is cut: {text}")
# What fails there is told to the original sender.
sink.answer = lambda stage, argument: (
    "550 5.1.1 nobody" if stage == "rcpt" and argument == "gone@sink.test" else None)
post.run("alias", "add", "dead@demo.test", "gone@sink.test")
r.equal(send("who@from.test", ["dead@demo.test"], options=("NOTIFY=FAILURE",
                                                           "ORCPT=rfc822;dead@demo.test"))[0],
        250, "a forward that fails")
back, to, body = next_message("is reported")
r.equal((back, to), ("", ["who@from.test"]), "to who sent it, not to ourselves")
r.check(b"Original-Recipient: rfc822;dead@demo.test" in body, "as was asked for (RFC 3461)")

# An account that forwards.
post.run("account", "set", "bob@demo.test", "--forward", "bob@sink.test,kim@two.test",
         "--keep", "yes")
r.equal(send("who@from.test", ["bob+tag@demo.test"])[0], 250, "an account that forwards")
sender, to, _ = next_message("a copy goes out")
r.equal((to, sender.startswith("SRS0=")), (["bob@sink.test"], True), "rewritten")


def wait_inbox(address, count, what):

    end = time.monotonic() + 15
    while inbox(address) < count and time.monotonic() < end:
        time.sleep(0.1)
    r.equal(inbox(address), count, what)


wait_inbox("bob@demo.test", 1, "one stays")
wait_inbox("kim@two.test", 1, "one goes to another account")
post.run("account", "set", "bob@demo.test", "--keep", "no")
r.equal(send("who@from.test", ["bob@demo.test"])[0], 250, "without a copy")
next_message("it goes out")
wait_inbox("kim@two.test", 2, "and to the account")
r.equal(inbox("bob@demo.test"), 1, "and none stays")
s = post.submit("bob@demo.test")
r.equal(s.mail("bob@demo.test")[0], 250, "who forwards still sends as himself")
s.close()
shown = post.json("account", "show", "bob@demo.test")
r.equal(shown["forward"], {"to": ["bob@sink.test", "kim@two.test"], "keep": False}, "account show")
told = post.json("explain", "--from", "who@from.test", "--to", "bob@demo.test")
r.equal([(t["local"], t["address"], t.get("sender_rewritten")) for t in told["targets"]],
        [(False, "bob@sink.test", True), (True, "kim@two.test", None)], "explain follows it")
r.check("forwarded    bob@sink.test" in post.run("explain", "--to", "bob@demo.test").stdout,
        "in plain text too, without --from")
r.check("no such user" in post.run("explain", "--to", "x@demo.test").stdout, "and who is not there")
post.run("account", "set", "bob@demo.test", "--forward", "none")
r.check("forward" not in post.json("account", "show", "bob@demo.test"), "none removes it")
for args in (("--forward", "nonsense"), ("--keep", "yes"), ("--keep", "perhaps")):
    r.check(post.run("account", "set", "bob@demo.test", *args, check=False).returncode in (64, 65),
            f"{args} is refused")

# Without rewriting, when the operator does not want it.
post.configure({"smtp": ["srs = false"]})
post.run("reload")
r.equal(send("who@from.test", ["away@demo.test"])[0], 250, "smtp.srs = false")
r.equal(next_message("goes on")[0], "who@from.test", "as it came")

# Journals.
post.run("domain", "set", "two.test", "--journal", "bob@demo.test", "--journal-of", "in")
before = inbox("bob@demo.test")
r.equal(send("who@from.test", ["kim@two.test"])[0], 250, "mail for a domain with a journal")
wait_inbox("bob@demo.test", before + 1, "its copy is there")
r.equal(send("who@from.test", ["anna@demo.test"])[0], 250, "mail for another domain")
s = post.submit("kim@two.test")
s.sendmail("kim@two.test", ["anna@demo.test"], "From: kim@two.test\r\n\r\nx\r\n")
r.equal(inbox("bob@demo.test"), before + 1, "of other domains, and of what goes out: none")
post.run("domain", "set", "two.test", "--journal", "bob@demo.test", "--journal-of", "out")
s.sendmail("kim@two.test", ["anna@demo.test"], "From: kim@two.test\r\n\r\nx\r\n")
s.quit()
wait_inbox("bob@demo.test", before + 2, "the other direction")
r.equal([d.get("journal") for d in post.json("domain", "list") if d["domain"] == "two.test"],
        [{"to": "bob@demo.test", "in": False, "out": True}], "domain list tells it")
post.run("domain", "set", "two.test", "--journal", "nobody@demo.test")
r.equal(send("who@from.test", ["kim@two.test"])[0], 451, "no copy, no mail")
post.run("domain", "set", "two.test", "--journal", "none")
r.equal(send("who@from.test", ["kim@two.test"])[0], 250, "removed")
check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
