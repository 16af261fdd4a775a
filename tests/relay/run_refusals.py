#!/usr/bin/env python3
# timeout: 120
"""What refusals mean beyond the recipient (relay.reply_rules): pause, slow, retry, fail, and
that it wears off; the suppression list; the dialogue of failed attempts in the trace."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("refusals")
wait_for = waiter(20)
tried = {}
say = {}


def answer(stage, argument):
    if stage == "rcpt":
        tried.setdefault(argument, []).append(time.monotonic())
        reply = say.get(argument.split("@")[0].rstrip("0123456789"))
        if reply and len(tried[argument]) <= reply[0]:
            return reply[1]
    return None


sink = Sink(answer)
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"}, start=False,
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"1h"}',
                    'suppress_for = "1h"']},
    dns="".join(f"{d}.test MX 10 mx.{d}.test\nmx.{d}.test A 127.0.0.1\n"
                for d in ("pause", "slow", "other", "hard")))
table = os.path.join(post.root, "etc", "reply-rules")
shipped = post.run("relay", "rules").stdout
r.check("*.google.com" in shipped and "pause" in shipped, "the shipped table is printed")
with open(table, "w") as out:
    out.write('mx.pause.test 4xx * "rest a while" pause 4s\n'
              '*.slow.test 421 4.7.* "" slow\n'
              '* 5xx * "come back" retry 2s\n* 4xx * "never" fail\n' + shipped)
post.configure({"relay": [f'reply_rules = "{table}"']})
post.start()
say["rest"] = (1, "450 4.7.1 rest a while")
say["fast"] = (1, "421 4.7.0 not so fast")
say["back"] = (1, "550 5.7.1 come back")
say["gone"] = (99, "450 4.1.1 Never heard of")
say["wrong"] = (99, "550 5.1.1 no such user")
say["grey"] = (1, "451 4.7.1 Greylisted")


def send(to):
    s = post.submit("anna@demo.test")
    s.sendmail("anna@demo.test", [to], "From: anna@demo.test\r\nSubject: r\r\n\r\nx\r\n")
    s.quit()


def waiting(to):
    return [x for m in post.json("queue", "list") for x in m["recipients"] if x["to"] == to]


def arrived(to):
    return any(to in m[1] for m in sink.messages)


# Pause: the next message is not even tried, others are; then both go.
send("rest@pause.test")
r.check(wait_for(lambda: waiting("rest@pause.test") and
                 waiting("rest@pause.test")[0]["attempts"] == 1), "refused once")
began = time.monotonic()
send("next@pause.test")
send("free@other.test")
r.check(wait_for(lambda: arrived("free@other.test")), "other sites go on")
r.check("next@pause.test" not in tried, "the paused one is left alone")
r.check(wait_for(lambda: waiting("next@pause.test") and waiting("next@pause.test")[0][
    "last_reply"].startswith("450 4.7.1 rest a while")), "the queue tells why")
r.check(wait_for(lambda: arrived("rest@pause.test") and arrived("next@pause.test"), 15),
        "then both go")
r.check(time.monotonic() - began > 2, "not before")

# Slow: after the refusal there is a gap between messages, that wears off.
send("fast@slow.test")
r.check(wait_for(lambda: len(tried.get("fast@slow.test", [])) == 1), "told to go slower")
start = tried["fast@slow.test"][0]
for i in range(3):
    send(f"s{i}@slow.test")
r.check(wait_for(lambda: all(arrived(f"s{i}@slow.test") for i in range(3))), "they go")
r.check(time.monotonic() - start > 0.7, "with gaps")
for i in range(3, 20):
    send(f"s{i}@slow.test")
r.check(wait_for(lambda: arrived("s19@slow.test"), 30), "more of them")
start = time.monotonic()
send("s99@slow.test")
r.check(wait_for(lambda: arrived("s99@slow.test")) and time.monotonic() - start < 1,
        "the gap has worn off")

# Retry after 5xx, fail after 4xx, greylisting by the shipped rule.
send("back@other.test")
r.check(wait_for(lambda: arrived("back@other.test")), "tried again after a 550")
send("gone@other.test")
r.check(wait_for(lambda: tried.get("gone@other.test") and not waiting("gone@other.test")),
        "a 450 that is final")
send("grey@other.test")
r.check(wait_for(lambda: waiting("grey@other.test") and
                 waiting("grey@other.test")[0]["attempts"] == 1), "greylisted")
left = waiting("grey@other.test")[0]["next_try"] - time.time()
r.check(200 < left <= 300, f"again in five minutes, not in an hour: {left}")

# The dialogue of the failed attempt is in the trace.
events = [e for m in post.json("trace", "gone@other.test") for e in m["events"]]
said = " ".join(e.get("said", "") for e in events if e["event"] == "relay.dialogue")
r.check("> RCPT TO:gone@other.test" in said and "< 450 4.1.1 Never" in said,
        f"trace has the dialogue: {said}")

# Suppression: after a hard bounce, and by the operator.
send("wrong@hard.test")
r.check(wait_for(lambda: [x["address"] for x in post.json("suppress", "list")] ==
                 ["wrong@hard.test"]), "a hard bounce is on the list")
row = post.json("suppress", "list")[0]
r.equal((row["reason"], row["text"]), ("bounce", "550 5.1.1 no such user"), "with its reason")
r.check(0 < row["expires"] - time.time() <= 3600, "for an hour")


def refused(to):
    s = post.submit("anna@demo.test")
    s.ehlo()
    s.mail("anna@demo.test")
    code, text = s.rcpt(to)
    s.close()
    return code, text.decode()


code, text = refused("Wrong@Hard.test")
r.check(code == 550 and text.startswith("5.7.1") and "suppression" in text, "told at RCPT")
post.run("suppress", "add", "boss@other.test", "--for", "30d", "--reason", "asked for it")
r.equal(refused("boss@other.test")[0], 550, "by the operator too")
post.run("suppress", "remove", "boss@other.test")
r.equal(refused("boss@other.test")[0], 250, "until it is removed")
post.configure({"relay": ['suppressed = "drop"']})
post.run("reload")
r.equal(refused("wrong@hard.test")[0], 250, "or taken")
before = len(tried["wrong@hard.test"])
send("wrong@hard.test")
r.check(wait_for(lambda: any(e["event"] == "relay.suppressed" for m in
                             post.json("trace", "wrong@hard.test") for e in m["events"])),
        "dropped, and told in the trace")
r.check(wait_for(lambda: not waiting("wrong@hard.test")), "it is gone")
r.equal(len(tried["wrong@hard.test"]), before, "and was not tried")
for args, want in ((("add", "no address"), 65), (("add", "a@b.test", "--for", "x"), 64),
                   (("remove", "a@b.test"), 66)):
    r.equal(post.run("suppress", *args, check=False).returncode, want, f"{args} is told")

# A bad table is told, and the one before stays.
with open(table, "w") as out:
    out.write("* 4xx * nonsense\n")
r.check(":1: " in post.run("relay", "rules", check=False).stderr, "a bad line is told")
post.run("reload")
before = len(tried.get("back2@other.test", []))
send("back2@other.test")
r.check(wait_for(lambda: arrived("back2@other.test")), "the table before stays")
r.equal(post.run("check", check=False).returncode, 0, "check")
post.failed = r.failed > 0
sys.exit(r.finish())
