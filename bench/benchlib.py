"""What the Python benches share: a server as a tree of processes whose processor time and
memory are read (Side), Postroom and its peers started for measuring, mailboxes of peers that
are filled once and kept, and the sections of docs/performance.md.

Kept mailboxes: filling 100,000 messages into a peer is slow and is not measured. It is done
once, without fsync, below $POSTROOM_BENCH_KEEP (/var/tmp/postroom-bench-keep); each run works
on a copy whose message files are hard links, so nothing that a run does is kept.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BENCH = os.path.join(TOP, "bench")
BUILD = os.environ.get("POSTROOM_BUILD") or os.path.join(TOP, "build", "release")
os.environ.setdefault("POSTROOM_BIN", os.path.join(BUILD, "bin"))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
import postroom_test as t  # noqa: E402

KEEP = os.environ.get("POSTROOM_BENCH_KEEP") or "/var/tmp/postroom-bench-keep"
HZ = os.sysconf("SC_CLK_TCK")
# name: script, its verb, where the process id is, message files (find's -name)
PEERS = {"Dovecot": ("peers.sh", "start-dovecot", "dovecot/run/master.pid", "u.*"),
         "Cyrus": ("cyrus.sh", "start", "cyrus/master.pid", "[0-9]*.")}


class Side:
    def __init__(self, name, base, roots, fresh=lambda: None):
        """`roots` gives the process ids of the masters. `fresh` starts the processes anew:
        memory that was given back inside of one would make the next connections look free."""
        self.name, self.base, self.roots, self.fresh = name, base, roots, fresh
        self.seen = False  # what a bench has last stored, for one that must change it

    def processes(self):
        children = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(pid))
            except OSError:
                pass
        found, todo = [], list(self.roots())
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def cpu_ms(self):
        """Processor time: of threads that live in nanoseconds, of children that have ended
        in the kernel's ticks (10 ms)."""
        total_ms = 0
        for pid in self.processes():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                        total_ms += int(f.read().split()[0]) / 1e6
                with open(f"/proc/{pid}/stat") as f:
                    ended = sum(map(int, f.read().rsplit(")", 1)[1].split()[13:15]))
                total_ms += ended * 1000 / HZ
            except OSError:
                pass
        return total_ms

    def pss_kb(self):
        total = 0
        for pid in self.processes():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as f:
                    total += int(re.search(r"(?m)^Pss:\s+(\d+)", f.read()).group(1))
            except OSError:
                pass
        return total


def script(name, *args, env=None):
    done = subprocess.run([os.path.join(BENCH, name), *args], env=dict(os.environ, **(env or {})))
    return done.returncode


def pid_in(path):
    def read():
        with open(path) as f:
            return [int(f.read())]
    return read


class Peer:
    """A peer's server below `folder`, until stop(). `available` is False where it cannot be
    had (not root, no packages)."""

    def __init__(self, name, folder, users, domain, password, env=None):
        self.name, self.folder, self.env = name, folder, env
        self.script, verb, pid, _ = PEERS[name]
        base = t.port_base_free()
        self.start_args = verb, folder, str(base), str(users), domain, password
        self.side = Side(name, base, pid_in(os.path.join(folder, pid)), self.restart)
        self.available = self.start()

    def start(self):
        code = script(self.script, *self.start_args, env=self.env)
        if code not in (0, 77):
            raise RuntimeError(f"{self.name} did not start")
        time.sleep(1)
        return code == 0

    def restart(self):
        self.stop()
        self.start()

    def stop(self):
        """Returns when its processes have ended."""
        if not self.available:
            return
        try:
            waited = self.side.processes()
        except OSError:
            waited = []
        script(self.script, "stop", self.folder)
        for _ in range(200):
            if not any(os.path.exists(f"/proc/{pid}") for pid in waited):
                return
            time.sleep(0.05)


def kept(bench, stamp, name, users, domain, password, fill, env=None):
    """The folder of a peer whose mailboxes are as fill(side, folder) leaves them, or None
    where the peer cannot be had; made when there is none with this stamp (bytes)."""
    path = os.path.join(KEEP, f"{bench}-{zlib.crc32(stamp):08x}", name)
    if os.path.exists(path + ".done"):
        return path
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path, mode=0o755)
    began = time.monotonic()
    peer = Peer(name, path, users, domain, password,
                dict(env or {}, POSTROOM_BENCH_UNSYNCED="1"))
    if not peer.available:
        print(f"{name}: cannot be had here", flush=True)
        return None
    try:
        fill(peer.side, path)
    finally:
        peer.stop()
    with open(path + ".done", "w") as f:
        f.write(f"{time.strftime('%F %T')} {bench}\n")
    print(f"{name}: filled in {time.monotonic() - began:.0f} s: {path}", flush=True)
    return path


def working_copy(path, name):
    """A folder beside the kept one that may be changed: all is copied but the messages."""
    folder = tempfile.mkdtemp(prefix="run-", dir=KEEP)
    os.chmod(folder, 0o755)
    messages = PEERS[name][3]
    subprocess.run(["cp", "-al", path + "/.", folder], check=True)
    subprocess.run(["find", folder, "-type", "f", "!", "-name", messages, "-exec", "sh", "-c",
                    'for f; do cp -p "$f" "$f.own" && mv "$f.own" "$f"; done', "sh", "{}", "+"],
                   check=True)
    subprocess.run(["sync", "-f", folder], check=True)
    return folder


def start_postroom(domain, users, password, conf=None):
    """An instance without limits for one address, and its imapd as a Side."""
    conf = dict(conf or {})
    conf["auth"] = ["allow_plaintext = true", *conf.get("auth", [])]
    conf["imap"] = ["max_sessions_per_user = 1000", *conf.get("imap", [])]
    mail = t.Instance(domains=(domain,), start=False, conf=conf)
    unlimited(mail)
    for i in range(users):
        mail.account(f"user{i}@{domain}", password)
    mail.start()

    def fresh():
        mail.kill("imapd")
        time.sleep(2)  # the supervisor has seen it
        if not mail.wait_running():
            raise RuntimeError("imapd did not start again")
        time.sleep(1)

    return mail, Side("Postroom", mail.base, lambda: [mail.pid("imapd")], fresh)


def unlimited(mail):
    """Takes the limit of connections from one address off all listeners."""
    path = os.path.join(mail.root, "etc", "postroom.conf")
    with open(path) as f:
        text = re.sub(r"(?m)^(listener.*) }", r"\1 max_per_ip = 0 }", f.read())
    with open(path, "w") as f:
        f.write(text)


def machine():
    """What stands above a table: day, processors, load."""
    with open("/proc/cpuinfo") as f:
        model = re.search(r"(?m)^model name\s*: (.*)", f.read())
    return (f"{time.strftime('%F')}, {os.cpu_count()} cores"
            f"{f' ({model.group(1)})' if model else ''}, load at the end {os.getloadavg()[0]:.1f}")


def write_section(name, text):
    """Replaces what stands between the marks of `name` in docs/performance.md."""
    path = os.path.join(TOP, "docs", "performance.md")
    with open(path) as f:
        old = f.read()
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
    head, rest = old.split(begin)
    with open(path, "w") as f:
        f.write(head + begin + text.rstrip("\n") + "\n" + end + rest.split(end)[1])
