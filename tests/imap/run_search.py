#!/usr/bin/env python3
# timeout: 300
"""SEARCH is what a plain look at every message's text says, whatever is indexed.

Messages of many charsets, encodings and types are made from texts that this script knows;
for random needles the answer of SUBJECT, FROM, TO, HEADER, BODY and TEXT must be exactly
the messages whose text holds the needle, both folded (as RFC 5051 compares, by Python's
tables).  Asked before there is an index, while it is made, after imapd and `postroom reindex` were killed in the
middle, after messages were moved, expunged and brought back; at each end `postroom check` must
find nothing.

    POSTROOM_SEARCH_QUERIES=10000 for many queries (80 by default), POSTROOM_SEARCH_KILLS
    for kill rounds (2)
"""

import base64
import os
import quopri
import random
import subprocess
import sys
import time
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import postroom_test as t  # noqa: E402

USER, PASSWORD = "ann@example.org", "search-secret"
QUERIES = int(os.environ.get("POSTROOM_SEARCH_QUERIES") or 80)
KILLS = int(os.environ.get("POSTROOM_SEARCH_KILLS") or 2)
WORDS = ["invoice", "Meeting", "QUARTERLY", "the", "and", "report", "Lunch", "foo_bar",
         "x=y", "<b>bold</b>", "&amp;", "100%", "re:", "a", "ab"]
CHARSETS = {
    "us-ascii": [],
    "utf-8": ["Grüße", "Привет", "你好世界", "😀", "ΣΟΦΟΣ", "ﬁne", "İstanbul", "Straße"],
    "iso-8859-1": ["Grüße", "café", "naïve", "Ångström"],
    "windows-1251": ["Привет", "Отчёт", "мир"],
    "koi8-r": ["Привет", "мир"],
    "shift_jis": ["東京", "会議", "カタカナ"],
    "iso-2022-jp": ["東京", "会議"],
    "gb18030": ["你好世界", "会议"],
    "big5": ["會議", "世界"],
    "euc-kr": ["회의", "안녕"],
    "utf-16": ["Grüße", "Привет", "你好世界"],
    "utf-7": ["Grüße", "Привет"],
}
rng = random.Random(int(os.environ.get("POSTROOM_SEED") or 20261124))


