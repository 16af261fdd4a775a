#!/usr/bin/env python3
# timeout: 60
"""Hosts that are hostile to who delivers there: replies without end or form, octets that are no
text, silence and trickles at every stage (cases R1, R6 and X2 of docs/testing.md). Mail waits
with a reason that is one line of text; smtpd does not grow, and others' mail goes."""

import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("hostile")
wait_for = waiter(20)
GOOD = {"EHLO": b"250 host\r\n", "MAIL": b"250 ok\r\n", "RCPT": b"250 ok\r\n",
        "DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}
EVIL = b"451 a\0b\x1b[2Jc\x07 %n%s \xff\xfe d\r\n"
INJECT = b"451 4.0.0 x\n2026-11-24T00:00:00.000Z smtpd info msg.accept forged=1\r\n"
# domain: the stage and what is sent there; a number: seconds between two octets.
HOSTS = {
    "longline": ("RCPT", b"250 " + b"x" * 1000000 + b"\r\n"),
    "manylines": ("RCPT", b"250-x\r\n" * 100000),
    "othercode": ("RCPT", b"250-ok\r\n550 no\r\n"),
    "octets": ("RCPT", EVIL),
    "newline": ("RCPT", INJECT),
    "nonsense": ("MAIL", b"hello there\r\n"),
    "nocode": ("connect", b"\r\n\r\n\r\n"),
    "early": ("connect", b"220 host\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n250 f\r\n"),
    "earlydot": ("DATA", b"354 go on\r\n250 kept\r\n"),
    "silent": ("connect", b""),
    "silentmail": ("MAIL", b""),
    "silentdata": ("DATA", b""),
    "trickle": ("EHLO", 0.2),
    "endless": ("EHLO", None),
}
stopped = threading.Event()


class Host:
    def __init__(self, name):
        self.stage, self.evil = HOSTS[name]
        self.said = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn, _ = self.server.accept()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def reply(self, conn, stage, good):
        if stage != self.stage:
            conn.sendall(good)
        elif isinstance(self.evil, bytes):
            conn.sendall(self.evil)
        else:
            began = time.monotonic()
            while time.monotonic() < began + 20 and not stopped.is_set():
                conn.sendall(b"x" if self.evil else b"250-x\r\n" * 1000)
                time.sleep(self.evil or 0)

    def serve(self, conn):
        try:
            self.reply(conn, "connect", b"220 host\r\n")
            for line in conn.makefile("rb"):
                verb = line[:4].decode("latin-1").upper()
                self.said.append(verb)
                self.reply(conn, verb, GOOD.get(verb, b"250 ok\r\n"))
        except OSError:
            pass


hosts = {name: Host(name) for name in HOSTS}
sink = Sink()
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"},
    conf={"relay": ["allow_private = true", "command_timeout = 2s", 'retry = {"1h"}',
                    f"port = {sink.port}"]},
    dns="good.test MX 10 mx.good.test\nmx.good.test A 127.0.0.1\n")
for name, host in hosts.items():
    post.run("relay", "add", "--to", f"{name}.test", "--host", "127.0.0.1", "--port",
             str(host.port), "--tls", "none")
pid = post.pid("smtpd")


def grown():
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) // 1024


before = grown()
s = post.submit("anna@demo.test")
for name in (*HOSTS, "good"):
    s.sendmail("anna@demo.test", [f"to@{name}.test"],
               "From: anna@demo.test\r\nSubject: x\r\n\r\nx\r\n")
s.quit()
began = time.monotonic()
r.check(sink.wait(1, 10), "a good host's mail goes meanwhile")


def queued():
    return {x["to"].split("@")[1].split(".")[0]: x for m in post.json("queue", "list")
            for x in m["recipients"]}


r.check(wait_for(lambda: all(x["attempts"] == 1 for x in queued().values()) and
                 len(queued()) <= len(HOSTS)), f"all are tried: {queued()}")
r.check(time.monotonic() - began < 15, "none holds its connection")
left = queued()
stopped.set()
for name in HOSTS:
    if name in ("othercode",):
        continue  # a refusal or a wait: told below
    reply = left.get(name, {}).get("last_reply", "")
    r.check(re.match(r"4\d\d ", reply), f"{name}: waits: {reply[:150]!r}")
    r.check(len(reply) < 1100 and all(" " <= c < "\x7f" or ord(c) > 159 for c in reply),
            f"{name}: one line of text: {reply[:150]!r}")
r.check("othercode" in left or any("othercode" in t for t in [post.run(
    "trace", "to@othercode.test").stdout]), "a code that changes is no success")
for name in ("octets", "newline"):
    r.check("forged=1" not in "".join(line for line in post.log_tail(2000).splitlines(True)
                                      if line.startswith("2026-11-24T00:00")), "no forged line")
log = post.log_tail(5000)
r.check(not re.search(r"[\0\x07\x1b]", log), "no control octets in the log")
r.check(not re.search(r"^2026-11-24T00:00:00.000Z smtpd info msg.accept", log, re.M),
        "no line of the log is a host's")
for name in ("early", "earlydot"):
    r.check("replied before it was asked" in left[name]["last_reply"], f"{name}: {left[name]}")
r.check("MAIL" not in hosts["early"].said, "and nothing is said behind them")
r.equal(post.pid("smtpd"), pid, "smtpd is the same")
r.check(grown() - before < 30, f"and has not grown: {before} to {grown()} MB")
post.failed = r.failed > 0
sys.exit(r.finish())
