#!/usr/bin/env python3
"""IMAP side by side: Postroom, Dovecot (bench/peers.sh) and Cyrus (bench/cyrus.sh), each with
the same messages in one INBOX, in turns, by the wall clock and by the server's processor
time (all its processes, ended children counted).  Peers need root; without one its column
is empty.

Usage: bench/imap/run.py [--messages 100000] [--runs 3] [--idle 20000] [--write] [--quick]
                         [--prepare] [--only GROUP,...]

--quick: 2,000 messages, 1 run, 1,000 idle connections.  --prepare only fills the peers'
mailboxes and keeps them (bench/benchlib.py); a run does it when it finds none.  --only: these
groups (names of functions below).  --write puts the table into docs/performance.md.  "TLS
copy" is a process that only writes the same octets through TLS.  A group that is refused or
does not end in its time is told below the table, and not tried again on that server.
"""
import argparse
import os
import random
import re
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import benchlib as lib  # noqa: E402

DOMAIN, PASSWORD, USERS = "bench.test", "pass-bench-77", 100
BATCH, CHANGED, BOXES, APPENDERS, APPENDS = 100, 1000, 1000, 20, 25
IDLE_OURS, IDLE_PEER = 1000, 100  # held for the memory of each; a peer has a process for each
NOTIFY_LIMIT_S = 3  # what comes later counts as this
NOTIFY_LONGEST_S = 15  # a server that waits on purpose is asked less often
FILL_LIMIT_S = 600  # of one command
GROUP_LIMIT_S = 150  # of one group on one server, once
WORDS = "time person year way day thing man world life hand part child eye woman place".split()
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # one: it is dear to make
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE


def message(i):
    rng = random.Random(i)
    reply = f"In-Reply-To: <{i - 1}@bench.test>\r\n" if i % 4 else ""
    lines = "".join(" ".join(rng.choices(WORDS, k=11)) + f" {i:x}\r\n"
                    for _ in range(rng.choice((5, 10, 20, 60))))
    rare = "zanzibarquux\r\n" if i % 1000 == 500 else ""
    return (f"From: Sender {i % 97} <s{i % 97}@far.test>\r\nTo: user0@{DOMAIN}\r\n"
            f"Subject: {rng.choice(WORDS)} {rng.choice(WORDS)} {i // 4}\r\n"
            f"Date: {1 + i % 28} Oct 2026 {i % 24:02}:{i % 60:02}:00 +0000\r\n"
            f"Message-ID: <{i}@bench.test>\r\n{reply}\r\n{lines}{rare}").encode()


class OutOfTime(RuntimeError):
    pass


class Client:
    """One connection; every command is waited for, until `group_end_s` (monotonic) or for
    limit_s."""

    group_end_s = 0.0

    def __init__(self, side, user=0, tls=False, limit_s=None):
        port = side.base + (993 if tls else 143)
        self.limit_s = limit_s
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = TLS.wrap_socket(self.sock)
        self.tag = 0
        while not self.sock.recv(65536).endswith(b"\r\n"):
            pass
        self.command(f"LOGIN user{user}@{DOMAIN} {PASSWORD}")

    def command(self, text):
        """All that came, with the tagged line; anything but OK is an error."""
        self.tag += 1
        data = text if isinstance(text, bytes) else text.encode()
        left_s = self.limit_s or Client.group_end_s - time.monotonic()
        if left_s <= 0:
            raise OutOfTime("out of time")
        self.sock.settimeout(left_s)
        try:
            self.sock.sendall(b"t%d " % self.tag + data + b"\r\n")
            return self.answer()
        except TimeoutError as error:
            raise OutOfTime("out of time") from error

    def answer(self):
        parts, tail, mark = [], b"", b"\r\nt%d " % self.tag
        while True:
            got = self.sock.recv(1 << 18)
            if not got:
                raise RuntimeError("the connection ended")
            parts.append(got)
            tail = (tail + got)[-4096:]
            if tail.endswith(b"\r\n"):
                at = (b"\r\n" + tail).rfind(mark)
                if at >= 0 and (b"\r\n" + tail).find(b"\r\n", at + 2) == len(tail):
                    break
        if not tail[max(at, 0):].startswith(b"t%d OK" % self.tag):
            raise RuntimeError(tail[max(at, 0):].decode("latin-1"))
        return parts

    def append(self, messages, mailbox="INBOX"):
        self.command(b"APPEND " + mailbox.encode() +
                     b"".join(b" {%d+}\r\n" % len(m) + m for m in messages))

    def close(self):
        self.sock.close()


