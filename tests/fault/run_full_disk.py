#!/usr/bin/env python3
# timeout: 150
"""A full disk: on a small file system of its own (needs root to mount; else skipped, 77)
the instance is filled until it takes no more.  New mail is put off (452, RFC 3463 4.3.1),
APPEND and COPY get NO, reading goes on, flags and deletions still work (decision 0045), nothing acknowledged is
lost, no daemon dies, and when there is room again deliveries go on without a restart.

Twice: with the operator's reserve (store.min_free), and without any, down to ENOSPC."""

import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

DISK_MB = 320
LEFT_MB = 24          # beside the filler, when filling by mail begins
DELIVERIES_MAX = 2000
r = Results("full disk")


def text(name, size):
    return (f"From: x@remote.test\r\nSubject: {name}\r\n\r\n" +
            ("y" * 70 + "\r\n") * (size // 72)).encode()


def fill(path, left_mb):
    """A file that leaves so much room."""
    fs = os.statvfs(os.path.dirname(path))
    size = fs.f_bavail * fs.f_frsize - left_mb * 1024 * 1024
    if size <= 0:
        return
    with open(path, "ab") as out:
        try:
            while size > 0:
                out.write(b"\0" * min(size, 1 << 16))
                out.flush()
                size -= 1 << 16
        except OSError:
            pass


def subjects(post, user):
    m = post.imap(f"{user}@demo.test")
    m.select("INBOX", readonly=True)
    _, rows = m.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    m.logout()
    return sorted(row[1].split(b":", 1)[1].strip().decode()
                  for row in rows or [] if isinstance(row, tuple))


def scenario(folder, reserve):
    what = f"min_free {reserve}%"
    post = Instance(accounts={f"{u}@demo.test": f"secret-{u}-1" for u in ("anna", "pop")},
                    conf={"store": [f"min_free = {reserve}%", "shards = 1"],
                          "smtp": ["max_errors = 1000"],
                          "pop3": ["delete_on_retrieval = true"]}, folder=folder)
    filler = os.path.join(folder, "filler")
    before = r.failed
    try:
        pids = [row["pid"] for row in post.status()["daemons"]]
        kept = {"anna": [], "pop": []}
        s = post.smtp()
        s.ehlo()

        def deliver(user, name, size):
            s.rset()
            s.mail("x@remote.test")
            code, reply = s.rcpt(f"{user}@demo.test")
            if code == 250:
                code, reply = s.data(text(name, size))
            if code == 250:
                kept[user].append(name)
            return code, reply

        for i in range(8):
            r.equal(deliver("anna", f"first-{i}", 4000)[0], 250, f"{what}: room at first")
            r.equal(deliver("pop", f"pop-{i}", 4000)[0], 250, f"{what}: room at first")
        reader = post.imap("anna@demo.test")
        reader.select("INBOX")

        # Full, first for large messages, then for small ones.
        fill(filler, LEFT_MB if not reserve else DISK_MB * reserve // 100 + LEFT_MB)
        for size in (900_000, 2000):
            for i in range(DELIVERIES_MAX):
                code, reply = deliver("anna", f"fill-{size}-{i}", size)
                if code != 250:
                    break
            r.equal((code, reply[:5]), (452, b"4.3.1"), f"{what}: SMTP puts off: {reply}")
        if not reserve:
            fill(filler, 0)
        # The last segment may still have room for some small ones.
        for i in range(DELIVERIES_MAX):
            code, reply = deliver("pop", f"full-{i}", 3000)
            if code != 250:
                break
        r.equal(code, 452, f"{what}: another mailbox: {reply}")

        # Reading goes on, and what is there can be marked and removed.
        r.equal(reader.append("INBOX", None, None, text("no", 100_000))[0], "NO",
                f"{what}: APPEND")
        r.equal(reader.noop()[0], "OK", f"{what}: the session that appended goes on")
        r.equal(len(reader.fetch("1:8", "(BODY.PEEK[])")[1]), 16, f"{what}: IMAP reads")
        answer = reader.store("1", "+FLAGS", "(\\Flagged)")
        r.equal(answer[0], "OK", f"{what}: a flag is set: {answer}")
        answer = reader.store("2:3", "+FLAGS", "(\\Deleted)")
        r.equal(answer[0], "OK", f"{what}: marks for deletion: {answer}")
        answer = reader.expunge()
        if r.equal(answer[0], "OK", f"{what}: expunges: {answer}"):
            kept["anna"].remove("first-1")
            kept["anna"].remove("first-2")
        # The reserve: whole mailboxes at a time, while what would grow is refused.
        reader.noop()
        count = len(kept["anna"])
        if reserve:  # without it a COPY may still fit: it brings no bytes
            r.equal(reader.copy("1", "Archive")[0], "NO", f"{what}: COPY")
        for flag in ("\\Flagged", "\\Answered", "\\Seen"):
            answer = reader.store("1:*", "+FLAGS.SILENT", f"({flag})")
            r.equal(answer[0], "OK", f"{what}: {flag} on {count}: {answer}")
        answer = reader.uid("MOVE", "1", "Trash")
        r.equal(answer[0], "OK", f"{what}: MOVE to Trash: {answer}")
        reader.noop()
        r.equal(reader.store("1:" + str(count // 2), "+FLAGS.SILENT", "(\\Deleted)")[0],
                "OK", f"{what}: marks half of {count}")
        answer = reader.expunge()
        r.equal(answer[0], "OK", f"{what}: expunges half: {answer[0]}")
        kept["anna"] = kept["anna"][1 + count // 2:]
        p = post.pop3("pop@demo.test")
        r.equal(p.stat()[0], len(kept["pop"]), f"{what}: POP3 lists")
        p.retr(1)
        p.retr(2)
        try:
            answer = p.quit()
        except Exception as e:
            answer = str(e).encode()
        if r.check(answer.startswith(b"+OK"), f"{what}: POP3 removes: {answer}"):
            kept["pop"] = kept["pop"][2:]
        for user, names in kept.items():
            r.equal(subjects(post, user), sorted(names), f"{what}: {user} while it is full")
        r.equal([row["pid"] for row in post.status()["daemons"]], pids,
                f"{what}: no daemon died")

        # Room again: without a restart, on the same connections.
        os.unlink(filler)
        end = time.monotonic() + 15
        code = 0
        while time.monotonic() < end and code != 250:
            code, reply = deliver("anna", "again", 900_000)
            time.sleep(0.2)
        r.equal(code, 250, f"{what}: deliveries go on: {reply}")
        r.equal(reader.append("INBOX", None, None, text("append again", 5000))[0], "OK",
                f"{what}: APPEND goes on")
        kept["anna"].append("append again")
        reader.logout()
        r.equal([row["pid"] for row in post.status()["daemons"]], pids,
                f"{what}: still the same daemons")
        post.stop()
        post.start()
        for user, names in kept.items():
            r.equal(subjects(post, user), sorted(names), f"{what}: {user} at the end")
        check = post.run("check", "--bodies", check=False)
        r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
        print(f"{what}: {len(kept['anna'])} messages kept", flush=True)
    except Exception as e:
        r.check(False, f"{what}: {type(e).__name__}: {e}\n{post.log_tail()}")
    finally:
        if r.failed > before:
            print(post.log_tail())
        post.stop()
        if os.path.exists(filler):
            os.unlink(filler)
        post.close()


folder = tempfile.mkdtemp(prefix="postroom-full-")
if os.geteuid() != 0 or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder],
        capture_output=True, check=False).returncode != 0:
    os.rmdir(folder)
    print("cannot mount a small file system here")
    sys.exit(77)
try:
    for reserve in (5, 0):
        scenario(folder, reserve)
finally:
    subprocess.run(["umount", "-l", folder], check=False)
    os.rmdir(folder)
sys.exit(r.finish())
