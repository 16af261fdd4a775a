#!/usr/bin/env python3
# timeout: 100
"""STARTTLS towards hosts that are hostile, and connections that stand when the demand for TLS
changes: cases T2, T4, T5 and T7 of docs/testing.md."""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, waiter  # noqa: E402

r = Results("starttls")
wait_for = waiter(20)
folder = tempfile.mkdtemp(prefix="postroom-starttls-")
key, pem = os.path.join(folder, "key"), os.path.join(folder, "pem")
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=mx.test", "-days", "30",
                "-addext", "subjectAltName=IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3,IP:127.0.0.4,"
                "IP:127.0.0.5,IP:127.0.0.6", "-keyout", key, "-out", pem],
               check=True, capture_output=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(pem, key)
port = None


class Host:
    """Says `offer` in clear and `inside` in TLS; `starttls`: what it answers to STARTTLS, in one
    segment; None: it is not offered. `said`: (secure, line). `hold`: waits before the reply
    to the text."""

    def __init__(self, address, starttls=b"220 go on\r\n", offer=(), inside=("SIZE 1000000",)):
        global port
        self.starttls, self.offer, self.inside = starttls, offer, inside
        self.said, self.connections, self.hold = [], 0, threading.Event()
        self.hold.set()
        self.server = socket.create_server((address, port or 0))
        port = port or self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn, _ = self.server.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        conn.settimeout(30)
        try:
            conn.sendall(b"220 host ESMTP\r\n")
            if self.talk(conn, False):
                # Not one octet more is taken from the clear stream than the command's.
                self.talk(context.wrap_socket(conn, server_side=True), True)
        except OSError as e:
            self.said.append((False, f"error {e}"))

    def line(self, conn):
        line = b""
        while not line.endswith(b"\n"):
            octet = conn.recv(1)
            if not octet:
                raise OSError("end")
            line += octet
        return line.decode().strip()

    def talk(self, conn, secure):
        while True:
            line = self.line(conn)
            self.said.append((secure, line))
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                words = ["host", *(self.inside if secure else self.offer)]
                if not secure and self.starttls:
                    words.append("STARTTLS")
                conn.sendall("".join(
                    f"250{' ' if i + 1 == len(words) else '-'}{w}\r\n"
                    for i, w in enumerate(words)).encode())
            elif verb == "STARTTLS":
                conn.sendall(self.starttls)
                if self.starttls.startswith(b"220"):
                    return True
            elif verb == "DATA":
                conn.sendall(b"354 go on\r\n")
                while self.line(conn) != ".":
                    pass
                self.hold.wait(30)
                conn.sendall(b"250 kept\r\n")
            elif verb == "AUTH":
                conn.sendall(b"235 in\r\n")
            elif verb == "QUIT":
                conn.sendall(b"221 bye\r\n")
                return False
            else:
                conn.sendall(b"250 ok\r\n")

    def lines(self, verb, secure=None):
        return [line for s, line in self.said
                if line.upper().startswith(verb) and secure in (None, s)]


inject = Host("127.0.0.1", b"220 go on\r\n250-host\r\n250-AUTH PLAIN LOGIN\r\n250-SMTPUTF8\r\n"
              b"250-DSN\r\n250 SIZE 77\r\n")
refuses = Host("127.0.0.2", b"454 4.7.0 not now\r\n", offer=("AUTH PLAIN",))
stripped = Host("127.0.0.3", None, offer=("AUTH PLAIN LOGIN",))
clear = Host("127.0.0.4", None)
secure = Host("127.0.0.5")
strict = Host("127.0.0.6", inside=("REQUIRETLS",))
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"},
    conf={"relay": ["allow_private = true", f"port = {port}", 'retry = {"1s", "1h"}',
                    "connections = 1"],
          "tls": [f'ca_file = "{pem}"']},
    dns="".join(f"{d}.test MX 10 mx.{d}.test\nmx.{d}.test A 127.0.0.{n}\n" for d, n in
                (("inject", 1), ("refuses", 2), ("clear", 4), ("secure", 5), ("strict", 6))))
