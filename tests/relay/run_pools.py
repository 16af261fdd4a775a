#!/usr/bin/env python3
# timeout: 60
"""Source addresses: rules with --source and --ehlo, pools with weights, the refusal that
makes a site use another pool, warm-up that overflows to the pool's other addresses or
waits, rates by source."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("pools")
wait_for = waiter(10)
came = {}  # recipient → (peer, EHLO) of each attempt


def answer(stage, argument):
    if stage != "rcpt":
        return None
    came.setdefault(argument, []).append((sink.here.peer, sink.here.name))
    if argument.startswith("block") and sink.here.peer == "127.0.0.2":
        return "554 5.7.1 your address is on a list"
    if argument.startswith("stuck"):
        return "554 5.7.1 your address is on a list"
    return None


sink = Sink(answer)
domains = ("one", "two", "smart", "mx", "list", "warm", "rest", "cold")
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"}, start=False,
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"1h"}']},
    dns="".join(f"{d}.test MX 10 mx.{d}.test\nmx.{d}.test A 127.0.0.1\n" for d in domains))
table = os.path.join(post.root, "etc", "reply-rules")
with open(table, "w") as out:
    out.write('* 5xx * "on a list" pool other 1h\n')
post.configure({"relay": [f'reply_rules = "{table}"']})
post.start()


def send(*to):
    s = post.submit("anna@demo.test")
    s.sendmail("anna@demo.test", list(to), "From: anna@demo.test\r\nSubject: r\r\n\r\nx\r\n")
    s.quit()


def waiting():
    return {x["to"]: x for m in post.json("queue", "list") for x in m["recipients"]}


def source_of(to):
    return came[to][0] if wait_for(lambda: to in came) else None


# Bad input.
for bad in (["pool", "set", "a", "x"], ["pool", "set", "a", "127.0.0.1*0"],
            ["pool", "set", "a", "127.0.0.1", "127.0.0.1"], ["pool", "set", "a b", "127.0.0.1"],
            ["pool", "set", "127.0.0.1", "127.0.0.1"], ["pool", "set", "a", "127.0.0.1=no name"],
            ["pool", "set", "a", "192.0.2.1"], ["pool", "remove", "a"], ["pool", "warm", "x"],
            ["pool", "warm", "127.0.0.1", "--day", "0"], ["pool", "warm", "127.0.0.1", "off"],
            ["relay", "add", "--to", "x.test"], ["relay", "add", "--source", "nopool"],
            ["relay", "add", "--ehlo", "no name", "--source", "127.0.0.1"],
            ["relay", "add", "--source", "127.0.0.1", "--port", "26"],
            ["relay", "rate", "set", "source", "nobody", "1/1h"],
            ["relay", "rate", "set", "warmup", "127.0.0.1", "1/1h"]):
    done = post.run(*bad, check=False)
    r.check(done.returncode != 0 and done.stderr.count("\n") == 1, f"refused: {bad}: {done}")
r.equal(post.json("pool", "list"), [], "nothing is set")

# No pool: as before. A rule by MX, one with a host; an address, a pool.
host = post.json("explain", "--from", "anna@demo.test", "--to", "a@one.test")["ehlo"]
send("a@one.test")
r.equal(source_of("a@one.test"), ("127.0.0.1", host), "the machine decides")
post.run("relay", "add", "--to", "two.test", "--source", "127.0.0.3", "--ehlo", "out3.demo.test")
post.run("pool", "set", "News", "127.0.0.4=out4.demo.test", "127.0.0.5=out5.demo.test*2")
post.run("relay", "add", "--to", "smart.test", "--host", "127.0.0.1", "--port", str(sink.port),
         "--source", "news")
r.check(post.run("pool", "remove", "news", check=False).returncode != 0, "a pool in use stays")
rules = {x["to"]: x for x in post.json("relay", "list")}
r.equal((rules["two.test"].get("source"), rules["two.test"].get("ehlo"),
         rules["two.test"].get("host")), ("127.0.0.3", "out3.demo.test", None), "relay list")
send("a@two.test")
r.equal(source_of("a@two.test"), ("127.0.0.3", "out3.demo.test"), "by MX from there")
for i in range(12):
    send(f"a{i}@smart.test")
r.check(wait_for(lambda: sum("smart" in t for t in came) == 12), "by the smart host")
used = {came[t][0] for t in came if "smart" in t}
r.check(used <= {("127.0.0.4", "out4.demo.test"), ("127.0.0.5", "out5.demo.test")},
        f"from the pool: {used}")
told = post.json("explain", "--from", "anna@demo.test", "--to", "a@smart.test")
r.equal((told["pool"], [x["address"] for x in told["sources"]]),
        ("news", ["127.0.0.4", "127.0.0.5"]), "explain shows the pool")
r.check("127.0.0.3 as out3.demo.test" in post.run(
    "explain", "--from", "a@demo.test", "--to", "a@two.test").stdout, "explain in words")
r.check(wait_for(lambda: "from 127.0.0.3" in str(post.json("trace", "a@two.test"))),
        "the trace tells from where")

# A refusal: from another pool at once, that one's refusal is final; the site keeps to it.
post.run("pool", "set", "default", "127.0.0.2")
send("block@list.test")
r.check(wait_for(lambda: not waiting()), "block is gone, before the operator knows of `other`")
post.run("pool", "set", "other", "127.0.0.6=other.demo.test")
send("block1@list.test")
r.check(wait_for(lambda: len(came.get("block1@list.test", [])) == 2), "tried twice")
r.equal([x[0] for x in came["block1@list.test"]], ["127.0.0.2", "127.0.0.6"], "from the other")
send("next@list.test")
r.equal(source_of("next@list.test"), ("127.0.0.6", "other.demo.test"), "so is the next")
send("stuck@list.test")
r.check(wait_for(lambda: "stuck@list.test" in came and not waiting()), "refused there too: over")
r.equal(len(came["stuck@list.test"]), 1, "and not tried to and fro")

# Warm-up: two at first from the new one, the rest from the old one.
post.run("pool", "set", "default", "127.0.0.7*1000", "127.0.0.8*1")
post.run("pool", "warm", "127.0.0.7")
for i in range(8):
    send(f"w{i}@warm.test")
r.check(wait_for(lambda: sum(t.endswith("@warm.test") for t in came) == 8), "all go")
new = [t for t in came if t.endswith("@warm.test") and came[t][0][0] == "127.0.0.7"]
r.check(1 <= len(new) <= 2, f"few from the new one: {new}")
# Alone it makes them wait; nothing is tried.
post.run("pool", "set", "default", "127.0.0.7")
for i in range(3):
    send(f"r{i}@rest.test")
time.sleep(0.5)
left = waiting()
r.check(left and all(x["attempts"] == 0 for x in left.values()), f"they wait: {left}")
row = {x["pool"]: x for x in post.json("pool", "list")}["default"]["sources"][0]
r.equal((row["warmup_day"], row["warmup_limit"]), (1, 50), "pool list")
post.run("pool", "warm", "127.0.0.7", "--day", "30")
post.run("relay", "rate", "set", "source", "127.0.0.7", "1000/1s")
r.check(wait_for(lambda: not waiting(), 40), "warm: all is gone")
r.check("warm" in post.run("pool", "list").stdout, "in words")
# Rates by source.
post.run("pool", "set", "default", "127.0.0.9")
post.run("relay", "rate", "set", "source", "127.0.0.9", "2/1h")
for i in range(4):
    send(f"c{i}@cold.test")
r.check(wait_for(lambda: sum(t.endswith("@cold.test") for t in came) == 2), "two")
time.sleep(0.3)
r.equal(sum(t.endswith("@cold.test") for t in came), 2, "and no more")
r.check("server.died" not in open(os.path.join(post.root, "log", "postroom.log")).read(),
        "the daemon has run all the time")
post.run("check")
post.close()
sink.close()
r.finish()
