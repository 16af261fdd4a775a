#!/usr/bin/env python3
"""Plays the transcripts of tests/wire/smtp against a real smtpd on a private instance.

Lines of a transcript:
    # text          comment; the first one says what the file proves, with the RFC section
    C: text         the client sends the line and CR LF
    X: text         the client sends the octets: \\r \\n \\0 \\t \\\\ \\xHH are escapes,
                    {text*N} is text N times
    S: text         the server's next line is this
    S~ regex        the server's next line matches this from end to end
    ! word ...      for the test itself:
        listener mx|submission|submissions|lmtp   which port (before the first line of a session)
        from ADDRESS    the client's own address (before the first line of a session)
        starttls        the TLS handshake, now
        eof             the server closes the connection
        close           the client closes it
        shutdown        the client sends no more, but goes on reading
        stored USER N   so many messages came into that mailbox since the file's start
        queued N        so many recipients came into the queue since the file's start
        wait SECONDS    nothing happens so long
2C:, 2X:, 2S:, 2! and so on are a second session's, 3… a third's.

The instance: domain us.example; anna, bob, full (over its quota), few (quota of one message),
tight (quota of 100
bytes, empty); aliases info (anna and bob), fwd (eve@ext.example), mixed (anna and
eve@ext.example), loop1 and loop2 (each other); 127.0.0.2 is a trusted network.  Passwords are "secret-" and the name twice.

Usage: run_smtp.py [file ...]       with $POSTROOM_BIN naming the folder of the binaries
"""
# timeout: 300

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from postroom_test import port_base_free  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = "127.0.0.1"
PORTS = {"mx": 25, "lmtp": 24, "submission": 587, "submissions": 465}
REPLY_TIMEOUT_S = 15
CONF = """
smtp {
    max_message_size = 200K
    max_recipients = 5
    max_errors = 8
    trusted_networks = {"127.0.0.2/32"}
    max_received = 20
    max_messages = 100
    vrfy = trusted
    sender_check = header
}
auth { fail_delay = 100ms }
log { level = debug }
"""


class Failed(Exception):
    pass


def unescape(text):
    text = re.sub(r"\{(.*?)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
    names = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}

    def one(match):
        word = match.group(1)
        return chr(int(word[1:], 16)) if word[0] == "x" else names[word]

    text = re.sub(r"\\(x[0-9a-fA-F]{2}|[rnt0\\])", one, text)
    return b"".join(c.encode("latin-1" if ord(c) < 256 else "utf-8") for c in text)


