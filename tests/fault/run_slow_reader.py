#!/usr/bin/env python3
# timeout: 120
"""A client that does not read holds nothing up: with an answer of many megabytes waiting in
an IMAP session (FETCH of everything), a POP3 session (RETR) and an IDLE one, no process
keeps a read transaction open (LMDB's table of readers is looked at, as the writer sees it),
deliveries and deletions go on at their pace, and the store's pages are reused.  A large
message costs a session little memory: 100 MB by SMTP, APPEND and FETCH
($POSTROOM_LARGE_MB to change it)."""

import os
import re
import socket
import ssl
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

MESSAGES, MESSAGE_KB = 400, 60
LOOK_S = 3.0
PINNED_S_MAX = 0.5
LARGE_MB = int(os.environ.get("POSTROOM_LARGE_MB", "100"))
SESSION_MB_MAX = 4
SLOT, FREE = 64, 2 ** 64 - 1
r = Results("slow reader")
post = Instance(accounts={f"{u}@demo.test": f"secret-{u}-1" for u in ("slow", "busy", "large")},
                conf={"smtp": [f"max_message_size = {LARGE_MB + 30}M"],
                      "imap": [f"max_append_size = {LARGE_MB + 30}M"],
                      "pop3": ["delete_on_retrieval = false"]})


def text(name, size):
    return (f"From: x@remote.test\r\nSubject: {name}\r\n\r\n" +
            ("y" * 70 + "\r\n") * (size // 72)).encode()


slots = set()  # daemons that have slots in the tables


def snapshots():
    """{(environment, process, slot): transaction} of what is open now.  The table: slots of
    64 bytes behind a head (txnid u64, pid u32, thread u64); a free one has txnid ~0."""
    found = {}
    pids = {d["pid"]: d["name"] for d in post.status()["daemons"]}
    store = os.path.join(post.root, "store")
    for env in sorted(os.listdir(store)):
        path = os.path.join(store, env, "lock.mdb")
        if os.path.exists(path):
            with open(path, "rb") as f:
                table = f.read()
            for at in range(0, len(table) - SLOT, SLOT):
                txn, pid = struct.unpack_from("<QI", table, at)
                if pid in pids:
                    slots.add(pids[pid])
                if pid in pids and txn != FREE:
                    found[env, pids[pid], at] = txn
    return found


def connect(name):
    return ssl.create_default_context(cafile=post.ca).wrap_socket(
        socket.create_connection(("127.0.0.1", post.port(name)), 30),
        server_hostname="localhost")


def pinned():
    """How long the oldest of the snapshots stayed the same, and that something was seen."""
    since, oldest, end = {}, 0.0, time.monotonic() + LOOK_S
    while time.monotonic() < end:
        now, open_now = time.monotonic(), snapshots()
        since = {k: since.get(k, now) for k in ((s, t) for s, t in open_now.items())}
        oldest = max([oldest, *(now - t for t in since.values())])
        time.sleep(0.02)
    return oldest


try:
    s = post.smtp()
    for i in range(MESSAGES):
        s.sendmail("x@remote.test", ["slow@demo.test"], text(f"n{i}", MESSAGE_KB * 1024))
    s.quit()

    # ---- clients that ask and do not read ----
    imap = connect("imaps")
    lines = imap.makefile("rb")
    lines.readline()
    for command in ("LOGIN slow@demo.test secret-slow-1", "SELECT INBOX"):
        imap.sendall(f"x {command}\r\n".encode())
        while not lines.readline().startswith(b"x "):
            pass
    imap.sendall(b"x FETCH 1:* (FLAGS ENVELOPE BODY.PEEK[])\r\n")
    pop = connect("pop3s")
    answers = pop.makefile("rb")
    answers.readline()
    for command in ("USER slow@demo.test", "PASS secret-slow-1"):
        pop.sendall(f"{command}\r\n".encode())
        answers.readline()
    pop.sendall("".join(f"RETR {i}\r\n" for i in range(1, MESSAGES)).encode())
    time.sleep(0.5)
    delivered = [0]
    stop = threading.Event()

    def busy():
        s = post.smtp()
        m = post.imap("busy@demo.test")
        m.select("INBOX")
        while not stop.is_set():
            s.sendmail("x@remote.test", ["busy@demo.test"], text("busy", 2000))
            delivered[0] += 1
            m.noop()
            m.store("1", "+FLAGS.SILENT", "(\\Deleted)")
            m.expunge()
        s.quit()
        m.logout()

    thread = threading.Thread(target=busy)
    thread.start()
    oldest = pinned()
    stop.set()
    thread.join(60)
    r.check({"imapd", "pop3d", "smtpd"} <= slots, f"the tables show {sorted(slots)}")
    r.check(oldest < PINNED_S_MAX, f"a snapshot stayed open {oldest:.2f} s")
    r.check(delivered[0] >= 10, f"{delivered[0]} deliveries beside them")
    print(f"oldest snapshot {oldest * 1000:.0f} ms, {delivered[0]} deliveries and "
          f"deletions in {LOOK_S:.0f} s", flush=True)
    # Now they read: everything comes.
    got = 0
    while True:
        line = lines.readline()
        if line.startswith(b"x "):
            break
        literal = re.search(rb"\{(\d+)\}\r\n$", line)
        if literal:
            lines.read(int(literal.group(1)))
            got += 1
    r.equal(got, MESSAGES, "the slow FETCH gets all")
    imap.close()
    pop.close()

    # ---- a large message ----
    def anon_kb(pid):
        with open(f"/proc/{pid}/status") as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

    class Watch:
        """The growth of a daemon's own memory meanwhile, in MB."""

        def __init__(self, daemon):
            self.pid, self.done = post.pid(daemon), threading.Event()

        def __enter__(self):
            self.first = self.top = anon_kb(self.pid)
            self.thread = threading.Thread(target=self.run)
            self.thread.start()
            return self

        def run(self):
            while not self.done.is_set():
                self.top = max(self.top, anon_kb(self.pid))
                time.sleep(0.002)

        def __exit__(self, *unused):
            self.done.set()
            self.thread.join()
            self.mb = (self.top - self.first) / 1024

    m = post.imap("large@demo.test")
    m.select("INBOX")
    s = post.smtp()
    s.ehlo()
    size = LARGE_MB << 20
    letter = text("large", size)
    with Watch("smtpd") as smtpd:
        s.sendmail("x@remote.test", ["large@demo.test"], letter)
    with Watch("imapd") as append:
        r.equal(m.append("INBOX", None, None, letter)[0], "OK", "APPEND")
    m.noop()
    with Watch("imapd") as fetch:
        rows = m.fetch("1:2", "(BODY.PEEK[])")[1]
    r.check([len(row[1]) >= len(letter) for row in rows if isinstance(row, tuple)] ==
            [True, True], "FETCH of both")
    for what, watch in (("SMTP", smtpd), ("APPEND", append), ("FETCH", fetch)):
        r.check(watch.mb < SESSION_MB_MAX, f"{what} of {size >> 20} MB takes {watch.mb:.1f} MB")
    print(f"{len(letter) >> 20} MB: memory of smtpd +{smtpd.mb:.1f} MB, of imapd by APPEND "
          f"+{append.mb:.1f}, by FETCH +{fetch.mb:.1f}", flush=True)
except Exception as e:
    r.check(False, f"{type(e).__name__}: {e}\n{post.log_tail()}")
post.failed = r.failed > 0
sys.exit(r.finish())
