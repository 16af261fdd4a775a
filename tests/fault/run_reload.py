#!/usr/bin/env python3
# timeout: 60
"""postroom reload: when it returns, all three daemons serve with the new configuration; else
it tells which one does not, and that one keeps what it had. POSTROOM_LONG=1 also waits for
a daemon that does not answer (20 s)."""

import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, waiter  # noqa: E402

r = Results("reload")
wait_for = waiter(10)
post = Instance(accounts={"anna@demo.test": "secret-anna-1"},
                conf={"smtp": ["max_message_size = 1001000"],
                      "imap": ["max_append_size = 1001000"]})
path = os.path.join(post.root, "etc", "postroom.conf")


def rewrite(pattern, to):
    with open(path) as f:
        text = f.read()
    text, count = re.subn(pattern, to, text)
    assert count, pattern
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def seen():
    """The sizes in KB that smtpd and imapd tell new clients."""
    s, m = post.smtp(), post.imap("anna@demo.test")
    s.ehlo()
    sizes = [int(s.esmtp_features["size"])]
    sizes += [int(w[12:]) for w in m.capability()[1][0].decode().split()
              if w.startswith("APPENDLIMIT=")]
    s.quit()
    m.logout()
    return [size // 1000 for size in sizes]


def generations():
    status = post.json("status")
    return status["generation"], [d["generation"] for d in status["daemons"]]


r.equal(seen(), [1001, 1001], "at the start")
r.equal(generations(), (1, [1, 1, 1]), "status: the first configuration")
for size in range(1002, 1012):
    rewrite(r"(max_\w+_size) = \d+", rf"\1 = {size}000")
    post.run("reload")
    r.equal(seen(), [size, size], "in force when reload returns")
r.equal(generations(), (11, [11, 11, 11]), "status: one number a reload")

# Many at once: each sees what was there when it was asked for, or newer.
codes = []
threads = [threading.Thread(target=lambda: codes.append(post.run("reload").returncode))
           for _ in range(8)]
rewrite(r"(max_\w+_size) = \d+", r"\1 = 2000000")
for t in threads:
    t.start()
for t in threads:
    t.join()
r.equal((codes, seen()), ([0] * 8, [2000, 2000]), "eight at once")
r.equal(generations(), (19, [19, 19, 19]), "and all are settled")

# smtpd's proof fails: the others have the new one, smtpd what it had, and reload tells.
rewrite(r"(max_\w+_size) = \d+", r"\1 = 3000000")
post.configure({"smtp": ['trusted_networks = {"0.0.0.0/0"}']})
done = post.run("reload", check=False)
r.equal(done.returncode, 78, "a configuration that smtpd does not take")
r.check("smtpd keeps the configuration" in done.stderr, f"is told: {done.stderr.strip()}")
r.check("imapd" not in done.stderr and "pop3d" not in done.stderr, "of smtpd alone")
r.equal(seen(), [2000, 3000], "and it keeps what it had")
r.equal(generations(), (20, [19, 20, 20]), "status tells who has which")
r.check(re.search(r"smtpd .*older configuration", post.run("status").stdout), "in words too")
rewrite(r" *trusted_networks = .*\n", "")
post.run("reload")
r.equal((seen(), generations()), ([3000, 3000], (21, [21, 21, 21])), "mended")

# A file with a mistake reaches nobody.
rewrite(r"max_append_size", "max_apend_size")
r.equal(post.run("reload", check=False).returncode, 78, "a mistake")
rewrite(r"max_apend_size = \d+", "max_append_size = 4000000")
r.equal(generations(), (21, [21, 21, 21]), "no daemon was asked")

# A daemon dies meanwhile: it is started again, with the new one.
pid = next(d["pid"] for d in post.json("status")["daemons"] if d["name"] == "imapd")
os.kill(pid, signal.SIGSTOP)
waiting = threading.Thread(target=lambda: codes.append(post.run("reload").returncode))
waiting.start()
wait_for(lambda: generations() == (22, [22, 21, 22]))
r.equal(generations(), (22, [22, 21, 22]), "one has not answered")
r.check(waiting.is_alive(), "and reload waits for it")
os.kill(pid, signal.SIGKILL)
waiting.join()
r.equal((codes[-1], seen()), (0, [3000, 4000]), "it has it from its start")
r.equal(generations(), (22, [22, 22, 22]), "as status tells")

# SIGHUP to one daemon by hand is no answer to anybody.
os.kill(next(d["pid"] for d in post.json("status")["daemons"]), signal.SIGHUP)
post.run("reload")
r.equal(generations(), (23, [23, 23, 23]), "after a SIGHUP by hand")

if os.environ.get("POSTROOM_LONG"):
    pid = next(d["pid"] for d in post.json("status")["daemons"] if d["name"] == "pop3d")
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    done = post.run("reload", check=False)
    r.equal(done.returncode, 75, "a daemon that stands still")
    r.check("pop3d has not answered within 20 s" in done.stderr, f"{done.stderr.strip()}")
    r.check(19 < time.monotonic() - began < 25, "after 20 s")
    os.kill(pid, signal.SIGCONT)
    r.check(wait_for(lambda: generations()[1][2] == 24), "it takes it when it goes on")
post.failed = r.failed > 0
sys.exit(r.finish())
