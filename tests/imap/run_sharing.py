#!/usr/bin/env python3
# timeout: 60
"""Shared mailboxes between the accounts of a running server, whose accounts lie in several
shards: `postroom mailbox acl`, COPY and MOVE both ways, a large message, an owner who is
removed while his mailbox is selected.  Message bytes are compared; `postroom check` is
clean at the end.  A few seconds.  RFC 4314, decision 0081.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

USERS = [f"u{i}@demo.test" for i in range(5)]  # ids are random: some are in other shards
LARGE = b"Subject: large\r\n\r\n" + b"".join(
    b"line %d of a large message\r\n" % i for i in range(30000))
SMALL = b"Subject: small\r\n\r\nhello\r\n"


def other(user, name):
    return f'"Other Users/{user}/{name}"'


r = Results("sharing")
with_accounts = {user: "secret-password" for user in USERS + ["shared@demo.test"]}
instance = Instance(accounts=with_accounts)
try:
    owner = USERS[0]
    instance.run("mailbox", "create", owner, "Team")
    for user in USERS[1:]:
        instance.run("mailbox", "acl", owner, "Team", user, "lrswite")
    rows = instance.json("mailbox", "acl", owner)
    r.equal(len(rows), len(USERS) - 1, "entries of the list")
    r.check(all(row["mailbox"] == "Team" and row["rights"] == "lrswited" for row in rows),
            f"entries: {rows}")
    mine = instance.imap(owner)
    for user in USERS[1:]:
        conn = instance.imap(user)
        conn.append("INBOX", None, None, LARGE)
        conn.append("INBOX", None, None, SMALL)
        conn.select("INBOX")
        r.equal(conn.uid("COPY", "1:2", other(owner, "Team"))[0], "OK", f"{user} copies")
        r.equal(conn.uid("MOVE", "1", other(owner, "Team"))[0], "OK", f"{user} moves")
        r.equal(conn.uid("SEARCH", "ALL")[1][0], b"2", f"{user}: left in INBOX")
        mine.select("Team")
        uids = mine.uid("SEARCH", "ALL")[1][0].decode().split()
        got = [mine.uid("FETCH", uid, "(BODY.PEEK[])")[1][0][1] for uid in uids]
        r.check(got == [LARGE, SMALL, LARGE], f"{user}: the bytes differ")
        conn.select(other(owner, "Team"))
        r.equal(conn.uid("MOVE", uids[2], "Archive")[0], "OK", f"{user} moves back")
        conn.select("Archive")
        r.check(conn.fetch("1", "(BODY.PEEK[])")[1][0][1] == LARGE, f"{user}: moved back")
        conn.logout()
        mine.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Deleted)")
        mine.expunge()
        instance.run("mailbox", "acl", owner, "Team", user, "")
    r.equal(instance.json("mailbox", "acl", owner), [], "the list is empty again")

    # The domain's mailboxes; a reader whose owner goes.
    instance.run("mailbox", "create", "shared@demo.test", "News")
    instance.run("mailbox", "acl", "shared@demo.test", "News", "anyone", "lr")
    reader = instance.imap(USERS[1])
    names = [line for line in reader.list('""', '"Shared*"')[1] if line]
    r.check(any(line.endswith(b"Shared/News") for line in names), f"LIST: {names}")
    r.equal(reader.select("Shared/News", readonly=True)[0], "OK", "SELECT Shared/News")
    instance.run("account", "remove", "shared@demo.test", "--yes")
    try:
        reader.noop()
        gone = False
    except Exception as error:  # the server says BYE and ends the session
        gone = "deleted" in str(error) or "no longer" in str(error) or "abort" in str(
            type(error))
    r.check(gone, "the session of a mailbox that is gone goes on")
    mine.logout()
    instance.stop()
    r.check("0 problems" in instance.run("check", "--bodies").stdout, "check")
finally:
    instance.close()
sys.exit(r.finish())
