#!/usr/bin/env python3
# timeout: 240
"""Plays the transcripts of tests/wire/pop3 and tests/wire/imap against a running instance
(those of tests/wire/smtp have run_smtp.py, with the same lines).

Lines of a transcript:
    # text          comment; the first one says what the file proves, with the RFC section
    C: text         the client sends the line and CR LF
    X: text         the client sends the octets: \\r \\n \\0 \\t \\\\ \\xHH are escapes,
                    {text*N} is text N times
    S: text         the server's next line is this
    S~ regex        the server's next line matches this
    ! word ...      for the test itself:
        listener NAME       which port (before the first line of a session)
        starttls            the TLS handshake, now
        eof                 the server closes the connection
        close               the client closes it
        append USER text    a message, with escapes, put into the INBOX by IMAP
        count USER N        so many messages are in that INBOX
        remove USER UID     another client expunges a message by IMAP
        domain NAME ARG...  `postroom domain set`; account NAME ARG...: `account set`
        account add LOGIN   an account with the password "secret"; account remove LOGIN
        password USER TEXT  the account's new password
        apop USER TEXT      the client sends APOP with this password; a last word STAT: and
                            STAT in the same octets
        conf KEY VALUE      imap.KEY as long as the transcript lasts
        nothing             the server says nothing for a moment
C2:, S2:, 2C:, 2S: (and so on) are a second session's, 3… a third's.

Each file begins with empty mailboxes.  IMAP: ann@example.org, password "secret", over
imaps, the greeting is taken off.  POP3: anna (what is retrieved is removed) and keep (mail
stays) @demo.test, passwords "secret-anna-1" and "secret keep 1"; port pop3, clear.
"""

import glob
import hashlib
import os
import re
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from postroom_test import Instance, Results, waiter  # noqa: E402

REPLY_S = 20
wait_for = waiter(REPLY_S)
ACCOUNTS = {"imap": {"ann@example.org": "secret"},
            "pop3": {"anna@demo.test": "secret-anna-1", "keep@demo.test": "secret keep 1"}}
AUTH = ["password_min = 6", "block_after = 0", "fail_delay = 0s"]
# The IMAP transcripts are also a unit test's, whose server has these settings.
CONF = {"imap": {"auth": [*AUTH, 'mechanisms = {"PLAIN", "LOGIN"}'],
                 "imap": ["max_append_size = 4M", 'admin_uri = "mailto:help@example.org"']},
        "pop3": {"auth": AUTH, "pop3": ["delete_on_retrieval = true"]}}
# imapd claims \\Recent in the background, which simultaneous sessions need not wait for
# (RFC 3501 section 2.3.2); the transcripts count on it between commands.
CLAIM_S = 0.1


began = {}  # the configuration by its path, before "! conf"
added = set()  # accounts of the transcript, by "! account add"


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