class Table:
    def __init__(self, sides):
        self.sides, self.rows, self.order = sides, {}, []

    def note(self, row, side, value, more=False):
        if row not in self.rows:
            self.order.append((row, more))
        self.rows.setdefault(row, {}).setdefault(side.name, []).append(value)
        print(f"{side.name}: {row}: {value:.4g}", flush=True)

    def text(self):
        out = ["| | Postroom | Dovecot | Cyrus | times Dovecot | times Cyrus |",
               "|---|--:|--:|--:|--:|--:|"]
        for row, more in self.order:
            value = {n: statistics.median(v) for n, v in self.rows[row].items()}
            ours = value.get("Postroom")
            cells = [self.number(value.get(n)) for n in ("Postroom", "Dovecot", "Cyrus")]
            for peer in ("Dovecot", "Cyrus"):
                other = value.get(peer)
                fit = ours and other and min(ours, other) > 0
                ratio = (ours / other if more else other / ours) if fit else None
                cells.append(f"{ratio:.1f}" if ratio else "-")
            out.append(f"| {row} | " + " | ".join(cells) + " |")
        return "\n".join(out) + "\n"

    @staticmethod
    def number(x):
        return "-" if x is None else f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def timed(table, side, row, work, count=1, cpu=True):
    """Wall and processor milliseconds of one call of `work`, which is done `count` times."""
    before, began = side.cpu_ms(), time.perf_counter()
    for _ in range(count):
        result = work()
    took_ms = (time.perf_counter() - began) * 1000 / count
    table.note(f"{row}, ms", side, took_ms)
    if cpu:
        time.sleep(0.05)  # processes that end are counted by their parents
        table.note(f"{row}, server CPU ms", side, (side.cpu_ms() - before) / count)
    return result


# ---- what is measured: one function a group, called for each side in turns ----

def opening(table, side, n, args):
    del args
    c = Client(side)
    timed(table, side, f"SELECT of {n:,} messages, a connection's first",
          lambda: c.command("SELECT INBOX"))
    timed(table, side, "the same again", lambda: c.command("SELECT INBOX"), 20)
    c.close()


def fetching(table, side, n, args):
    first = "first" not in side.__dict__
    side.first = False
    c = Client(side)
    c.command("SELECT INBOX")
    metadata = "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
    if first:
        timed(table, side, "metadata of all, the first time", lambda: c.command(metadata))
    timed(table, side, "metadata of all, warm", lambda: c.command(metadata))
    timed(table, side, "UID FETCH 1:* (FLAGS)", lambda: c.command("UID FETCH 1:* (FLAGS)"))
    c.close()
    c = Client(side, tls=True)
    c.command("SELECT INBOX")
    parts = timed(table, side, "BODY.PEEK[] of all over TLS",
                  lambda: c.command("UID FETCH 1:* (BODY.PEEK[])"))
    if side.name == "Postroom":
        args.octets = sum(map(len, parts))
        args.body_cpu_ms = table.rows["BODY.PEEK[] of all over TLS, server CPU ms"]["Postroom"]
    c.close()