class Instance:
    def __init__(self, binaries):
        self.binaries = binaries
        self.root = tempfile.mkdtemp(prefix="postroom-wire-smtp-")
        self.base = port_base_free()
        self.daemon = None

    def postroom(self, *words, stdin=None):
        done = subprocess.run(
            [os.path.join(self.binaries, "postroom"), "--root", self.root, *words],
            input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Failed(f"postroom {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def account(self, name, *more):
        self.postroom("account", "add", f"{name}@us.example", "--password-stdin", *more,
                      stdin=f"secret-{name}{name}\n")

    def start(self):
        self.postroom("init", "--hostname", "mx.us.example", "--domain", "us.example",
                      "--port-base", str(self.base))
        path = os.path.join(self.root, "etc/postroom.conf")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        text = text.replace('{"127.0.0.1", "[::1]"}', '{"127.0.0.1"}')
        for section in re.findall(r"^(\w+) \{", CONF, re.M):
            text = re.sub(rf"^{section} \{{.*?^\}}", "", text, flags=re.M | re.S)
        end = text.rindex("\nend")
        with open(path, "w", encoding="utf-8") as file:
            lmtp = (f'listener "lmtp" {{ protocol = lmtp  port = {self.base + 24}'
                    f'  address = {{"{HOST}"}} }}')
            file.write(text[:end] + CONF + lmtp + text[end:])
        for name in ("anna", "bob", "full"):
            self.account(name)
        self.account("tight", "--quota", "100")
        self.account("few", "--quota-messages", "1")
        self.postroom("alias", "add", "info@us.example", "anna@us.example",
                      "bob@us.example")
        self.postroom("alias", "add", "fwd@us.example", "eve@ext.example")
        self.postroom("alias", "add", "mixed@us.example", "anna@us.example",
                      "eve@ext.example")
        self.postroom("alias", "add", "loop1@us.example", "loop2@us.example")
        self.postroom("alias", "add", "loop2@us.example", "loop1@us.example")
        with open(os.path.join(self.root, "log/out"), "wb") as out:
            self.daemon = subprocess.Popen(
                [os.path.join(self.binaries, "postroom-smtpd"), "--config", path,
                 "--root", self.root], stdout=out, stderr=out)
        for _ in range(200):
            if self.daemon.poll() is not None:
                break
            try:
                socket.create_connection((HOST, self.base + 25), 1).close()
                self.fill()
                return
            except OSError:
                time.sleep(0.05)
        with open(os.path.join(self.root, "log/out"), encoding="utf-8") as out:
            raise Failed("smtpd did not start: " + out.read())

    def fill(self):
        """Makes "full" what its name says."""
        session = Session(self)
        for line in ("HELO pc", "MAIL FROM:<>", "RCPT TO:<full@us.example>", "DATA",
                     "\r\n."):
            session.send(line.encode() + b"\r\n")
        while not session.line().startswith("250 2.0.0 accepted"):
            pass
        session.close()
        self.postroom("account", "set", "full@us.example", "--quota", "1")

    def traced(self):
        """(stored by user, queued) so far, from the trace files."""
        stored, queued = {}, 0
        folder = os.path.join(self.root, "log/trace")
        for name in sorted(os.listdir(folder) if os.path.isdir(folder) else []):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                for line in file:
                    if " deliver.local " in line and " status=delivered" in line:
                        user = re.search(r" to=([^@ ]*)@", line).group(1)
                        stored[user] = stored.get(user, 0) + 1
                    if " smtp.accept " in line and " status=queued" in line:
                        queued += 1
        return stored, queued

    def stop(self):
        """Ends the daemon; false when it had died or does not end well."""
        good = True
        if self.daemon:
            if self.daemon.poll() is not None:
                print(f"smtpd died: {self.daemon.returncode}")
                with open(os.path.join(self.root, "log/out"), encoding="utf-8",
                          errors="replace") as out:
                    print(out.read()[-4000:])
                good = False
            else:
                self.daemon.send_signal(signal.SIGTERM)
                try:
                    good = self.daemon.wait(10) == 0
                except subprocess.TimeoutExpired:
                    self.daemon.kill()
                    good = False
        shutil.rmtree(self.root, ignore_errors=True)
        return good


class Session:
    def __init__(self, instance):
        self.instance = instance
        self.listener, self.source = "mx", None
        self.sock, self.input = None, b""

    def open(self):
        if self.sock:
            return
        self.sock = socket.create_connection(
            (HOST, self.instance.base + PORTS[self.listener]), REPLY_TIMEOUT_S,
            (self.source, 0) if self.source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.listener == "submissions":
            self.tls()

    def tls(self):
        context = ssl.create_default_context(
            cafile=os.path.join(self.instance.root, "etc/ca.pem"))
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.input = b""

    def send(self, data):
        self.open()
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the server said before is still to be read

    def read_some(self):
        try:
            return self.sock.recv(65536)
        except ConnectionResetError:
            return b""
        except TimeoutError:
            raise Failed(f"no reply within {REPLY_TIMEOUT_S} s; so far {self.input!r}")

    def line(self):
        self.open()
        while b"\r\n" not in self.input:
            data = self.read_some()
            if not data:
                raise Failed(f"the server closed; so far {self.input!r}")
            self.input += data
        line, self.input = self.input.split(b"\r\n", 1)
        return line.decode("utf-8", "backslashreplace")

    def eof(self):
        self.open()
        while not self.input:
            data = self.read_some()
            if not data:
                self.close()
                return
            self.input += data
        raise Failed(f"the server did not close but said {self.input!r}")

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock, self.input = None, b""


def counted(instance, before, words):
    """stored USER N and queued N; waits a moment for the trace."""
    want = int(words[-1])
    for _ in range(40):
        stored, queued = instance.traced()
        have = queued - before[1] if words[0] == "queued" else (
            stored.get(words[1], 0) - before[0].get(words[1], 0))
        if have == want:
            return
        time.sleep(0.05)
    raise Failed(f"{' '.join(words)}: there are {have}")


def directive(instance, session, before, words):
    word = words[0]
    if word == "listener":
        session.listener = words[1]
    elif word == "from":
        session.source = words[1]
    elif word == "starttls":
        session.tls()
    elif word == "eof":
        session.eof()
    elif word == "close":
        session.close()
    elif word == "shutdown":
        session.sock.shutdown(socket.SHUT_WR)
    elif word in ("stored", "queued"):
        counted(instance, before, words)
    elif word == "wait":
        time.sleep(float(words[1]))
    else:
        raise Failed(f"unknown directive {word}")


def play(instance, path):
    sessions = {}
    before = instance.traced()
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    try:
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = re.fullmatch(r"(\d?)([CXS!])([:~]?) ?(.*)", line)
            if not match:
                raise Failed(f"line {number} is no transcript line")
            key, kind, mark, text = match.groups()
            session = sessions.setdefault(key or "1", Session(instance))
            try:
                if kind == "C":
                    session.send(text.encode("utf-8") + b"\r\n")
                elif kind == "X":
                    session.send(unescape(text))
                elif kind == "!":
                    directive(instance, session, before, text.split())
                else:
                    got = session.line()
                    if (not re.fullmatch(text, got)) if mark == "~" else got != text:
                        raise Failed(f"wanted {text!r}, got {got!r}")
            except Failed as failed:
                raise Failed(f"line {number}: {failed}") from failed
            except OSError as failed:
                raise Failed(f"line {number}: {failed}") from failed
    finally:
        for session in sessions.values():
            session.close()


def main():
    binaries = os.environ.get("POSTROOM_BIN") or sys.exit("set POSTROOM_BIN")
    files = sys.argv[1:] or sorted(
        os.path.join(HERE, "smtp", name)
        for name in os.listdir(os.path.join(HERE, "smtp")) if name.endswith(".txt"))
    instance = Instance(binaries)
    failed = 0
    try:
        instance.start()
        for path in files:
            try:
                play(instance, path)
                print(f"ok    {os.path.basename(path)}")
            except Failed as reason:
                failed += 1
                print(f"FAIL  {os.path.basename(path)}: {reason}")
            if instance.daemon.poll() is not None:
                break
    finally:
        if not instance.stop():
            failed += 1
            print("FAIL  smtpd did not end well")
    print(f"{len(files)} transcripts, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
