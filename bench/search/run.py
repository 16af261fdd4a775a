#!/usr/bin/env python3
"""SEARCH against Dovecot and Cyrus (without full-text plugins) on the same mailbox, in the same
run.

Usage: POSTROOM_BIN=build/release/bin POSTROOM_CORPUS=DIR python3 bench/search/run.py
           [--messages 100000] [--runs 5] [--write]

The mailbox: messages of the SpamAssassin corpus over and over, each with its own
Message-ID, a subject suffix, and words of its own in the body; some rare words are put in
known places.  Both servers get it by APPEND in the same order, so their answers must be
the same message numbers; a difference from Dovecot fails the run, one from Cyrus is told.  Queries run on one connection each,
after one run that warms; the median counts.  The peers need root (bench/peers.sh,
bench/cyrus.sh); without them only Postroom is measured.  --write puts the table into docs/performance.md.
"""
import argparse
import json
import os
import random
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
import postroom_test as t  # noqa: E402

PEERS = (("Dovecot", "peers.sh", "start-dovecot"), ("Cyrus", "cyrus.sh", "start"))
USER, PASSWORD = "user0@bench.test", "bench-secret"
QUERIES = [
    ("BODY, rare word", 'BODY "zanzibarquux"'),
    ("BODY, word in 0.1 %", 'BODY "kaleidoscopic"'),
    ("BODY, no match", 'BODY "nosuchwordanywhere"'),
    ("BODY, common word", 'BODY "wednesday"'),
    ("TEXT, rare word", 'TEXT "zanzibarquux"'),
    ("SUBJECT, rare word", 'SUBJECT "qxsubjectrare"'),
    ("SUBJECT, common word", 'SUBJECT "razor"'),
    ("FROM, a domain", 'FROM "yahoo.com"'),
    ("HEADER Message-ID", 'HEADER Message-ID "<77777.bench@postroom.test>"'),
    ("BODY and SINCE", 'SINCE 1-Jan-2000 BODY "zanzibarquux"'),
    ("OR BODY SUBJECT", 'OR BODY "zanzibarquux" SUBJECT "qxsubjectrare"'),
]


def corpus():
    out = []
    with tarfile.open(os.path.join(os.environ["POSTROOM_CORPUS"], "spamassassin.tar.gz")) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".eml"):
                data = tar.extractfile(member).read()
                if 0 in data or len(data) > 200000:
                    continue
                data = re.sub(rb"\r?\n", b"\r\n", data.replace(b"\r\n", b"\n"))
                out.append((member.name, data))
    return [(data, text_offset(data)) for _, data in sorted(out)]


def text_offset(data):
    """Where a line can be put into the message's text: the text's own beginning, or that of
    a multipart's first part; None when it is coded."""
    at = data.find(b"\r\n\r\n") + 4
    head = data[:at]
    for _ in range(3):
        if re.search(rb"(?im)^content-transfer-encoding:\s*base64", head):
            return None
        if not re.search(rb"(?im)^content-type:\s*(multipart|message)", head):
            return at if at > 4 else None
        part = re.search(rb"(?m)^--[^\r]+\r\n", data[at:])
        end = data.find(b"\r\n\r\n", at + part.end() - 2) if part else -1
        if end < 0:
            return None
        head = data[at + part.end():end + 4]
        at = end + 4
    return None


def message(base, i):
    rng = random.Random(i)
    planted = i % 33333 in (1234, 4321) or i % 1000 == 500
    pick = i * 7919 % len(base) if i < len(base) else rng.randrange(len(base))
    data, offset = base[pick]
    while planted and offset is None:
        pick = (pick + 1) % len(base)
        data, offset = base[pick]
    if offset is not None:
        words = b" ".join(b"%x" % rng.getrandbits(32) for _ in range(4))
        if i % 33333 == 1234:
            words += b" zanzibarquux"
        if i % 1000 == 500:
            words += b" kaleidoscopic"
        data = data[:offset] + words + b"\r\n" + data[offset:]
    head, _, body = data.partition(b"\r\n\r\n")
    head = re.sub(rb"(?im)^message-id:.*(\r\n[ \t].*)*\r\n", b"", head + b"\r\n")
    suffix = b" %x" % rng.getrandbits(20)
    if i % 33333 == 4321:
        suffix += b" qxsubjectrare"
    head = re.sub(rb"(?im)^(subject:[^\r]*)\r\n", rb"\1" + suffix + b"\r\n", head, count=1)
    head += b"Message-ID: <%d.bench@postroom.test>\r\n" % i
    return head + b"\r\n" + body