def changing(table, side, n, args):
    del args
    c = Client(side)
    c.command("SELECT INBOX")
    some = f"1:{min(CHANGED, n)}"
    timed(table, side, f"STORE +FLAGS of {CHANGED:,}",
          lambda: c.command(f"STORE {some} +FLAGS (\\Flagged)"))
    c.command(f"STORE {some} -FLAGS (\\Flagged)")
    timed(table, side, f"COPY of {CHANGED:,}", lambda: c.command(f"COPY {some} target"))
    c.command("SELECT target")
    timed(table, side, f"MOVE of {CHANGED:,}", lambda: c.command("MOVE 1:* moved"))
    c.command("SELECT moved")
    c.command("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    timed(table, side, f"EXPUNGE of {CHANGED:,}", lambda: c.command("EXPUNGE"))
    c.close()


def appending(table, side, n, args):
    del n, args
    one = message(7) * 4
    clients = [Client(side, user=i + 1) for i in range(APPENDERS)]

    def run(c):
        for _ in range(APPENDS):
            c.append([one])

    threads = [threading.Thread(target=run, args=(c,)) for c in clients]
    before, began = side.cpu_ms(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table.note(f"APPEND at {APPENDERS} connections, per second", side,
               APPENDERS * APPENDS / (time.perf_counter() - began), more=True)
    table.note("the same, server CPU ms per 1,000", side,
               (side.cpu_ms() - before) * 1000 / (APPENDERS * APPENDS))
    for c in clients:
        c.close()


def searching(table, side, n, args):
    c = Client(side)
    c.command("SELECT INBOX")
    found = {}
    for name, text in (("SEARCH SUBJECT", 'SEARCH SUBJECT "woman"'),
                       ("SEARCH BODY, rare word", 'SEARCH BODY "zanzibarquux"'),
                       ("SORT (SUBJECT)", "SORT (SUBJECT) UTF-8 ALL"),
                       ("THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL")):
        data = b"".join(timed(table, side, name, lambda text=text: c.command(text)))
        line = re.search(rb"\* (SEARCH|SORT|THREAD)([^\r]*)", data)
        found[name] = sorted(map(int, re.findall(rb"\d+", line.group(2)))) if line else []
    args.found[side.name] = found
    c.close()


def listing(table, side, n, args):
    del n, args
    c = Client(side, user=99)
    timed(table, side, f"LIST-STATUS of {BOXES:,} mailboxes", lambda: c.command(
        'LIST "" "box*" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))'))
    c.close()


def resyncing(table, side, n, args):
    del args
    c, other = Client(side), Client(side)
    c.command("ENABLE QRESYNC")
    text = b"".join(c.command("SELECT INBOX"))
    validity = re.search(rb"UIDVALIDITY (\d+)", text).group(1).decode()
    modseq = re.search(rb"HIGHESTMODSEQ (\d+)", text).group(1).decode()
    c.command("UNSELECT")
    other.command("SELECT INBOX")
    for i in range(100):
        other.command(f"STORE {1 + i * (n // 100)} {'-' if side.seen else '+'}FLAGS (\\Seen)")
    side.seen = not side.seen
    text = b"".join(timed(table, side, f"QRESYNC after 100 changes in {n:,}", lambda: c.command(
        f"SELECT INBOX (QRESYNC ({validity} {modseq}))"), 10))
    told = text.count(b" FETCH (")
    if told < 100:
        raise RuntimeError(f"QRESYNC told {told} changes of 100")
    c.close()
    other.close()


def logging_in(table, side, n, args):
    del n, args

    def once():
        c = Client(side, user=1)
        c.command("LOGOUT")
        c.close()

    timed(table, side, "login and logout", once, 30)


def notifying(table, side, n, args):
    del n
    writer, idle = Client(side, user=2), Client(side, user=2)
    idle.command("SELECT INBOX")
    idle.sock.sendall(b"i IDLE\r\n")
    while b"+" not in idle.sock.recv(4096):
        pass
    times = []
    slow_end_s = time.monotonic() + NOTIFY_LONGEST_S
    for i in range(20 if args.quick else 100):
        if time.monotonic() > slow_end_s:
            break
        began = time.perf_counter()
        writer.append([message(i)])
        seen = b""
        idle.sock.settimeout(NOTIFY_LIMIT_S)
        try:
            while b"EXISTS" not in seen:
                seen += idle.sock.recv(4096)
        except TimeoutError:
            times += [NOTIFY_LIMIT_S * 1000] * 2
            break  # it polls; the rest would be the same
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    table.note("APPEND to EXISTS in IDLE, p99 ms", side, times[(len(times) - 1) * 99 // 100])
    writer.close()
    idle.close()


def held(side, count, kind):
    """KB of PSS a connection."""
    side.fresh()
    before = side.pss_kb()
    clients = []
    for i in range(count):
        c = Client(side, user=i % USERS, tls=kind == "TLS")
        c.command("SELECT INBOX" if i % USERS else "NOOP")
        if kind == "COMPRESS":
            c.command("COMPRESS DEFLATE")
        else:
            c.sock.sendall(b"i IDLE\r\n")
        clients.append(c)
    time.sleep(1)
    kb = (side.pss_kb() - before) / count
    for c in clients:
        c.close()
    time.sleep(1)
    return kb


def idling(table, side, n, args):
    del n
    count = IDLE_OURS if side.name == "Postroom" else IDLE_PEER
    for kind in ("clear", "TLS", "COMPRESS"):
        table.note(f"idle connection, {kind}, KB of PSS", side,
                   held(side, count // 5 if args.quick else count, kind))


def try_group(group, table, side, args, failed):
    """A server may refuse a command or take too long; the rows behind it are then empty, and
    the report says it."""
    if (group, side.name) in failed:
        return
    Client.group_end_s = time.monotonic() + GROUP_LIMIT_S
    try:
        group(table, side, args.messages, args)
    except (RuntimeError, OSError) as error:
        text = re.sub(r"^t[0-9]+ ", "", str(error)).strip()[:80] or type(error).__name__
        failed[group, side.name] = f"{side.name}, {group.__name__}: {text}"
        print(failed[group, side.name], flush=True)


def many_idle(side, args):
    """Postroom alone: a peer would need as many processes."""
    side.fresh()
    before = side.pss_kb()
    load = subprocess.Popen(
        [os.path.join(lib.BUILD, "bench", "imap_load"), "idle", "--port", str(side.base + 993),
         "--conns", str(args.idle), "--users", str(USERS), "--timeout", "600"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = load.stdout.readline()
    kb = (side.pss_kb() - before) / args.idle
    began, c = time.perf_counter(), Client(side, limit_s=60)
    c.command("SELECT INBOX")
    other_ms = (time.perf_counter() - began) * 1000
    before = side.cpu_ms()
    time.sleep(5)
    cpu = (side.cpu_ms() - before) / 5
    load.communicate("")
    if '"held":' not in line or load.returncode:
        return f"{args.idle:,} idle connections: **lost**."
    return (f"{args.idle:,} idle connections over TLS: {kb:.1f} KB of PSS each, {cpu:.1f} ms of "
            f"processor a second; login and SELECT beside them {other_ms:.0f} ms.")


def tls_copy(octets):
    """Processor ms of a process that writes so many octets through TLS to one that reads."""
    folder = tempfile.mkdtemp(prefix="tls-copy-")
    pem = os.path.join(folder, "both.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=x",
                    "-keyout", pem, "-out", pem + ".crt"], check=True, capture_output=True)
    server = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem + ".crt", pem)
        plain, _ = server.accept()
        conn, piece, left = context.wrap_socket(plain, server_side=True), b"x" * 65536, octets
        while left > 0:
            conn.sendall(piece[:left] if left < len(piece) else piece)
            left -= len(piece)
        conn.unwrap()
        os._exit(0)
    began = time.perf_counter()
    conn = TLS.wrap_socket(socket.create_connection(server.getsockname()))
    while conn.recv(1 << 18):
        pass
    took = (time.perf_counter() - began) * 1000
    conn.unwrap()
    usage = os.wait4(pid, 0)[2]
    shutil.rmtree(folder)
    return took, (usage.ru_utime + usage.ru_stime) * 1000


# ---- the run ----

def fill(side, count):
    began, c = time.monotonic(), Client(side, limit_s=FILL_LIMIT_S)
    for first in range(0, count, BATCH):
        c.append([message(i) for i in range(first, min(first + BATCH, count))])
    c.close()
    print(f"{side.name}: {count} messages in {time.monotonic() - began:.0f} s", flush=True)
    c = Client(side, limit_s=FILL_LIMIT_S)
    for name in ("target", "moved"):
        c.command(f"CREATE {name}")
    c.close()
    c = Client(side, user=99, limit_s=FILL_LIMIT_S)
    for i in range(BOXES):
        c.command(f"CREATE box{i:04}")
    c.close()


def peer_folder(name, count):
    """The kept mailboxes of a peer, made when they are not there."""
    stamp = b"%d %d %d " % (count, USERS, BOXES) + message(0) + message(count - 1)
    return lib.kept("imap", stamp, name, USERS, DOMAIN, PASSWORD,
                    lambda side, _: fill(side, count))


GROUPS = (idling, opening, fetching, changing, appending, searching, listing, resyncing,
          logging_in, notifying)
ONCE = (idling, searching)


def report(args, table, failed, minutes, idle_text):
    found = args.found.get("Postroom", {})
    differ = [f"{name}: {side} found {len(theirs[name])}, Postroom {len(found.get(name, []))}"
              for side, theirs in args.found.items() for name in theirs
              if theirs[name] != found.get(name)]
    text = (f"`./dev bench imap`, {lib.machine()}; {args.messages:,} messages, medians of "
            f"{args.runs} in turns (memory and SEARCH to THREAD once), {minutes:.0f} minutes "
            "without filling.\n\n" + table.text() + "\n")
    if args.octets:
        took, cpu = tls_copy(args.octets)
        ours = statistics.median(args.body_cpu_ms)
        text += (f"BODY.PEEK[] of all ({args.octets / 1e6:.0f} MB) against a process that only writes "
                 f"the same octets through TLS: {ours:.0f} ms of processor against {cpu:.0f} "
                 f"(x {ours / cpu:.2f}; the copy took {took:.0f} ms). ")
    text += idle_text + "\n"
    text += "".join(f"Different answers: {d}.\n" for d in differ)
    text += "".join(f"Empty above: {x}.\n" for x in sorted(failed.values()))
    print(text)
    if args.write:
        lib.write_section("imap", text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--idle", type=int, default=20000)
    parser.add_argument("--only", default="")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.messages, args.runs, args.idle = min(args.messages, 2000), 1, min(args.idle, 1000)
    groups = [g for g in GROUPS if not args.only or g.__name__ in args.only.split(",")]
    args.found, args.octets = {}, 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folders = {name: peer_folder(name, args.messages) for name in lib.PEERS}
    if args.prepare:
        return
    mail, peers, failed, idle_text = None, [], {}, ""
    try:
        mail, ours = lib.start_postroom(DOMAIN, USERS, PASSWORD)
        for name, path in folders.items():
            if path:
                peers.append(lib.Peer(name, lib.working_copy(path, name), USERS, DOMAIN, PASSWORD))
        fill(ours, args.messages)
        mail.run("reindex", f"user0@{DOMAIN}")
        sides = [ours] + [p.side for p in peers]
        table, began = Table(sides), time.monotonic()
        # Memory first: processes that have served much shrink or grow meanwhile.
        for group in groups:
            for _ in range(1 if group in ONCE else args.runs):
                for side in sides:
                    try_group(group, table, side, args, failed)
            print(f"# {group.__name__}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
        if args.idle:
            idle_text = many_idle(ours, args)
        minutes = (time.monotonic() - began) / 60
    finally:
        for peer in peers:
            peer.stop()
            shutil.rmtree(peer.folder, ignore_errors=True)
        if mail:
            mail.close()
    report(args, table, failed, minutes, idle_text)
    sys.exit(any(side == "Postroom" for _, side in failed))


main()
