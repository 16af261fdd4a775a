#!/usr/bin/env python3
# timeout: 120
"""QUIT pipelined behind everything, clients that do not read, clients that go away.

1. QUIT behind RETRs of all sizes, in clear and in TLS, read fast and slowly: the session
   ends with +OK and what was delivered is gone (RFC 2449 section 6.6).
2. A client that pipelines commands and does not read is read from no longer when its
   output stands at POP3_OUTPUT_HIGH; the daemon's memory stays, nothing is lost.
3. A client that goes away before it has everything loses nothing.
4. A killed daemon frees the maildrop; shared sessions; LOGIN-DELAY.
5. QUIT as the last command of a turn (POP3_COMMANDS_PER_TURN).
6. STAT, LIST and the line of RETR say the octets that RETR sends, whatever the message ends
   in (RFC 1939 section 11); a dot behind a bare LF gets a second one.

POSTROOM_POP3_LONG=1: more sizes."""

import os
import re
import socket
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402
from pop3_client import Client, Drop, message, unstuff  # noqa: E402

ADDRESS, PASSWORD = "anna@demo.test", "secret-anna-1"
LONG = bool(os.environ.get("POSTROOM_POP3_LONG"))
TURN_COMMANDS = 64
SIZES = (200, 16_000, 66_000, 300_000, 1_000_000) if LONG else (66_000, 1_000_000)


def rss_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def pipelined_quit(r, post, drop):
    for tls in (False, True):
        for sizes in [(size,) for size in SIZES] + [SIZES, (200,) * 70]:
            for slow in (None, (60_000, 0.004)) if max(sizes) > 50_000 else (None,):
                drop.clear()
                messages = [message(size, f"m{i}") for i, size in enumerate(sizes)]
                drop.append(*messages)
                what = f"tls={tls} sizes={sizes[:8]} slow={bool(slow)}"
                c = Client(post, tls, receive_bytes=65536 if slow else None)
                c.login(ADDRESS, PASSWORD)
                c.send(b"".join(b"RETR %d\r\n" % (i + 1) for i in range(len(sizes))) +
                       b"QUIT\r\n")
                start = time.monotonic()
                c.buffer = c.rest(slow)
                c.fill = lambda *_: (_ for _ in ()).throw(EOFError())
                try:
                    for i, want in enumerate(messages):
                        ok = c.line()
                        r.check(ok == b"+OK %d octets" % len(want), f"{what}: {ok!r}")
                        r.check(unstuff(c.listing()) == want, f"{what}: message {i + 1}")
                    r.equal(c.line(), b"+OK goodbye, %d messages removed" % len(sizes), what)
                except EOFError:
                    r.check(False, f"{what}: the session ended early: {c.buffer[-80:]!r}")
                r.check(time.monotonic() - start < 20, f"{what}: took too long")
                r.equal(drop.count(), 0, what + ": removed")
                c.close()


def quit_below_low_mark(r, post, drop):
    """With many amounts of output that a kernel may have taken when QUIT is run."""
    sweep = range(1, 81) if LONG else range(64, 78)
    drop.clear()
    drop.append(message(50_000, "bulk"),
                *[message(200, f"m{i}") for i in range(2 * len(sweep))])
    count = 1 + 2 * len(sweep)
    for tls in (False, True):
        for bulk in sweep:
            c = Client(post, tls, receive_bytes=16384, timeout=10)
            c.login(ADDRESS, PASSWORD)
            c.send(b"TOP 1 99999\r\n" * bulk + b"RETR 2\r\nQUIT\r\n")
            time.sleep(0.02)
            try:
                data = c.rest()
            except (TimeoutError, socket.timeout):
                data = b"no end"
            if not r.check(data.endswith(b"+OK goodbye, 1 messages removed\r\n"),
                           f"tls={tls}: QUIT behind {bulk} times 50 KB: {data[-40:]!r}"):
                return
            count -= 1
            c.close()
    r.equal(drop.count(), count, "one removed by each session")


