#!/usr/bin/env python3
# timeout: 120
"""What a sender can wish for on the way out: a deadline (RFC 2852), a later release (RFC 4865),
a priority (RFC 6710), TLS all the way (RFC 8689)."""

import email
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("wishes")


def answer(stage, argument):
    if stage == "rcpt" and argument.startswith("later"):
        return "451 4.7.1 not now"
    return None


plain = Sink(answer)
able = Sink(answer, extensions=("PIPELINING", "DSN", "MT-PRIORITY", "DELIVERBY 5", "REQUIRETLS"))
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1", "bob@demo.test": "secret-bob-1"},
    conf={"relay": ["allow_private = true", f"port = {plain.port}", 'retry = {"1s"}',
                    "connections = 1"]},
    dns="sink.test MX 10 mx.sink.test\nmx.sink.test A 127.0.0.1\nlocalhost A 127.0.0.1\n")
post.run("relay", "add", "--to", "able.test", "--host", "127.0.0.1", "--port", str(able.port),
         "--tls", "none")


def send(to, mail=(), rcpt=(), subject="x", header=""):
    s = post.submit("anna@demo.test")
    s.ehlo("test")
    code, text = s.mail("anna@demo.test", list(mail))
    assert code == 250, text
    code, text = s.rcpt(to, list(rcpt))
    assert code == 250, text
    code, text = s.data(f"From: anna@demo.test\r\nSubject: {subject}\r\n{header}\r\nx\r\n"
                        .encode())
    assert code == 250, text
    s.quit()


def report(to, seconds=12):
    """The report on a recipient: its first part's fields and the recipient's."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        m = post.imap("anna@demo.test")
        _, exists = m.select("INBOX", readonly=True)
        data = m.fetch("1:*", "(BODY.PEEK[])")[1] if exists[0] != b"0" else []
        m.logout()
        for row in data:
            if not isinstance(row, tuple):
                continue
            b = email.message_from_bytes(row[1])
            if b.get_content_type() != "multipart/report":
                continue
            fields = b.get_payload()[1].get_payload()
            for f in fields[1:]:
                if str(f["Final-Recipient"]).endswith(to):
                    return fields[0], f
        time.sleep(0.1)
    return None, {"Action": None, "Status": None}


# Held mail is kept until its time, here and to elsewhere.
start = time.monotonic()
send("held@able.test", ("HOLDFOR=3",))
send("bob@demo.test", ("HOLDFOR=3",))
time.sleep(1.5)
r.equal(len(able.messages), 0, "nothing goes before its time")
r.check(able.wait(1, 15) and time.monotonic() - start >= 2.9, "then it goes")
end = time.monotonic() + 10
count = b"0"
while count == b"0" and time.monotonic() < end:
    m = post.imap("bob@demo.test")
    count = m.select("INBOX", readonly=True)[1][0]
    m.logout()
    time.sleep(0.1)
r.equal(count, b"1", "and comes here")

# What is passed on to a host that can, and kept back from one that cannot.
able.commands.clear()
send("a@able.test", ("MT-PRIORITY=3", "BY=600;NT"))
r.check(able.wait(2, 10), "sent on")
mail = next((c for c in able.commands if c.startswith("MAIL")), "")
r.check(" MT-PRIORITY=3" in mail, f"the priority: {mail}")
left = re.search(r" BY=(\d+);NT", mail)
r.check(left and 580 <= int(left.group(1)) <= 600, f"the time that is left: {mail}")
head, f = report("a@able.test")
r.equal(f["Action"], "relayed", "a trace was asked for (RFC 2852 section 4.1.4)")
r.check(head is not None and head["Deliver-By-Date"] is not None, "Deliver-By-Date")
plain.commands.clear()
send("n@sink.test", ("BY=600;N",))
r.check(plain.wait(1, 10), "BY=…;N goes to a host without DELIVERBY")
r.check(not any("BY=" in c or "MT-PRIORITY" in c for c in plain.commands), "without the words")
r.equal(report("n@sink.test")[1]["Action"], "relayed", "and that is told (section 4.1.4.2)")
send("r@sink.test", ("BY=600;R",))
f = report("r@sink.test")[1]
r.equal((f["Action"], f["Status"]), ("failed", "5.3.3"), "BY=…;R does not (section 4.1.4.1)")
send("short@able.test", ("BY=4;R",))
f = report("short@able.test")[1]
r.equal((f["Action"], f["Status"]), ("failed", "5.3.3"), "less time than the host takes")

# The moment passes: R fails, N is told and goes on.
able.extensions = ("PIPELINING", "DSN", "MT-PRIORITY", "DELIVERBY")
send("later-r@able.test", ("BY=3;R",))
send("later-n@able.test", ("BY=2;N",))
head, f = report("later-n@able.test")
r.equal((f["Action"], f["Status"]), ("delayed", "4.4.7"), "late (section 4.1.3)")
f = report("later-r@able.test")[1]
r.equal((f["Action"], f["Status"]), ("failed", "5.4.7"), "too late")
r.equal([x["recipients"][0]["to"] for x in post.json("queue", "list")],
        ["later-n@able.test"], "the late one is still tried")
post.run("queue", "delete", "--all", "--yes")

# The more urgent ones first.
post.run("queue", "pause", "able.test")
before = len(able.messages)
for name, priority in (("p1", -2), ("p2", 0), ("p3", 4), ("p4", 2), ("p5", 3)):
    send(f"{name}@able.test", (f"MT-PRIORITY={priority}",))
post.run("queue", "resume", "able.test")
r.check(able.wait(before + 5, 15), "all five go")
r.equal([m[1][0][:2] for m in able.messages[before:]], ["p3", "p5", "p4", "p2", "p1"],
        "by priority (RFC 6710)")

# REQUIRETLS never goes in clear nor to a host that is not known for sure.
send("tls@sink.test", ("REQUIRETLS",))
f = report("tls@sink.test")[1]
r.check(f["Action"] == "failed" and f["Status"] in ("5.7.10", "5.7.30"),
        f"no TLS (RFC 8689 section 4.2.1): {f['Status']}")
r.check(not any("tls@" in c for c in plain.commands), "and the host was not even asked")
upstream = Instance(domains=("up.test",), accounts={"relay@up.test": "secret-relay-1",
                                                    "anna@up.test": "secret-anna-1"},
                    hostname="localhost")
post.configure({"tls": [f'ca_file = "{upstream.ca}"']})
post.stop()
post.start()
post.run("relay", "add", "--to", "up.test", "--host", "localhost", "--port",
         str(upstream.port("smtp")), "--tls", "required")
send("anna@up.test", ("REQUIRETLS",), subject="safe")
end = time.monotonic() + 10
count = b"0"
while count == b"0" and time.monotonic() < end:
    m = upstream.imap("anna@up.test")
    count = m.select("INBOX", readonly=True)[1][0]
    m.logout()
    time.sleep(0.1)
r.equal(count, b"1", "an authenticated host that offers REQUIRETLS gets it")

check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