def fold(text):
    """Case folded and decomposed, a character at a time."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize
    return "".join(plain("NFKD", plain("NFKD", c).casefold()) for c in text)


class Message:
    """Its bytes, and what is to be found in it: fields as (name, value), texts of parts,
    fields of parts."""

    def __init__(self, number):
        self.fields, self.texts, self.part_fields = [], [], []
        for name in rng.sample(["Subject", "From", "To", "Cc", "Reply-To", "X-Odd",
                                "List-Id"], rng.randint(2, 6)):
            self.fields.append((name, self.words("utf-8", rng.randint(1, 4))))
        self.fields.append(("Message-ID", f"<{rng.getrandbits(40):x}.{number}@example.org>"))
        parts = rng.choice([0, 0, 1, 2, 3])
        if parts == 0:
            fields, body = self.part()
            self.fields += fields
        else:
            self.fields.append(("Content-Type", f"multipart/mixed; boundary=b{number}"))
            body = b""
            for _ in range(parts):
                fields, text = self.part()
                body += b"--b%d\r\n" % number + self.head(fields) + b"\r\n" + text + b"\r\n"
                self.part_fields += fields
            body += b"--b%d--\r\n" % number
        self.bytes = self.head(self.fields) + b"\r\n" + body

    @staticmethod
    def words(charset, count, ends=" "):
        out = []
        for _ in range(count):
            own = CHARSETS[charset]
            word = rng.choice(own) if own and rng.random() < 0.4 else rng.choice(WORDS)
            if rng.random() < 0.2:
                word += f"{rng.getrandbits(16):x}"
            out.append(word)
        return rng.choice(ends).join(out) if len(ends) == 1 else "".join(
            w + rng.choice(ends) for w in out)

    @staticmethod
    def head(fields):
        out = b""
        for name, value in fields:
            if value.isascii() and (name.startswith(("Content-", "Message-"))
                                    or rng.random() < 0.8):
                out += f"{name}: {value}\r\n".encode()
            else:
                # An encoded-word has at most 75 characters (RFC 2047 section 2).
                coded = [base64.b64encode(value[i:i + 10].encode()).decode()
                         for i in range(0, len(value), 10)]
                out += f"{name}: {' '.join(f'=?utf-8?b?{c}?=' for c in coded)}\r\n".encode()
        return out

    def part(self):
        charset = rng.choice(list(CHARSETS))
        text = "\r\n".join(self.words(charset, rng.randint(1, 9))
                           for _ in range(rng.randint(1, 6))) + "\r\n"
        kind = rng.choice(["text/plain", "text/plain", "text/html", "text/x-odd",
                           "image/png"])
        raw = text.encode(charset)
        fields = [("Content-Type", f"{kind}; charset={charset}")]
        if kind.startswith("text/"):
            self.texts.append(text)
        coding = rng.choice(["base64", "quoted-printable", "8bit"])
        if charset == "utf-16":
            coding = "base64"
        fields.append(("Content-Transfer-Encoding", coding))
        if coding == "base64":
            raw = base64.encodebytes(raw).replace(b"\n", b"\r\n")
        elif coding == "quoted-printable":
            raw = quopri.encodestring(raw.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        return fields, raw

    def matches(self, key, field, needle):
        needle = fold(needle)
        if key == "BODY":
            return any(needle in fold(text) for text in self.texts)
        if key == "TEXT":
            lines = [f"{n}: {v}" for n, v in self.fields + self.part_fields]
            return any(needle in fold(x) for x in lines + self.texts)
        name = (field or key).lower()
        return any(n.lower() == name and needle in fold(v) for n, v in self.fields)


class Box:
    """The mailbox as this script knows it: uid -> message."""

    def __init__(self, results):
        self.results = results
        self.mail = t.Instance(domains=("example.org",), accounts={USER: PASSWORD})
        self.known = {}
        self.numbers = 0
        self.client = None

    def connect(self):
        for _ in range(100):
            try:
                self.client = self.mail.imap(USER)
                self.client.select("INBOX")
                return
            except (OSError, Exception):  # imaplib has its own errors for a closed line
                time.sleep(0.1)
        raise RuntimeError("imapd does not come back")

    def append(self, count):
        for _ in range(count):
            message = Message(self.numbers)
            self.numbers += 1
            _, data = self.client.append("INBOX", None, None, message.bytes)
            uid = int(data[0].split(b"APPENDUID ")[1].split()[1].rstrip(b"]"))
            self.known[uid] = message

    def query(self, key, field, needle):
        self.client.literal = needle.encode()
        if field:
            typ, data = self.client.uid("SEARCH", "CHARSET", "UTF-8", "HEADER", field)
        else:
            typ, data = self.client.uid("SEARCH", "CHARSET", "UTF-8", key)
        got = sorted(int(n) for n in (data[0] or b"").split())
        want = sorted(u for u, m in self.known.items() if m.matches(key, field, needle))
        self.results.check(typ == "OK" and got == want,
                           f"{key} {field or ''} {needle!r}: got {got}, want {want}")
        return len(want)

    def needle(self):
        message = self.known[rng.choice(list(self.known))]
        text = rng.choice(message.texts + [v for _, v in message.fields])
        text = rng.choice([line for line in text.split("\r\n") if line] or ["x"])
        if rng.random() < 0.15:
            return rng.choice(WORDS) + " " + rng.choice(WORDS)
        start = rng.randrange(len(text))
        part = text[start:start + rng.choice([1, 2, 3, 4, 6, 9, 14, 30])].strip() or "x"
        return rng.choice([part, part.lower(), part.upper()])

    def random_queries(self, count):
        found = 0
        for _ in range(count):
            key = rng.choice(["SUBJECT", "FROM", "TO", "CC", "BODY", "BODY", "TEXT", "TEXT",
                              "HEADER"])
            field = rng.choice(["X-Odd", "list-id", "Message-ID", "Reply-To"])
            found += self.query(key, field if key == "HEADER" else None, self.needle()) > 0
        return found

    def check(self, what):
        done = self.mail.run("check", "--bodies", check=False)
        self.results.equal(done.returncode, 0, f"check {what}: {done.stdout}{done.stderr}")

    def reindex(self):
        row = self.mail.json("reindex", USER)[0]
        self.results.check(row["messages"] >= len(self.known), f"reindex: {row}")
        return row


def kill_rounds(box):
    """imapd dies while its thread indexes, reindex dies while it works."""
    for i in range(KILLS):
        box.append(70)  # enough that the thread begins
        time.sleep(rng.random() * 1.5)
        box.mail.kill("imapd")
        box.mail.wait_running()
        box.connect()
        box.random_queries(6)
        child = subprocess.Popen([os.path.join(t.BIN, "postroom"), "--root", box.mail.root,
                                  "reindex", USER], stdout=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.25)
        child.kill()
        child.wait()
        box.random_queries(6)
        box.check(f"after kill round {i + 1}")


def moves(box):
    """Out of INBOX and back by undelete; a copy; what is expunged is not found."""
    uids = sorted(box.known)
    moved = uids[10:30]
    box.client.uid("MOVE", f"{moved[0]}:{moved[-1]}", "Archive")
    kept = {u: box.known.pop(u) for u in moved}
    box.random_queries(5)
    box.client.select("Archive")
    inbox, box.known = box.known, {}
    for place, uid in enumerate(sorted(kept)):
        box.known[place + 1] = kept[uid]
    box.random_queries(10)
    box.client.select("INBOX")
    box.known = inbox
    gone = uids[40:60]
    box.client.uid("STORE", f"{gone[0]}:{gone[-1]}", "+FLAGS", r"(\Deleted)")
    box.client.expunge()
    back = [box.known.pop(u) for u in gone]
    box.random_queries(5)
    _, data = box.client.status("INBOX", "(UIDNEXT)")
    next_uid = int(data[0].split(b"UIDNEXT ")[1].rstrip(b")"))
    box.mail.run("account", "undelete", USER)
    box.client.noop()
    _, data = box.client.uid("SEARCH", "UID", f"{next_uid}:*")
    for uid, message in zip(sorted(int(n) for n in data[0].split()), back):
        box.known[uid] = message
    box.random_queries(10)


def main():
    results = t.Results("search")
    box = Box(results)
    box.connect()
    box.append(150)
    box.random_queries(10)
    box.reindex()
    box.append(40)  # these stay unindexed
    found = box.random_queries(QUERIES)
    results.check(found > QUERIES // 3, f"only {found} of {QUERIES} queries found something")
    kill_rounds(box)
    moves(box)
    box.reindex()
    box.random_queries(10)
    done = box.mail.run("verify", check=False)
    results.equal(done.returncode, 0, f"verify: {done.stdout}{done.stderr}")
    box.check("at the end")
    box.mail.failed = results.failed > 0
    box.mail.close()
    return results.finish()


sys.exit(main())
