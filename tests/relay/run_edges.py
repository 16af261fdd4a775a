#!/usr/bin/env python3
# timeout: 120
"""Edges of the relay: a host that takes few recipients at once (RFC 5321 section
4.5.3.1.10), one that refuses in the middle of the text, an alias of whose targets one
cannot take the message now, more sites than connections, a paused site."""

import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("edges")
wait_for = waiter(20)
FEW = 3
taken = threading.local()


def answer(stage, argument):
    if stage == "mail":
        taken.count = 0
    if stage == "rcpt" and argument.endswith("@few.test"):
        taken.count += 1
        if taken.count > FEW:
            return "452 4.5.3 too many recipients"
    return None


def refuse_in_the_middle(server):
    """Takes an envelope, and says no after the first octets of the text."""
    while True:
        try:
            conn, _ = server.accept()
        except OSError:
            return
        with conn, conn.makefile("rb") as lines:
            conn.sendall(b"220 middle.test\r\n")
            for line in lines:
                if line.startswith(b"DATA"):
                    conn.sendall(b"354 go on\r\n")
                    conn.recv(1000)
                    conn.sendall(b"552 5.3.4 that is too much\r\n")
                    time.sleep(0.5)
                    break
                conn.sendall(b"250 ok\r\n")


middle = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=refuse_in_the_middle, args=(middle,), daemon=True).start()
sink = Sink(answer)
SITES = 600
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1", "bob@demo.test": "secret-bob-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"2s", "1h"}']},
    dns="few.test MX 10 mx.few.test\nmx.few.test A 127.0.0.1\n" +
        "".join(f"s{i}.test A 127.0.0.1\n" for i in range(SITES)))
post.run("relay", "add", "--to", "middle.test", "--host", "127.0.0.1", "--port",
         str(middle.getsockname()[1]), "--tls", "none")


def send(recipients, body="x\r\n", subject="edge"):
    s = post.submit("bob@demo.test")
    s.sendmail("bob@demo.test", recipients,
               f"From: bob@demo.test\r\nSubject: {subject}\r\n\r\n{body}")
    s.quit()


def inbox(address):
    m = post.imap(address)
    m.select("INBOX", readonly=True)
    _, data = m.search(None, "ALL")
    _, texts = m.fetch("1:*", "(BODY.PEEK[])") if data[0] else (None, [])
    m.logout()
    return [row[1].decode() for row in texts if isinstance(row, tuple)]


send([f"r{i}@few.test" for i in range(10)])
r.check(wait_for(lambda: sum(len(m[1]) for m in sink.messages) == 10),
        f"ten recipients, three at once, without a wait: {[m[1] for m in sink.messages]}")
r.check(all(len(m[1]) <= FEW for m in sink.messages), "never more than it takes")

send(["a@middle.test"], "0123456789abcdef" * 4 + "\r\n" + ("y" * 70 + "\r\n") * 40000)
r.check(wait_for(lambda: any("that is too much" in t for t in inbox("bob@demo.test"))),
        "a refusal in the middle of the text is final")
r.equal(post.json("queue", "list"), [], "and nothing is left")

# One target is full: the other gets it once, and it gets it when there is room.
post.run("alias", "add", "team@demo.test", "anna@demo.test", "bob@demo.test")
post.run("account", "set", "anna@demo.test", "--quota", "1K")
send(["team@demo.test", "out@few.test"], ("z" * 70 + "\r\n") * 30, "for the team")
r.check(wait_for(lambda: sum("for the team" in t for t in inbox("bob@demo.test")) >= 1),
        "who has room gets it")
time.sleep(3)
waiting = post.json("queue", "list")
r.equal([[x["to"] for x in m["recipients"]] for m in waiting], [["anna@demo.test"]],
        "who is full waits alone")
post.run("account", "set", "anna@demo.test", "--quota", "100M")
post.run("queue", "retry", "--all")
r.check(wait_for(lambda: len(inbox("anna@demo.test")) == 1), "and gets it then")
r.equal(sum("for the team" in t for t in inbox("bob@demo.test")), 1, "nobody has it twice")

# More sites than connections: all are served.
before = len(sink.messages)
send([f"x@s{i}.test" for i in range(SITES)])
r.check(wait_for(lambda: len(sink.messages) == before + SITES, 60),
        f"{len(sink.messages) - before} of {SITES} sites")

# A paused site, many times: nothing goes, all goes then.
post.run("queue", "pause", "few.test")
before = len(sink.messages)
for i in range(3):
    send([f"p{i}@few.test", "go@s1.test"])
r.check(wait_for(lambda: len(sink.messages) == before + 3), "the others go")
r.equal(len(post.json("queue", "list")), 3, "the paused stay")
post.run("queue", "resume", "few.test")
r.check(wait_for(lambda: len(sink.messages) == before + 6), "then they go")
r.equal(post.run("check", check=False).returncode, 0, "check")
post.failed = r.failed > 0
sys.exit(r.finish())
