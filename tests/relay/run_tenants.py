#!/usr/bin/env python3
# timeout: 60
"""Tenants and campaigns of bulk senders: turns between tenants, rate and limit of queued mail,
pool, campaigns that are paused over a restart and deleted, selectors of every verb.
POSTROOM_TENANTS_FLOOD: messages of the flood (160)."""

import os
import smtplib
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

FLOOD = int(os.environ.get("POSTROOM_TENANTS_FLOOD", "160"))
SENDERS = 4
r = Results("tenants")
wait_for = waiter(10)
came = {}  # recipient → peer


def answer(stage, argument):
    if stage == "rcpt":
        came[argument] = sink.here.peer
    return None


sink = Sink(answer)
accounts = {f"a{i}@acme.test": "secret-acme-1" for i in range(SENDERS)}
accounts.update({"solo@demo.test": "secret-solo-1", "anna@demo.test": "secret-anna-1"})
post = Instance(
    domains=("demo.test", "acme.test"), accounts=accounts,
    conf={"relay": ["allow_private = true", f"port = {sink.port}", "connections = 1"],
          "auth": ["sends_per_hour = 0"]},
    dns="".join(f"{d}.test MX 10 mx.{d}.test\nmx.{d}.test A 127.0.0.1\n"
                for d in ("far", "near", "rule")))


def send(who, to, campaign=None, session=None, field="X-Postroom-Campaign"):
    s = session or post.submit(who)
    head = "".join(f"{field}: {c}\r\n" for c in ([campaign] if isinstance(campaign, str)
                                                 else campaign or []))
    try:
        s.sendmail(who, [to], f"From: {who}\r\n{head}Subject: s\r\n\r\nx\r\n")
        return None
    except smtplib.SMTPDataError as error:
        return error
    finally:
        if not session:
            s.quit()


def waiting(*selector):
    return {x["to"]: x for m in post.json("queue", "list", *selector) for x in m["recipients"]}


def tenant(name):
    return post.json("tenant", "show", name)


# Bad input is told, nothing is made.
for bad in (["add", "a b"], ["add", ""], ["add", "acme", "--domain", "no domain"],
            ["add", "acme", "--account", "nobody@demo.test"], ["add", "acme", "--pool", "none.such"],
            ["add", "acme", "--rate", "5"], ["add", "acme", "--max-queued", "0"],
            ["set", "acme", "--rate", "5/h"], ["set", "acme"], ["show", "acme"],
            ["remove", "acme"]):
    done = post.run("tenant", *bad, check=False)
    r.check(done.returncode != 0 and done.stderr.count("\n") == 1, f"refused: {bad} {done}")
r.equal(post.json("tenant", "list"), [], "no tenant is there")
post.run("tenant", "add", "Acme", "--domain", "acme.test", "--dkim-domain", "Acme.test")
post.run("tenant", "add", "solo", "--account", "Solo@demo.test")
r.check("another tenant's" in post.run("tenant", "set", "solo", "--domain", "acme.test",
                                       check=False).stderr, "a member belongs to one")
r.equal([(t["tenant"], t["domains"], t["accounts"], t["dkim_domain"])
         for t in post.json("tenant", "list")],
        [("acme", ["acme.test"], [], "acme.test"), ("solo", [], ["solo@demo.test"], "")], "list")

# A campaign has a good name, once; it is not sent; strangers do not name any.
for bad in ("a b", "", "x" * 65, ["one", "two"]):
    error = send("anna@demo.test", "n@near.test", bad)
    r.check(error and error.smtp_code == 550 and b"X-Postroom-Campaign" in error.smtp_error,
            f"refused: {bad} {error}")
stranger = post.smtp()
send("x@far.test", "anna@demo.test", "spring", stranger)
stranger.quit()
box = post.pop3("anna@demo.test")
text = b"\n".join(box.retr(1)[1])
box.quit()
r.check(b"X-Postroom-Campaign: spring" in text, "a stranger's field is left alone")

