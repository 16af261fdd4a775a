#!/usr/bin/env python3
"""Relaying, side by side with a private Postfix as Debian ships it (needs root; without
it Postroom alone is measured): 10 KB messages through to a sink, and a queue of deferred
messages drained at the operator's word. fsync is on in both, 20 connections to the sink in
both. Alternates --runs times and prints medians.

Usage: bench/relay.py [--through N] [--deferred N] [--runs N] [--queued N]
--queued N: Postroom alone with a queue of N recipients that wait: accept rate before and
after, memory per recipient, restart to the first banner.
$POSTROOM_BUILD: the build (build/release)."""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.environ.get("POSTROOM_BUILD") or os.path.join(TOP, "build", "release")
os.environ.setdefault("POSTROOM_BIN", os.path.join(BUILD, "bin"))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from postroom_test import Instance, port_base_free  # noqa: E402

LOAD = os.environ.get("SMTP_LOAD") or os.path.join(BUILD, "bench", "smtp_load")
SINK = os.environ.get("SMTP_SINK") or os.path.join(BUILD, "bench", "smtp_sink")
CONNS, SIZE = 20, 10240


class Sink:
    def __init__(self, port, count=0, defer=False):
        self.progress = tempfile.TemporaryFile("w+")
        args = [SINK, "--port", str(port), "--count", str(count), "--timeout", "300"]
        self.process = subprocess.Popen(args + (["--defer"] if defer else []),
                                        stdout=subprocess.PIPE, stderr=self.progress,
                                        text=True)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.05)

    def counts(self):
        self.progress.seek(0)
        rows = self.progress.read().split("\n")[:-1]
        return tuple(int(x) for x in rows[-1].split()) if rows else (0, 0)

    def accept(self):
        self.process.send_signal(signal.SIGUSR1)

    def result(self):
        return json.loads(self.process.communicate(timeout=1800)[0])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.result()


def load(port, count, domain="far.test"):
    out = subprocess.run([LOAD, "--port", str(port), "--conns", str(CONNS), "--count",
                          str(count), "--size", str(SIZE), "--users", "1", "--domain", domain],
                         check=True, capture_output=True, text=True, timeout=3600).stdout
    return json.loads(out)


class Postroom:
    name = "Postroom"

    def __init__(self, sink_port, retry="1h", folder=None):
        self.post = Instance(start=False, folder=folder, conf={
            "smtp": ['trusted_networks = {"127.0.0.0/8"}'],
            "relay": [f'retry = {{"{retry}"}}', f"connections = {CONNS}"],
            "log": ['level = "warn"']})
        self.post.run("relay", "add", "--to", "far.test", "--host", "127.0.0.1", "--port",
                      str(sink_port), "--tls", "none")
        self.post.start()
        self.port = self.post.port("smtp")

    def flush(self):
        self.post.run("queue", "retry", "--all")

    def close(self):
        self.post.close()


class Postfix:
    name = "Postfix"

    def __init__(self, sink_port):
        self.base = port_base_free()
        self.dir = tempfile.mkdtemp(prefix="postroom-bench-")
        os.chmod(self.dir, 0o755)
        for name in ("etc", "spool", "data"):
            os.mkdir(os.path.join(self.dir, name))
        shutil.chown(os.path.join(self.dir, "data"), "postfix")
        self.port = self.base + 25
        self.log = f"/var/log/postroom-bench-relay.{os.getpid()}.log"
        self.etc = os.path.join(self.dir, "etc")
        with open(os.path.join(self.etc, "main.cf"), "w") as out:
            out.write(f"""compatibility_level = 3.6
queue_directory = {self.dir}/spool
data_directory = {self.dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.demo.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
relayhost = [127.0.0.1]:{sink_port}
smtpd_client_connection_count_limit = 0
default_process_limit = 200
minimal_backoff_time = 3600s
maximal_backoff_time = 7200s
queue_run_delay = 3600s
maillog_file = {self.log}
""")
        with open("/usr/share/postfix/master.cf.dist") as f:
            master = f.read()
        master = re.sub(r"(?m)^smtp +inet.*smtpd$",
                        f"127.0.0.1:{self.port} inet n - n - - smtpd", master)
        master = re.sub(r"(?m)^(\w\S* +\w+ +[-yn] +[-yn] +)y ", r"\1n ", master)
        with open(os.path.join(self.etc, "master.cf"), "w") as out:
            out.write(master)
        subprocess.run(["postfix", "-c", self.etc, "start"], check=True, capture_output=True)
        time.sleep(2)

    def flush(self):
        subprocess.run(["postqueue", "-c", self.etc, "-f"], check=True)

    def close(self):
        subprocess.run(["postfix", "-c", self.etc, "stop"], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)
        if os.path.exists(self.log):
            os.unlink(self.log)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def through(kind, count):
    """Messages a second from the first connection to the last one in the sink."""
    port = free_port()
    sink, server = Sink(port, count), kind(port)
    try:
        start = time.monotonic()
        load(server.port, count)
        got = sink.result()
        if got["messages"] != count:
            raise RuntimeError(f"{kind.name}: {got}")
        return count / (got["last_s"] - start)
    finally:
        server.close()


