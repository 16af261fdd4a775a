#!/usr/bin/env python3
# timeout: 60
"""Delivery events (decision 0101): `postroom events` from a cursor on, and the webhook: signed,
in order, retried, over a kill at least once; two receivers, one of them dead; private addresses
only when that is allowed."""

import hashlib
import hmac
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("events")
wait_for = waiter(15)
LONG = os.environ.get("POSTROOM_LONG") == "1"
posts = []  # (headers, body) of those that were answered with 200
refuse = [0]  # so many are answered with 503 first
tries = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        tries.append(time.monotonic())
        good = refuse[0] == 0
        refuse[0] -= not good
        if good:
            posts.append((dict(self.headers), body))
        self.send_response(200 if good else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
replies = {"no@one.test": "550 5.1.1 no such user", "later@one.test": "451 4.3.0 later"}
sink = Sink(lambda stage, argument: replies.get(argument) if stage == "rcpt" else None)
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1", "ben@demo.test": "secret-ben-1"}, start=False,
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'suppress_for = "1h"']},
    dns="one.test MX 10 mx.one.test\nmx.one.test A 127.0.0.1\n")
key = os.path.join(post.root, "etc", "webhook-key")
with open(key, "w") as out:
    out.write("a-secret\nnot this line\n")


post.configure({"webhook": [f'url = "http://127.0.0.1:{receiver.server_port}/in?x=1"',
                            f'secret = "{key}"', "allow_private = true"]})
post.start()


def send(*to):
    s = post.submit("anna@demo.test")
    s.sendmail("anna@demo.test", to, "From: anna@demo.test\r\nSubject: e\r\n\r\nx\r\n")
    s.quit()


def events(*options):
    text = post.run("events", "--json", *options).stdout
    return [json.loads(line) for line in text.splitlines()]


def posted():
    return [e for _, body in posts for e in json.loads(body)["events"]]


# The receiver's place begins at the end of the trace; give it one.
place = os.path.join(post.root, "store", "webhook-place")
send("ben@demo.test")
r.check(wait_for(lambda: os.path.exists(place)), f"the place is kept: {place}")
send("yes@one.test", "no@one.test", "later@one.test", "ben@demo.test")
r.check(wait_for(lambda: {"accepted", "delivered", "bounced", "deferred", "suppressed"} <=
                 {e["event"] for e in posted()}), "all kinds come")
seen = {(e["event"], e.get("to")) for e in posted()}
r.check({("accepted", "yes@one.test"), ("delivered", "yes@one.test"),
         ("bounced", "no@one.test"), ("suppressed", "no@one.test"),
         ("deferred", "later@one.test")} <= seen, f"for whom they are: {sorted(seen)}")
bounced = [e for e in posted() if e["event"] == "bounced"][0]
r.check(bounced["reply"] == "550 5.1.1 no such user" and len(bounced["message"]) == 16 and
        bounced["from"] == "anna@demo.test" and "mx.one.test" in bounced["host"],
        f"with what is known: {bounced}")
headers, body = posts[0]
want = hmac.new(b"a-secret", headers["X-Postroom-Timestamp"].encode() + b"." + body,
                hashlib.sha256).hexdigest()
r.equal(headers["X-Postroom-Signature"], "sha256=" + want, "signed")
r.equal(headers["Content-Type"], "application/json", "as JSON")
local = [e for e in posted() if e["event"] == "delivered" and e["to"].startswith("ben@")]
r.equal(len(local), len({e["id"] for e in local}), "none twice")

# The command line tells the same, from a cursor on, by kind, a number of them.
listed = events()
r.check([e["id"] for e in listed][-len(posted()):] == [e["id"] for e in posted()],
        "events lists the same in the same order")
third = listed[2]
r.equal([e["id"] for e in events("--since", third["cursor"])], [e["id"] for e in listed[3:]],
        "from a cursor on")
r.equal(events("--since", listed[-1]["cursor"]), [], "nothing behind the last one")
r.equal({e["event"] for e in events("--kind", "bounced,deferred")}, {"bounced", "deferred"},
        "by kind")
r.equal(len(events("--limit", "2", "--since", "1h")), 2, "a number of them")
r.check("bounced" in post.run("events").stdout, "for people too")
for bad, code in ((["--since", "2000-13-01:5"], 64), (["--kind", "x"], 64), (["--limit", "-1"], 64),
                  (["--since", third["cursor"][:-1] + "x"], 64),
                  (["--since", third["cursor"].split(":")[0] + ":3"], 66)):
    r.equal(post.run("events", *bad, check=False).returncode, code, f"bad: {bad}")
