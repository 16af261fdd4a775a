#!/usr/bin/env python3
"""Relaying: Postroom beside a private Postfix, OpenSMTPD and Exim (bench/mtas.py; they need
root, without it Postroom runs alone). fsync is on everywhere, 10 KB messages, 20 connections in
and 20 out.

Usage: bench/relay.py [--write] [--quick] [--only MEASURE,...]

Measures: through (to a sink), drain (deferred, then the operator says: now), queue (a million
recipients that wait), tls (handshakes), behind (one message behind a bulk), idle (sessions).
Slow peers get fewer messages; rates are told. --quick: small numbers, to try the script.
--write: into docs/performance.md. $BENCH_DIR: where the queues are (/tmp)."""

import argparse
import json
import os
import resource
import signal
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import benchlib as lib  # noqa: E402
from mtas import CONNS, KINDS, Exim, OpenSMTPD, Postfix, Postroom  # noqa: E402

SIZE = 10240
LIMIT_S = 150  # one measurement of one server
QUIET_S = 25  # a sink that has heard nothing for so long waits no more
# messages: {kind: count}
THROUGH = {Postroom: 20000, Postfix: 3000, OpenSMTPD: 2000, Exim: 1000}
DRAIN = {Postroom: 20000, Postfix: 20000, OpenSMTPD: 3000, Exim: 2000}
RUNS = {Postroom: 3, Postfix: 2, OpenSMTPD: 2, Exim: 2}  # of `through`
QUEUED, BULK, IDLE, IDLE_PEER, SHAKES = 1000000, 100000, 10000, 50, 4000
ACCEPTS = 4000  # messages an accept rate is taken over


