#!/usr/bin/env python3
# timeout: 240
"""Import and export: what goes out by Maildir++ or mbox comes back into a fresh account with
the same UIDVALIDITY, UIDs, flags, keywords, dates, POP3 unique ids and bytes; an import run
again adds nothing; one that is killed goes on; broken files are told by name; quota ends it
with a clear word. A Maildir of a real Dovecot is imported where Dovecot is installed, and one
of Courier's form always. $POSTROOM_CORPUS names a corpus of real mail
($POSTROOM_CORPUS_LIMIT messages of it, 300 by default)."""

import imaplib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import BIN, Instance, Results, corpus_messages, port_base_free  # noqa: E402

imaplib._MAXLINE = 64 * 1024 * 1024
r = Results("transfer")
PASSWORD = "secret-keep-1"
LIMIT = int(os.environ.get("POSTROOM_CORPUS_LIMIT", "0")) or 300
accounts = {f"{name}@demo.test": PASSWORD for name in
            ("source", "bymaildir", "bymbox", "dovecot", "courier", "plain", "broken", "small",
             "killed", "busy", "old")}
post = Instance(accounts=accounts, conf={"store": ["compress = true"]})
work = tempfile.mkdtemp(prefix="keep-transfer-")
rng = random.Random(7)


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mailboxes(m):
    names = []
    for line in m.list()[1]:
        names.append(re.search(rb' "/" (.*)$', line).group(1).decode().strip('"'))
    return names


def message_rows(m):
    """{uid: (flags, date, bytes)} of the selected mailbox."""
    rows = {}
    typ, data = m.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
    for part in data:
        if not isinstance(part, tuple):
            continue
        head = part[0].decode()
        uid = int(re.search(r"UID (\d+)", head).group(1))
        flags = frozenset(re.search(r"FLAGS \(([^)]*)\)", head).group(1).split())
        date = re.search(r'INTERNALDATE "([^"]+)"', head).group(1)
        rows[uid] = (flags - {"\\Recent"}, date, part[1])
    return rows


def account_picture(m):
    """{mailbox: (uidvalidity, uidnext, rows)}"""
    out = {}
    for name in mailboxes(m):
        typ, data = m.select(quoted(name), readonly=True)
        if typ != "OK":
            continue
        validity = int(m.response("UIDVALIDITY")[1][0])
        uidnext = int(m.response("UIDNEXT")[1][0])
        out[name] = (validity, uidnext, message_rows(m) if int(data[0]) else {})
    return out


def same(got, want, what, dates=True, uids=True):
    for name, (validity, uidnext, rows) in want.items():
        if not r.check(name in got, f"{what}: {name} is there"):
            continue
        if uids:
            r.equal(got[name][:2], (validity, uidnext), f"{what}: UIDs of {name}")
        r.equal(sorted(got[name][2]) if uids else len(got[name][2]),
                sorted(rows) if uids else len(rows), f"{what}: messages of {name}")
        mine = got[name][2] if uids else dict(
            zip(sorted(rows), [got[name][2][u] for u in sorted(got[name][2])]))
        for uid, row in rows.items():
            have = mine.get(uid)
            if have is None:
                continue
            r.check(have[0] == row[0], f"{what}: flags of {name} {uid}: {have[0]} {row[0]}")
            if dates:
                r.check(have[1] == row[1], f"{what}: date of {name} {uid}: {have[1]} {row[1]}")
            r.check(have[2] == row[2], f"{what}: bytes of {name} {uid}")


