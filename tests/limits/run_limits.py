#!/usr/bin/env python3
# timeout: 200
"""Every limit over the wire, and the old attacks: each gets a clear answer, no daemon
dies, and three sessions that stand by (SMTP, IMAP, POP3) go on as if nothing was.
RFC 5321 sections 4.5.3 and 2.3.8, RFC 9051 sections 4.3 and 6.2.1, RFC 2449 section 4."""

import os
import random
import re
import select
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

REPLY_S = 30
PREAUTH_S = 60         # unauthenticated IMAP and POP3 sessions
COMMAND_S = 25         # smtp.command_timeout here
PER_IP = 30
SIZE_MAX = 3 * 1024 * 1024
r = Results("limits")
post = Instance(
    accounts={f"{u}@demo.test": f"secret-{u}-1" for u in ("anna", "bob", "many")},
    conf={"smtp": [f"max_message_size = {SIZE_MAX}", "max_recipients = 100",
                   f'command_timeout = "{COMMAND_S}s"', "max_errors = 10"],
          "imap": [f"max_append_size = {SIZE_MAX}", "max_sessions_per_user = 4"],
          "pop3": ["delete_on_retrieval = false"],
          "auth": ["block_after = 0", 'fail_delay = "0s"']}, start=False)
path = os.path.join(post.root, "etc", "postroom.conf")
with open(path, encoding="utf-8") as file:
    text = file.read()
with open(path, "w", encoding="utf-8") as file:
    file.write(re.sub(r"(listener \"[^\"]*\" \{)", rf"\1 max_per_ip = {PER_IP} ", text))
post.start()
pids = [row["pid"] for row in post.status()["daemons"]]


