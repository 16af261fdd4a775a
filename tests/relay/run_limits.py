#!/usr/bin/env python3
# timeout: 60
"""auth.sends_per_hour: recipients an hour of one account; off by default, on by reload."""

import os
import smtplib
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

# A copy of everything (smtp.always_bcc); without a place for it nothing is accepted.
def count(address):
    m = post.imap(address)
    found = int(m.select("INBOX", readonly=True)[1][0])
    m.logout()
    return found


def bring(data=True):
    s = post.smtp()
    s.ehlo()
    s.mail("x@far.test")
    s.rcpt("bob@demo.test")
    if data:
        try:
            reply = s.data(b"Subject: x\r\n\r\nx\r\n")
        except smtplib.SMTPDataError as e:
            reply = e.args
    else:
        s.send(b"BDAT 14 LAST\r\nSubject: x\r\n\r\n")
        reply = s.getreply()
    again = s.noop()[0]
    s.quit()
    return reply[0], again


before = count("anna@demo.test"), count("bob@demo.test")
post.run("alias", "add", "journal@demo.test", "anna@demo.test")
post.configure({"smtp": ['always_bcc = "Journal@demo.test"']})
post.run("reload")
r.equal([bring(), bring(False)], [(250, 250)] * 2, "accepted")
r.equal((count("anna@demo.test") - before[0], count("bob@demo.test") - before[1]), (2, 2),
        "a copy of each, once")
s = post.smtp()
s.ehlo()
s.mail("x@far.test")
s.rcpt("anna@demo.test")
s.data(b"Subject: x\r\n\r\nx\r\n")
s.quit()
r.equal(count("anna@demo.test") - before[0], 3, "who is the journal gets it once")
post.run("alias", "remove", "journal@demo.test")
r.equal([bring(), bring(False)], [(451, 250)] * 2, "no message without its copy")
r.equal(count("bob@demo.test") - before[1], 2, "nothing came")
post.failed = r.failed > 0
sys.exit(r.finish())
