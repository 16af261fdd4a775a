#!/usr/bin/env python3
"""System calls of imapd for one IMAP command each, counted by strace over a private
instance: a figure without noise.

    bench/imap_syscalls.py [COMMANDS]

One client over TLS that waits for every reply; all threads of the process are counted,
COMMANDS times each (200).  Needs strace and $POSTROOM_BIN or build/release/bin.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests",
                                "lib"))
from postroom_test import Instance  # noqa: E402

USER = "anna@demo.test"
BODY = (b"From: a@b.test\r\nSubject: hello\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\n"
        + b"line of text\r\n" * 300)


class Client:
    def __init__(self, post):
        self.imap, self.number, self.flagged = post.imap(USER), 0, False

    def run(self, line, literal=None):
        self.number += 1
        tag = b"x%d" % self.number
        data = tag + b" " + line + b"\r\n"
        if literal is not None:
            data += literal + b"\r\n"
        self.imap.sock.sendall(data)
        while True:
            got = self.imap.file.readline()
            if got.startswith(tag + b" "):
                if b" OK" not in got:
                    raise RuntimeError(got)
                return
            match = re.search(rb"\{(\d+)\}\r\n$", got)
            if match:
                self.imap.file.read(int(match.group(1)))

    def append(self):
        self.run(b"APPEND INBOX {%d+}" % len(BODY), BODY)

    def store(self):
        self.flagged = not self.flagged
        self.run(b"UID STORE 1 %sFLAGS (\\Flagged)" % (b"+" if self.flagged else b"-"))

    def envelope(self):
        self.run(b"UID FETCH 1 (ENVELOPE FLAGS)")

    def body(self):
        self.run(b"UID FETCH 1 (BODY.PEEK[])")

    def select(self):
        self.run(b"SELECT INBOX")
        self.run(b"UNSELECT")


def count(pid, call, commands):
    call()  # warm
    with tempfile.NamedTemporaryFile() as out:
        tracer = subprocess.Popen(["strace", "-f", "-c", "-S", "calls", "-o", out.name, "-p",
                                   str(pid)], stderr=subprocess.PIPE)
        tracer.stderr.readline()  # it has attached
        time.sleep(0.5)
        for _ in range(commands):
            call()
        time.sleep(0.5)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        rows = [line.split() for line in out.read().decode().splitlines()]
    found = {row[-1]: int(row[3]) for row in rows
             if len(row) >= 5 and row[0][0].isdigit() and row[-1] != "total"}
    return {name: calls / commands for name, calls in found.items()}


def main():
    commands = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    post = Instance(accounts={USER: "pass-word-77"}, conf={"auth": ["block_after = 0"]})
    client, pid = Client(post), post.pid("imapd")
    for _ in range(50):
        client.append()
    client.run(b"SELECT INBOX")
    for name, call in (("APPEND 4 KB", client.append), ("UID STORE", client.store),
                       ("UID FETCH ENVELOPE", client.envelope),
                       ("UID FETCH BODY[] 4 KB", client.body), ("SELECT + UNSELECT", None)):
        if call is None:
            client.run(b"UNSELECT")
            call = client.select
        calls = count(pid, call, commands)
        parts = ", ".join(f"{key} {value:.1f}" for key, value in calls.items()
                          if value >= 0.5)
        print(f"| {name} | {sum(calls.values()):.1f} | {parts} |", flush=True)


main()