def transfer(*args, code=0, check=True):
    done = post.run(*args, "--json", check=False)
    if check:
        r.equal(done.returncode, code, f"{' '.join(args)}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout) if done.stdout.startswith("{") else {}


def append(m, mailbox, flags, date, data):
    typ, answer = m.append(quoted(mailbox), flags, date, data)
    if not r.check(typ == "OK", f"APPEND to {mailbox}: {answer}"):
        raise SystemExit(r.finish())


def crlf(data):
    return re.sub(rb"\r?\n", b"\r\n", data)


def small(i, body=b"hello\r\n"):
    return (f"From: a@demo.test\r\nTo: b@demo.test\r\nSubject: message {i}\r\n"
            f"Message-ID: <{i}@demo.test>\r\n\r\n").encode() + body


# ---- an account with all that is odd ----
ODD = [
    small("from", b"From here on\r\n>From there\r\n>>From far\r\nFrom bob Fri Jul  8 12:08:34 2011\r\n"),
    small("no end", b"no line end"),
    small("lf", b"bare\nlines\nhere\r\n"),
    small("cr", b"a\rb\r\n\r"),
    small("empty", b""),
    small("blank", b"\r\n\r\n\r\n"),
    b"Status: RO\r\nX-UID: 77\r\nX-Keywords: mine\r\nContent-Length: 3\r\nSubject: has fields\r\n\r\nabc\r\nd\r\n",
    b"X-Postroom: lines=9 date=1 exact=1\r\nSubject: has ours\r\n\r\nbody\r\n",
    b">From odd\r\nSubject: mark first\r\n\r\nx\r\n",
    b"no header at all\r\n",
]
m = post.imap("source@demo.test")
BOXES = ["INBOX", "Sent", "Lists/dev.ml", "Lists/d\u00e9v/&x", "100%", ".dots.in/.front", "empty"]


def utf7(name):
    out = ""
    run = ""
    for c in name + "\0":
        if c != "\0" and not 0x20 <= ord(c) <= 0x7e:
            run += c
            continue
        if run:
            import base64
            b = base64.b64encode(run.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
            out += "&" + b.decode() + "-"
            run = ""
        if c != "\0":
            out += "&-" if c == "&" else c
    return out


BOXES = [utf7(name) for name in BOXES]
for name in BOXES[2:]:
    m.create(quoted(name))
m.subscribe(quoted(BOXES[2]))
zones = ["+0000", "+0130", "-0800", "+1245"]
for i, data in enumerate(ODD):
    for box in BOXES[:2]:
        append(m, box, None, f'"24-Nov-2020 03:47:{10 + i} {zones[i % 4]}"', data)
flagsets = ["\\Seen", "\\Seen \\Answered", "\\Flagged", "\\Draft $Forwarded", "\\Deleted", "",
            "$Junk NonJunk", "$Label1 \\Seen"]
for i, (name, data) in enumerate(corpus_messages(LIMIT)):
    append(m, BOXES[i % (len(BOXES) - 1)], f"({flagsets[i % 8]})",
           f'"{1 + i % 28:02d}-Jan-2019 {i % 24:02d}:00:00 {zones[i % 4]}"', crlf(data))
for box in BOXES[:3]:  # holes in the UIDs, at the end too
    m.select(quoted(box))
    m.uid("STORE", "2,5", "+FLAGS", "\\Deleted")
    m.uid("EXPUNGE", "2,5")
m.select("INBOX")
append(m, "INBOX", None, '"24-Nov-2020 03:47:10 +0000"', small("last"))
m.uid("STORE", "*", "+FLAGS", "\\Deleted")
last = max(message_rows(m))
m.uid("EXPUNGE", str(last))
want = account_picture(m)
subscribed = m.lsub()[1]
m.logout()
total = sum(len(box[2]) for box in want.values())
bytes_total = sum(len(row[2]) for box in want.values() for row in box[2].values())

# ---- out and in again ----
for form, target in (("maildir++", "bymaildir@demo.test"), ("mbox", "bymbox@demo.test")):
    path = os.path.join(work, form)
    dry = transfer("export", "source@demo.test", "--format", form, path, "--dry-run")
    r.equal((dry["messages"], os.path.exists(path)), (total, False), f"{form}: dry export")
    out = transfer("export", "source@demo.test", "--format", form, path)
    r.equal((out["exported"], out["verified"], out["bytes"], out["failed"]),
            (total, total, bytes_total, 0), f"{form}: export")
    again = transfer("export", "source@demo.test", "--format", form, path)
    r.equal((again["exported"], again["verified"]), (total, total), f"{form}: export again")
    dry = transfer("import", target, "--format", form, path, "--dry-run")
    r.equal((dry["imported"], dry["uids_kept"]), (total, total), f"{form}: dry import")
    r.equal(post.json("account", "show", target)["messages"], 0, f"{form}: dry run stores nothing")
    back = transfer("import", target, "--format", form, path)
    r.equal((back["imported"], back["verified"], back["uids_kept"], back["bytes"]),
            (total, total, total, bytes_total), f"{form}: import")
    m = post.imap(target)
    same(account_picture(m), want, form)
    r.check(set(subscribed) <= set(m.lsub()[1]), f"{form}: subscriptions: {m.lsub()[1]}")
    m.logout()
    again = transfer("import", target, "--format", form, path)
    r.equal((again["imported"], again["already"], again["verified"]), (0, total, total),
            f"{form}: run again")
    r.equal(post.json("account", "show", target)["messages"], total, f"{form}: nothing doubled")

# New mail in the mailboxes that took UIDs over gets UIDs above all of the source's.
s = post.smtp()
s.sendmail("x@demo.test", ["bymaildir@demo.test"], small("new").decode())
s.quit()
m = post.imap("bymaildir@demo.test")
m.select("INBOX")
r.check(max(message_rows(m)) >= want["INBOX"][1], "new mail is above the reserved UIDs")
m.logout()

# ---- Courier's form, and one without UIDs ----
def maildir(path):
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, part))
    return path


def put(path, name, data, mtime=1500000000):
    full = os.path.join(path, name)
    with open(full, "wb") as out:
        out.write(data)
    os.utime(full, (mtime, mtime))


lf = [small(i).replace(b"\r\n", b"\n") for i in range(6)]
courier = maildir(os.path.join(work, "courier"))
sub = maildir(os.path.join(courier, ".Arch&AOk-"))
for i in range(3):
    put(courier, f"cur/15000000{i}.M{i}.host:2,{['S', 'RS', 'T'][i]}", lf[i], 1500000000 + i)
put(courier, "new/150000009.M9.host", lf[3])
put(courier, "courierimapuiddb", b"1 1400000000 50\n7 150000000.M0.host\n9 150000001.M1.host\n30 150000002.M2.host\n")
put(sub, "cur/1.x:2,", lf[4])
put(courier, "courierimapsubscribed", b"INBOX.Arch&AOk-\nINBOX.gone\n")
got = transfer("import", "courier@demo.test", "--format", "maildir++", courier)
r.equal((got["imported"], got["uids_kept"]), (5, 3), "courier: counts")
m = post.imap("courier@demo.test")
picture = account_picture(m)
r.equal(picture["INBOX"][0], 1400000000, "courier: UIDVALIDITY")
r.equal(sorted(picture["INBOX"][2]), [7, 9, 30, 50], "courier: UIDs")
r.equal(picture["INBOX"][2][9][0], frozenset(("\\Seen", "\\Answered")), "courier: flags")
r.equal(picture["INBOX"][2][7][2], small(0), "courier: LF became CRLF")
r.equal(len(picture["Arch&AOk-"][2]), 1, "courier: folder name")
r.check(any(b"Arch&AOk-" in line for line in m.lsub()[1]), "courier: subscription")
m.logout()

plain = maildir(os.path.join(work, "plain"))
for i in range(4):
    put(plain, f"new/{1500000000 + i}.a.host", lf[0 if i == 3 else i])  # one twice
first = transfer("import", "plain@demo.test", "--format", "maildir++", plain)
again = transfer("import", "plain@demo.test", "--format", "maildir++", plain)
r.equal((first["imported"], again["imported"], again["already"]), (4, 0, 4), "without UIDs, twice")

# Into a mailbox that has had mail: new UIDs, and it says so.
s = post.smtp()
s.sendmail("x@demo.test", ["old@demo.test"], small("before").decode())
s.quit()
old = transfer("import", "old@demo.test", "--format", "maildir++", courier)
inbox = [row for row in old["mailboxes"] if row["mailbox"] == "INBOX"][0]
r.equal((inbox["imported"], inbox["uids_kept"]), (4, 0), "into an old mailbox")
r.check("new UIDs" in inbox["uids"], "into an old mailbox: it says so")

# ---- broken files ----
broken = maildir(os.path.join(work, "broken"))
put(broken, "cur/1.good.host,S=5:2,S", small("good"))
put(broken, "cur/2.empty.host:2,", b"")
put(broken, "cur/3.zip.host:2,", b"\x1f\x8b\x08junk")
os.mkdir(os.path.join(broken, "cur", "4.folder.host:2,"))
os.symlink("/etc/hostname", os.path.join(broken, "cur", "5.link.host:2,"))
os.mkfifo(os.path.join(broken, "cur", "6.fifo.host:2,"))
put(broken, "cur/7.good.host:2,az", small("good too"))
put(broken, "dovecot-uidlist", b"3 V1300000000 N9\n1 :1.good.host\nrubbish\n1 :7.good.host\n8 P :7.good.host,S=5\n")
put(broken, "dovecot-keywords", b"0 good\n25 not (an atom\nx\n")
maildir(os.path.join(broken, ".a..b"))
got = transfer("import", "broken@demo.test", "--format", "maildir++", broken, code=1)
r.equal((got["imported"], got["failed"], got["verified"]), (2, 5, 2), "broken: counts")
told = "\n".join(f"{p['where']}: {p['problem']}" for p in got["problems"])
for name in ("2.empty", "3.zip", "4.folder", "5.link", "6.fifo", "line 3", "line 4", ".a..b",
             "1.good.host,S=5", "dovecot-keywords", "keywords can be none"):
    r.check(name in told, f"broken: {name} is told: {told}")
r.equal(post.run("import", "broken@demo.test", "--format", "mbox",
                 os.path.join(broken, "dovecot-uidlist"), check=False).returncode, 1,
        "what is no mbox is told")
r.equal(post.run("import", "broken@demo.test", "--format", "maildir++", work,
                 check=False).returncode, 66, "what is no Maildir is told")
r.equal(post.run("import", "nobody@demo.test", "--format", "mbox", work,
                 check=False).returncode, 66, "no such account")

# ---- mbox of others ----
others = os.path.join(work, "others")
os.makedirs(os.path.join(others, "sub"))
put(others, "list", b"From a@b.c Fri Jul  8 12:08:34 2011\nSubject: one\nX-IMAPbase: 1200000000 20 kw\n"
    b"Status: RO\nX-Status: AF\nX-UID: 4\nX-Keywords: kw\n\n>From me\n>>From you\n\n"
    b"From b Fri Jul  8 12:08:35 2011\nSubject: two\nContent-Length: 50\nX-UID: 20\nStatus: O\n\n"
    b"text\n\nFrom c@d.e Fri Jul  8 12:08:36 2011\nno mail\n\n"
    b"From c Fri Jul  8 12:08:37 2011 +0200\nSubject: three\n\nFrom here no separator\n")
put(others, "sub/deep.mbox", b"From a Fri Jul  8 12:08:34 2011\nSubject: deep\n\nx\n")
put(others, "notes.txt", b"no mbox\n")
got = transfer("import", "plain@demo.test", "--format", "mbox", others, code=1)
r.equal((got["imported"], got["problem_count"]), (4, 1), "mbox of others: counts")
m = post.imap("plain@demo.test")
picture = account_picture(m)
rows = picture["list"][2]
r.equal((picture["list"][0], sorted(rows)), (1200000000, [4, 20, 21]), "mbox of others: UIDs")
r.equal(rows[4], (frozenset(("\\Seen", "\\Answered", "\\Flagged", "kw")),
                  rows[4][1], b"Subject: one\r\n\r\nFrom me\r\n>From you\r\n"), "mbox: first")
r.check(b"From c@d.e Fri Jul  8 12:08:36 2011\r\nno mail\r\n" in rows[20][2], "mbox: by Content-Length")
r.equal(rows[21][2], b"Subject: three\r\n\r\nFrom here no separator\r\n", "mbox: third")
r.check(" 10:08:37 +0000" in rows[21][1] or "12:08:37 +0200" in rows[21][1], f"mbox: date {rows[21][1]}")
r.equal(len(picture["sub/deep"][2]), 1, "mbox of others: folder")
m.logout()

# ---- quota ----
post.run("account", "set", "small@demo.test", "--quota-messages", "7")
big = maildir(os.path.join(work, "big"))
lines = [b"3 V1350000000 N100\n"]
for i in range(1, 60):
    put(big, f"cur/{i}.q.host:2,", small(i, b"x" * 70 + b"\r\n"))
    lines.append(f"{i} P{i:03d}-uidl :{i}.q.host\n".encode())
put(big, "dovecot-uidlist", b"".join(lines))
done = post.run("import", "small@demo.test", "--format", "maildir++", big, check=False)
r.equal(done.returncode, 74, "quota of messages: it ends")
r.check("is full" in done.stderr, f"quota of messages: it says so: {done.stderr}")
r.equal(post.json("account", "show", "small@demo.test")["messages"], 7, "quota of messages: exact")
post.run("account", "set", "small@demo.test", "--quota", "2K", "--quota-messages", "0")
done = post.run("import", "small@demo.test", "--format", "maildir++", big, check=False)
r.equal(done.returncode, 74, "quota: it ends")
r.check("is full" in done.stderr, f"quota: it says so: {done.stderr}")
usage = post.json("account", "show", "small@demo.test")
r.check(7 < usage["messages"] < 59 and usage["bytes"] <= 2048, f"quota: exact: {usage['bytes']}")
post.run("account", "set", "small@demo.test", "--quota", "1M")
got = transfer("import", "small@demo.test", "--format", "maildir++", big)
r.equal((got["imported"] + got["already"], got["uids_kept"]), (59, 59), "quota: it goes on, UIDs kept")
p = post.pop3("small@demo.test")
r.equal(p.uidl()[1][:2], [b"1 001-uidl", b"2 002-uidl"], "POP3 unique ids of P fields")
p.quit()

# ---- killed and run again; mail comes in meanwhile, a session looks on ----
many = maildir(os.path.join(work, "many"))
count = int(os.environ.get("POSTROOM_KEEP_MANY", "1500"))
lines = [f"3 V1360000000 N{count + 1}\n".encode()]
for i in range(1, count + 1):
    put(many, f"cur/{i}.k.host:2,S", small(i, b"y" * rng.randrange(2000) + b"\r\n"))
    lines.append(f"{i} :{i}.k.host\n".encode())
put(many, "dovecot-uidlist", b"".join(lines))
kills = 0
m = post.imap("killed@demo.test")
m.select("INBOX")
# A hundredth of a second later each time until it is done, so that some of them hit the work
# however fast the machine is; from the fifth kill on it may end.
for round_number in range(200):
    child = subprocess.Popen([os.path.join(BIN, "postroom"), "--root", post.root, "import",
                              "killed@demo.test", "--format", "maildir++", many, "--json"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = child.communicate(timeout=0.02 + 0.01 * round_number if kills < 5 else None)
        break
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.communicate()
        if not post.json("account", "show", "killed@demo.test")["messages"]:
            continue  # too early: the mailbox is not taken over yet
        kills += 1
        s = post.smtp()
        s.sendmail("x@demo.test", ["killed@demo.test"], small(f"between {kills}").decode())
        s.quit()
try:  # the session that knew the mailbox before is told that it is another now
    m.noop()
    m.noop()
    r.check(False, "a session of before goes on")
except (imaplib.IMAP4.abort, OSError):
    r.check(True, "")
got = json.loads(out)
r.equal((child.returncode, got["messages"], got["imported"] + got["already"], got["uids_kept"],
         got["verified"]), (0, count, count, count, count), f"killed {kills} times, run again")
r.check(kills > 0, "it was killed at least once")
m = post.imap("killed@demo.test")
m.select("INBOX")
uids = m.uid("SEARCH", "ALL")[1][0].split()
r.equal(len(uids), count + kills, "killed: none lost, none doubled")
r.equal([int(u) for u in uids[:count]], list(range(1, count + 1)), "killed: UIDs")
m.logout()

# Two at once into one account: the second is told.
child = subprocess.Popen([os.path.join(BIN, "postroom"), "--root", post.root, "import",
                          "busy@demo.test", "--format", "maildir++", many, "--quiet"])
time.sleep(0.1)
second = post.run("import", "busy@demo.test", "--format", "maildir++", many, check=False)
child.wait()
r.check(second.returncode == 75 or child.returncode == 0, "two at once")
r.equal(post.json("account", "show", "busy@demo.test")["messages"], count, "two at once: none doubled")


# ---- a real Dovecot's ----
def dovecot_run():
    base = tempfile.mkdtemp(prefix="keep-dovecot-")
    os.chmod(base, 0o755)
    port = port_base_free() + 143
    user = "nobody" if os.getuid() == 0 else subprocess.getoutput("id -un")
    home = os.path.join(base, "mail")
    os.makedirs(home)
    if os.getuid() == 0:
        shutil.chown(home, "nobody")
    uid = subprocess.getoutput(f"id -u {user}")
    gid = subprocess.getoutput(f"id -g {user}")
    conf = os.path.join(base, "dovecot.conf")
    with open(conf, "w") as out:
        out.write(f"""
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = imap
ssl = no
disable_plaintext_auth = no
default_internal_user = {user}
default_login_user = {user}
first_valid_uid = 0
mail_location = maildir:{home}/Maildir
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
""")
    daemon = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", conf],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return base, daemon, port, os.path.join(home, "Maildir")
        except OSError:
            time.sleep(0.05)
    daemon.terminate()
    daemon.wait()
    print(open(os.path.join(base, "log")).read() if os.path.exists(base + "/log") else "")
    return base, None, port, None


if os.access("/usr/sbin/dovecot", os.X_OK):
    base, daemon, port, path = dovecot_run()
    if r.check(daemon is not None, "Dovecot runs"):
        d = imaplib.IMAP4("127.0.0.1", port)
        d.login("someone", "x")
        for box in ("Sent", "Lists.dev", utf7("caf\u00e9"), "Deep.er.still"):
            d.create(quoted(box))
            d.subscribe(quoted(box))
        for i, (name, data) in enumerate(corpus_messages(60)):
            d.append(quoted(["INBOX", "Sent", "Lists.dev", utf7("caf\u00e9")][i % 4]),
                     f"({flagsets[i % 8]})", f'"{1 + i % 28:02d}-Jan-2019 {i % 24:02d}:00:00 +0000"',
                     crlf(data))
        for box in ("INBOX", "Lists.dev"):
            d.select(box)
            d.uid("STORE", "2,4", "+FLAGS", "\\Deleted Custom")
            d.uid("EXPUNGE", "2")
            d.uid("STORE", "1,3", "+FLAGS", "(Another \\Answered)")
        want = {}
        for line in d.list()[1]:
            name = line.rsplit(b' "." ', 1)[1].decode().strip('"')
            typ, data = d.select(quoted(name), readonly=True)
            if typ == "OK":
                want[name.replace(".", "/")] = (
                    int(d.response("UIDVALIDITY")[1][0]), int(d.response("UIDNEXT")[1][0]),
                    message_rows(d) if int(data[0]) else {})
        dsubs = sorted(line.rsplit(b' "." ', 1)[1].strip(b'"').replace(b".", b"/") for line in d.lsub()[1])
        d.logout()
        daemon.terminate()
        daemon.wait()
        got = transfer("import", "dovecot@demo.test", "--format", "maildir++", path,
                       "--uidl", "%08Xu%08Xv")
        total = sum(len(box[2]) for box in want.values())
        r.equal((got["imported"], got["verified"], got["uids_kept"]), (total, total, total),
                "Dovecot: counts")
        m = post.imap("dovecot@demo.test")
        as_seen = {name: (v, n, {u: (f, re.sub(r" [-+]\d{4}$", "", t), b)
                                 for u, (f, t, b) in rows.items()})
                   for name, (v, n, rows) in account_picture(m).items()}
        wanted = {name: (v, n, {u: (f, re.sub(r" [-+]\d{4}$", "", t), b)
                                for u, (f, t, b) in rows.items()})
                  for name, (v, n, rows) in want.items()}
        same(as_seen, wanted, "Dovecot", dates=time.timezone == 0)
        mine = sorted(line.rsplit(b' "/" ', 1)[1].strip(b'"') for line in m.lsub()[1])
        r.check(set(dsubs) <= set(mine), f"Dovecot: subscriptions {dsubs} {mine}")
        m.logout()
        p = post.pop3("dovecot@demo.test")
        first = min(want["INBOX"][2])
        r.equal(p.uidl()[1][0].split()[1].decode(), f"{first:08x}{want['INBOX'][0]:08x}",
                "Dovecot: POP3 unique ids by --uidl")
        p.quit()
    shutil.rmtree(base, ignore_errors=True)
else:
    print("no Dovecot here: its Maildir is not tested")

post.stop()
done = post.run("check", "--bodies", check=False)
r.equal(done.returncode, 0, f"check: {done.stdout}{done.stderr}")
post.failed = r.failed > 0
shutil.rmtree(work, ignore_errors=True)
sys.exit(r.finish())