def no_reader(r, post, drop):
    drop.clear()
    drop.append(*[message(200, f"m{i}") for i in range(100)])
    pid = post.pid("pop3d")
    for tls in (False, True):
        c = Client(post, tls, receive_bytes=8192)
        c.login(ADDRESS, PASSWORD)
        before = rss_kb(pid)
        block, sent = b"CAPA\r\n" * 2000, 0
        c.socket.settimeout(1)
        try:
            while sent < 4_000_000:
                sent += c.socket.send(block[sent % len(block):])
        except (TimeoutError, socket.timeout, ssl.SSLError):
            pass
        r.check(sent < 4_000_000, f"tls={tls}: the server reads on and on, {sent} octets")
        r.check(rss_kb(pid) - before < 8_000,
                f"tls={tls}: {rss_kb(pid) - before} KB more for a client that does not read")
        c.abort()
    # What was pipelined is answered once the client reads.
    c = Client(post, True)
    c.login(ADDRESS, PASSWORD)
    c.send(b"UIDL\r\n" * 1200 + b"NOOP\r\n")
    time.sleep(0.3)
    for i in range(1200):
        r.equal(c.line(), b"+OK unique ids follow", f"reply {i}")
        r.equal(c.listing().count(b"\r\n"), 100, f"listing {i}")
    r.equal(c.line(), b"+OK nothing done", "the last reply")
    c.close()


def gone_before_all(r, post, drop):
    for tls in (False, True):
        drop.clear()
        drop.append(message(200, "small"), *[message(1_500_000, f"m{i}") for i in range(4)])
        c = Client(post, tls, receive_bytes=16384)
        c.login(ADDRESS, PASSWORD)
        c.send(b"".join(b"RETR %d\r\n" % (i + 1) for i in range(5)) + b"QUIT\r\n")
        c.fill()
        time.sleep(0.3)
        r.equal(drop.count(), 5, f"tls={tls}: nothing is removed before it has arrived")
        c.abort()
        time.sleep(0.3)
        r.equal(drop.count(), 5, f"tls={tls}: nor when the client is gone")
        # And the maildrop is free.
        c = Client(post, tls)
        r.check(c.login(ADDRESS, PASSWORD).startswith(b"+OK"), f"tls={tls}: lease freed")
        c.send(b"RETR 1\r\nQUIT\r\n")
        r.check(c.rest().endswith(b"+OK goodbye, 1 messages removed\r\n"),
                f"tls={tls}: one removed")
        r.equal(drop.count(), 4, f"tls={tls}: one removed")


def turn_ends(r, post):
    for before in (TURN_COMMANDS - 2, TURN_COMMANDS - 1, TURN_COMMANDS, 2 * TURN_COMMANDS - 1):
        c = Client(post, True)
        c.send(b"CAPA\r\n" * before + b"QUIT\r\n")
        data = c.rest()
        r.equal(data.count(b"+OK capabilities follow"), before, f"QUIT behind {before}")
        r.check(data.endswith(b".\r\n+OK goodbye\r\n"), f"QUIT behind {before}: {data[-40:]}")


def killed(r, post):
    """The lease dies with the daemon, however it dies."""
    c = Client(post, True)
    r.check(c.login(ADDRESS, PASSWORD).startswith(b"+OK"), "before the kill")
    r.check(Client(post, True).login(ADDRESS, PASSWORD).startswith(b"-ERR [IN-USE]"), "in use")
    post.kill("pop3d")
    r.check(post.wait_running(), "pop3d is back")
    again = Client(post, True)
    r.check(again.login(ADDRESS, PASSWORD).startswith(b"+OK"), "free after kill -9")
    again.command("QUIT")
    c.close()


