#!/usr/bin/env python3
# timeout: 120
"""No file descriptors left (EMFILE), in every daemon at once: what needs a new one is refused
with a clear answer, sessions that are open go on, the log tells, and when there are some
again everything works, in the same processes."""

import imaplib
import os
import resource
import socket
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

LARGE = 2_000_000  # goes to a file before it is whole
r = Results("no files")
post = Instance(accounts={"anna@demo.test": "secret-anna-1"},
                conf={"pop3": ["delete_on_retrieval = false"]})


def text(name, size):
    return (f"From: x@remote.test\r\nSubject: {name}\r\n\r\n" +
            ("y" * 70 + "\r\n") * (size // 72)).encode()


def limit(pid, soft):
    """The soft limit of open files; returns the one before."""
    before, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    return before


def deliver(s, name, size):
    s.rset()
    s.mail("x@remote.test")
    s.rcpt("anna@demo.test")
    return s.data(text(name, size))


try:
    for i in range(4):
        s = post.smtp()
        s.sendmail("x@remote.test", ["anna@demo.test"], text(f"first-{i}", 4000))
        s.quit()
    # Started again: nothing of the bodies is open yet.
    post.stop()
    post.start()
    pids = {d["name"]: d["pid"] for d in post.status()["daemons"]}
    m = post.imap("anna@demo.test")
    m.select("INBOX")
    s = post.smtp()
    s.ehlo()
    p = post.pop3("anna@demo.test")
    before = {pid: limit(pid, 3) for pid in pids.values()}

    typ, data = m.fetch("1:4", "(BODY.PEEK[])")
    r.check(typ == "NO", f"FETCH of bodies: {typ} {data}")
    r.equal(m.fetch("1:4", "(FLAGS ENVELOPE RFC822.SIZE)")[0], "OK", "FETCH of metadata")
    r.equal(m.store("1", "+FLAGS", "(\\Flagged)")[0], "OK", "a flag")
    r.equal(m.noop()[0], "OK", "the session goes on")
    typ, data = m.append("INBOX", None, None, text("large", LARGE))
    r.check(typ == "NO", f"APPEND of a large one: {typ} {data}")
    code, reply = deliver(s, "large", LARGE)
    r.check(code // 100 == 4, f"SMTP of a large one: {code} {reply}")
    code, reply = deliver(s, "small", 3000)
    r.check(code // 100 == 4, f"SMTP of a small one: {code} {reply}")
    r.equal(s.noop()[0], 250, "the SMTP session goes on")
    try:
        p.retr(1)
        r.check(False, "RETR")
    except Exception as e:
        r.check(b"-ERR" in e.args[0], f"RETR: {e}")
    r.check(p.noop().startswith(b"+OK"), "the POP3 session goes on")
    # A new connection waits or is closed, and no daemon spins meanwhile.
    spare = []
    for name in ("imap", "smtp", "pop3"):
        spare.append(socket.create_connection(("127.0.0.1", post.port(name)), 10))
    spent = {pid: sum(map(int, open(f"/proc/{pid}/stat").read().split()[13:15]))
             for pid in before}
    time.sleep(2)
    for pid in before:
        ticks = sum(map(int, open(f"/proc/{pid}/stat").read().split()[13:15])) - spent[pid]
        r.check(ticks < os.sysconf("SC_CLK_TCK"), f"{pid} took {ticks} ticks in 2 s")

    for pid, soft in before.items():
        limit(pid, soft)
    r.equal(m.fetch("1:4", "(BODY.PEEK[])")[0], "OK", "FETCH again")
    r.equal(deliver(s, "large again", LARGE)[0], 250, "SMTP again")
    r.equal(deliver(s, "small again", 3000)[0], 250, "SMTP again, small")
    r.equal(m.append("INBOX", None, None, text("append", LARGE))[0], "OK", "APPEND again")
    r.check(p.retr(1)[0].startswith(b"+OK"), "RETR again")
    for attempt in range(50):
        try:
            post.imap("anna@demo.test").logout()
            break
        except (OSError, ssl.SSLError, imaplib.IMAP4.abort):
            time.sleep(0.1)
    else:
        r.check(False, "new connections are taken again")
    r.equal({d["name"]: d["pid"] for d in post.status()["daemons"]}, pids,
            "the same processes")
    log = open(os.path.join(post.root, "log", "postroom.log")).read()
    said = [line for line in log.splitlines() if " error " in line or " warn" in line]
    r.check(any("Too many open files" in line or "limit" in line for line in said),
            f"the log tells: {said[-5:]}")
except Exception as e:
    r.check(False, f"{type(e).__name__}: {e}\n{post.log_tail()}")
post.failed = r.failed > 0
sys.exit(r.finish())
