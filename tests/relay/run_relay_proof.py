#!/usr/bin/env python3
# timeout: 60
"""The open-relay proof over the configuration and directory as they are: told by check, and
smtpd neither starts nor reloads without it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

r = Results("relay_proof")
post = Instance(domains=("demo.test", "two.test"), accounts={"anna@demo.test": "secret-anna-1"},
                conf={"smtp": ['trusted_networks = {"10.1.0.0/16"}']},
                dns="far.test MX 10 mx.far.test\nmx.far.test A 127.0.0.1\n")
post.run("alias", "add", "@two.test", "me@far.test")
shown = post.run("check").stdout
r.check("no stranger can relay" in shown, f"check says so, with a catch-all elsewhere: {shown}")
r.check(post.json("check")["relay_proof_rows"] >= 40, "of each domain")
r.equal(post.run("check", "--config-only").returncode, 0, "--config-only too")


def refused():
    s = post.smtp()
    s.helo("stranger.test")
    s.mail("a@far.test")
    code = s.rcpt("b@far.test")[0]
    s.close()
    return code


path = os.path.join(post.root, "etc", "postroom.conf")
with open(path) as f:
    good = f.read()
for network in ("0.0.0.0/0", "192.0.0.0/8"):
    with open(path, "w") as f:
        f.write(good.replace('"10.1.0.0/16"', f'"{network}"'))
    done = post.run("check", check=False)
    r.equal(done.returncode, 78, f"check refuses {network}")
    r.check("smtp.trusted_networks" in done.stderr, f"and says where: {done.stderr.strip()}")
    r.equal(post.run("reload", check=False).returncode, 78, "reload refuses it too")
    r.equal(refused(), 550, "a reload with it changes nothing")

post.stop()

start = post.run("start", "--detach", check=False)
r.check(start.returncode != 0, "it does not start with it")
r.check("open relay" in start.stdout + start.stderr + post.log_tail(40),
        f"and says why: {start.stderr.strip()}")

post.run("stop", check=False)
with open(path, "w") as f:
    f.write(good)
post.start()
r.equal(refused(), 550, "with the good one it does, and relays for nobody")
post.failed = r.failed > 0
sys.exit(r.finish())