class Session:
    def __init__(self, post, protocol):
        self.post, self.listener = post, {"imap": "imaps", "pop3": "pop3"}[protocol]
        self.greeting = protocol == "imap"
        self.socket, self.input = None, b""
        self.timestamp = ""  # POP3's: the last one that was seen

    def open(self):
        if self.socket:
            return
        self.socket = socket.create_connection(
            ("127.0.0.1", self.post.port(self.listener)), REPLY_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.listener.endswith("s"):
            self.tls()
        if self.greeting:
            self.line()

    def tls(self):
        self.socket = self.post.tls().wrap_socket(self.socket, server_hostname="localhost")
        self.input = b""

    def send(self, data):
        self.open()
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the server said before is still to be read

    def more(self):
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise Failed(f"no reply within {REPLY_S} s; so far {self.input!r}") from None
        except ConnectionResetError:
            data = b""
        self.input += data
        return bool(data)

    def line(self):
        self.open()
        while b"\r\n" not in self.input:
            if not self.more():
                raise Failed(f"the server closed; so far {self.input!r}")
        line, self.input = self.input.split(b"\r\n", 1)
        stamp = re.search(rb"^\+OK .*(<.*>)$", line)
        self.timestamp = stamp.group(1).decode() if stamp else self.timestamp
        return line.decode("utf-8", "backslashreplace")

    def eof(self):
        self.open()
        while not self.input:
            if not self.more():
                self.close()
                return
        raise Failed(f"the server did not close but said {self.input!r}")

    def nothing(self):
        """Nothing is left to read, neither here nor on the wire."""
        if not self.socket:
            return
        self.socket.settimeout(0.05)
        try:
            self.input += self.socket.recv(65536)
        except (TimeoutError, OSError):
            pass
        self.socket.settimeout(REPLY_S)
        if self.input:
            raise Failed(f"the server also said {self.input!r}")

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.input = None, b""


def configure(post, text):
    """imap.KEY = VALUE in place of what stands there, or "" for what the instance began with."""
    path = os.path.join(post.root, "etc", "postroom.conf")
    with open(path, encoding="utf-8") as file:
        now = file.read()
    began.setdefault(path, now)
    key, _, value = text.partition(" ")
    then = began[path] if not text else re.sub(
        r"(?m)^imap \{$", rf"imap {{\n    {key} = {value}",
        re.sub(rf"(?m)^    {key} = .*\n", "", now), count=1)
    if then != now:
        with open(path, "w", encoding="utf-8") as file:
            file.write(then)
        log = os.path.join(post.root, "log", "postroom.log")

        def reloads():
            with open(log, encoding="utf-8", errors="replace") as file:
                return file.read().count("imapd info server.reload status=ok")
        before = reloads()
        post.run("reload")
        if not wait_for(lambda: reloads() > before):
            raise Failed("imapd did not reload")


def directive(post, session, text):
    word, _, rest = text.partition(" ")
    if word == "listener":
        session.listener = rest
    elif word == "starttls":
        session.tls()
    elif word in ("eof", "close", "nothing"):
        getattr(session, word)()
    elif word == "append":
        user, _, body = rest.partition(" ")
        m = post.imap(f"{user}@demo.test")
        # imaplib makes line ends of its own; the literal is sent as it is.
        done = m._simple_command("APPEND", "INBOX", "{%d+}\r\n%s" % (
            len(unescape(body)), unescape(body).decode("latin-1")))
        m.logout()
        if done[0] != "OK":
            raise Failed(f"append: {done}")
    elif word == "count":
        user, want = rest.split()
        end = time.monotonic() + 5
        while True:  # a session that was cut off ends a moment later
            m = post.imap(f"{user}@demo.test")
            have = int(m.select("INBOX", readonly=True)[1][0])
            m.logout()
            if have == int(want):
                return
            if time.monotonic() > end:
                raise Failed(f"{have} messages, not {want}")
            time.sleep(0.05)
    elif word == "account" and rest.startswith("add "):
        login = rest.split()[1]
        post.run("domain", "add", login.split("@")[1], check=False)  # may be there
        post.account(login, "secret")
        added.add(login)
    elif word == "account" and rest.startswith("remove "):
        post.run("account", "remove", rest.split()[1], "--yes")
        added.discard(rest.split()[1])
    elif word in ("domain", "account"):
        post.run(word, "set", *rest.split())
    elif word == "password":
        user, password = rest.split(" ", 1)
        post.run("account", "password", user, "--password-stdin", input=password + "\n")
    elif word == "conf":
        configure(post, rest)
    elif word == "apop":
        user, password = rest.split(" ", 1)
        stat = "STAT\r\n" if password.endswith(" STAT") else ""
        password = password.removesuffix(" STAT")
        digest = hashlib.md5((session.timestamp + password).encode()).hexdigest()
        session.send(f"APOP {user} {digest}\r\n{stat}".encode())
    elif word == "rule":
        noun, name, value = rest.split()
        post.run(noun, "set", name, "--pop3", value)
    elif word == "remove":
        user, uid = rest.split()
        m = post.imap(f"{user}@demo.test")
        m.select("INBOX")
        m.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)")
        m.expunge()
        m.logout()
    else:
        raise Failed(f"unknown directive {word}")


def play(post, protocol, path):
    sessions = {}
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().split("\n")
    if not lines[0].startswith("#") or "RFC" not in lines[0]:
        raise Failed("the first line does not say what this proves, with its RFC")
    try:
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = re.fullmatch(r"(\d?)([CXS!])(\d?)([:~]?) ?(.*)", line)
            if not match:
                raise Failed(f"line {number} is no transcript line")
            before, kind, behind, mark, text = match.groups()
            session = sessions.setdefault(before or behind or "1", Session(post, protocol))
            try:
                if kind == "C":
                    if re.search(r"^\S+ (SELECT|EXAMINE) ", text):
                        time.sleep(CLAIM_S)
                    session.send(text.encode("utf-8", "surrogateescape") + b"\r\n")
                elif kind == "X":
                    session.send(unescape(text))
                elif kind == "!":
                    directive(post, session, text)
                else:
                    got = session.line()
                    if (not re.search(text, got)) if mark == "~" else got != text:
                        raise Failed(f"wanted {text!r}, got {got!r}")
            except (Failed, OSError) as failed:
                raise Failed(f"line {number}: {failed}") from failed
        for session in sessions.values():
            session.nothing()
    finally:
        for session in sessions.values():
            session.close()


def play_all(r, protocol, paths):
    post = Instance(domains=("demo.test", "example.org"), conf=CONF[protocol])
    fresh = set()
    pids = [row["pid"] for row in post.status()["daemons"]]
    before = r.failed
    for path in paths:
        for address, password in ACCOUNTS[protocol].items():
            if address in fresh:
                post.run("account", "remove", address, "--yes")
            post.account(address, password)
            fresh.add(address)
            if address.startswith("keep"):
                post.run("account", "set", address, "--pop3", "keep")
        try:
            play(post, protocol, path)
            r.check(True, path)
        except Failed as reason:
            r.check(False, f"{protocol}/{os.path.basename(path)}: {reason}")
        if began:
            configure(post, "")
        while added:
            post.run("account", "remove", added.pop(), "--yes")
    r.equal([row["pid"] for row in post.status()["daemons"]], pids, "no daemon died")
    post.failed = r.failed > before


def main():
    r = Results("wire")
    for protocol in ACCOUNTS:
        paths = [path for path in sys.argv[1:] if f"/{protocol}/" in os.path.abspath(path)]
        if len(sys.argv) == 1:
            paths = sorted(glob.glob(f"{HERE}/{protocol}/*.txt"))
            r.check(paths, f"there are transcripts of {protocol}")
        if paths:
            play_all(r, protocol, paths)
    return r.finish()


if __name__ == "__main__":
    sys.exit(main())
