#!/usr/bin/env python3
# timeout: 280
"""Durability: what was acknowledged survives kill -9 of any daemon, or of everything.

Each round, threads work against the instance (SMTP deliveries to two mailboxes at once,
APPEND, STORE, MOVE, EXPUNGE, POP3 retrieval with QUIT, submission to a sink), while
`postroom compact` (purge, reclaim, compaction; nothing is kept for undelete) and `postroom
backup` run again and again beside them and are killed too.  The threads keep a
ledger: for each message the set of states in which it may be.  One state once the server
has said OK, two while its answer is outstanding.  At a random moment one daemon, or all of
them and the supervisor, are killed; after the restart every mailbox is read by IMAP and
compared with the ledger, and so is what SEARCH finds in it: a word that all messages have,
words of some that are there and of some that are gone (the index is built, and killed,
beside it all).  Now and then the backup that was made under all this is
brought up to date, restored into a root of its own, and compared.  At the end `postroom check --bodies` finds nothing, and every
submitted message has reached the sink (twice only if a kill came between its arrival and
the note of it).

$POSTROOM_KILL_ROUNDS (25) rounds, with the seed $POSTROOM_SEED (random, printed; with an odd
one the store compresses)."""

import atexit
import base64
import hashlib
import json
import os
import random
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
import time
import imaplib
import poplib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import BIN, Instance, Results, Sink  # noqa: E402

ROUNDS = int(os.environ.get("POSTROOM_KILL_ROUNDS", "25"))
SEED = int(os.environ.get("POSTROOM_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
LOAD_S = (0.05, 0.9)       # of load before the kill
AFTER_S = 0.1              # of load behind it: the other daemons go on
RESTORE_ROUNDS = 12        # between two looks at the backup
CLI_OK, CLI_KILLED = 0, -signal.SIGKILL
MESSAGES_KEPT = 1500       # in a mailbox, then it is emptied
SEARCHES = 3               # for words of messages that are there, and that are gone
BROKEN = (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.abort, poplib.error_proto)
BOXES = ("INBOX", "Archive")
ACCOUNTS = ("in1", "in2", "append", "flags", "move", "pop", "submit")

print(f"seed {SEED}, {ROUNDS} rounds", flush=True)
dice = random.Random(SEED)
r = Results("kill")
sink = Sink()
post = Instance(
    accounts={f"{a}@demo.test": f"secret-{a}-1" for a in ACCOUNTS},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"1s"}'],
          "auth": ["block_after = 0"], "pop3": ["delete_on_retrieval = true"],
          "store": ["undelete_days = 0", f"compress = {'true' if SEED % 2 else 'false'}"]},
    folder=os.environ.get("POSTROOM_KILL_FOLDER"),
    dns="sink.test MX 10 mx.sink.test\nmx.sink.test A 127.0.0.1\n")


def word_of(name):
    """A word of the message's text that no other has, nor much of it."""
    return base64.b32encode(hashlib.sha256(name.encode()).digest()[:15]).decode().lower()