# A flood of one tenant's senders, before another's three messages: they take turns.
post.run("queue", "pause", "far.test")


def flood(i):
    s = post.submit(f"a{i}@acme.test")
    for n in range(FLOOD // SENDERS):
        send(f"a{i}@acme.test", f"flood{i}-{n}@far.test", "Spring", s)
    s.quit()


threads = [threading.Thread(target=flood, args=(i,)) for i in range(SENDERS)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for i in range(3):
    send("solo@demo.test", f"solo{i}@far.test")
queued = tenant("acme")
r.equal((queued["messages"], [c["campaign"] for c in queued["campaigns"]]),
        (FLOOD // SENDERS * SENDERS, ["spring"]), "counted")
r.equal((tenant("solo")["messages"], tenant("solo")["campaigns"]), (3, []), "the other too")
top = {t["tenant"]: t for t in post.json("queue", "top", "--by", "tenant")}
r.equal({n: t["waiting"] for n, t in top.items()},
        {"acme": FLOOD // SENDERS * SENDERS, "solo": 3}, "queue top by tenant")
r.equal([(t["campaign"], t["waiting"]) for t in post.json(
    "queue", "top", "--by", "campaign", "--tenant", "acme")],
        [("acme/spring", FLOOD // SENDERS * SENDERS)], "… by campaign")
r.equal([t["waiting"] for t in post.json("queue", "top", "--sender", "a1@acme.test")],
        [FLOOD // SENDERS], "… of one sender")
post.run("queue", "resume", "far.test")
r.check(wait_for(lambda: len([m for m in sink.messages if "solo" in m[1][0]]) == 3),
        "the single messages go")
order = [m[1][0] for m in sink.messages]
places = [i for i, to in enumerate(order) if "solo" in to]
r.check(len(places) == 3 and places[-1] <= 8, f"in turns with the flood: {places}")
r.check(not any(b"X-Postroom-Campaign" in m[2] for m in sink.messages),
        "the campaign's name stays here")

# The rest of the flood is dropped by its campaign.
post.run("queue", "pause", "--tenant", "acme")
dropped = post.json("--yes", "queue", "delete", "--campaign", "spring")
r.check(dropped["recipients"] > 0, f"dropped {dropped}")
r.check(wait_for(lambda: tenant("acme")["messages"] == 0), "deleted by campaign")
r.equal(tenant("acme")["campaigns"], [], "nothing is counted any more")

# The limit of queued messages, with the tenant paused; others are not touched.
r.check(tenant("acme")["paused"], "show tells that it is paused")
post.run("tenant", "set", "acme", "--max-queued", "3")
for i in range(3):
    r.equal(send("a0@acme.test", f"full{i}@near.test", "autumn"), None, "below the limit")
error = send("a1@acme.test", "full3@near.test")
r.check(error and error.smtp_code == 452 and error.smtp_error.startswith(b"4.3.1 tenant acme has 3"),
        f"over the limit: {error}")
r.equal(send("solo@demo.test", "free@near.test"), None, "another tenant's")
r.check(wait_for(lambda: "free@near.test" in came), "and it goes")
r.equal({t: x["attempts"] for t, x in waiting("--tenant", "ACME").items()},
        {f"full{i}@near.test": 0 for i in range(3)}, "paused mail is not tried")
r.equal(send("a1@acme.test", "anna@demo.test"), None, "mail for accounts here is no matter of it")

# The other verbs with selectors.
held = post.json("queue", "hold", "--campaign", "autumn", "--to", "full0@near.test")
r.equal((held["recipients"], tenant("acme")["held"]), (1, 1), "hold")
r.equal(post.json("queue", "release", "--tenant", "acme")["recipients"], 1, "release")
r.equal(post.json("queue", "retry", "--tenant", "acme", "--sender", "a0@acme.test")["recipients"],
        3, "retry")
r.equal(post.json("queue", "redirect", "--address", "else@near.test", "--tenant", "acme",
                  "--to", "full1@near.test")["recipients"], 1, "redirect")
r.equal(post.json("queue", "retry", "--tenant", "nobody")["recipients"], 0, "nobody's")

# A campaign that is paused stays so over a restart; another of the tenant goes.
post.run("queue", "pause", "--tenant", "acme", "--campaign", "autumn")
post.run("queue", "resume", "--tenant", "acme")
r.check(post.run("queue", "resume", "--tenant", "acme", check=False).returncode == 66,
        "not paused any more")
r.equal(post.json("queue", "pause"), [{"tenant": "acme", "campaign": "autumn"}], "what is paused")
post.run("tenant", "set", "acme", "--max-queued", "none")
post.stop()
post.start()
send("a2@acme.test", "winter@near.test", "winter")
r.check(wait_for(lambda: "winter@near.test" in came), "another campaign goes")
r.equal({x["attempts"] for x in waiting("--campaign", "autumn").values()}, {0},
        "the paused one is not tried")
r.equal([c["paused"] for c in tenant("acme")["campaigns"] if c["campaign"] == "autumn"], [True],
        "show tells it")
post.run("queue", "resume", "--tenant", "acme", "--campaign", "autumn")
r.check(wait_for(lambda: {"full0@near.test", "else@near.test", "full2@near.test"} <= set(came)),
        "resumed")

# A rate of the tenant's, whoever of it sends.
post.run("tenant", "set", "acme", "--rate", "2/h")
for i in range(SENDERS):
    send(f"a{i}@acme.test", f"rate{i}@near.test")
send("solo@demo.test", "quick@near.test")
r.check(wait_for(lambda: "quick@near.test" in came and
                 len([t for t in came if t.startswith("rate")]) == 2), "two go")
time.sleep(0.2)
left = waiting("--tenant", "acme")
r.equal(sorted({x["attempts"] for x in left.values()}), [0], "the others wait without an attempt")
r.equal(len(left), SENDERS - 2, "as many as are over it")
r.equal(tenant("acme")["rate"], "2/1h", "shown")

# The tenant's pool, unless a rule names another source.
post.run("pool", "set", "out", "127.0.0.3")
post.run("tenant", "set", "solo", "--pool", "out")
post.run("relay", "add", "--to", "rule.test", "--source", "127.0.0.2")
r.check("a tenant sends" in post.run("pool", "remove", "out", check=False).stderr,
        "its pool cannot be removed")
for who, to, peer in (("solo", "p1@near.test", "127.0.0.3"), ("solo", "p2@rule.test", "127.0.0.2"),
                      ("anna", "p3@near.test", "127.0.0.1")):
    send(f"{who}@demo.test", to)
    r.check(wait_for(lambda: to in came), f"{to} goes")
    r.equal(came.get(to), peer, f"from where {to} leaves")
told = post.json("explain", "--from", "solo@demo.test", "--to", "x@near.test")
r.equal((told.get("tenant"), told["pool"], told["pool_by"]), ("solo", "out", "tenant"), "explain")
told = post.json("explain", "--from", "solo@demo.test", "--to", "x@rule.test")
r.equal((told.get("tenant"), told["pool_by"]), ("solo", "rule"), "the rule wins")
r.check("tenant       acme" in post.run("explain", "--from", "a0@acme.test", "--to", "x@near.test")
        .stdout, "explain in words")
r.check(wait_for(lambda: tenant("solo")["messages"] == 0), "nothing of it is left")
# Held, since what waited for a removed tenant's rate waits no more.
r.equal(post.json("queue", "hold", "--tenant", "acme")["recipients"], SENDERS - 2, "hold the rest")
post.run("tenant", "remove", "solo")
post.run("tenant", "remove", "acme")
r.equal(post.json("queue", "list", "--tenant", "acme")[0]["tenant"], "acme", "its mail stays")
post.run("check")
r.check("server.died" not in open(os.path.join(post.root, "log", "postroom.log")).read(),
        "the daemon has run all the time")
post.close()
sink.close()
r.finish()
