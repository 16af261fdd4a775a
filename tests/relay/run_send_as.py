#!/usr/bin/env python3
# timeout: 120
"""Mail for domains that are not this server's own, sent by who may (RFC 6409 section 6.1):
account set --send-as, the envelope's sender and with smtp.sender_check = header also From."""

import os
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("send_as")
sink = Sink()
post = Instance(accounts={"anna@demo.test": "secret-anna-1", "bob@demo.test": "secret-bob-1"},
                conf={"relay": ["allow_private = true", f"port = {sink.port}"]},
                dns="sink.test MX 10 mx.sink.test\nmx.sink.test A 127.0.0.1\n")


def send(login, sender, header=None):
    """The reply's code and text."""
    s = post.submit(login)
    try:
        s.sendmail(sender, ["far@sink.test"],
                   f"From: {header or sender}\r\nSubject: for {sender}\r\n\r\nx\r\n")
        return 250, ""
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as e:
        return e.smtp_code, e.smtp_error.decode()
    finally:
        s.close()


code, text = send("anna@demo.test", "news@client.test")
r.equal(code, 553, "not hers: refused")
r.check("postroom account set anna@demo.test --send-as news@client.test" in text,
        f"the reply tells the command: {text}")

post.run("account", "set", "anna@demo.test", "--send-as", "News@Client.test",
         "--send-as", "bulk.test,@third.test")
shown = post.json("account", "show", "anna@demo.test")
r.equal(sorted(shown["send_as"]), ["bulk.test", "news@client.test", "third.test"],
        "account show tells them")
for sender in ("news@client.test", "news+x@client.test", "any@bulk.test", "a@third.test",
               "anna@demo.test"):
    r.equal(send("anna@demo.test", sender)[0], 250, f"may send as {sender}, at once")
r.check(sink.wait(5, 20), "and it goes out")
r.equal(sorted(m[0] for m in sink.messages)[0], "a@third.test", "with that sender")
r.equal(send("anna@demo.test", "other@client.test")[0], 553, "not another of that domain")
r.equal(send("bob@demo.test", "news@client.test")[0], 553, "nor somebody else")

post.configure({"smtp": ['sender_check = "header"']})
post.run("reload")
r.equal(send("anna@demo.test", "anna@demo.test", "news@client.test")[0], 250,
        "From is allowed the same")
code, text = send("anna@demo.test", "anna@demo.test", "boss@client.test")
r.equal(code, 553, "another From is refused")
r.check("--send-as" in text, f"and tells the command: {text}")

post.run("account", "set", "bob@demo.test", "--send-as", "*")
r.equal(send("bob@demo.test", "who@ever.test")[0], 250, "* allows all")
post.run("account", "set", "anna@demo.test", "--no-send-as", "bulk.test")
r.equal(send("anna@demo.test", "any@bulk.test")[0], 553, "taken back")
for args, want in ((("--send-as", "no domain"), 65), (("--no-send-as", "bulk.test"), 66)):
    r.equal(post.run("account", "set", "anna@demo.test", *args, check=False).returncode, want,
            f"{args} is told")
check = post.run("check", check=False)
r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
post.failed = r.failed > 0
sys.exit(r.finish())