class Client:
    def __init__(self, port):
        plain = socket.create_connection(("127.0.0.1", port), timeout=900)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(plain)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.tag = 0
        self.command(f'LOGIN "{USER}" "{PASSWORD}"')

    def command(self, text):
        self.tag += 1
        self.sock.sendall(b"t%d %s\r\n" % (self.tag, text.encode()))
        return self.end()

    def end(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                raise RuntimeError("connection closed")
            if line.startswith(b"t%d " % self.tag):
                if not line.split()[1] == b"OK":
                    raise RuntimeError(line.decode("latin-1"))
                return lines
            lines.append(line)

    def append(self, messages):
        """MULTIAPPEND with non-synchronising literals."""
        self.tag += 1
        parts = [b"t%d APPEND INBOX" % self.tag]
        for m in messages:
            parts.append(b" {%d+}\r\n" % len(m) + m)
        self.sock.sendall(b"".join(parts) + b"\r\n")
        self.end()

    def search(self, query):
        start = time.perf_counter()
        lines = self.command("SEARCH " + query)
        took = time.perf_counter() - start
        return took, [int(n) for line in lines if line.startswith(b"* SEARCH")
                      for n in line.split()[2:]]


def fill(port, base, count, name):
    client = Client(port)
    start = time.monotonic()
    for first in range(0, count, 50):
        client.append([message(base, i) for i in range(first, min(first + 50, count))])
        if first % 10000 == 0 and first:
            print(f"{name}: {first} messages, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{name}: {count} messages in {time.monotonic() - start:.0f} s", flush=True)


def cpu_ms(pid):
    """Processor time of a process so far."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e6


def measure(port, runs, label, pid=None):
    client = Client(port)
    client.command("SELECT INBOX")
    rows = {}
    for name, query in QUERIES:
        first, found = client.search(query)
        times = [first] if first > 5 else []  # what takes seconds needs no warming
        before = cpu_ms(pid) if pid else 0
        for _ in range(runs if first <= 5 else 0):
            took, again = client.search(query)
            times.append(took)
            if again != found:
                raise RuntimeError(f"{label}: {query}: two answers")
        cpu = (cpu_ms(pid) - before) / runs if pid else 0
        rows[name] = (statistics.median(times) * 1000, found, cpu)
        print(f"{label}: {name}: {rows[name][0]:.1f} ms ({cpu:.1f} of processor), "
              f"{len(found)} found", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-dovecot", action="store_true", help="no peers at all")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    base = corpus()
    print(f"corpus: {len(base)} messages, {sum(len(m) for m, _ in base) / len(base):.0f} bytes each")
    mail = t.Instance(domains=("bench.test",), accounts={USER: PASSWORD})
    fill(mail.port("imaps"), base, args.messages, "postroom")
    folder = tempfile.mkdtemp(prefix="search-bench-")
    peers = {}
    for name, script, verb in () if args.no_dovecot else PEERS:
        port = t.port_base_free()
        if subprocess.run([os.path.join(TOP, "bench", script), verb, folder, str(port), "1",
                           "bench.test", PASSWORD]).returncode == 0:
            peers[name] = port + 993
            time.sleep(1)
            fill(port + 993, base, args.messages, name)
    try:
        start = time.monotonic()
        done = subprocess.run([os.path.join(t.BIN, "postroom"), "--root", mail.root,
                               "reindex", USER, "--json"], capture_output=True, text=True)
        took = time.monotonic() - start
        if done.returncode:
            raise RuntimeError(done.stderr)
        index = json.loads(done.stdout)[0]
        print(f"reindex: {took:.1f} s, {index}", flush=True)
        ours = measure(mail.port("imaps"), args.runs, "postroom", mail.pid("imapd"))
        theirs = {name: measure(port, min(args.runs, 3), name) for name, port in peers.items()}
    finally:
        for _, script, _ in PEERS:
            subprocess.run([os.path.join(TOP, "bench", script), "stop", folder])
        subprocess.run(["rm", "-rf", folder])
    report(args, index, took, ours, theirs)


def report(args, index, took, ours, theirs):
    ratio = 100 * index["index_bytes"] / index["text_bytes"]
    lines = [f"{args.messages:,} messages, {index['text_bytes'] / 1e6:.0f} MB of text; index "
             f"{index['index_bytes'] / 1e6:.0f} MB ({ratio:.1f} %); `postroom reindex` "
             f"{took:.0f} s ({args.messages / took:.0f} messages/s, "
             f"{index['text_bytes'] / took / 1e6:.0f} MB/s).", "",
             "| SEARCH | found | Postroom | of it processor | "
             + " | ".join(f"{name}, no full-text plugin | ratio" for name, _, _ in PEERS) + " |",
             "|---|---:|---:|---:|" + "---:|---:|" * len(PEERS)]
    differ = []
    for name, _ in QUERIES:
        ms, found, cpu = ours[name]
        line = f"| {name} | {len(found)} | {ms:.1f} ms | {cpu:.1f} ms |"
        for peer, _, _ in PEERS:
            other = theirs.get(peer, {}).get(name)
            if other and other[1] != found:
                differ.append((name, len(found), peer, len(other[1])))
            line += f" {other[0]:.1f} ms | {other[0] / ms:.0f}× |" if other else " | |"
        lines.append(line)
    text = "\n".join(lines) + "\n"
    text += "".join(f"\nDifferent: {name}: Postroom found {a}, {peer} {b}.\n"
                    for name, a, peer, b in differ)
    print(text)
    if args.write:
        path = os.path.join(TOP, "docs", "performance.md")
        with open(path) as f:
            old = f.read()
        begin, end = "<!-- search:begin -->\n", "<!-- search:end -->\n"
        old = old[:old.index(begin) + len(begin)] + text + old[old.index(end):]
        with open(path, "w") as f:
            f.write(old)
    # Cyrus looks into bodies in its own way (HTML, unlabelled text): told, not a failure.
    sys.exit(1 if any(peer == "Dovecot" for _, _, peer, _ in differ) else 0)


main()