for domain, address in (("login", 1), ("refused-login", 2), ("stripped-login", 3)):
    post.run("relay", "add", "--to", f"{domain}.test", "--host", f"127.0.0.{address}", "--port",
             str(port), "--user", "us", "--password-stdin", input="secret-relay-1\n")
post.run("relay", "add", "--to", "lax.test", "--host", "127.0.0.3", "--port", str(port), "--user",
         "us", "--tls", "opportunistic", "--password-stdin", input="secret-relay-1\n")


def send(to, options=()):
    s = post.submit("anna@demo.test")
    s.sendmail("anna@demo.test", [to], "From: anna@demo.test\r\nSubject: x\r\n\r\nx\r\n",
               mail_options=list(options))
    s.quit()


def waiting(to):
    """The last reply of a recipient in the queue, once it was tried."""
    return [x["last_reply"] for m in post.json("queue", "list") for x in m["recipients"]
            if x["to"] == to and x["attempts"] > 0]


# T2: what comes in clear behind 220 is not of the TLS session.
send("a@inject.test")
r.check(wait_for(lambda: inject.lines("DATA", True)), "mail goes")
inside = [line for s, line in inject.said if s]
r.check(inside and inside[0].startswith("EHLO "), f"EHLO again: {inside[:1]}")
r.equal(inject.lines("MAIL", True)[:1], ["MAIL FROM:<anna@demo.test> SIZE=" + inject.lines(
    "MAIL", True)[0].split("SIZE=")[-1]], "by what was offered inside alone")
send("a@login.test")
r.check(wait_for(lambda: waiting("a@login.test")), "a log-in that was only offered in clear")
r.equal(inject.lines("AUTH"), [], "is not begun")

# T4, T5: no TLS, no password and no mail where it is demanded.
send("a@refused-login.test")
send("a@stripped-login.test")
send("a@lax.test")
r.check(wait_for(lambda: waiting("a@refused-login.test") and waiting("a@stripped-login.test") and
                 waiting("a@lax.test")), "they wait")
r.check("454 4.7.0 not now" in waiting("a@refused-login.test")[0],
        f"and tell why: {waiting('a@refused-login.test')}")
r.check("required and not offered" in waiting("a@stripped-login.test")[0], "stripped")
r.check("password was not sent" in waiting("a@lax.test")[0], f"{waiting('a@lax.test')}")
for host in (refuses, stripped):
    r.equal([host.lines(v) for v in ("AUTH", "MAIL")], [[], []], "no AUTH, no MAIL in clear")
send("a@refuses.test")
r.check(wait_for(lambda: refuses.lines("DATA", False)), "without a demand it goes in clear")

# T7: a connection that stands is no way for mail that demands more than it was opened for.
clear.hold.clear()
send("a@clear.test")
r.check(wait_for(lambda: clear.lines("DATA")), "a connection in clear stands")
post.run("relay", "tls", "clear.test", "encrypt")
post.run("reload")
send("b@clear.test")
clear.hold.set()
r.check(wait_for(lambda: waiting("b@clear.test")), "mail behind it waits for TLS")
r.check(not any("b@clear" in x for x in clear.lines("RCPT")), "and was not said in clear")
secure.hold.clear()
send("a@secure.test")
r.check(wait_for(lambda: secure.lines("DATA")), "one with TLS as it comes stands")
send("b@secure.test", ["REQUIRETLS"])
secure.hold.set()
r.check(wait_for(lambda: not [m for m in post.json("queue", "list") for x in m["recipients"]
                              if x["to"] == "b@secure.test"]), "REQUIRETLS is settled")
r.check(not any("b@secure" in x for x in secure.lines("RCPT")), "and not by that connection")
strict.hold.clear()
send("a@strict.test")
r.check(wait_for(lambda: strict.lines("DATA")), "a connection to a host that could")
for to in ("b@strict.test", "c@strict.test"):
    send(to)
strict.hold.set()
r.check(wait_for(lambda: len(strict.lines("DATA")) == 3), "what demands no more goes by it")
r.equal(strict.connections, 1, "in one connection")
post.failed = r.failed > 0
subprocess.run(["rm", "-rf", folder], check=True)
sys.exit(r.finish())
