#!/usr/bin/env python3
# timeout: 240
"""Backups through the daemons. Made again and again while mail comes in by SMTP and IMAP
changes it, each is restored into a side root, where check finds nothing and no message is
missing that was acknowledged before the backup began. The configuration, certificates and
keys are in it with their modes, come back with --config and into a side root, and are not
believed when they are damaged. $POSTROOM_BACKUP_ROUNDS: how many (2)."""

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import BIN, Instance, Results  # noqa: E402

r = Results("backup")
ROUNDS = int(os.environ.get("POSTROOM_BACKUP_ROUNDS", "2"))
USERS = ["jo@demo.test", "amy@demo.test"]
post = Instance(accounts={user: "secret-keep-1" for user in USERS}, conf={"store": ["compress = true"]})
work = tempfile.mkdtemp(prefix="keep-backup-")
rules = os.path.join(post.root, "etc", "my rules")  # a name with a space, of a mode of its own
with open(rules, "w") as f:
    f.write("example.org 452 4.2.2 \"full\" retry 1h\n")
os.chmod(rules, 0o640)
post.configure({"relay": ['reply_rules = "etc/my rules"']})
post.run("reload")

lock = threading.Lock()
acknowledged, doomed = {}, set()  # number: user; numbers that something may have deleted
stopping = threading.Event()
problems = []
number = iter(range(1, 1 << 30))


def deliver():
    rng = random.Random(3)
    s = post.smtp()
    while not stopping.is_set():
        n, user = next(number), rng.choice(USERS)
        body = "a line of text that is there again and again\r\n" * rng.choice((1, 30, 3000))
        s.sendmail("x@y.test", [user], f"From: x@y.test\r\nSubject: m-{n}-\r\n\r\n{body}")
        with lock:
            acknowledged[n] = user
    s.quit()


def change():
    rng = random.Random(4)
    sessions = {user: post.imap(user) for user in USERS}
    while not stopping.is_set():
        user = rng.choice(USERS)
        m = sessions[user]
        count = int(m.select("INBOX")[1][0])
        if count < 3:
            time.sleep(0.01)
            continue
        at = str(rng.randint(1, count))
        m.store(at, "+FLAGS", "\\Seen")
        m._simple_command("MOVE", at, "Archive")
        at = str(rng.randint(1, count - 1))
        got = m.fetch(at, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        text = b"".join(x[1] for x in got if isinstance(x, tuple))
        with lock:
            doomed.update(int(n) for n in re.findall(rb"m-(\d+)-", text))
        if b"m-" in text:
            m.store(at, "+FLAGS.SILENT", "\\Deleted")
            m.expunge()
    for m in sessions.values():
        m.logout()


def guarded(work):
    def run():
        try:
            work()
        except Exception as e:  # told at the end
            problems.append(f"{work.__name__}: {e!r}")
    return threading.Thread(target=run)


def side_run(side, *words):
    return subprocess.run([os.path.join(BIN, "postroom"), "--root", side, *words],
                          capture_output=True, text=True, timeout=120)


def numbers_of(side, user):
    folder = tempfile.mkdtemp(dir=work)
    done = side_run(side, "export", user, "--format", "maildir++", folder + "/m")
    r.equal(done.returncode, 0, f"export of a restored account: {done.stderr}")
    found = []
    for top, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(top, name), "rb") as f:
                found += re.findall(rb"^Subject: m-(\d+)-", f.read(4096), re.M)
    shutil.rmtree(folder)
    return [int(n) for n in found]


backup = os.path.join(work, "backup")
threads = [guarded(deliver), guarded(change)]
for t in threads:
    t.start()
time.sleep(0.5)
for round_number in range(ROUNDS):
    with lock:
        before = dict(acknowledged)
    made = post.json("backup", backup)
    with lock:
        gone = set(doomed)
    side = os.path.join(work, f"side-{round_number}")
    done = post.run("restore", backup, "--into", side, check=False)
    r.equal(done.returncode, 0, f"restore: {done.stderr}")
    done = side_run(side, "check", "--bodies")
    r.equal(done.returncode, 0, f"check of what was restored: {done.stdout}{done.stderr}")
    for user in USERS:
        have = numbers_of(side, user)
        want = {n for n, to in before.items() if to == user} - gone
        r.equal(sorted(want - set(have)), [], f"round {round_number}: nothing of {user} is missing")
        r.equal(len(have), len(set(have)), "and nothing is there twice")
    shutil.rmtree(side)
    time.sleep(0.1)
