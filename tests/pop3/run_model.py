#!/usr/bin/env python3
# timeout: 120
"""A POP3 session against a model, and a session cut at every byte.

1. Random commands, one by one and pipelined, in clear and in TLS, while an IMAP client
   delivers and expunges: every reply is what RFC 1939 sections 5 to 7 make of it, numbers,
   sizes and unique ids stay, QUIT removes exactly what was marked or retrieved, and a
   session that ends in another way removes nothing.  Seeds are printed when it fails.
2. RETR, DELE and QUIT cut at every byte, of the clear text and of the TLS records: before
   QUIT is whole nothing is removed, behind it all of it or nothing.

POSTROOM_POP3_SEED=N plays one round again, POSTROOM_POP3_ROUNDS=N more of them."""

import os
import random
import socket
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402
from pop3_client import Client, Closed, Drop, message, unstuff  # noqa: E402

ADDRESS, PASSWORD = "anna@demo.test", "secret-anna-1"
ROUNDS = int(os.environ.get("POSTROOM_POP3_ROUNDS", "12"))


class Wrong(Exception):
    pass


def want(got, wanted, what):
    if got != wanted:
        raise Wrong(f"{what}: got {got!r}, want {wanted!r}")


class Model:
    """What a session must see: messages by number, and what has happened to them."""

    def __init__(self, messages):
        self.messages = messages  # dicts: uid, text
        self.deleted, self.retrieved, self.gone = set(), set(), set()
        self.uidl = {}
        self.errors = 0  # POP3_ERRORS_MAX of 20 end a session

    def live(self):
        return [n for n in range(1, len(self.messages) + 1) if n not in self.deleted]

    def size(self, n):
        return len(self.messages[n - 1]["text"])

    def total(self):
        return sum(self.size(n) for n in self.live())

    def check(self, c, command):
        word, _, rest = command.partition(" ")
        args = [int(a) for a in rest.split()]
        n = args[0] if args else None
        reply = c.line()
        if n is not None and n not in self.live():
            want(reply[:4], b"-ERR", command)
            self.errors += 1
            return
        if word == "STAT":
            want(reply, b"+OK %d %d" % (len(self.live()), self.total()), command)
        elif word in ("NOOP", "RSET"):
            want(reply[:3], b"+OK", command)
            if word == "RSET":
                self.deleted.clear()
        elif word == "LIST" and n:
            want(reply, b"+OK %d %d" % (n, self.size(n)), command)
        elif word == "UIDL" and n:
            want(reply[:3], b"+OK", command)
            self.same_uidl(n, reply.split()[2])
        elif word in ("LIST", "UIDL"):
            want(reply[:3], b"+OK", command)
            rows = [row.split() for row in c.listing().splitlines()]
            want([int(row[0]) for row in rows], self.live(), command)
            for row in rows:
                if word == "LIST":
                    want(int(row[1]), self.size(int(row[0])), command)
                else:
                    self.same_uidl(int(row[0]), row[1])
            if word == "UIDL":
                want(len({row[1] for row in rows}), len(rows), "unique ids are unique")
        elif word == "DELE":
            want(reply[:3], b"+OK", command)
            self.deleted.add(n)
        elif n in self.gone:
            want(reply[:4], b"-ERR", command + " of what IMAP has expunged")
        else:
            text = self.messages[n - 1]["text"]
            want(reply, b"+OK %d octets" % len(text), command)
            if word == "TOP":
                head, body = text.split(b"\r\n\r\n", 1)
                text = head + b"\r\n\r\n" + b"".join(body.splitlines(True)[:args[1]])
            else:
                self.retrieved.add(n)
            want(unstuff(c.listing()), text, command)

    def same_uidl(self, n, uidl):
        want(1 <= len(uidl) <= 70, True, "length of a unique id")
        want(uidl, self.uidl.setdefault(self.messages[n - 1]["uid"], uidl), f"UIDL of {n}")


def random_command(rng, model):
    word = rng.choice(("STAT", "LIST", "LIST n", "UIDL", "UIDL n", "RETR n", "RETR n",
                       "TOP n k", "TOP n 0", "DELE n", "DELE n", "RSET", "NOOP"))
    if word == "RSET" and rng.random() < 0.6:
        word = "STAT"
    number = rng.randint(1, len(model.messages) + 2)
    if model.errors >= 9:
        # A group of nine may still go wrong; after that only what is certain.
        word, number = rng.choice(("STAT", "LIST", "UIDL", "NOOP")), 0
    return word.replace("n", str(number)).replace(
        "k", str(rng.choice((1, 2, 5, 100000))))


def login(post, tls):
    """A session, once the one before has gone."""
    end = time.monotonic() + 20
    while True:
        c = Client(post, tls)
        reply = c.login(ADDRESS, PASSWORD)
        if reply.startswith(b"+OK"):
            return c, int(reply.split()[1])
        c.close()
        if not reply.startswith(b"-ERR [IN-USE]") or time.monotonic() > end:
            raise Wrong(f"log-in: {reply!r}")
        time.sleep(0.01)


def new_message(rng, mark):
    text = message(rng.choice((120, 500, 3000, 70_000)), mark)
    return text + rng.choice((b"", b".\r\n", b"..\r\n.\r\n", b"\r\n\r\n", b"x" * 2000 + b"\r\n"))


