#!/usr/bin/env python3
# timeout: 60
"""Bounces and complaints that come in as mail (decision 0100): what can be tied to a message
that was sent from here feeds the suppression list, forged ones never do."""

import os
import smtplib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("reports")
wait_for = waiter(15)
sink = Sink()
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1", "postmaster@demo.test": "secret-post-1",
              "fbl@demo.test": "secret-fbl-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'suppress_for = "1h"',
                    'report_address = "fbl@demo.test"',
                    'report_networks = {"127.0.0.9/32"}']},
    dns="one.test MX 10 mx.one.test\nmx.one.test A 127.0.0.1\n")


def send(*to):
    """Sends and waits; what arrived, as the other server has it."""
    before = len(sink.messages)
    s = post.submit("anna@demo.test")
    s.sendmail("anna@demo.test", to, f"From: anna@demo.test\r\nTo: {to[0]}\r\n"
               f"Message-ID: <{to[0]}.{before}>\r\nSubject: news\r\n\r\nnews\r\n")
    s.quit()
    r.check(sink.wait(before + 1), f"sent to {to}")
    return sink.messages[before][2].decode()


def dsn(original, to, status="5.1.1", action="failed"):
    return ("From: MAILER-DAEMON@one.test\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
            "--b\r\n\r\nno\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
            f"Reporting-MTA: dns; one.test\r\n\r\nFinal-Recipient: rfc822; {to}\r\n"
            f"Action: {action}\r\nStatus: {status}\r\nDiagnostic-Code: smtp; 550 no\x1b[1m\r\n"
            f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n{original}\r\n--b--\r\n")


def arf(original, to=""):
    return ("From: fbl@provider.test\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
            "--b\r\n\r\ncomplaint\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
            f"Feedback-Type: abuse\r\nVersion: 1\r\n{to}"
            f"--b\r\nContent-Type: message/rfc822\r\n\r\n{original}\r\n--b--\r\n")


def report(text, peer="127.0.0.1", to="postmaster@demo.test"):
    """The id that it was accepted as."""
    with smtplib.SMTP("127.0.0.1", post.port("smtp"), source_address=(peer, 0)) as s:
        s.ehlo("one.test")
        s.mail("")
        s.rcpt(to)
        code, answer = s.data(text)
        r.equal(code, 250, "the report is accepted")
        return answer.decode().split()[-1]


def traced(name, event):
    found = post.run("trace", name, "--json", check=False)
    if found.returncode != 0:
        return []
    import json
    return [e for m in json.loads(found.stdout) for e in m["events"] if e["event"] == event]


def listed():
    return {x["address"]: x for x in post.json("suppress", "list")}


# What can be proven: our id, the recipient, the host that took it.
gone = send("gone@one.test")
late = send("late@one.test")
full = send("full@one.test")
report(dsn(gone, "Gone@one.test"))
report(dsn(late, "late@one.test", "4.4.1", "delayed"))
report(dsn(full, "full@one.test", "5.2.2"))
r.check(wait_for(lambda: "gone@one.test" in listed()), "a proven hard bounce is listed")
row = listed()["gone@one.test"]
r.check(row["reason"] == "bounce" and "5.1.1" in row["text"] and "\x1b" not in row["text"] and
        0 < row["expires"] - time.time() <= 3600, f"with its reason, for an hour: {row}")
r.check(wait_for(lambda: len(traced("full@one.test", "report.bounce")) == 1 and
                 len(traced("late@one.test", "report.bounce")) == 1), "soft ones are traced")
event = traced("full@one.test", "report.bounce")[0]
r.check(event["status"] == "5.2.2" and event["action"] == "failed", f"as what they are: {event}")
words = ("From: MAILER-DAEMON@one.test\r\nSubject: failure notice\r\n\r\n<{0}>:\r\n"
         "550 5.1.1 no such user\r\n\r\n--- Below is a copy of the message.\r\n\r\n{1}\r\n")
wild = send("wild@one.test")
report(words.format("wild@one.test", wild))
r.check(wait_for(lambda: "wild@one.test" in listed()), "so is one in free words")
angry = send("angry@one.test")
report(arf(angry), "127.0.0.9", "fbl@demo.test")
r.check(wait_for(lambda: listed().get("angry@one.test", {}).get("reason") == "complaint"),
        "a complaint by a trusted network, that does not say whose it is")

# Forged ones: from another host, of another recipient, by one of several who have the
# message, of no message, without our id, to an ordinary address.
safe = send("safe@one.test")
pair = send("safe2@one.test", "liar@one.test")
without = "\r\n".join(x for x in safe.split("\r\n") if "id " not in x)
post.run("suppress", "add", "hand@one.test", "--reason", "by hand", check=False)
forged = [
    report(dsn(safe, "safe@one.test"), "127.0.0.2"),
    report(arf(safe), "127.0.0.2", "fbl@demo.test"),
    report(dsn(safe, "safe3@one.test")),
    report(dsn(pair, "safe2@one.test")),
    report(dsn("Received: by x id 0123456789ABCDEF; x\r\n", "safe@one.test")),
    report(dsn(without, "safe@one.test")),
    report(words.format("safe@one.test", without)),
]
r.check(wait_for(lambda: all(traced(x, "report.unproven") for x in forged)),
        "forged ones are noted as that")
report(dsn(safe, "safe@one.test"), to="anna@demo.test")
marker = send("marker@one.test")
report(dsn(marker, "marker@one.test"))
r.check(wait_for(lambda: "marker@one.test" in listed()), "the marker")
r.equal(sorted(listed()), ["angry@one.test", "gone@one.test", "hand@one.test", "marker@one.test",
                           "wild@one.test"], "and list nobody")
r.equal(listed()["hand@one.test"]["reason"], "manual", "the operator's stays")
r.check(post.run("check").returncode == 0, "the store is in order")
post.close()
sink.close()
r.finish()
