#!/usr/bin/env python3
# timeout: 240
"""Getting back: account undelete by time, mailbox and words; what status and account show
tell of it; over quota by SMTP, IMAP and in the queue."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

r = Results("keep")
PASSWORD = "secret-keep-1"
post = Instance(accounts={a: PASSWORD for a in ("jo@demo.test", "amy@demo.test", "full@demo.test")},
                conf={"relay": ["retry = {\"1s\"}"], "store": ["quota_messages_default = 1000"]})
JO = "jo@demo.test"


def mail(subject, sender="Zo\u00eb <zoe@x.test>", body="hello"):
    from email.header import Header
    return (f"From: {Header(sender, 'utf-8').encode()}\r\nTo: {JO}\r\n"
            f"Subject: {Header(subject, 'utf-8').encode()}\r\n\r\n{body}\r\n").encode()


def undelete(*args, account=JO):
    return json.loads(post.run("account", "undelete", account, *args, "--json").stdout)


# ---- undelete ----
m = post.imap(JO)
m.create("Work")
for i in range(4):
    m.append("INBOX", None, None, mail(f"Rechnung {i} f\u00fcr M\u00e4rz"))
    m.append("Work", None, None, mail(f"report {i}", sender="boss@x.test"))
for box in ("INBOX", "Work"):
    m.select(box)
    m.store("1:3", "+FLAGS", "\\Deleted")
    m.expunge()
shown = post.json("account", "show", JO)
r.equal((shown["messages"], shown["undelete_messages"]), (2, 6), "account show: the window")
r.check(shown["undelete_bytes"] > 0, "account show: its bytes")
status = post.status()["store"]
r.equal(status["undelete_messages"], 6, "status: the window")
r.check(status["index_bytes"] > 0 and status["live_bytes"] > 0, f"status: space {status}")
r.check("oldest_reader_age_ms" in status, "status: oldest reader")
r.check("oldest reader" in post.run("status").stdout, "status as text")

dry = undelete("--dry-run")
r.equal((dry["found"], dry["back"], len(dry["list"])), (6, 0, 6), "dry run finds all")
r.check(any(row["subject"] == "Rechnung 0 f\u00fcr M\u00e4rz" for row in dry["list"]), "subjects are told")
r.equal(undelete("--dry-run", "--mailbox", "Work")["found"], 3, "--mailbox")
r.equal(undelete("--dry-run", "--match", "rechnung 1 F\u00dcR m\u00c4RZ")["found"], 1, "--match, case folded")
r.equal(undelete("--dry-run", "--match", "BOSS@")["found"], 3, "--match: sender")
r.equal(undelete("--dry-run", "--match", "nothing")["found"], 0, "--match: nothing")
r.equal(undelete("--dry-run", "--since", "1h")["found"], 6, "--since")
r.equal(undelete("--dry-run", "--until", "1h")["found"], 0, "--until a duration ago")
r.equal(undelete("--dry-run", "--until", "2020-01-01")["found"], 0, "--until a date")
r.equal(undelete("--dry-run", "--since", "2020-01-01T00:00", "--until",
                 time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)))["found"], 6, "dates")
for bad in (["--since", "yesterday"], ["--until", "2020-13-01"], ["--mailbox", "a//b"]):
    r.check(post.run("account", "undelete", JO, *bad, check=False).returncode in (64, 65), f"refused: {bad}")
done = undelete("--mailbox", "Work", "--match", "report 2")
r.equal((done["found"], done["back"]), (1, 1), "one is brought back")
m.select("Work")
r.equal(len(m.search(None, "ALL")[1][0].split()), 2, "and is there")
r.equal(undelete("--dry-run")["found"], 5, "and cannot come back again")
r.check("5 messages" in post.run("account", "undelete", JO, "--dry-run").stdout, "list as text")
post.run("account", "set", JO, "--quota", str(post.json("account", "show", JO)["bytes"] + 10))
full = post.run("account", "undelete", JO, check=False)
r.equal(full.returncode, 74, "undelete into a full account")
r.check("is full" in full.stderr, "and says so")
post.run("account", "set", JO, "--quota", "0")
r.equal(undelete()["back"], 5, "all the rest")
m.logout()

# ---- quota ----
FULL = "full@demo.test"
post.run("account", "set", FULL, "--quota", "3K")
m = post.imap(FULL)
r.equal(m.append("INBOX", None, None, mail("big", body="x" * 2500))[0], "OK", "below the quota")
typ, data = m.append("INBOX", None, None, mail("more", body="x" * 600))
r.check(typ == "NO" and b"OVERQUOTA" in data[0], f"APPEND over quota: {data}")
m.select("INBOX")
typ, data = m.copy("1", "Archive")
r.check(typ == "NO" and b"OVERQUOTA" in data[0], f"COPY over quota: {data}")
s = post.smtp()
s.ehlo()
s.mail("x@y.test")
r.equal(s.rcpt(FULL)[0], 250, "there is still some room")
code, text = s.data(mail("too big", body="x" * 2000))
r.check(code == 452 and b"4.2.2" in text, f"over quota at the end of DATA: {code} {text}")
post.run("account", "set", FULL, "--quota", "1K")
s.mail("x@y.test")
code, text = s.rcpt(FULL)
r.check(code == 452 and b"4.2.2" in text, f"over quota at RCPT: {code} {text}")
s.quit()
# The same by number: told at RCPT, at DATA when it fills up in between, by APPEND.
FEW = "few@demo.test"
post.run("account", "add", FEW, "--password-stdin", "--quota-messages", "2", input=PASSWORD + "\n")
post.passwords[FEW] = PASSWORD
r.equal(post.json("account", "show", FULL)["quota_messages"], 1000, "the default of the configuration")
shown = post.json("account", "show", FEW)
r.equal((shown["quota"], shown["quota_messages"]), (0, 2), "quotas of a new account")
r.check("0 of 2" in post.run("account", "show", FEW).stdout, "shown as text")
r.equal([a["quota_messages"] for a in post.json("account", "list") if a["login"] == FEW], [2], "and in the list")
few = post.smtp()
few.ehlo()
few.mail("x@y.test")
r.equal(few.rcpt(FEW)[0], 250, "there is room by number")
s = post.smtp()
s.sendmail("x@y.test", [FEW], mail("one").decode())
m = post.imap(FEW)
r.equal(m.append("INBOX", None, None, mail("two"))[0], "OK", "the last one")
code, text = few.data(mail("three"))
r.check(code == 452 and b"4.2.2" in text, f"full by number at the end of DATA: {code} {text}")
few.mail("x@y.test")
code, text = few.rcpt(FEW)
r.check(code == 452 and b"4.2.2" in text, f"full by number at RCPT: {code} {text}")
few.quit()
s.quit()
typ, data = m.append("INBOX", None, None, mail("four"))
r.check(typ == "NO" and b"OVERQUOTA" in data[0], f"full by number, APPEND: {data}")
r.equal(post.json("account", "show", FEW)["messages"], 2, "exact by number")
m.logout()
for bad in ("-1", "1000000001", "1K", "many", ""):
    r.equal(post.run("account", "set", FEW, "--quota-messages", bad, check=False).returncode, 64, f"refused: {bad}")

# A report to somebody who is full is given up and leaves the queue.
s = post.submit(FULL)
try:
    s.sendmail(FULL, ["nobody@nowhere.invalid"], mail("out").decode("latin-1"))
except Exception as e:  # refused at once is fine as well: no report is made then
    print(f"submission: {e}")
s.quit()
end = time.monotonic() + 60
while time.monotonic() < end and post.json("queue", "list"):
    post.run("queue", "retry", "--all", check=False)
    time.sleep(0.3)
r.equal(post.json("queue", "list"), [], "the queue is empty: no report waits for room")
r.equal(post.json("account", "show", FULL)["messages"], 1, "and none came in")

# ---- one account out of a backup ----
import tempfile  # noqa: E402
AMY = "amy@demo.test"
m = post.imap(AMY)
m.create("Deep/er")
for i in range(6):
    m.append("Deep/er", "(\\Flagged kw)", '"24-Nov-2020 03:47:10 +0130"', mail(f"keep {i}"))
m.select("Deep/er")
m.store("6", "+FLAGS", "\\Deleted")
m.expunge()


def rows(m):
    m.select("Deep/er")
    validity = m.response("UIDVALIDITY")[1]
    data = m.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]
    return validity, [part for part in data if isinstance(part, tuple)]


before = rows(m)
backup = tempfile.mkdtemp(prefix="keep-backup-")
post.run("backup", backup)
m.store("1:2", "+FLAGS", "\\Deleted")
m.expunge()
m.append("Deep/er", None, None, mail("after the backup"))
dry = json.loads(post.run("restore", backup, "--account", AMY, "--dry-run", "--json").stdout)
r.equal((dry["restored"], dry["already"]), (2, 3), "restore --account: dry run")
got = json.loads(post.run("restore", backup, "--account", AMY, "--json").stdout)
r.equal((got["restored"], got["already"], got["verified"]), (2, 3, 5), "restore --account: what is missing")
r.equal(len(rows(m)[1]), 6, "restore --account: beside what has come since")
again = json.loads(post.run("restore", backup, "--account", AMY, "--json").stdout)
r.equal((again["restored"], again["already"]), (0, 5), "restore --account: again")
m.logout()
post.run("account", "remove", AMY, "--yes")
got = json.loads(post.run("restore", backup, "--account", AMY, "--json").stdout)
r.equal((got["restored"], got["uids_kept"], got["verified"]), (5, 5, 5), "an account that was removed")
m = post.imap(AMY)  # its password is back as well
r.equal(rows(m), before, "it is what it was: UIDVALIDITY, UIDs, flags, dates, bytes")
m.logout()
r.equal(post.run("restore", backup, "--account", "none@demo.test", check=False).returncode, 66, "no such account")
r.equal(post.run("restore", backup, "--account", AMY, "--into", "/x", check=False).returncode, 64, "not both")
r.equal(post.run("restore", "/nonexistent", "--account", AMY, check=False).returncode, 66, "no backup")
r.equal(os.listdir(os.path.join(post.root, "store", "spool")), [], "nothing is left behind")
with tempfile.TemporaryDirectory(prefix="keep-into-") as into:
    post.run("restore", backup, "--into", into)
    r.check(os.path.isdir(os.path.join(into, "store")), "restore --into")
import shutil  # noqa: E402
shutil.rmtree(backup)

# ---- an older format ----
post.stop()
superblock = os.path.join(post.root, "store", "superblock")
with open(superblock) as f:
    text = f.read()
with open(superblock, "w") as f:
    f.write(text[:text.index("crc ")].replace("postroom-store 2", "postroom-store 1"))
post.start()
done = post.run("check", "--migrate", "--dry-run").stdout
r.check("format 1 to 2" in done and "format 1 still" in done, f"check --migrate --dry-run: {done}")
r.equal(post.json("check", "--migrate")["now"], 2, "check --migrate")
with open(superblock) as f:
    r.equal(f.read(), text, "the superblock is what it was")
post.imap(JO).logout()
post.stop()
with open(superblock, "w") as f:
    f.write(text.replace("postroom-store 2", "postroom-store 9"))
done = post.run("account", "list", check=False)
r.check(done.returncode == 65 and "a newer Postroom made this store" in done.stderr, f"newer: {done.stderr}")
with open(superblock, "w") as f:
    f.write(text)

post.stop()
done = post.run("check", "--bodies", check=False)
r.equal(done.returncode, 0, f"check: {done.stdout}{done.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
