#!/usr/bin/env python3
# timeout: 120
"""The operator's selectors on the queue (--from, --to, --site, --user, --age), and redirect."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("queue")
wait_for = waiter(20)
sink = Sink(lambda stage, argument: "451 4.3.0 later"
            if stage == "rcpt" and not argument.startswith("good") else None)
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1", "bob@demo.test": "secret-bob-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"1h"}']},
    dns="".join(f"{d}.test MX 10 mx.{d}.test\nmx.{d}.test A 127.0.0.1\n" for d in "ab"))
for login, sender, recipients in (
        ("anna@demo.test", "anna@demo.test", ["x@a.test", "y@b.test"]),
        ("bob@demo.test", "bob@demo.test", ["x@a.test"]),
        ("bob@demo.test", "bob+n@demo.test", ["z@b.test"])):
    s = post.submit(login)
    s.sendmail(sender, recipients, f"From: {sender}\r\nSubject: q\r\n\r\nx\r\n")
    s.quit()


def state():
    return sorted((x["to"], x["state"]) for m in post.json("queue", "list")
                  for x in m["recipients"])


def picked(*args):
    return len(post.json("queue", "list", *args))


r.check(wait_for(lambda: all(x["attempts"] for m in post.json("queue", "list")
                             for x in m["recipients"])), "all were tried")
for args, want in ((("--from", "bob@demo.test"), 1), (("--from", "demo.test"), 3),
                   (("--user", "bob@demo.test"), 2), (("--to", "x@a.test"), 2),
                   (("--site", "b.test"), 2), (("--site", "c.test"), 0),
                   (("--age", "1h"), 0), (("--age", "0s"), 3),
                   (("--user", "bob@demo.test", "--site", "B.test"), 1)):
    r.equal(picked(*args), want, f"list {args}")
post.run("queue", "hold", "--site", "b.test")
r.equal(state(), [("x@a.test", "waiting"), ("x@a.test", "waiting"), ("y@b.test", "held"),
                  ("z@b.test", "held")], "hold by site takes recipients, not messages")
post.run("queue", "release", "--user", "anna@demo.test")
r.equal([s for s in state() if s[1] == "held"], [("z@b.test", "held")], "release by user")

# Redirected: tried at once, at the new address, by the new site; a held one stays held.
done = post.run("queue", "redirect", "--address", "good@b.test", "--to", "x@a.test",
                "--user", "bob@demo.test").stdout
r.check(done.startswith("1 recipients"), f"one is redirected: {done}")
r.check(wait_for(lambda: any(m[1] == ["good@b.test"] and m[0] == "bob@demo.test"
                             for m in sink.messages)), "and goes there")
post.run("queue", "redirect", "--address", "good2@a.test", "--to", "z@b.test")
r.equal([s for s in state() if s[1] == "held"], [("good2@a.test", "held")], "held stays held")
post.run("queue", "release", "--all")
r.check(wait_for(lambda: any(m[1] == ["good2@a.test"] for m in sink.messages)), "until released")
r.equal(state(), [("x@a.test", "waiting"), ("y@b.test", "waiting")], "the rest waits")
for args, want in ((("hold",), 64), (("hold", "x", "--all"), 64), (("hold", "--age", "x"), 64),
                   (("list", "--site", "x@a.test"), 64), (("redirect", "--all"), 64),
                   (("redirect", "--address", "no", "--all"), 64),
                   (("redirect", "--address", "a@b.test", "0000000000000000"), 66)):
    r.equal(post.run("queue", *args, check=False).returncode, want, f"{args} is told")
r.equal(post.run("check", check=False).returncode, 0, "check")
post.failed = r.failed > 0
sys.exit(r.finish())