def one_round(post, drop, box, uidl, seed):
    """Plays a session; `box` (uid -> text) is what the INBOX holds, before and after."""
    rng = random.Random(seed)
    while len(box) < 8:
        text = new_message(rng, f"r{seed}-{len(box)}")
        drop.append(text)
        box[max(drop.uids())] = text
    c, count = login(post, rng.random() < 0.5)
    want(count, len(box), "messages at log-in")
    model = Model([{"uid": uid, "text": box[uid]} for uid in sorted(box)])
    model.uidl = uidl
    for _ in range(rng.randint(5, 25)):
        event = rng.random()
        if event < 0.08:
            text = new_message(rng, f"late-{seed}")
            drop.append(text)
            box[max(drop.uids())] = text
        elif event < 0.16:
            n = rng.randint(1, count)
            uid = model.messages[n - 1]["uid"]
            if uid in box:
                drop.expunge(uid)
                del box[uid]
                model.gone.add(n)
        commands = [random_command(rng, model) for _ in range(rng.choice((1, 1, 1, 4, 9)))]
        c.send("".join(command + "\r\n" for command in commands).encode())
        for command in commands:
            model.check(c, command)
    if rng.random() < 0.7:
        goes = [model.messages[n - 1]["uid"] for n in model.deleted | model.retrieved]
        goes = [uid for uid in goes if uid in box]
        want(c.command("QUIT"), b"+OK goodbye, %d messages removed" % len(goes), "QUIT")
        for uid in goes:
            del box[uid]
        c.close()
    elif rng.random() < 0.5:
        c.close()
    else:
        c.abort()
    c, count = login(post, True)
    want(count, len(box), "messages behind the session")
    c.close()
    want(drop.uids(), sorted(box), "what IMAP sees")


def model_rounds(r, post, drop):
    first = os.environ.get("POSTROOM_POP3_SEED")
    seeds = [int(first)] if first else [random.randrange(1 << 30) for _ in range(ROUNDS)]
    box, uidl = {}, {}
    for seed in seeds:
        try:
            one_round(post, drop, box, uidl, seed)
            r.check(True, f"seed {seed}")
        except (Wrong, Closed, OSError) as failed:
            r.check(False, f"seed {seed}: {failed!r}")
            return


class Records:
    """A TLS session whose records can be sent in parts."""

    def __init__(self, post):
        self.raw = socket.create_connection(("127.0.0.1", post.port("pop3s")), timeout=20)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.inside, self.outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inside, self.outside)
        self.pump(self.tls.do_handshake)

    def pump(self, fn):
        while True:
            try:
                done = fn()
            except ssl.SSLWantReadError:
                done = None
            self.raw.sendall(self.outside.read())
            if done is not None or fn == self.tls.do_handshake and self.tls.version():
                return done
            data = self.raw.recv(65536)
            if not data:
                raise Closed
            self.inside.write(data)

    def line(self):
        text = b""
        while not text.endswith(b"\n"):
            text += self.pump(lambda: self.tls.read(1))
        return text

    def records(self, commands):
        for command in commands:
            self.tls.write(command)
        return self.outside.read()


def cut_login(post, tls):
    if not tls:
        c, count = login(post, False)
        return c.socket, (lambda commands: b"".join(commands)), count
    end = time.monotonic() + 20
    while True:
        c = Records(post)
        c.line()
        c.raw.sendall(c.records([f"USER {ADDRESS}\r\nPASS {PASSWORD}\r\n".encode()]))
        c.line()
        reply = c.line()
        if reply.startswith(b"+OK"):
            return c.raw, c.records, int(reply.split()[1])
        c.raw.close()
        if time.monotonic() > end:
            raise Wrong(f"log-in: {reply!r}")
        time.sleep(0.01)


def cuts(r, post, drop):
    commands = [b"RETR 1\r\n", b"DELE 2\r\n", b"QUIT\r\n"]
    for tls in (False, True):
        drop.clear()
        drop.append(*[message(300, f"m{i}") for i in range(4)])
        cut = 0
        while True:
            raw, encode, count = cut_login(post, tls)
            if not r.equal(count, 4, f"tls={tls}, cut before byte {cut}: nothing is removed"):
                return
            data = encode(commands)
            if cut == len(data):
                break
            raw.sendall(data[:cut])
            if cut % 3 == 1:
                time.sleep(0.002)
            if cut % 2:  # a reset, else an orderly end
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.close()
            cut += 1
        # Whole, and then gone without reading the answer: all or nothing.
        raw.sendall(data)
        raw.close()
        c, count = login(post, True)
        r.check(count in (2, 4), f"tls={tls}: all or nothing, {count} left")
        c.close()
        # Whole, and read to the end.
        raw, encode, count = cut_login(post, tls)
        raw.sendall(encode(commands))
        while raw.recv(65536):
            pass
        c, left = login(post, True)
        r.equal(left, count - 2, f"tls={tls}: what was acknowledged is removed")
        c.close()
        r.check(cut >= sum(map(len, commands)), f"tls={tls}: {cut} cuts")


def main():
    r = Results("pop3-model")
    post = Instance(accounts={ADDRESS: PASSWORD}, conf={"auth": ["allow_plaintext = true"]})
    pids = [row["pid"] for row in post.status()["daemons"]]
    drop = Drop(post, ADDRESS)
    model_rounds(r, post, drop)
    cuts(r, post, drop)
    drop.close()
    r.equal([row["pid"] for row in post.status()["daemons"]], pids, "no daemon died")
    post.stop()
    r.equal(post.run("check", check=False).returncode, 0, "the store is whole")
    post.failed = r.failed > 0
    return r.finish()


if __name__ == "__main__":
    sys.exit(main())