def tool(name):
    return os.path.join(lib.BUILD, "bench", name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Sink:
    def __init__(self, port, count=0, defer=False, quiet_s=QUIET_S):
        self.progress = tempfile.TemporaryFile("w+")
        args = [tool("smtp_sink"), "--port", str(port), "--count", str(count), "--timeout",
                str(quiet_s)]
        self.process = subprocess.Popen(args + (["--defer"] if defer else []),
                                        stdout=subprocess.PIPE, stderr=self.progress,
                                        text=True)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the sink does not listen")

    def counts(self):
        self.progress.seek(0)
        rows = self.progress.read().split("\n")[:-1]
        return tuple(int(x) for x in rows[-1].split()) if rows else (0, 0)

    def accept(self):
        self.process.send_signal(signal.SIGUSR1)

    def result(self, seconds=LIMIT_S):
        """What it got when it had all, or at the end of the time."""
        try:
            return json.loads(self.process.communicate(timeout=seconds)[0])
        except subprocess.TimeoutExpired:
            return self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return json.loads(self.process.communicate(timeout=60)[0])


def load(port, count, domain="far.test", size=SIZE, rcpts=1, conns=CONNS, users=1):
    done = subprocess.run([tool("smtp_load"), "--port", str(port), "--conns", str(conns), "--count",
                           str(count), "--size", str(size), "--rcpts", str(rcpts), "--users",
                           str(users), "--domain", domain, "--timeout", str(LIMIT_S)],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"not all accepted: {done.stdout.strip()} {done.stderr.strip()}")
    return json.loads(done.stdout)


def rate(kind, count, got, start):
    """A peer may keep some back for later, for which nobody waits."""
    if not got["messages"] or (kind is Postroom and got["messages"] != count):
        raise RuntimeError(f"{got['messages']} of {count} came through")
    if got["messages"] != count:
        print(f"# {kind.name}: {got['messages']} of {count} in the time", flush=True)
    return got["messages"] / (got["last_s"] - start)


def through(kind, count):
    """Messages a second, first connection to the last one in the sink."""
    port = free_port()
    sink = Sink(port, count)
    server = kind(port)
    try:
        start = time.monotonic()
        load(server.port, count)
        return rate(kind, count, sink.result(), start)
    finally:
        server.close()
        sink.process.kill()


def drain(kind, count):
    """Messages a second from the operator's word to the last one in the sink."""
    port = free_port()
    sink = Sink(port, count, defer=True)
    server = kind(port)
    try:
        load(server.port, count)
        end, before, still = time.monotonic() + LIMIT_S, -1, 0
        while still < 8 and time.monotonic() < end:  # all were tried, or no more are
            time.sleep(0.5)
            refused = sink.counts()[1]
            still = still + 1 if refused == before else 0
            before = refused
            if refused >= count and kind is Postroom:
                break
        sink.accept()
        start = time.monotonic()
        server.flush()
        return rate(kind, count, sink.result(), start)
    finally:
        server.close()
        sink.process.kill()


def bulk(port, count, each=1000):
    """Recipients that wait: few messages with many recipients, from one sender."""
    load(port, count // each, size=200, rcpts=each, conns=4, users=count)


def anon_bytes(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(x.split()[1]) for x in f if x.startswith("RssAnon")) * 1024


def queue(rows, args):
    """Postroom alone with many recipients that wait for a site that defers."""
    port = free_port()
    sink = Sink(port, defer=True, quiet_s=3600)
    server = Postroom(port)
    post = server.post
    try:
        post.run("domain", "add", "here.test")
        post.account("user0@here.test", "secret-user-0")
        before = statistics.median(load(server.port, args.accepts, "here.test")["rate"]
                                   for _ in range(3))
        memory, began = anon_bytes(post.pid("smtpd")), time.monotonic()
        bulk(server.port, args.queued)
        print(f"# filled: {args.queued / (time.monotonic() - began):.0f}/s", flush=True)
        waiting = post.status()["queue"]["recipients"]
        time.sleep(5)
        after = statistics.median(load(server.port, args.accepts, "here.test")["rate"]
                                  for _ in range(3))
        grown = anon_bytes(post.pid("smtpd")) - memory
        post.stop()
        start = time.monotonic()
        post.start()
        with socket.create_connection(("127.0.0.1", server.port)) as c:
            if not c.recv(100).startswith(b"220"):
                raise RuntimeError("no greeting after the restart")
        restart = time.monotonic() - start
        again = post.status()["queue"]["recipients"]
        if again != waiting or waiting < args.queued:
            raise RuntimeError(f"{args.queued} queued, {waiting} wait, {again} after the restart")
        rows.one(f"accept rate, {waiting:,} queued against empty ({before:.0f}/s)", after / before,
                 0.90, more=True)
        rows.one("restart to the first greeting with them, s", restart, 5)
        rows.one("memory of smtpd's own for a queued recipient, bytes", grown / waiting, 500)
    finally:
        server.close()
        sink.stop()


def handshakes(port, count):
    done = subprocess.run([tool("tls_load"), "load", "--port", str(port), "--conns", "8", "--count",
                           str(count)], capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)["rate"]


def tls(rows, args):
    """Postroom alone: the same certificate in a server that does nothing else, in turns."""
    server = Postroom(free_port())
    raw_port, tls_dir = free_port(), os.path.join(server.post.root, "etc", "tls")
    raw = subprocess.Popen([tool("tls_load"), "serve", "--port", str(raw_port), "--conns", "8",
                            "--cert", os.path.join(tls_dir, "server.pem"),
                            "--key", os.path.join(tls_dir, "server.key")])
    plain = lib.Side("raw", 0, lambda: [raw.pid])
    try:
        time.sleep(0.5)
        ours, theirs, cpu = [], [], [0, 0]
        for _ in range(args.runs):
            for i, (rates, port, side) in enumerate((
                    (ours, server.post.port("submissions"), server.side), (theirs, raw_port, plain))):
                before = side.cpu_ms()
                rates.append(handshakes(port, args.shakes))
                cpu[i] += side.cpu_ms() - before
        a, b = statistics.median(ours), statistics.median(theirs)
        rows.one(f"TLS handshakes a second of smtpd ({a:.0f}) against raw OpenSSL ({b:.0f})", a / b,
                 0.90, more=True)
        rows.one("the same by the server's processor time for each", cpu[1] / cpu[0])
    finally:
        raw.terminate()
        raw.wait()
        server.close()


def behind(kind, args):
    """ms from the end of a message's submission to its arrival, while a bulk of another
    sender to another site is being sent; and that the bulk was not done yet."""
    port, other = free_port(), free_port()
    far, near = Sink(port, quiet_s=3600), Sink(other, 1, quiet_s=3600)
    server = kind(port, other)
    try:
        bulk(server.port, args.bulk)
        s = smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.test", timeout=60)
        s.sendmail("anna@demo.test", ["one@near.test"], "From: anna@demo.test\r\n\r\nhello\r\n")
        began = time.monotonic()
        sent = far.counts()[0]
        got = near.result()
        s.close()
        if got["messages"] != 1:
            raise RuntimeError(f"it did not come in {LIMIT_S} s")
        print(f"# behind a bulk: {kind.name}: {sent} messages of the bulk were sent before",
              flush=True)
        return max(got["last_s"] - began, 0) * 1000
    finally:
        server.close()
        far.stop()
        near.process.kill()


def idle(kind, count):
    """Bytes of PSS a session that has said EHLO."""
    server = kind(free_port())
    sessions = []
    try:
        before = server.side.pss_kb()
        for i in range(count):
            s = socket.socket()
            s.settimeout(60)
            s.bind((f"127.0.{1 + i // 200}.{1 + i % 200}", 0))
            s.connect(("127.0.0.1", server.port))
            sessions.append(s)
        for s in sessions:
            if not s.recv(4096).startswith(b"220"):
                raise RuntimeError("not greeted")
            s.sendall(b"EHLO x.test\r\n")
        for s in sessions:
            if not s.recv(4096).startswith(b"250"):
                raise RuntimeError("no answer to EHLO")
        time.sleep(1)
        return (server.side.pss_kb() - before) * 1024 / count
    finally:
        for s in sessions:
            s.close()
        server.close()


class Rows:
    def __init__(self, kinds):
        self.kinds, self.compared, self.alone, self.failed = kinds, [], [], []

    def many(self, text, values, aim=None, more=True):
        """A row of all servers; the aim is a ratio to Postfix."""
        ours, cells = values.get(Postroom), []
        for kind in KINDS:
            value = values.get(kind)
            if value is None:
                cells.append("-")
                continue
            cell = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            if kind is not Postroom and ours and value:
                ratio = ours / value if more else value / ours
                cell += f" (x {ratio:.1f})"
                if kind is Postfix and aim and ratio < aim:
                    cell += " **missed**"
            cells.append(cell)
        self.compared.append(f"| {text} | " + " | ".join(cells) + f" | {f'x {aim}' if aim else ''} |")
        print(self.compared[-1], flush=True)

    def one(self, text, value, aim=None, more=False):
        bad = aim is not None and (value < aim if more else value > aim)
        self.alone.append(f"| {text} | {value:.3g}{', **missed**' if bad else ''} | "
                          + ("" if aim is None else f"{'at least' if more else 'at most'} {aim:g}")
                          + " |")
        print(self.alone[-1], flush=True)

    def tried(self, what, work):
        """What work() gives, or None when it fails: told, not the end of all."""
        try:
            began = time.monotonic()
            value = work()
            print(f"# {what}: {value if value is None else f'{value:.1f}'} "
                  f"({time.monotonic() - began:.0f} s)", flush=True)
            return value
        except (RuntimeError, OSError, subprocess.SubprocessError, smtplib.SMTPException) as error:
            self.failed.append(f"{what}: {str(error)[:160]}")
            print(f"# {self.failed[-1]}", flush=True)
            return None

    def text(self, args, minutes):
        head = " | ".join(kind.name for kind in KINDS)
        out = [f"`./dev bench relay`, {lib.machine()}, {minutes:.0f} minutes. 10 KB messages, {CONNS} "
               "connections in and out, fsync as shipped; in brackets how many times better Postroom "
               "is; the aim is against Postfix."]
        if self.compared:
            out += ["", f"| | {head} | aim |", "|---|" + "--:|" * (len(KINDS) + 1), *self.compared]
        if self.alone:
            out += ["", "| Postroom alone | figure | aim |", "|---|--:|--:|", *self.alone]
        if self.failed:
            out += [""] + [f"Not measured: {text}." for text in self.failed]
        return "\n".join(out) + "\n"


def measure(args, rows, only):
    def each(text, run, aim, more=True, kinds=rows.kinds):
        values = {kind: rows.tried(f"{text}: {kind.name}", lambda kind=kind: run(kind))
                  for kind in kinds}
        rows.many(text, values, aim, more)

    if "through" in only:
        each("through to a sink, messages a second", lambda kind: statistics.median(
            through(kind, args.through[kind]) for _ in range(min(args.runs, RUNS[kind]))), 6)
    if "drain" in only:
        each("deferred ones drained, a second", lambda kind: drain(kind, args.drain[kind]), 5)
    if "behind" in only:
        each(f"one message behind a bulk of {args.bulk:,}, ms", lambda kind: behind(kind, args), None,
             more=False, kinds=[k for k in rows.kinds if k in (Postroom, Postfix)])
    if "idle" in only:
        each("an idle session, bytes of PSS", lambda kind: idle(
            kind, args.idle if kind is Postroom else args.idle_peer), None, more=False)
    if "queue" in only:
        rows.tried("queue", lambda: queue(rows, args))
    if "tls" in only:
        rows.tried("tls", lambda: tls(rows, args))


def main():
    names = ("through", "drain", "queue", "tls", "behind", "idle")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(names))
    args = parser.parse_args()
    part = 20 if args.quick else 1
    args.runs = 1 if args.quick else 3
    args.through = {kind: count // part // (2 if args.quick else 1) for kind, count in THROUGH.items()}
    args.drain = {kind: count // part // (5 if args.quick else 1) for kind, count in DRAIN.items()}
    args.queued, args.bulk, args.idle = QUEUED // part, BULK // part, IDLE // part
    args.shakes, args.accepts, args.idle_peer = SHAKES // part, ACCEPTS // part, IDLE_PEER // part + 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows, began = Rows([kind for kind in KINDS if kind.available()]), time.monotonic()
    only = args.only.split(",")
    if set(only) - set(names):
        parser.error(f"--only knows {', '.join(names)}")
    measure(args, rows, only)
    text = rows.text(args, (time.monotonic() - began) / 60)
    print("\n" + text)
    if args.write:
        lib.write_section("relay", text)
    sys.exit(any("Postroom" in f or f.startswith(("queue", "tls")) for f in rows.failed))


main()