class Raw:
    def __init__(self, name, source=None, greeting=True, tls=None):
        self.socket = socket.create_connection(
            ("127.0.0.1", post.port(name)), REPLY_S, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        if tls if tls is not None else name.endswith("s"):
            self.tls()
        if greeting:
            self.greeting = self.reply()

    def tls(self):
        self.socket = post.tls().wrap_socket(self.socket, server_hostname="localhost")
        self.input = b""

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # its last words can still be read

    def line(self):
        while b"\r\n" not in self.input:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return "(closed)"
            self.input += data
        line, self.input = self.input.split(b"\r\n", 1)
        return line.decode("utf-8", "replace")

    def reply(self):
        """The last line of an SMTP reply; of others just a line."""
        line = self.line()
        while re.match(r"\d{3}-", line):
            line = self.line()
        return line

    def tagged(self, tag):
        """The tagged line, or the BYE or closing that came instead."""
        while True:
            line = self.line()
            if line.startswith((tag + " ", "* BYE", "(closed)")):
                return line

    def ask(self, data):
        self.send(data + ("\r\n" if isinstance(data, str) else b"\r\n"))
        return self.reply()

    def closed(self):
        while (line := self.line()) != "(closed)":
            if not line.startswith(("* BYE", "421", "-ERR")):
                return False
        return True

    def close(self):
        self.socket.close()


def smtp(mail=False, source=None):
    s = Raw("smtp", source)
    s.ask("EHLO client.test")
    if mail:
        s.ask("MAIL FROM:<x@remote.test>")
        s.ask("RCPT TO:<anna@demo.test>")
        r.check(s.ask("DATA").startswith("354"), "DATA")
    return s


def imap(user="anna"):
    s = Raw("imaps")
    s.send(f"l LOGIN {user}@demo.test secret-{user}-1\r\n")
    r.check(s.tagged("l").startswith("l OK"), "login")
    return s


def pop3():
    s = Raw("pop3s")
    s.ask("USER bob@demo.test")
    r.check(s.ask("PASS secret-bob-1").startswith("+OK"), "login")
    return s


def answers(got, pattern, what):
    r.check(re.search(pattern, got), f"{what}: got {got[:200]!r}, want {pattern!r}")


# ---- SMTP ----

def smtp_lines():
    s = smtp()
    answers(s.ask("NOOP " + "x" * 5000), "^500 5", "a line of 5000 octets")
    answers(s.ask("NOOP"), "^250", "goes on")
    s.send("NOOP " + "x" * 3_000_000 + "\r\n")
    answers(s.reply(), "^(500|421)", "a line of 3 MB")
    s.close()
    s = smtp()
    answers(s.ask(b"NO\0OP"), "^50[01]", "NUL in a command")
    answers(s.ask(b"NOOP\nNOOP"), "^50[01]", "a bare LF is no line end")
    answers(s.reply(), "^250", "but what is behind it is the next line")
    answers(s.ask("MAIL FROM:<" + "a" * 65 + "@remote.test>"), "^5", "a local part of 65")
    answers(s.ask("MAIL FROM:<a@" + "b" * 256 + ".test>"), "^5", "a domain of 261")
    answers(s.ask("NOOP"), "^250", "goes on")
    s.close()


def smtp_recipients():
    s = smtp()
    s.ask("MAIL FROM:<x@remote.test>")
    for i in range(100):
        if not s.ask(f"RCPT TO:<anna+{i}@demo.test>").startswith("250"):
            r.check(False, f"recipient {i}")
    answers(s.ask("RCPT TO:<anna+100@demo.test>"), "^452 4.5.3", "recipient 101")
    s.ask("DATA")
    answers(s.ask("Subject: many\r\n\r\nx\r\n."), "^250", "the others get it")
    s.close()


def smtp_size():
    s = smtp()
    answers(s.ask(f"MAIL FROM:<x@remote.test> SIZE={SIZE_MAX + 1}"), "^552 5.3.4", "SIZE")
    answers(s.ask("MAIL FROM:<x@remote.test> SIZE=99999999999999999999999"), "^5", "SIZE")
    s.ask("MAIL FROM:<x@remote.test>")
    s.ask("RCPT TO:<anna@demo.test>")
    s.ask("DATA")
    s.send("Subject: large\r\n\r\n" + ("x" * 70 + "\r\n") * (SIZE_MAX // 72 + 10))
    answers(s.ask("."), "^552 5.3.4", "more than SIZE in DATA")
    answers(s.ask("NOOP"), "^250", "goes on")
    s.close()


def smtp_header():
    for what, data in (
            ("a header of 300 KB", "Subject: h\r\n" + ("X-A: " + "y" * 70 + "\r\n") * 4000),
            ("one field of 300 KB", "Subject: h\r\nX-A: " + "y" * 300_000 + "\r\n"),
            ("a line of 1.5 MB", "Subject: h\r\n\r\n" + "z" * 1_500_000)):
        s = smtp(mail=True)
        answers(s.ask(data + "\r\n\r\nbody\r\n."), "^5[05]", what)
        answers(s.ask("NOOP"), "^250", "goes on")
        s.close()
    s = smtp(mail=True)
    answers(s.ask("Received: from a by b; Tue, 24 Nov 2026 08:00:00 +0000\r\n" * 60 +
                  "Subject: loop\r\n\r\nx\r\n."), "^554 5.4.6", "60 Received fields")
    s.close()


def smtp_errors():
    s = smtp()
    codes = [s.ask("FROB")[:3] for _ in range(10)]
    r.check(set(codes[:9]) <= {"500", "502"}, f"bad commands: {codes}")
    r.check(codes[-1] == "421" or s.reply().startswith("421"), "then 421")
    r.check(s.closed(), "and the end")


def smtp_endings():
    """What is not CR LF . CR LF ends no message; nothing behind it is a message."""
    def one(number, ending):
        s = smtp(mail=True)
        s.send(b"Subject: first\r\n\r\nbody" + ending +
               b"MAIL FROM:<x@remote.test>\r\nRCPT TO:<anna@demo.test>\r\nDATA\r\n"
               b"Subject: smuggled\r\n\r\nx\r\n.\r\n")
        answers(s.reply(), "^(5|421)", f"ending {number} {ending!r}")
        s.close()

    endings = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r",
               b"\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\r\n.\r\r\n")
    threads = [threading.Thread(target=one, args=(i, e)) for i, e in enumerate(endings)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(REPLY_S)
    s = imap()
    s.send("a SELECT INBOX\r\nb SEARCH OR SUBJECT smuggled SUBJECT first\r\n")
    while not (line := s.line()).startswith(("* SEARCH", "b ", "(closed)")):
        pass
    r.equal(line.strip(), "* SEARCH", "no message came of it")
    s.close()


# ---- IMAP ----

def imap_lines():
    s = imap()
    s.send("a NOOP " + "x" * 100_000 + "\r\n")
    answers(s.tagged("a"), r"^(a|\*) B(AD|YE)", "a line of 100 KB")
    s.close()
    s = imap()
    s.send("a SEARCH SUBJECT {70000}\r\n")
    answers(s.tagged("a"), "^a (BAD|NO)", "a literal of 70 KB")
    s.send("b SEARCH SUBJECT {70000+}\r\n" + "x" * 70_000 + "\r\nc NOOP\r\n")
    answers(s.tagged("b"), "^b (BAD|NO)", "one that comes unasked")
    answers(s.tagged("c"), "^c OK", "goes on")
    s.send("d SEARCH SUBJECT {99999999999999999999}\r\n")
    answers(s.tagged("d"), "^d BAD", "a literal size that overflows")
    s.send("e SEARCH SUBJECT {4294967295+}\r\n")
    answers(s.tagged("e"), r"^(e|\*) B(AD|YE)", "4 GB unasked")
    s.close()
    s = imap()
    s.send(f"a APPEND INBOX {{{SIZE_MAX + 1}}}\r\n")
    answers(s.tagged("a"), r"^a NO \[TOOBIG\]", "APPEND larger than APPENDLIMIT")
    s.send(f"b APPEND INBOX {{{SIZE_MAX + 1}+}}\r\n" + "x" * (SIZE_MAX + 1) + "\r\n")
    answers(s.tagged("b"), r"^(b NO \[TOOBIG\]|\* BYE)", "and unasked")
    s.send("c APPEND INBOX {4294967290+}\r\n")
    answers(s.tagged("c"), r"^\* BYE \[TOOBIG\]", "4 GB unasked")
    s.close()
    s = Raw("imaps")
    s.send("a LOGIN anna@demo.test {20000+}\r\n" + "x" * 20000 + "\r\n")
    answers(s.tagged("a"), r"^(a|\*) (BAD|NO|BYE)", "20 KB before the login")
    s.close()


def imap_syntax():
    s = imap()
    s.send("s SELECT INBOX\r\n")
    s.tagged("s")
    cases = {
        "a tag of 100": ("t" * 100 + " NOOP", "BAD"),
        "search depth": ("a SEARCH " + "(" * 60 + "ALL" + ")" * 60, "a (BAD|NO)"),
        "search depth of NOT": ("a SEARCH " + "NOT " * 2000 + "ALL", "a (BAD|NO)"),
        "search keys": ("a SEARCH " + "ALL " * 1500 + "ALL", "a (BAD|NO)"),
        "ranges": ("a FETCH " + ",".join(str(i) for i in range(1, 9000, 1)) + " UID", "a "),
        "sections": ("a FETCH 1 (" + "BODY[1] " * 150 + "UID)", "a (BAD|NO)"),
        "section levels": ("a FETCH 1 BODY[" + "1." * 100 + "1]", "a (BAD|NO)"),
        "flags": ("a STORE 1 +FLAGS (" + " ".join(f"k{i}" for i in range(200)) + ")",
                  "a (BAD|NO)"),
        "ID pairs": ("a ID (" + '"k" "v" ' * 31 + '"k" "v")', "a (BAD|NO)"),
        "nothing": ("", "BAD"),
        "number": ("a FETCH 99999999999 UID", "a BAD"),
        "zero": ("a FETCH 0 UID", "a BAD"),
        "mailbox depth": ("a CREATE " + "/".join("a" * 300), "a (NO|BAD)"),
        "mailbox name": ("a CREATE " + "a" * 2000, "a (NO|BAD)"),
        "patterns": ("a LIST \"\" (" + "x " * 40 + "x)", "a (NO|BAD)"),
    }
    for what, (command, want) in cases.items():
        s.send(command + "\r\nok NOOP\r\n")
        got = []
        while not got or not got[-1].startswith(("ok ", "* BYE", "(closed)")):
            got.append(s.line())
        answers("\n".join(got), want, what)
        answers(got[-1], "^ok OK", f"{what}: goes on")
    s.send("x FROB\r\n" * 20)
    line = s.tagged("*")
    answers(line, r"^\* BYE", "20 bad commands")
    r.check(s.closed(), "then the end")


def imap_sessions():
    many = [imap("many") for _ in range(4)]
    s = Raw("imaps")
    s.send("a LOGIN many@demo.test secret-many-1\r\n")
    answers(s.tagged("a"), r"^a NO \[LIMIT\]", "session 5 of a user")
    many.pop().close()
    time.sleep(0.2)
    s.send("b LOGIN many@demo.test secret-many-1\r\n")
    answers(s.tagged("b"), "^b OK", "when one has left")
    for one in [*many, s]:
        one.close()


# ---- POP3 ----

def pop3_lines():
    s = Raw("pop3s")
    answers(s.ask("USER " + "x" * 400), "^-ERR", "a name of 400")
    answers(s.ask("AUTH PLAIN " + "A" * 20000), "^-ERR", "a response of 20 KB")
    answers(s.ask("CAPA x"), "^-ERR", "goes on")
    s.close()
    s = Raw("pop3s")
    s.send("FROB\r\n" * 20)
    lines = [s.line() for _ in range(21)]
    answers(lines[-1], "too many errors", "20 errors")
    r.check(s.closed(), "then the end")


# ---- messages ----

def mime():
    def nested(levels, inner):
        out = inner
        for i in range(levels):
            out = (f"Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n{out}\r\n"
                   f"--b{i}--\r\n")
        return out

    messages = {
        "depth": nested(300, "Content-Type: text/plain\r\n\r\nx"),
        "messages in messages": "Content-Type: message/rfc822\r\n\r\n" * 300 +
                                "Subject: last\r\n\r\nx",
        "parts": "Content-Type: multipart/mixed; boundary=p\r\n\r\n" +
                 "--p\r\n\r\nx\r\n" * 5000 + "--p--\r\n",
        "unterminated": "Content-Type: multipart/mixed; boundary=p\r\n\r\n--p\r\n"
                        "Content-Type: multipart/mixed; boundary=p\r\n\r\n--p",
        "no boundary": "Content-Type: multipart/mixed\r\n\r\n--\r\nx\r\n",
        "parameters": "Content-Type: text/plain" + "; a=b" * 3000 + "\r\n\r\nx",
        "addresses": "To: " + ",\r\n ".join(f"a{i}@x.test" for i in range(5000)) +
                     "\r\n\r\nx",
        "odd addresses": "To: " + "(" * 500 + "<<@@,;:::" + "\r\n\r\nx",
        "encoded words": "Subject: " + "=?utf-8?b?/////w==?= " * 1000 + "\r\n\r\nx",
    }
    box = imap("bob")
    box.send("s SELECT INBOX\r\n")
    box.tagged("s")
    number = 0
    for what, data in messages.items():
        s = smtp()
        s.ask("MAIL FROM:<x@remote.test>")
        s.ask("RCPT TO:<bob@demo.test>")
        s.ask("DATA")
        answer = s.ask("MIME-Version: 1.0\r\n" + data + "\r\n.")
        s.close()
        if not r.check(answer.startswith("250"), f"{what}: {answer}"):
            continue
        number += 1
        box.send(f"n NOOP\r\na FETCH {number} (ENVELOPE BODYSTRUCTURE BODY PREVIEW)\r\n")
        box.tagged("n")
        got = ""
        while not (line := box.line()).startswith(("a ", "(closed)", "* BYE")):
            got += line
        answers(line, "^a OK", what)
        r.check("ENVELOPE (" in got and "BODYSTRUCTURE (" in got, f"{what} has a structure")
        r.equal(got.count("(") > 0 and plain(got).count("("), plain(got).count(")"),
                f"{what}: parentheses match")
    box.close()


def plain(text):
    """Without quoted strings."""
    return re.sub(r'"(\\.|[^"\\])*"', '""', text)


# ---- connections, TLS, log-in ----

def connections():
    for name, full in (("smtp", "^421"), ("imap", r"^\* BYE"), ("pop3", "^-ERR")):
        held = [Raw(name, "127.0.0.9") for _ in range(PER_IP)]
        answers(held[-1].greeting, r"^(220|\* OK|\+OK)", f"{name}: connection {PER_IP}")
        more = Raw(name, "127.0.0.9")
        answers(more.greeting, full, f"{name}: one more of an address")
        other = Raw(name, "127.0.0.10")
        answers(other.greeting, r"^(220|\* OK|\+OK)", f"{name}: another address")
        for one in [*held, more, other]:
            one.close()
        time.sleep(0.2)
        again = Raw(name, "127.0.0.9")
        answers(again.greeting, r"^(220|\* OK|\+OK)", f"{name}: when they have left")
        again.close()


def injection():
    for name, before, start, after, want in (
            ("submission", "EHLO a", "STARTTLS\r\nNOOP injected\r\nMAIL FROM:<x@y>\r\n",
             "RSET", "^(250|503)"),
            ("smtp", "EHLO a", "STARTTLS\r\nMAIL FROM:<x@remote.test>\r\n",
             "RCPT TO:<anna@demo.test>", "^503"),
            ("imap", "a NOOP", "b STARTTLS\r\nc LOGIN anna@demo.test secret-anna-1\r\n",
             "d SELECT INBOX", "^d BAD"),
            ("pop3", "CAPA x", "STLS\r\nUSER anna@demo.test\r\n", "PASS x", "^-ERR USER")):
        s = Raw(name)
        s.ask(before)
        s.send(start)
        answers(s.line(), r"^(220|b OK|\+OK)", f"{name}: TLS begins")
        s.tls()
        answers(s.ask(after), want, f"{name}: nothing of the clear text is left")
        s.close()


def clear_text():
    s = Raw("submission")
    s.send("EHLO a\r\n")
    lines = [s.line()]
    while lines[-1].startswith("250-"):
        lines.append(s.line())
    r.check(not any("PLAIN" in line or "LOGIN" in line for line in lines),
            f"EHLO in clear: {lines}")
    answers(s.ask("AUTH PLAIN AGFubmFAZGVtby50ZXN0AHNlY3JldC1hbm5hLTE="), "^5[03]",
            "AUTH PLAIN in clear")
    answers(s.ask("MAIL FROM:<anna@demo.test>"), "^530", "MAIL without login")
    s.close()
    s = Raw("smtp")
    s.ask("EHLO a")
    s.ask("MAIL FROM:<x@remote.test>")
    answers(s.ask("RCPT TO:<x@elsewhere.test>"), "^5[05]", "no open relay")
    s.close()
    s = Raw("imap")
    answers(s.greeting, "LOGINDISABLED", "IMAP in clear says so")
    answers(s.ask("a LOGIN anna@demo.test secret-anna-1"), "^a (NO|BAD)", "LOGIN in clear")
    answers(s.ask("b AUTHENTICATE PLAIN AGFubmFAZGVtby50ZXN0AHNlY3JldC1hbm5hLTE="),
            "^b (NO|BAD)", "AUTHENTICATE in clear")
    s.close()
    s = Raw("pop3")
    answers(s.ask("USER anna@demo.test"), "^-ERR", "USER in clear")
    answers(s.ask("AUTH PLAIN AGFubmFAZGVtby50ZXN0AHNlY3JldC1hbm5hLTE="), "^-ERR",
            "AUTH in clear")
    s.close()


def garbage():
    rng = random.Random(1)
    for name in ("smtp", "submissions", "submission", "imap", "imaps", "pop3", "pop3s"):
        for _ in range(5):
            s = Raw(name, greeting=False, tls=False)
            s.send(rng.randbytes(rng.randrange(1, 100_000)))
            s.close()
    r.check(True, "garbage")


# ---- silence ----

def silence_begin():
    """Sessions that say nothing, half a line, or no TLS handshake, from the start on."""
    began = time.monotonic()
    out = []
    for name, words, limit in (("smtp", "", COMMAND_S), ("smtp", "EHL", COMMAND_S),
                               ("imap", "", PREAUTH_S), ("imap", "a NOO", PREAUTH_S),
                               ("pop3", "", PREAUTH_S), ("pop3", "CAP", PREAUTH_S),
                               ("imaps", "", PREAUTH_S), ("pop3s", "", PREAUTH_S),
                               ("submissions", "", PREAUTH_S)):
        s = Raw(name, greeting=False, tls=False)
        s.send(words)
        out.append((name, words, limit, began, s.socket))
    return out


def silence_watch(sessions):
    left = list(sessions)
    while left and time.monotonic() < left[0][3] + PREAUTH_S + 15:
        ready = select.select([row[4] for row in left], [], [], 1)[0]
        for row in [row for row in left if row[4] in ready]:
            name, words, limit, began, conn = row
            try:
                data = conn.recv(4096)
            except ConnectionResetError:
                data = b""
            if data:
                continue
            took = time.monotonic() - began
            r.check(limit - 3 <= took <= limit + 10,
                    f"{name} {words!r}: silence ended after {took:.0f} s, not {limit}")
            left.remove(row)
    r.equal([(row[0], row[1]) for row in left], [], "sessions that may be silent for ever")


silent = silence_begin()
watcher = threading.Thread(target=silence_watch, args=(silent,))
watcher.start()
standing = [(smtp(), "NOOP", "^250"), (imap(), "n NOOP", "^n OK"), (pop3(), "NOOP", r"^\+OK")]


def stand_by(what):
    for session, word, want in standing:
        session.send(word + "\r\n")
        line = session.line()
        while line.startswith("* ") and not line.startswith("* BYE"):
            line = session.line()
        answers(line, want, f"a session that stands by, after {what}")


for test in (smtp_lines, smtp_recipients, smtp_size, smtp_header, smtp_errors, smtp_endings,
             imap_lines, imap_syntax, imap_sessions, pop3_lines, mime, connections,
             injection, clear_text, garbage):
    began = time.monotonic()
    try:
        test()
    except Exception as e:
        r.check(False, f"{test.__name__}: {type(e).__name__}: {e}")
    stand_by(test.__name__)
    now = [row["pid"] for row in post.status()["daemons"]]
    if not r.equal(now, pids, f"the daemons after {test.__name__}"):
        pids = now
    print(f"{test.__name__}: {time.monotonic() - began:.1f} s", flush=True)
while watcher.is_alive():
    watcher.join(10)
    stand_by("silence")
check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