follow = subprocess.Popen([os.path.join(os.environ["POSTROOM_BIN"], "postroom"), "--root", post.root,
                           "events", "--json", "--follow", "--since", listed[-1]["cursor"],
                           "--kind", "delivered", "--limit", "1"], stdout=subprocess.PIPE)
send("yes@one.test")
line = json.loads(follow.stdout.readline())
r.check(line["event"] == "delivered" and line["to"] == "yes@one.test" and
        follow.wait(10) == 0, "followed")

# A receiver that fails gets the same again, later and later.
before = len(posted())
refuse[0] = 2 if LONG else 1
del tries[:]
send("yes@one.test")
r.check(wait_for(lambda: len(posted()) > before and len(tries) > (2 if LONG else 1)), "tried again")
r.check(tries[1] - tries[0] > 0.8 and (not LONG or tries[2] - tries[1] > 1.8),
        "with growing waits")
r.check(wait_for(lambda: [e["id"] for e in events()][-len(posted()):] ==
                 [e["id"] for e in posted()]), "and nothing is lost or out of order")

# Killed while the receiver fails: told after the start.
refuse[0] = 10 ** 6
known = len(events())
send("yes@one.test")
r.check(wait_for(lambda: len(events()) > known), "an event that cannot be told")
r.check(wait_for(lambda: refuse[0] < 10 ** 6), "which was tried")
post.kill("smtpd", signal.SIGKILL)
refuse[0] = 0
post.wait_running()
r.check(wait_for(lambda: {e["id"] for e in events()[-2:]} <= {e["id"] for e in posted()}),
        "is told after a kill")

# A second receiver, by a reload: a key of its own, a place of its own; the first one is dead.
second = []


class Second(Receiver):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        second.append((dict(self.headers), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


receiver2 = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Second)
threading.Thread(target=receiver2.serve_forever, daemon=True).start()
path = os.path.join(post.root, "etc", "postroom.conf")


def replace(old, new):
    with open(path) as conf:
        text = conf.read()
    assert old in text
    with open(path, "w") as conf:
        conf.write(text.replace(old, new))
    post.run("reload")


def told(batches):
    return [e["id"] for _, body in batches for e in json.loads(body)["events"]]


r.check(wait_for(lambda: told(posts)[-1:] == [e["id"] for e in events()][-1:]), "all is told")
before = len(events())
refuse[0] = 10 ** 6
replace('/in?x=1"', f'/in?x=1 http://127.0.0.1:{receiver2.server_port}/two"')
r.check(wait_for(lambda: os.path.exists(place + "-2")), "it has a place")
send("yes@one.test", "no@one.test")
r.check(wait_for(lambda: len(second) > 0 and refuse[0] < 10 ** 6 and
                 told(second) == [e["id"] for e in events()[before:]]),
        "it is told what comes from now on, while the first refuses")
headers, body = second[0]
r.equal(headers["X-Postroom-Signature"], "sha256=" + hmac.new(
    b"not this line", headers["X-Postroom-Timestamp"].encode() + b"." + body,
    hashlib.sha256).hexdigest(), "signed by the second line")
replace("/in?x=1 http", "/in?x=1 - http")  # at the third place now, which has no key
send("yes@one.test")
r.check(wait_for(lambda: "line=3" in post.log_tail(100)), "a key that is not there is told")
replace("/in?x=1 - http", "/in?x=1 http")
r.check(wait_for(lambda: told(second) == [e["id"] for e in events()[before:]]),
        "back at its place it goes on, nothing lost or twice")
refuse[0] = 0
r.check(wait_for(lambda: {e["id"] for e in events()[before:]} <= set(told(posts))),
        "the first is told all when it is back")

# Not allowed: nothing goes to this machine.
with open(path) as conf:
    text = conf.read()
with open(path, "w") as conf:
    conf.write(text.replace(f'{key}"\n    allow_private = true', f'{key}"'))
post.run("reload")
count = len(tries)
send("yes@one.test")
r.check(wait_for(lambda: 'reason="no answer"' in post.log_tail(200)), "refused")
r.equal(len(tries), count, "no private address without leave")
post.close()
receiver.shutdown()
receiver2.shutdown()
sink.close()
r.finish()
