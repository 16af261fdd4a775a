#!/usr/bin/env python3
# timeout: 60
"""Rates by site and sender (relay rate): what is over them waits without an attempt, others
go on, what was used outlives a restart; mail that has to wait still expires."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("rates")
wait_for = waiter(10)
at = {}


def answer(stage, argument):
    if stage == "rcpt":
        at.setdefault(argument, time.monotonic())
    return None


sink = Sink(answer)
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1", "bert@demo.test": "secret-bert-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'lifetime = "4s"',
                    'warn_after = "0"']},
    dns="".join(f"{d}.test MX 10 mx.{d}.test\nmx.{d}.test A 127.0.0.1\n"
                for d in ("slow", "free", "shut", "none")))


def send(who, *to):
    s = post.submit(f"{who}@demo.test")
    s.sendmail(f"{who}@demo.test", list(to), f"From: {who}@demo.test\r\nSubject: r\r\n\r\nx\r\n")
    s.quit()


def waiting():
    return {x["to"]: x for m in post.json("queue", "list") for x in m["recipients"]}


# Bad input is told, nothing is set.
for bad in (["set", "site", "slow.test", "x"], ["set", "site", "slow.test", "0/1h"],
            ["set", "moon", "slow.test", "1/1h"], ["set", "site", "no domain", "1/1h"],
            ["set", "sender", "an na@x.test", "1/1h"], ["remove", "site", "slow.test"],
            ["set", "site", "slow.test"], ["nonsense"]):
    done = post.run("relay", "rate", *bad, check=False)
    r.check(done.returncode != 0 and done.stderr.count("\n") == 1,
            f"refused: {bad} {done}")
r.equal(post.json("relay", "rate"), [], "no rate is set")

# Two go at once, then one a second; the others are not touched; another site goes on.
post.run("relay", "rate", "set", "site", "Slow.test", "2/2s")
post.run("relay", "rate", "set", "site", "none.test", "none")
began = time.monotonic()
for i in range(4):
    send("anna", f"s{i}@slow.test")
send("anna", "f@free.test")
r.check(wait_for(lambda: "f@free.test" in at), "another site goes on")
r.check(wait_for(lambda: sum(t.endswith("@slow.test") for t in at) >= 2), "the first two")
left = waiting()
r.check(all(x["attempts"] == 0 and x["last_reply"] == "" for x in left.values()),
        f"to wait is no attempt: {left}")
r.check(wait_for(lambda: sum(t.endswith("@slow.test") for t in at) == 4), "then the others")
r.check(1.7 <= max(at[t] for t in at if "slow" in t) - min(
    at[t] for t in at if "slow" in t) <= 4, "a second apart")
r.check(wait_for(lambda: not waiting()), "all are gone")

# One transaction of several recipients is one message.
time.sleep(max(0, 2.1 - (time.monotonic() - max(at.values()))))
send("anna", *[f"m{i}@slow.test" for i in range(6)])
r.check(wait_for(lambda: sum(t.startswith("m") for t in at) == 6, 2), "one message, six times to")

post.run("relay", "rate", "set", "site", "free.test", "90/1m")
# A sender's rate: bert is not anna's business; it is shown; a restart does not forget it.
post.run("relay", "rate", "set", "sender", "*", "2/1h")
post.run("relay", "rate", "set", "sender", "Bert@demo.test", "none")
for i in range(3):
    send("anna", f"a{i}@free.test")
    send("bert", f"b{i}@free.test")
r.check(wait_for(lambda: all(f"b{i}@free.test" in at for i in range(3))), "bert's go")
r.check(wait_for(lambda: sum(t.startswith("a") for t in at) == 2), "two of anna's")
top = {x["site"]: x for x in post.json("queue", "top")}
r.equal(top.get("free.test", {}).get("rate"), "90/1m", "queue top shows the site's")


def used():
    return {(x["scope"], x["name"]): x for x in post.json("relay", "rate")}.get(
        ("sender", "anna@demo.test"), {}).get("used", 0)


r.check(wait_for(lambda: 1.9 < used() <= 2), "what is used is shown")
told = post.json("explain", "--from", "anna@demo.test", "--to", "x@slow.test")["rates"]
r.equal([(x["scope"], x["name"], x["rate"]) for x in told],
        [("site", "slow.test", "2/2s"), ("sender", "anna@demo.test", "2/1h"),
         ("sender", "demo.test", "2/1h")], "explain")
r.check("rate         2/2s" in post.run("explain", "--from", "a@b.test", "--to", "x@slow.test")
        .stdout, "explain in words")
post.run("queue", "pause", "shut.test")
send("bert", "p@shut.test")
post.stop()
post.start()
# It waits for its turn, and its time is over: the sender is told so, without an attempt.
bounced = lambda: [m for m in post.json("trace", "a2@free.test")  # noqa: E731
                   for e in m["events"] if e["event"] == "relay.fail"]
r.check(wait_for(lambda: bounced() and "p@shut.test" not in waiting() or
                 send("bert", "x@free.test") or time.sleep(0.3), 8),
        "waiting mail expires, paused mail too")
r.check("a2@free.test" not in at, "without an attempt after the restart either")
r.check("5.4.7" in str(post.json("trace", "a2@free.test")), "and says why")
r.check("p@shut.test" not in at, "without an attempt")
r.check(wait_for(lambda: any("p@shut.test" in str(m) and "5.4.7" in str(m)
                             for m in [post.json("trace", "p@shut.test")])), "its sender is told")
r.check("server.died" not in open(os.path.join(post.root, "log", "postroom.log")).read(),
        "the daemon has run all the time")
post.run("check")
post.close()
sink.close()
r.finish()
