#!/usr/bin/env python3
# timeout: 120
"""LMTP (RFC 2033).  In: over a Unix socket and TCP, a reply a recipient, nothing relayed.  Out: to a
scripted server whose replies differ by recipient and which goes away after some of them, each
recipient exactly once; and to another Postroom's socket."""

import os
import socket
import stat
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, waiter  # noqa: E402

wait_for = waiter(15)
r = Results("lmtp")


class Lmtp:
    """A server that answers by its script: a list of replies for each message, "drop" closes.
    `taken`: (recipient, message number) of every 250 that was sent."""

    def __init__(self, scripts):
        self.scripts, self.taken, self.envelopes, self.bodies = scripts, [], [], []
        self.words = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            conn, _ = self.server.accept()
            conn.settimeout(60)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with conn, conn.makefile("rb") as lines:
            try:
                self._dialogue(conn, lines)
            except OSError:
                pass

    def _dialogue(self, conn, lines):
        conn.sendall(b"220 lmtp.test LMTP\r\n")
        rcpts = []
        while line := lines.readline():
            word = line.split()[0].upper().decode()
            self.words.append(word)
            if word == "LHLO":
                conn.sendall(b"250-lmtp.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif word in ("EHLO", "HELO"):
                conn.sendall(b"500 5.5.1 LHLO\r\n")
            elif word == "RCPT":
                address = line.split(b"<")[1].split(b">")[0].decode()
                if address.startswith("never"):
                    conn.sendall(b"550 5.1.1 nobody\r\n")
                else:
                    rcpts.append(address)
                    conn.sendall(b"250 2.1.5 ok\r\n")
            elif word == "DATA":
                conn.sendall(b"354 go on\r\n")
                body = b""
                while (text := lines.readline()) not in (b".\r\n", b""):
                    body += text
                number = len(self.envelopes)
                self.envelopes.append(rcpts)
                self.bodies.append(body)
                script = self.scripts.pop(0) if self.scripts else []
                for i, rcpt in enumerate(rcpts):
                    reply = script[i] if i < len(script) else "250 2.1.5 delivered"
                    if reply == "drop":
                        return
                    if reply[0] == "2":
                        self.taken.append((rcpt, number))
                    conn.sendall((reply + "\r\n").encode())
                rcpts = []
            else:
                conn.sendall(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
                if word == "QUIT":
                    return


class Client:
    """The other side of an LMTP conversation."""

    def __init__(self, where):
        kind = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
        self.sock = socket.socket(kind)
        self.sock.settimeout(20)
        self.sock.connect(where)
        self.lines = self.sock.makefile("rb")

    def line(self):
        return self.lines.readline().decode().strip()

    def reply(self):
        text = self.line()
        while text[3:4] == "-":
            text = self.line()
        return text

    def say(self, *lines):
        """The codes of the replies to these, sent at once."""
        self.sock.sendall("".join(line + "\r\n" for line in lines).encode())
        return [self.reply()[:9] for _ in lines]


def listeners(base, name="lmtp"):
    return {"": [f'listener "{name}" {{ protocol = lmtp  port = {base + 24}  address = {{"127.0.0.1"}} }}',
                 f'listener "{name}-socket" {{ protocol = lmtp  path = "run/lmtp.sock"  mode = "0660" }}']}


def inbox(post, address):
    m = post.imap(address)
    try:
        m.select()
        return [m.fetch(n, "(RFC822)")[1][0][1] for n in m.search(None, "ALL")[1][0].split()]
    finally:
        m.logout()


def queued(instance):
    return sorted(to["to"] for m in instance.json("queue", "list") for to in m["recipients"])


# ---- in ----
there = Instance(domains=("there.test",), hostname="mail.there.test", start=False,
                 accounts={"anna@there.test": "secret-anna-1", "bob@there.test": "secret-bob-1"})
there.configure(listeners(there.base))
there.run("account", "add", "tight@there.test", "--quota", "100", "--password-stdin",
          input="secret-tight-1\n")
there.run("alias", "add", "both@there.test", "anna@there.test", "bob@there.test")
there.run("alias", "add", "half@there.test", "anna@there.test", "tight@there.test")
there.start()
path = os.path.join(there.root, "run", "lmtp.sock")
r.equal(stat.S_IMODE(os.stat(path).st_mode), 0o660, "the socket has the mode of the configuration")
shown = {(l["protocol"], l["address"]) for l in there.status()["listeners"]}
r.check(("lmtp", path) in shown, f"status tells the socket: {shown}")
c = Client(path)
r.check(c.reply().startswith("220 mail.there.test LMTP"), "the banner says LMTP")
r.equal(c.say("EHLO x.test", "HELO x.test"), ["500 5.5.1"] * 2, "EHLO and HELO are not known")
r.equal(c.say("LHLO x.test", "MAIL FROM:<s@far.test>", "RCPT TO:<anna@there.test>",
              "RCPT TO:<nobody@there.test>", "RCPT TO:<tight@there.test>", "RCPT TO:<bob@there.test>",
              "RCPT TO:<x@far.test>", "RCPT TO:<both@there.test>"),
        ["250 HELP", "250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "250 2.1.5", "550 5.7.1",
         "250 2.1.5"], "recipients, pipelined; nothing is relayed")
r.equal(c.say("DATA")[0][:3], "354", "DATA")
c.sock.sendall(b"Subject: one\r\n\r\n" + b"text\r\n" * 50 + b".\r\n")
r.equal([c.reply()[:9] for _ in range(4)], ["250 2.0.0", "452 4.2.2", "250 2.0.0", "250 2.0.0"],
        "one reply for each that was accepted, in their order")
r.equal((len(inbox(there, "anna@there.test")), len(inbox(there, "bob@there.test"))), (1, 1),
        "stored once each, though an alias names them again")
head = inbox(there, "anna@there.test")[0]
r.check(b"Return-Path: <s@far.test>" in head and b"from x.test (local)" in head
        and b"with LMTP" in head, f"trace fields: {head[:300]}")
r.equal(there.json("queue", "list"), [], "what was full is the client's to report: nothing is queued")
r.equal(c.say("MAIL FROM:<s@far.test>", "RCPT TO:<tight@there.test>", "RCPT TO:<half@there.test>"),
        ["250 2.1.0", "250 2.1.5", "250 2.1.5"], "a next one")
c.sock.sendall(b"BDAT 12\r\nSubject: b\r\nBDAT 400 LAST\r\n\r\n" + b"y" * 396 + b"\r\n")
r.equal([c.reply()[:9] for _ in range(3)], ["250 2.0.0"] * 3,
        "BDAT: one reply a chunk, one a recipient after the last; the part that failed of an alias is queued")
r.equal(queued(there), ["tight@there.test"], "and that part alone")
r.equal(c.say("MAIL FROM:<>", "RCPT TO:<nobody@there.test>", "DATA", "RSET",
              "MAIL FROM:<> RET=HDRS", "MAIL FROM:<>", "RCPT TO:<bob@there.test> NOTIFY=NEVER"),
        ["250 2.1.0", "550 5.1.1", "503 5.5.1", "250 2.0.0", "555 5.5.4", "250 2.1.0", "555 5.5.4"],
        "without a recipient 503; what LHLO does not offer is refused")
tcp = Client(("127.0.0.1", there.base + 24))
r.check("LMTP" in tcp.reply(), "by TCP from loopback too")

# ---- out ----
anna = "anna@demo.test"
far = Lmtp([["250 2.1.5 ok", "550 5.2.1 gone", "450 4.2.1 later", "250 2.1.5 ok"], []])
post = Instance(accounts={anna: "secret-anna-1"}, conf={"relay": ["retry = {\"1s\"}"]})
post.run("relay", "add", "--to", "far.test", "--protocol", "lmtp", "--host", "127.0.0.1",
         "--port", str(far.port))
post.run("relay", "add", "--to", "there.test", "--protocol", "lmtp", "--host", path)
for args in (("--protocol", "lmtp", "--host", "127.0.0.1", "--port", "25"),
             ("--host", path), ("--protocol", "lmtp"), ("--protocol", "uucp", "--host", "h"),
             ("--protocol", "lmtp", "--host", path, "--tls", "required"),
             ("--protocol", "lmtp", "--host", path, "--port", "24")):
    done = post.run("relay", "add", "--to", "no.test", *args, check=False)
    r.equal(done.returncode, 64, f"impossible: {args}: {done.stderr.strip()}")
rows = {row["to"]: row for row in post.json("relay", "list")}
r.equal((rows["far.test"]["protocol"], rows["there.test"]["host"]), ("lmtp", path), "relay list")
r.equal(post.json("explain", "--to", "x@far.test")["protocol"], "lmtp", "explain --json")
told = post.run("explain", "--to", "x@there.test").stdout
r.check("protocol     LMTP" in told and path in told and "port " not in told, f"explain: {told}")


def send(domain, *names):
    s = post.submit(anna)
    s.sendmail(anna, [f"{n}@{domain}" for n in names], "Subject: out\r\n\r\n.dot\r\nx\r\n")
    s.quit()


send("far.test", "a", "b", "c", "never", "d")
r.check(wait_for(lambda: not queued(post)), f"all have their fate: {queued(post)}")
r.equal(far.envelopes[0], [f"{n}@far.test" for n in "abcd"], "several in one transaction")
r.equal(far.envelopes[1:], [["c@far.test"]], "only who was put off is tried again")
r.equal(sorted(a for a, _ in far.taken), ["a@far.test", "c@far.test", "d@far.test"],
        "each is delivered exactly once")
r.check("LHLO" in far.words and "EHLO" not in far.words, "LHLO is said")
r.check(far.bodies[0].endswith(b"..dot\r\nx\r\n"), "dots are stuffed")
r.check(wait_for(lambda: len(inbox(post, anna)) >= 1), "a report comes")
text = b"".join(inbox(post, anna))
r.check(b"5.2.1" in text and b"b@far.test" in text and b"never@far.test" in text
        and b"Final-Recipient: rfc822;a@far.test" not in text, "it names those who were refused")

far.scripts[:] = [["250 2.1.5 ok", "250 2.1.5 ok", "drop"], ["drop"], []]
far.taken.clear()
far.envelopes.clear()
send("far.test", "k", "l", "m", "n")
r.check(wait_for(lambda: not queued(post)), f"after the connection was lost twice: {queued(post)}")
r.equal(far.envelopes[1:], [["m@far.test", "n@far.test"]] * 2,
        "who was answered before the connection went away is not sent again")
r.equal(sorted(a for a, _ in far.taken), [f"{n}@far.test" for n in "klmn"], "each exactly once")

before = len(inbox(there, "bob@there.test"))
send("there.test", "bob", "tight", "anna", "nobody")
r.check(wait_for(lambda: queued(post) == ["tight@there.test"]),
        f"to another Postroom's socket: who has no room waits here: {queued(post)}")
r.equal(len(inbox(there, "bob@there.test")), before + 1, "and the others have it once")
r.equal(queued(there), ["tight@there.test"],
        "the other side has queued nothing more")

# ---- what a configuration cannot say ----
conf = os.path.join(post.root, "etc", "postroom.conf")
with open(conf) as f:
    good = f.read()
for line, why in (('listener "l" { protocol = lmtp  port = 25 }', "port 25"),
                  ('listener "l" { protocol = imap  path = "/x" }', "path is for lmtp and local"),
                  ('listener "l" { protocol = lmtp  path = "/x"  port = 24 }', "neither port"),
                  (f'listener "l" {{ protocol = lmtp  path = "/{"x" * 120}" }}', "107")):
    with open(conf, "w") as f:
        f.write(line + "\n" + good)
    done = post.run("check", check=False)
    r.check(done.returncode != 0 and why in done.stdout + done.stderr,
            f"{line}: {done.stdout}{done.stderr}")
with open(conf, "w") as f:
    f.write(good)
there.failed = post.failed = r.failed > 0
sys.exit(r.finish())