stopping.set()
for t in threads:
    t.join()
r.equal(problems, [], "the load went on")
r.check(len(acknowledged) > 50 and len(doomed) > 3, f"there was load: {len(acknowledged)}, {len(doomed)}")

# ---- killed and standing still ----
spool = os.path.join(post.root, "store", "spool")


def left():
    return [n for n in os.listdir(spool) if n.startswith("restore-")]


def started(*words):
    global last
    last = subprocess.Popen([os.path.join(BIN, "postroom"), "--root", post.root, *words],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return last


def stopped_in(condition, *words):
    """A command that stands still where the condition holds; some tries, it may be done first."""
    for _ in range(50):
        p = started(*words)
        while p.poll() is None:
            if condition():
                p.send_signal(signal.SIGSTOP)
                time.sleep(0.01)
                if p.poll() is None and condition():
                    return p
                p.send_signal(signal.SIGCONT)
                break
        p.wait()
    raise RuntimeError(f"never caught: {words}")


def stored_aside():
    return any(os.path.isdir(os.path.join(spool, n, "store")) for n in os.listdir(spool)
               if n.startswith("restore-"))


RESTORE = ("restore", backup, "--account", USERS[0])
p = stopped_in(stored_aside, *RESTORE)
p.kill()
p.wait()
r.equal(left(), [f"restore-{p.pid}"], "a killed restore leaves its folder")
alive = stopped_in(lambda: os.path.isdir(os.path.join(spool, f"restore-{max(int(n[8:]) for n in left() or ['restore-0'])}", "store"))
                   and len(left()) == 1 and left()[0] != f"restore-{p.pid}", *RESTORE)
r.equal(left(), [f"restore-{alive.pid}"], "the next one removes it")
os.makedirs(os.path.join(spool, "restore-1", "store"))
post.run("restart")
post.wait_running()
r.equal(left(), [f"restore-{alive.pid}"], "a start removes what is dead, not what is alive")
alive.send_signal(signal.SIGCONT)
r.equal((alive.wait(), left()), (0, []), "which then comes to its end, and cleans up")

r.equal(post.status()["store"]["backup"], None, "status: no backup")


def locked():
    with open(os.path.join(post.root, "store", "backup.lock")) as f:
        try:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return f"pid {last.pid} started" in f.read()
    return False


p = stopped_in(locked, "backup", os.path.join(work, "backup-2"))
time.sleep(1.1)
state = post.status()["store"]["backup"]
r.check(state["pid"] == p.pid and 1 <= state["age_s"] < 60 and 1 <= state["idle_s"] < 60, f"status: {state}")
r.check(f"backup by pid {p.pid} under way for" in post.run("status").stdout, "and as text")
p.send_signal(signal.SIGCONT)
r.equal(p.wait(), 0, "the backup goes on")
r.equal(post.status()["store"]["backup"], None, "and is no longer there")

# ---- the configuration ----
etc = os.path.join(post.root, "etc")
config = os.path.join(backup, "config")
kept = sorted(os.listdir(config))
r.equal(made["config_files"], len(kept) - 1, "the configuration's files, and no others")
r.check(all(os.stat(os.path.join(config, n)).st_mode & 0o777 == 0o600 for n in kept), "for their owner only")
r.equal(os.stat(config).st_mode & 0o777, 0o700, "and their folder")
side = os.path.join(work, "side")
post.run("restore", backup, "--into", side)
NAMES = ("postroom.conf", "tls/server.pem", "tls/server.key", "my rules")


def same_file(a, b):
    with open(a, "rb") as x, open(b, "rb") as y:
        return x.read() == y.read() and os.stat(a).st_mode == os.stat(b).st_mode


for name in NAMES:
    r.check(same_file(os.path.join(etc, name), os.path.join(side, "etc", name)), f"in the side root: {name}")
r.equal(side_run(side, "check").returncode, 0, "the side root's configuration is used")
# Into a root that has one already: left, unless it is asked for.
with open(os.path.join(side, "etc", "tls/server.pem"), "w") as f:
    f.write("mine\n")
shutil.rmtree(os.path.join(side, "store"))
done = post.run("restore", backup, "--into", side)
r.check("server.pem is there already: left" in done.stdout, f"what is there is left: {done.stdout}")
shutil.rmtree(os.path.join(side, "store"))
post.run("restore", backup, "--into", side, "--config")
r.check(same_file(os.path.join(etc, "tls/server.pem"), os.path.join(side, "etc", "tls/server.pem")), "--config replaces it")
r.equal(len([n for n in os.listdir(side + "/etc/tls") if n.startswith("server.pem.before-")]), 1, "and keeps it beside")

r.equal(post.run("restore", backup, "--config", check=False).returncode, 75, "not while it runs")
r.equal(post.run("restore", backup, "--config", "--account", USERS[0], check=False).returncode, 64, "not of one account")
post.stop()
shutil.copytree(etc, os.path.join(work, "etc"))
shutil.rmtree(etc)  # all is lost, the configuration too
done = post.run("restore", backup, "--config", check=False)
r.equal(done.returncode, 0, f"restore without any configuration: {done.stderr}")
for name in NAMES:
    r.check(same_file(os.path.join(work, "etc", name), os.path.join(etc, name)), f"came back: {name}")
shutil.copy(os.path.join(work, "etc", "ca.pem"), etc)  # the clients' file, not ours
post.start()
m = post.imap(USERS[0])
r.check(int(m.select("INBOX")[1][0]) > 0, "and serves")
m.logout()
post.stop()

# ---- hostile and damaged ----
def manifest(text):
    lines = text.rstrip("\n").split("\n")
    body = "\n".join(lines) + "\n"
    crc = crc32c(body.encode())
    return f"{body}end {len(lines) - 1} {crc:08x}\n"


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


path = os.path.join(config, "manifest")
with open(path) as f:
    good = f.read()
lines = good.split("\n")[:-2]
r.equal(manifest("\n".join(lines)), good, "the manifest is what this test takes it for")
key = next(line for line in lines if line.endswith("server.key"))
before = {name: os.stat(os.path.join(etc, name)).st_mtime_ns for name in NAMES}


def refused(what, code=65):
    done = post.run("restore", backup, "--config", check=False)
    r.check(done.returncode == code and len(done.stderr.splitlines()) == 1, f"{what}: {done.returncode} {done.stderr}")
    r.equal({name: os.stat(os.path.join(etc, name)).st_mtime_ns for name in NAMES}, before, f"{what}: nothing was touched")


for what, text in (
        ("cut short", good[:-20]),
        ("changed", good.replace("server.key", "server.kez")),
        ("out of the root", manifest("\n".join(lines).replace("etc/tls/server.key", "../../../etc/x"))),
        ("out in the middle", manifest("\n".join(lines).replace("etc/tls/server.key", "etc/../../x"))),
        ("a name that leads out", manifest("\n".join(lines).replace(key.split()[4], "../manifest"))),
        ("a size that no file has", manifest("\n".join(lines).replace(key.split()[1], "99999999999"))),
        ("another version", manifest("\n".join(lines).replace("postroom-config 1", "postroom-config 2")))):
    with open(path, "w") as f:
        f.write(text)
    refused(what)
with open(path, "w") as f:
    f.write(good)
part = os.path.join(config, key.split()[4])
with open(part, "r+b") as f:
    f.seek(30)
    f.write(b"?")
refused("a damaged key")
# A path outside of the root is named and left alone.
outside = os.path.join(work, "outside")
with open(path, "w") as f:
    f.write(manifest("\n".join(line for line in lines if line != key) +
                     f"\nfile 0 00000000 0644 90-empty {outside}"))
open(os.path.join(config, "90-empty"), "w").close()
done = post.run("restore", backup, "--config", check=False)
r.check(done.returncode == 0 and outside in done.stderr, f"outside: {done.returncode} {done.stderr}")
r.check(not os.path.exists(outside), "and not written")
shutil.rmtree(config)
refused("no configuration in it", 66)
r.equal(post.run("restore", backup, check=False).returncode, 0, "without --config it is not needed")
shutil.rmtree(work)
post.close()
r.finish()