class Ledger:
    """id → the states in which it may be: None (gone) or (mailbox, flags)."""

    def __init__(self, account):
        self.account, self.states, self.gone = account, {}, set()
        self.acknowledged = 0

    def may(self, name, *states):
        self.states[name] = set(states)

    def sure(self, name, state):
        self.states[name] = {state}
        self.acknowledged += 1

    def search(self, m, box, uids):
        """What SEARCH finds is what FETCH has shown; `uids` by name."""
        def found(text):
            return sorted(m.uid("SEARCH", "BODY", f'"{text}"')[1][0].split())

        r.equal(found("xxxxxxxxxx"), sorted(uids.values()), f"{self.account} {box}: SEARCH of all")
        names = dice.sample(sorted(uids), min(len(uids), SEARCHES))
        gone = sorted(self.gone - uids.keys())
        for name in names + dice.sample(gone, min(len(gone), SEARCHES)):
            want = [uids[name]] if name in uids else []
            r.equal(found(word_of(name)), want, f"{self.account} {box}: SEARCH of {name}")

    def compare(self):
        seen = {}
        m = post.imap(f"{self.account}@demo.test")
        for box in BOXES:
            if m.select(box, readonly=True)[0] != "OK":
                continue
            uids = {}
            _, rows = m.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            for row in rows or []:
                if isinstance(row, tuple):
                    flags = re.search(rb"FLAGS \(([^)]*)\)", row[0]).group(1).split()
                    flags = " ".join(sorted(f.decode() for f in flags
                                            if f in (b"\\Flagged", b"\\Deleted")))
                    name = row[1].split(b":", 1)[1].strip().decode()
                    seen.setdefault(name, []).append((box, flags))
                    uids[name] = re.search(rb"UID (\d+)", row[0]).group(1)
            self.search(m, box, uids)
        good = True
        for name, allowed in self.states.items():
            have = seen.pop(name, [None])
            if len(have) > 1 or have[0] not in allowed:
                good = r.check(False, f"{self.account}: {name} is {have}, may be {allowed}")
            self.states[name] = {have[0]}
        for name, have in seen.items():
            good = r.check(False, f"{self.account}: {name} is {have}, it was removed"
                           if name in self.gone else f"{name} was never sent")
        r.check(good, self.account)
        kept = [n for n, s in self.states.items() if s != {None}]
        for name in [n for n, s in self.states.items() if s == {None}]:
            self.gone.add(name)
            del self.states[name]
        if len(kept) > MESSAGES_KEPT:
            for box in BOXES:
                if m.select(box)[0] == "OK":
                    m.uid("STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
                    m.expunge()
            self.gone.update(kept)
            self.states.clear()
        m.logout()


ledgers = {a: Ledger(a) for a in ACCOUNTS if a != "submit"}
submitted, doubted = set(), set()
counter = 0
lock = threading.Lock()
stop = threading.Event()


def new_id(kind):
    global counter
    with lock:
        counter += 1
        return f"{kind}-{counter:08}"


def text(name, size):
    return (f"From: x@remote.test\r\nSubject: {name}\r\n\r\n" +
            f"{word_of(name)}\r\n" + "x" * 70 + "\r\n" * (size > 0) +
            ("y" * 70 + "\r\n") * size).encode()


def size_of(rng):
    return rng.choice((1, 1, 1, 20, 400, 3000))


def deliver(rng):
    s = post.smtp()
    while not stop.is_set():
        name = new_id("in")
        boxes = rng.choice((["in1"], ["in2"], ["in1", "in2"]))
        for box in boxes:
            ledgers[box].may(name, None, ("INBOX", ""))
        s.sendmail("x@remote.test", [f"{b}@demo.test" for b in boxes],
                   text(name, size_of(rng)))
        for box in boxes:
            ledgers[box].sure(name, ("INBOX", ""))


def tagged_ok(answer):
    return answer[0] == "OK"


def append(rng):
    ledger = ledgers["append"]
    m = post.imap("append@demo.test")
    while not stop.is_set():
        name = new_id("append")
        state = ("INBOX", rng.choice(("", "\\Flagged")))
        ledger.may(name, None, state)
        if tagged_ok(m.append("INBOX", f"({state[1]})", None, text(name, size_of(rng)))):
            ledger.sure(name, state)


def flags(rng):
    ledger = ledgers["flags"]
    m = post.imap("flags@demo.test")
    m.select("INBOX")
    names = sorted(ledger.states)
    while not stop.is_set():
        number = rng.randrange(len(names))
        name = names[number]
        (old,) = ledger.states[name]
        new = ("INBOX", "" if old[1] else "\\Flagged")
        ledger.may(name, old, new)
        if tagged_ok(m.store(str(number + 1), "+FLAGS" if new[1] else "-FLAGS",
                             "(\\Flagged)")):
            ledger.sure(name, new)
        else:
            ledger.may(name, old)


def move(rng):
    ledger = ledgers["move"]
    m = post.imap("move@demo.test")
    m.select("INBOX")
    while not stop.is_set():
        name = new_id("move")
        here, there = ("INBOX", ""), ("Archive", "")
        ledger.may(name, None, here)
        if not tagged_ok(m.append("INBOX", None, None, text(name, size_of(rng)))):
            continue
        ledger.sure(name, here)
        uid = m.response("APPENDUID")[1][-1].split()[-1]
        what = rng.randrange(3)
        if what == 0:
            ledger.may(name, here, there)
            if tagged_ok(m.uid("MOVE", uid.decode(), "Archive")):
                ledger.sure(name, there)
        elif what == 1:
            marked = ("INBOX", "\\Deleted")
            ledger.may(name, here, marked)
            if tagged_ok(m.uid("STORE", uid.decode(), "+FLAGS.SILENT", "(\\Deleted)")):
                ledger.sure(name, marked)
                ledger.may(name, marked, None)
                if tagged_ok(m.uid("EXPUNGE", uid.decode())):
                    ledger.sure(name, None)


def pop(rng):
    """Delivers by SMTP itself, so that one thread writes this ledger."""
    ledger = ledgers["pop"]
    while not stop.is_set():
        s = post.smtp()
        for _ in range(rng.randrange(1, 6)):
            name = new_id("pop")
            ledger.may(name, None, ("INBOX", ""))
            s.sendmail("x@remote.test", ["pop@demo.test"], text(name, size_of(rng)))
            ledger.sure(name, ("INBOX", ""))
        s.quit()
        p = post.pop3("pop@demo.test")
        names = []
        for number in range(1, min(p.stat()[0], rng.randrange(1, 8)) + 1):
            lines = p.retr(number)[1]
            names += [line[9:].decode() for line in lines if line[:9] == b"Subject: "]
        for name in names:
            ledger.may(name, None, ("INBOX", ""))
        if rng.randrange(4) == 0:
            p.sock.close()  # no QUIT: nothing goes
            for name in names:
                ledger.may(name, ("INBOX", ""))
            continue
        p.quit()
        for name in names:
            ledger.sure(name, None)


def submit(rng):
    s = post.submit("submit@demo.test")
    while not stop.is_set():
        name = new_id("out")
        doubted.add(name)
        s.sendmail("submit@demo.test", [f"{name}@sink.test"], b"From: submit@demo.test\r\n" +
                   text(name, size_of(rng)).split(b"\r\n", 1)[1])
        submitted.add(name)


# ---- care, beside it all ----
tools_lock = threading.Lock()
tools, tools_done, tools_killed = set(), {"compact": 0, "backup": 0}, 0
backup_dir = post.root + "-backup"
atexit.register(shutil.rmtree, backup_dir, True)


def tool(rng, *args):
    """One run of the command line, which is killed now and then, as the daemons are."""
    global tools_killed
    with tools_lock:
        if stop.is_set():
            return
        p = subprocess.Popen([os.path.join(BIN, "postroom"), "--root", post.root, *args],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        tools.add(p)
    try:
        _, err = p.communicate(timeout=rng.uniform(0, 0.1) if rng.randrange(4) == 0 else 120)
    except subprocess.TimeoutExpired:
        p.kill()
        _, err = p.communicate()
    with tools_lock:
        tools.remove(p)
        if p.returncode == CLI_KILLED:
            tools_killed += 1
        elif r.equal(p.returncode, CLI_OK, f"{args[0]}: {err.decode().strip()}"):
            tools_done[args[0]] += 1


def reclaim(rng):
    while not stop.is_set():
        tool(rng, "compact")
        stop.wait(rng.uniform(0.05, 0.4))


def backup(rng):
    while not stop.is_set():
        tool(rng, "backup", backup_dir)
        stop.wait(rng.uniform(0.05, 0.8))


def restore_compare():
    """Nobody works now: what a restored instance holds is what the live one holds."""
    root = post.root + "-restored"
    shutil.rmtree(root, ignore_errors=True)
    try:
        post.run("backup", backup_dir)
        post.run("restore", backup_dir, "--into", root)
        os.makedirs(os.path.join(root, "etc"), exist_ok=True)
        shutil.copy(os.path.join(post.root, "etc", "postroom.conf"),
                    os.path.join(root, "etc", "postroom.conf"))
        rows = {}
        for at in (post.root, root):
            rows[at] = [json.loads(subprocess.run(
                [os.path.join(BIN, "postroom"), "--root", at, "account", "show",
                 f"{a}@demo.test", "--json"], capture_output=True, text=True,
                check=True).stdout) for a in ACCOUNTS]
            for row in rows[at]:  # what is kept for undelete goes by itself at any time
                del row["undelete_messages"], row["undelete_bytes"]
        r.equal(rows[root], rows[post.root], "the restored accounts")
        done = subprocess.run([os.path.join(BIN, "postroom"), "--root", root, "check",
                               "--bodies"], capture_output=True, text=True, check=False)
        r.equal(done.returncode, 0, f"check of the restored: {done.stdout}{done.stderr}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def worker(job, seed):
    rng = random.Random(seed)
    while not stop.is_set():
        try:
            job(rng)
        except BROKEN:
            # A message in doubt stays in doubt until the mailbox is read.  An op whose
            # answer was lost ends this thread's round.
            return
        except Exception as e:
            r.check(False, f"{job.__name__}: {type(e).__name__}: {e}")
            return


def kill(what):
    rows = {d["name"]: d["pid"] for d in post.status()["daemons"]}
    supervisor = post.status()["pid"]
    pids = [supervisor, *rows.values()] if what == "all" else [rows[what]]
    time.sleep(dice.uniform(*LOAD_S))
    for pid in pids:
        if pid > 0:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    with tools_lock:
        for p in list(tools):
            if dice.randrange(2):
                p.kill()


for i in range(60):
    name = new_id("flag")
    ledgers["flags"].sure(name, ("INBOX", ""))
    m = post.imap("flags@demo.test") if i == 0 else m
    m.append("INBOX", None, None, text(name, 1))
m.logout()
m = post.imap("move@demo.test")
m.create("Archive")
m.logout()
failures = 0
for number in range(ROUNDS):
    what = dice.choice(("all", "all", "smtpd", "imapd", "pop3d"))
    stop.clear()
    jobs = (deliver, append, flags, move, pop, submit, reclaim, backup)
    threads = [threading.Thread(target=worker, args=(job, dice.randrange(1 << 32)),
                                daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    kill(what)
    time.sleep(AFTER_S)
    stop.set()
    for thread in threads:
        thread.join(30)
    r.check(not any(t.is_alive() for t in threads), f"round {number}: no client hangs")
    if what == "all":
        post.start()
    if not r.check(post.wait_running(40), f"round {number}: {what} runs again"):
        break
    for ledger in ledgers.values():
        try:
            ledger.compare()
        except BROKEN as e:
            r.check(False, f"round {number}, {ledger.account}: {type(e).__name__} {e}")
    if number % RESTORE_ROUNDS == RESTORE_ROUNDS - 1:
        restore_compare()
    if number % 100 == 99:
        print(f"{number + 1} rounds, {r.failed} failed", flush=True)
    if r.failed > failures:
        failures = r.failed
        print(f"(in round {number}, which killed {what})", flush=True)
    if r.failed > 20:
        break

# ---- the queue: every accepted message goes out ----
end = time.monotonic() + 60
while time.monotonic() < end:
    arrived = [m[1][0].split("@")[0] for m in sink.messages]
    if submitted <= set(arrived) and not post.json("queue", "list"):
        break
    time.sleep(0.2)
r.equal(sorted(submitted - set(arrived)), [], "submitted messages that did not arrive")
r.check(set(arrived) <= doubted, "nothing arrived that was not submitted")
twice = len(arrived) - len(set(arrived))
r.check(twice <= ROUNDS * 50, f"{twice} copies arrived twice")
check = post.run("check", "--bodies", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
done = ", ".join(f"{a} {ledger.acknowledged}" for a, ledger in ledgers.items())
r.check(min(tools_done.values()) > 0, f"compact and backup came to their ends: {tools_done}")
print(f"{tools_done}, {tools_killed} killed")
print(f"acknowledged: {done}, submitted {len(submitted)} ({twice} copies arrived twice)")
post.failed = r.failed > 0
sys.exit(r.finish())
