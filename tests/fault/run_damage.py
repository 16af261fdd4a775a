#!/usr/bin/env python3
# timeout: 120
"""Damage on the disk: one message in the middle of a mailbox is hurt (a bit flipped in its
bytes, then its file cut off), its neighbours are not.  `postroom verify` names it and puts
it into quarantine; IMAP's FETCH of everything and POP3's RETR give all the others, say
what is wrong with the one, and go on; nothing crashes.  A derived record that is damaged is
made anew.  Then whole segments get random damage, and each hurt message is found."""

import os
import random
import re
import socket
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

COUNT, HURT = 9, 5
SWEEP_MESSAGES, SWEEP_FLIPS = 40, 25
SEED = int(os.environ.get("POSTROOM_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
print(f"seed {SEED}", flush=True)
dice = random.Random(SEED)
r = Results("damage")
post = Instance(accounts={f"{u}@demo.test": f"secret-{u}-1" for u in ("anna", "sweep")},
                conf={"pop3": ["delete_on_retrieval = false"]})


def marker(user, n):
    return f"marker-{user}-{n:04}-end"


def message(user, n):
    return (f"From: x@remote.test\r\nSubject: number {n}\r\n\r\n{marker(user, n)}\r\n" +
            f"line {n}\r\n" * (20 + n)).encode()


def segments():
    for folder, _, names in os.walk(os.path.join(post.root, "store")):
        for name in names:
            if name.endswith(".seg"):
                yield os.path.join(folder, name)


def place(text):
    """(file, offset) of the bytes."""
    for path in segments():
        with open(path, "rb") as f:
            at = f.read().find(text.encode())
        if at >= 0:
            return path, at
    raise RuntimeError(f"{text} is in no segment")


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1 << dice.randrange(8)]))


def deliver(user, count):
    s = post.smtp()
    for n in range(1, count + 1):
        s.sendmail("x@remote.test", [f"{user}@demo.test"], message(user, n))
    s.quit()


class Imap:
    """Raw lines: what a client is really sent, also by commands that end in NO."""

    def __init__(self, user):
        self.sock = ssl.create_default_context(cafile=post.ca).wrap_socket(
            socket.create_connection(("127.0.0.1", post.port("imaps")), 30),
            server_hostname="localhost")
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.command(f"LOGIN {user}@demo.test {post.passwords[f'{user}@demo.test']}")
        self.command("SELECT INBOX")

    def command(self, text):
        """(untagged as one text, tagged line)"""
        self.sock.sendall(f"x {text}\r\n".encode())
        data = b""
        while True:
            line = self.file.readline()
            if not line:
                return data, b""
            if line.startswith(b"x "):
                return data, line
            data += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if literal:
                data += self.file.read(int(literal.group(1)))


def look(what, damaged):
    """All of anna's mailbox; `damaged`: number is hurt."""
    m = Imap("anna")
    for items in ("(BODY.PEEK[])", "(BODY.PEEK[TEXT])", "(UID BODY.PEEK[]<0.100000>)",
                  "(BINARY.PEEK[1])"):
        data, end = m.command(f"FETCH 1:* {items}")
        for n in range(1, COUNT + 1):
            if n != damaged:
                r.check(marker("anna", n).encode() in data, f"{what}: FETCH {items}: {n}")
        want = rb"x NO \[CORRUPTION\]" if damaged else rb"x OK"
        r.check(re.match(want, end), f"{what}: FETCH {items} ends with {end}")
    data, end = m.command("FETCH 1:* (RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
    r.check(end.startswith(b"x OK"), f"{what}: metadata: {end}")
    for n in range(1, COUNT + 1):
        r.check(f'"number {n}"'.encode() in data, f"{what}: ENVELOPE of {n}")
    data, end = m.command('SEARCH BODY "line 7"')
    r.check(b" 7" in data or damaged, f"{what}: SEARCH: {data} {end}")
    r.check(m.command("NOOP")[1].startswith(b"x OK"), f"{what}: the session goes on")
    p = post.pop3("anna@demo.test")
    for n in range(1, COUNT + 1):
        try:
            ok = marker("anna", n).encode() in p.retr(n)[1]
        except Exception as e:
            ok = str(e)
        if n == damaged:
            r.check("damaged" in str(ok), f"{what}: RETR of the damaged one: {ok}")
        else:
            r.equal(ok, True, f"{what}: RETR {n}")
    p.quit()


def restart_and_look(what, damaged):
    post.start()
    look(what, damaged)
    r.equal(sorted(d["name"] for d in post.status()["daemons"] if d["state"] == "running"),
            ["imapd", "pop3d", "smtpd"], f"{what}: all daemons run")
    post.stop()


try:
    deliver("anna", COUNT)
    look("whole", None)
    pids = [d["pid"] for d in post.status()["daemons"]]

    # A flipped bit: found by verify beside the running daemons.
    path, at = place(marker("anna", HURT))
    flip(path, at + 100)
    done = post.run("verify", check=False)
    r.equal(done.returncode, 1, f"verify: {done.stdout}{done.stderr}")
    r.check(re.search(rf"anna@demo\.test.*INBOX.*\b{HURT}\b", done.stdout),
            f"verify names it: {done.stdout}")
    look("flipped", HURT)
    r.equal([d["pid"] for d in post.status()["daemons"]], pids, "flipped: no daemon died")
    post.stop()
    restart_and_look("flipped, restarted", HURT)

    # Every message of another mailbox in turn, at random places of the segments.
    post.start()
    deliver("sweep", SWEEP_MESSAGES)
    post.stop()
    # Opening writes what a short batch left in the redo database to its place once more
    # (decision 0011): that would mend what is damaged now.
    post.run("check")
    hurt = sorted(dice.sample(range(1, SWEEP_MESSAGES + 1), SWEEP_FLIPS))
    for n in hurt:
        path, at = place(marker("sweep", n))
        flip(path, at + 25 + dice.randrange(len(message("sweep", n)) - 90))  # the marker stays
    done = post.run("verify", check=False)
    for n in range(1, SWEEP_MESSAGES + 1):
        named = re.search(rf"sweep@demo\.test.*INBOX.*\b{n}\b", done.stdout)
        r.equal(bool(named), n in hurt, f"sweep: {n} is named exactly when it is hurt")
    post.start()
    m = Imap("sweep")
    data, end = m.command("FETCH 1:* (BODY.PEEK[])")
    r.check(end.startswith(b"x NO [CORRUPTION]"), f"sweep: {end}")
    r.equal([n for n in range(1, SWEEP_MESSAGES + 1)
             if marker("sweep", n).encode() in data],
            [n for n in range(1, SWEEP_MESSAGES + 1) if n not in hurt],
            "sweep: all others are given")
    post.stop()

    # The file ends before its last messages: nothing is known of it until it is read.
    path, at = place(marker("sweep", SWEEP_MESSAGES))
    os.truncate(path, at)
    post.start()
    m = Imap("sweep")
    data, end = m.command("FETCH 1:* (BODY.PEEK[])")
    r.check(b"NO [CORRUPTION]" in end, f"cut: {end}")
    whole = [n for n in range(1, SWEEP_MESSAGES) if n not in hurt]
    r.check(all(marker("sweep", n).encode() in data for n in whole),
            "cut: what is before it is given")
    r.check(all(d["state"] == "running" for d in post.status()["daemons"]),
            "cut: all daemons run")
except Exception as e:
    r.check(False, f"{type(e).__name__}: {e}\n{post.log_tail()}")
post.failed = r.failed > 0
sys.exit(r.finish())
