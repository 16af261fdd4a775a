"""What the test scripts share: a private Postroom instance, an SMTP sink, result counting.

    import os, sys; sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
    from postroom_test import Instance, Sink, Results

The binaries come from $POSTROOM_BIN (./dev test sets it), else build/release/bin.
Traffic goes to 127.0.0.1 only.  An Instance removes its folder at the end, unless a
check failed or $POSTROOM_KEEP is set.
"""

import atexit
import fcntl
import imaplib
import json
import os
import poplib
import random
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("POSTROOM_BIN") or os.path.join(TOP, "build", "release", "bin")
OFFSETS = {"smtp": 25, "submissions": 465, "submission": 587, "imap": 143, "imaps": 993,
           "pop3": 110, "pop3s": 995}
PORT_FIRST, PORT_STEP, PORT_SLOTS = 10000, 210, 100


class Results:
    """Counts checks; `finish` prints the closing line and gives the exit code."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def check(self, condition, what):
        if condition:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {what}", flush=True)
        return bool(condition)

    def equal(self, got, want, what):
        return self.check(got == want, f"{what}: got {got!r}, want {want!r}")

    def finish(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def waiter(usual_s):
    """wait_for(condition[, seconds]): looks again and again, for usual_s unless told; gives
    what the condition is at the end."""
    def wait_for(condition, seconds=usual_s):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            time.sleep(0.05)
        return condition()
    return wait_for


def port_base_free():
    """A port base that nobody else has: one of PORT_SLOTS, locked until this process ends,
    whose ports are all free. They lie below the ports that the kernel gives to clients, and
    no two slots share a port."""
    slots = list(range(PORT_SLOTS))
    random.shuffle(slots)
    for slot in slots:
        lock = os.open(f"/tmp/postroom-ports-{slot}.lock",
                       os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        base = PORT_FIRST + slot * PORT_STEP
        sockets = []
        try:
            for offset in OFFSETS.values():
                s = socket.socket()
                sockets.append(s)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            os.close(lock)
        finally:
            for s in sockets:
                s.close()
    raise RuntimeError("no free ports")


class Instance:
    """A private instance. `accounts`: {address: password}; `conf`: lines of configuration
    by section, {"relay": ["allow_private = true"], "": ["threads = 2"]}."""

    def __init__(self, domains=("demo.test",), accounts=None, conf=None, start=True,
                 hostname="mail.demo.test", dns=None, folder=None):
        self.root = tempfile.mkdtemp(prefix="postroom-", dir=folder)
        self.base = port_base_free()
        self.failed = False
        self.running = False
        self.passwords = {}
        atexit.register(self.close)
        args = ["init", "--hostname", hostname, "--port-base", str(self.base)]
        self.run(*args)
        conf = dict(conf or {})
        if dns is not None:
            script = os.path.join(self.root, "etc", "dns.script")
            with open(script, "w") as out:
                out.write(dns)
            conf.setdefault("dns", []).append(f'script = "{script}"')
        self.configure(conf)
        for domain in domains:
            self.run("domain", "add", domain)
        for address, password in (accounts or {}).items():
            self.account(address, password)
        if start:
            self.start()

    # ---- the command line ----

    def run(self, *args, input=None, check=True, env=None):
        done = subprocess.run(
            [os.path.join(BIN, "postroom"), "--root", self.root, *args], input=input,
            capture_output=True, text=True, timeout=120, env=env)
        if check and done.returncode != 0:
            raise RuntimeError(f"postroom {' '.join(args)}: {done.returncode} "
                               f"{done.stderr.strip()}\n{self.log_tail()}")
        return done

    def json(self, *args):
        return json.loads(self.run(*args, "--json").stdout)

    def configure(self, sections):
        path = os.path.join(self.root, "etc", "postroom.conf")
        with open(path) as f:
            text = f.read()
        for section, lines in sections.items():
            body = "\n".join("    " + line for line in lines)
            if not section:
                text = body + "\n" + text
                continue
            head = f"\n{section} {{"
            if head in text:
                text = text.replace(head, head + "\n" + body, 1)
            else:
                text += f"\n{section} {{\n{body}\n}}\n"
        with open(path, "w") as f:
            f.write(text)

    def account(self, address, password):
        self.run("account", "add", address, "--password-stdin", input=password + "\n")
        self.passwords[address] = password

    def start(self):
        self.run("start", "--detach")
        self.running = True

    def stop(self):
        if self.running:
            self.run("stop", check=False)
            self.running = False

    def status(self):
        return self.json("status")

    def pid(self, daemon):
        for row in self.status()["daemons"]:
            if row["name"] == daemon:
                return row["pid"]
        raise KeyError(daemon)

    def kill(self, daemon, sig=signal.SIGKILL):
        pid = self.pid(daemon)
        if pid > 0:
            os.kill(pid, sig)
        return pid

    def wait_running(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if all(d["state"] == "running" for d in self.status()["daemons"]):
                    return True
            except (RuntimeError, ValueError):
                pass
            time.sleep(0.05)
        return False

    def log_tail(self, lines=20):
        try:
            with open(os.path.join(self.root, "log", "postroom.log")) as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def close(self):
        if not os.path.isdir(self.root):
            return
        self.stop()
        if self.failed or os.environ.get("POSTROOM_KEEP"):
            print(f"kept: {self.root}")
        else:
            shutil.rmtree(self.root, ignore_errors=True)

    # ---- clients ----

    def port(self, name):
        return self.base + OFFSETS[name]

    @property
    def ca(self):
        return os.path.join(self.root, "etc", "ca.pem")

    def tls(self):
        return ssl.create_default_context(cafile=self.ca)

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.port("smtp"), local_hostname="client.test",
                            timeout=60)

    def submit(self, address):
        s = smtplib.SMTP_SSL("127.0.0.1", self.port("submissions"), timeout=60,
                             local_hostname="client.test", context=self.tls())
        s.login(address, self.passwords[address])
        return s

    def imap(self, address):
        m = imaplib.IMAP4_SSL("127.0.0.1", self.port("imaps"), ssl_context=self.tls(),
                              timeout=60)
        m.login(address, self.passwords[address])
        return m

    def pop3(self, address):
        p = poplib.POP3_SSL("127.0.0.1", self.port("pop3s"), context=self.tls(),
                            timeout=60)
        p.user(address)
        p.pass_(self.passwords[address])
        return p


class Sink:
    """An SMTP server that keeps what it gets. `answer(stage, argument)` may return a reply
    line to send instead ("451 4.3.0 no"), "drop" to close the connection, or None; stages:
    connect, ehlo, mail, rcpt, data, dot. Messages: list of (sender, recipients, bytes).
    With `tls` (an ssl context) it offers STARTTLS; `secured` counts the handshakes that
    were done. `where`: address and port to listen on. `unsure`: indices of messages whose
    sender may not know that they were kept: the reply was not sent, or nothing was heard
    after it. `kept_at`: when, by message."""

    def __init__(self, answer=None, extensions=("PIPELINING", "8BITMIME", "SMTPUTF8",
                                                "SIZE 52428800"), tls=None,
                 where=("127.0.0.1", 0)):
        self.tls, self.secured = tls, 0
        self.unsure, self.kept_at = [], []
        self.answer = answer or (lambda stage, argument: None)
        self.extensions = extensions
        self.messages = []
        self.commands = []  # MAIL and RCPT lines as they came
        self.lock = threading.Lock()
        self.here = threading.local()  # of this connection: .peer, .name (EHLO's), .kept: not
        #                                heard of since
        self.server = socket.create_server(where, backlog=256)
        self.port = self.server.getsockname()[1]
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closed = True
        self.server.close()

    def wait(self, count, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.messages) < count:
            time.sleep(0.02)
        return len(self.messages) >= count

    def _accept(self):
        while not self.closed:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            conn.settimeout(60)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        self.here.kept, self.here.peer = None, conn.getpeername()[0]
        try:
            with conn, conn.makefile("rb") as lines:
                again = self._dialogue(conn, lines)
            if again:
                with again, again.makefile("rb") as lines:
                    self._dialogue(again, lines)
        except (OSError, ConnectionError):
            pass
        finally:
            if self.here.kept is not None:
                self.unsure.append(self.here.kept)

    def _reply(self, conn, stage, argument, good):
        answer = self.answer(stage, argument)
        if answer == "drop":
            raise ConnectionError
        conn.sendall(((answer or good) + "\r\n").encode())
        return answer is None or answer.startswith(("2", "3"))

    def _dialogue(self, conn, lines):
        """Until the end, or STARTTLS: then the secured connection."""
        secure = isinstance(conn, ssl.SSLSocket)
        if not secure and not self._reply(conn, "connect", "", "220 sink.test ESMTP"):
            return None
        sender, recipients = None, []
        while True:
            line = lines.readline()
            if not line:
                return None
            self.here.kept = None
            text = line.decode("utf-8", "replace").strip()
            verb = text.split(" ")[0].upper()
            if verb in ("MAIL", "RCPT"):
                self.commands.append(text)
            if verb in ("EHLO", "HELO"):
                self.here.name = text.split(" ", 1)[-1]
            if verb == "EHLO":
                offer = ["sink.test", *self.extensions]
                if self.tls and not secure:
                    offer.append("STARTTLS")
                good = "\r\n".join(
                    ("250 " if i + 1 == len(offer) else "250-") + word
                    for i, word in enumerate(offer))
                self._reply(conn, "ehlo", text, good)
            elif verb == "STARTTLS" and self.tls and not secure:
                conn.sendall(b"220 2.0.0 go on\r\n")
                plain = conn.dup()
                plain.settimeout(60)
                secured = self.tls.wrap_socket(plain, server_side=True)
                self.secured += 1
                return secured
            elif verb == "HELO":
                self._reply(conn, "helo", text, "250 sink.test")
            elif verb == "MAIL":
                sender, recipients = None, []
                if self._reply(conn, "mail", text, "250 2.1.0 ok"):
                    sender = text.split("<", 1)[1].split(">", 1)[0]
            elif verb == "RCPT":
                recipient = text.split("<", 1)[1].split(">", 1)[0]
                if self._reply(conn, "rcpt", recipient, "250 2.1.5 ok"):
                    recipients.append(recipient)
            elif verb == "DATA":
                if sender is None or not recipients:
                    conn.sendall(b"503 5.5.1 no recipients\r\n")
                    continue
                if not self._reply(conn, "data", "", "354 go on"):
                    continue
                body = bytearray()
                while True:
                    line = lines.readline()
                    if not line:
                        return None
                    if line == b".\r\n":
                        break
                    body += line[1:] if line.startswith(b".") else line
                # Kept before the reply: a reply that is lost is the ledger's doubt.
                answer = self.answer("dot", (sender, recipients, bytes(body)))
                if answer is None or answer == "drop-after":
                    with self.lock:
                        self.here.kept = len(self.messages)
                        self.messages.append((sender, list(recipients), bytes(body)))
                        self.kept_at.append(time.monotonic())
                if answer in ("drop", "drop-after"):
                    return None
                conn.sendall(((answer or "250 2.0.0 kept") + "\r\n").encode())
                sender, recipients = None, []
            elif verb == "RSET":
                sender, recipients = None, []
                conn.sendall(b"250 2.0.0 ok\r\n")
            elif verb == "NOOP":
                conn.sendall(b"250 2.0.0 ok\r\n")
            elif verb == "QUIT":
                conn.sendall(b"221 2.0.0 bye\r\n")
                return None
            else:
                conn.sendall(b"502 5.5.2 unknown\r\n")


def corpus_messages(limit=None):
    """Real messages from $POSTROOM_CORPUS as (name, bytes with CRLF), or generated ones."""
    import tarfile
    folder = os.environ.get("POSTROOM_CORPUS")
    count = 0
    if folder and os.path.isdir(folder):
        for archive in sorted(os.listdir(folder)):
            if not archive.endswith(".tar.gz"):
                continue
            with tarfile.open(os.path.join(folder, archive)) as tar:
                manifest = {}
                for member in tar:
                    if not member.isfile():
                        continue
                    data = tar.extractfile(member).read()
                    name = member.name.lstrip("./")
                    if name == "MANIFEST.tsv":
                        for row in data.decode("utf-8", "replace").splitlines()[1:]:
                            cells = row.split("\t")
                            manifest[cells[0]] = cells[-1] if len(cells) > 3 else ""
                        continue
                    if "not-a-message" in manifest.get(name, ""):
                        continue
                    if name.endswith((".json", ".txt", ".tsv")):
                        continue
                    data = data.replace(b"\r\n", b"\n")
                    # SMTP cannot carry these as they are (RFC 5321 section 2.3.8).
                    if b"\r" in data or b"\0" in data or not data:
                        continue
                    data = data.replace(b"\n", b"\r\n")
                    if not data.endswith(b"\r\n"):
                        data += b"\r\n"
                    yield f"{archive}:{name}", data
                    count += 1
                    if limit and count >= limit:
                        return
        return
    for i in range(limit or 200):
        yield f"generated:{i}", generated_message(i)


def generated_message(i):
    """Small messages of several shapes, the same for the same number."""
    kind = i % 4
    head = (f"From: Sender {i} <sender{i}@remote.test>\r\nTo: anna@demo.test\r\n"
            f"Subject: message number {i}\r\nMessage-ID: <gen.{i}@remote.test>\r\n"
            f"Date: Tue, 24 Nov 2026 08:{i % 60:02}:00 +0000\r\n")
    if kind == 0:
        return (head + "\r\n" + f"line {i}\r\n" * (1 + i % 50)).encode()
    if kind == 1:
        return (head + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
                "boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\n"
                f"part {i}\r\n--=_b\r\nContent-Type: application/octet-stream\r\n"
                "Content-Transfer-Encoding: base64\r\n\r\nAAECAwQF\r\n--=_b--\r\n").encode()
    if kind == 2:
        return (head + "Content-Type: text/plain; charset=utf-8\r\n"
                "Content-Transfer-Encoding: 8bit\r\n\r\n"
                f"Grüße {i} ☃\r\n.a dot at the start\r\n..two\r\n").encode()
    return (head + "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n"
            f"Subject: inner {i}\r\nFrom: a@b.test\r\n\r\ninner text\r\n").encode()
