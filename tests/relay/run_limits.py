#!/usr/bin/env python3
# timeout: 60
"""auth.sends_per_hour: recipients an hour of one account; off by default, on by reload."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

r = Results("limits")
post = Instance(accounts={"anna@demo.test": "secret-anna-1", "bob@demo.test": "secret-bob-1"})


def rcpts(login, count):
    s = post.submit(login)
    s.ehlo()
    s.mail(login)
    replies = [s.rcpt("bob@demo.test") for _ in range(count)]
    s.quit()
    return replies


r.check(all(code == 250 for code, _ in rcpts("anna@demo.test", 30)), "no limit by default")
post.configure({"auth": ["sends_per_hour = 5"]})
post.run("reload")
replies = rcpts("anna@demo.test", 7)
r.equal([code for code, _ in replies], [250] * 5 + [450] * 2, "five, then 450")
r.check(replies[-1][1].startswith(b"4.7.1 ") and b"5 recipients an hour" in replies[-1][1],
        f"with a text: {replies[-1][1]}")
r.equal([code for code, _ in rcpts("anna@demo.test", 1)], [450], "over sessions")
r.equal([code for code, _ in rcpts("bob@demo.test", 5)], [250] * 5, "each account its own")
s = post.smtp()
s.ehlo()
s.mail("x@far.test")
r.equal([s.rcpt("bob@demo.test")[0] for _ in range(10)], [250] * 10, "not for incoming mail")
s.quit()

# A restart does not give back what was used; a kill only the last seconds.
post.stop()
post.start()
r.equal([code for code, _ in rcpts("anna@demo.test", 1)], [450], "over a restart")
time.sleep(5.5)
post.kill("smtpd")
time.sleep(0.5)
post.wait_running()
r.equal([code for code, _ in rcpts("anna@demo.test", 1)], [450], "over a kill")
post.failed = r.failed > 0
sys.exit(r.finish())