def drain(kind, count):
    """Messages a second from the operator's word to the last one in the sink."""
    port = free_port()
    sink, server = Sink(port, count, defer=True), kind(port)
    try:
        load(server.port, count)
        end = time.monotonic() + 1200
        while sink.counts()[1] < count and time.monotonic() < end:
            time.sleep(0.5)
        time.sleep(2)
        sink.accept()
        start = time.monotonic()
        server.flush()
        got = sink.result()
        if got["messages"] != count:
            raise RuntimeError(f"{kind.name}: {got}")
        return count / (got["last_s"] - start)
    finally:
        server.close()


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(x.split()[1]) for x in f if x.startswith("RssAnon")) * 1024


def queued(count):
    """Many recipients that wait for a site that defers."""
    port = free_port()
    sink, server = Sink(port, defer=True), Postroom(port, folder=os.environ.get("BENCH_DIR"))
    post = server.post
    try:
        post.run("domain", "add", "here.test")
        post.account("user0@here.test", "secret-user-0")
        before = load(server.port, 2000, "here.test")
        memory = rss(post.pid("smtpd"))
        each = 1000
        s = post.smtp()
        start = time.monotonic()
        for i in range(0, count, each):
            s.sendmail("bulk@demo.test", [f"r{i + n}@far.test" for n in range(each)],
                       "From: bulk@demo.test\r\nSubject: q\r\n\r\nx\r\n")
        s.quit()
        filled = time.monotonic() - start
        after = load(server.port, 2000, "here.test")
        grown = rss(post.pid("smtpd")) - memory
        waiting = post.status()["queue"]["recipients"]
        post.stop()
        start = time.monotonic()
        post.start()
        with socket.create_connection(("127.0.0.1", server.port)) as c:
            c.recv(100)
        restart = time.monotonic() - start
        return {"recipients": waiting, "filled_per_s": round(count / filled),
                "accept_per_s_before": before, "accept_per_s_after": after,
                "bytes_a_recipient": round(grown / max(waiting, 1), 1),
                "restart_s": round(restart, 2)}
    finally:
        server.close()
        sink.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--through", type=int, default=4000)
    parser.add_argument("--deferred", type=int, default=20000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--queued", type=int, default=0)
    args = parser.parse_args()
    if args.queued:
        print(json.dumps(queued(args.queued), indent=1))
        return
    kinds = [Postroom]
    if shutil.which("postfix") and os.geteuid() == 0:
        kinds.append(Postfix)
    for name, run, count in (("through to a sink", through, args.through),
                             ("deferred, then drained", drain, args.deferred)):
        if count == 0:
            continue
        rates = {kind: [] for kind in kinds}
        for _ in range(args.runs):
            for kind in kinds:
                rates[kind].append(run(kind, count))
                print(f"# {name}: {kind.name} {rates[kind][-1]:.0f}/s", file=sys.stderr)
        medians = [statistics.median(rates[kind]) for kind in kinds]
        row = [f"relay, {count} messages {name}, per second"] + [f"{m:.0f}" for m in medians]
        if len(medians) > 1:
            row.append(f"{medians[0] / medians[1]:.1f}")
        print("| " + " | ".join(row) + " |")


main()