def octets(r, post, drop):
    drop.clear()
    head = b"Subject: end\r\n\r\n"
    texts = [head + text for text in (
        b"whole\r\n", b"none", b"cr\r", b"lf\n", b"\n", b"\r", b".", b"a\n.\r\nb\n..c",
        b".\n.\n", b"x" * 70_000, b"x" * 600_000 + b"\n", b"\r\n" * 40_000 + b".")]
    texts += [b"Subject: head only", b"\n"]
    for text in texts:
        # imaplib's append() would make every line end a CRLF.
        drop.imap.literal = text
        r.equal(drop.imap._simple_command("APPEND", "INBOX")[0], "OK", "APPEND")
    drop.imap.select("INBOX")
    c = Client(post)
    c.login(ADDRESS, PASSWORD)
    stat = int(c.command("STAT").split()[2])
    c.command("LIST")
    sizes = [int(row.split()[1]) for row in c.listing().splitlines()]
    r.equal(stat, sum(sizes), "STAT is the sum")
    for i, text in enumerate(texts):
        what = f"message that ends in {text[-8:]!r}"
        ok = c.command(f"RETR {i + 1}")
        # Read by LF, as many clients do: the end is still the end.
        sent = re.sub(rb"(?m)^\.", b"", c.listing())
        r.equal((ok, len(sent)), (b"+OK %d octets" % sizes[i], sizes[i]), what)
        r.check(sent.startswith(text) and sent.endswith(b"\r\n"), what + ": its text")
        r.check(len(sent) - len(text) <= 2, what + ": no more than a line end is added")
    c.command("RSET")
    c.abort()


def settings(r):
    """pop3.shared_sessions and pop3.login_delay."""
    post = Instance(accounts={ADDRESS: PASSWORD}, conf={"pop3": ["shared_sessions = true"]})
    drop = Drop(post, ADDRESS)
    messages = [message(200 + i, f"m{i}") for i in range(4)]
    drop.append(*messages)
    one, two = Client(post, True), Client(post, True)
    r.check(one.login(ADDRESS, PASSWORD).startswith(b"+OK 4 messages"), "shared: one")
    r.check(two.login(ADDRESS, PASSWORD).startswith(b"+OK 4 messages"), "shared: two")
    for number in (1, 2):
        r.check(one.command(f"DELE {number}").startswith(b"+OK"), "shared: DELE by one")
    for number in (2, 3):
        r.check(two.command(f"DELE {number}").startswith(b"+OK"), "shared: DELE by two")
    r.equal(one.command("QUIT"), b"+OK goodbye, 2 messages removed", "shared: one ends")
    r.equal(two.command("STAT"), b"+OK 2 %d" % (len(messages[0]) + len(messages[3])),
            "shared: two's numbers stay")
    r.check(two.command("RETR 1").startswith(b"-ERR [SYS/PERM]"), "shared: 1 is gone")
    r.equal(two.command("QUIT"), b"+OK goodbye, 1 messages removed",
            "shared: what is gone already is no error")
    r.equal(drop.count(), 1, "shared: three gone")
    drop.close()
    post.failed = r.failed > 0
    post.stop()

    post = Instance(accounts={ADDRESS: PASSWORD, "bert@demo.test": "secret-bert-2"},
                    conf={"pop3": ["login_delay = 2s"]})
    c = Client(post, True)
    c.command("CAPA")
    r.check(b"LOGIN-DELAY 2\r\n" in c.listing(), "CAPA says LOGIN-DELAY")
    r.check(c.login(ADDRESS, PASSWORD).startswith(b"+OK"), "the first log-in")
    c.command("QUIT")
    c = Client(post, True)
    r.check(c.login(ADDRESS, PASSWORD).startswith(b"-ERR [LOGIN-DELAY] "), "too soon")
    r.check(c.login("bert@demo.test", "secret-bert-2").startswith(b"+OK"), "another account")
    c.command("QUIT")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        c = Client(post, True)
        reply = c.login(ADDRESS, PASSWORD)
        c.close()
        if reply.startswith(b"+OK"):
            break
        time.sleep(0.2)
    r.check(reply.startswith(b"+OK"), "after the delay")
    post.failed = r.failed > 0
    post.stop()


def main():
    r = Results("pop3-sessions")
    post = Instance(accounts={ADDRESS: PASSWORD}, conf={"auth": ["allow_plaintext = true"]})
    pids = [row["pid"] for row in post.status()["daemons"]]
    drop = Drop(post, ADDRESS)
    turn_ends(r, post)
    octets(r, post, drop)
    drop.clear()
    quit_below_low_mark(r, post, drop)
    no_reader(r, post, drop)
    gone_before_all(r, post, drop)
    pipelined_quit(r, post, drop)
    drop.close()
    r.equal([row["pid"] for row in post.status()["daemons"]], pids, "no daemon died")
    killed(r, post)
    post.failed = r.failed > 0
    post.stop()
    settings(r)
    return r.finish()


if __name__ == "__main__":
    sys.exit(main())
