#!/usr/bin/env python3
# timeout: 200
"""TLS of outgoing mail: DANE (RFC 7672), MTA-STS (RFC 8461), the operator's levels.
Sinks with certificates of their own, a policy host, a scripted DNS with secure and bogus
answers. Whatever fails, nothing goes in clear that a policy protects."""

import hashlib
import http.server
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

r = Results("tls")
folder = tempfile.mkdtemp(prefix="postroom-tls-")


def openssl(*args, **more):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, **more).stdout


def path(name):
    return os.path.join(folder, name)


openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", "/CN=test authority", "-days", "30", "-keyout", path("ca.key"), "-out",
        path("ca.pem"), "-addext", "basicConstraints=critical,CA:TRUE")


def certificate(name, *hosts):
    """Signed by the authority; None as host: signed by itself."""
    names = ",".join(f"DNS:{h}" for h in hosts if h)
    own = not names
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={name}", "-keyout", path(name + ".key"), "-out", path(name + ".csr"))
    with open(path("ext"), "w") as out:
        out.write(f"subjectAltName={names or 'DNS:else.test'}\n")
    openssl("x509", "-req", "-in", path(name + ".csr"), "-days", "30", "-extfile",
            path("ext"), "-out", path(name + ".pem"),
            *(["-key", path(name + ".key")] if own else
              ["-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with open(path(name + ".chain"), "w") as out:
        for part in (path(name + ".pem"), path("ca.pem")):
            with open(part) as f:
                out.write(f.read())
    context.load_cert_chain(path(name + ".pem" if own else name + ".chain"),
                            path(name + ".key"))
    return context


def spki_sha256(name):
    key = openssl("x509", "-in", path(name + ".pem"), "-noout", "-pubkey")
    return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", input=key)).hexdigest()


def cert_sha256(name):
    return hashlib.sha256(openssl("x509", "-in", path(name + ".pem"), "-outform",
                                  "DER")).hexdigest()


own = certificate("own", None)
named = certificate("named", "mx.named.test")
web = certificate("web", "mta-sts.enforce.test", "mta-sts.badcert.test",
                  "mta-sts.testing.test", "mta-sts.other.test", "mta-sts.html.test",
                  "mta-sts.huge.test", "mta-sts.moved.test", "mta-sts.typed.test")

# One port for all, as MX hosts have; addresses tell them apart.
own_sink = Sink(tls=own, where=("127.0.0.2", 0))
port = own_sink.port
named_sink = Sink(tls=named, where=("127.0.0.3", port))
clear_sink = Sink(where=("127.0.0.4", port))
sinks = {"own": own_sink, "named": named_sink, "clear": clear_sink}

policies = {
    "mta-sts.enforce.test": "version: STSv1\nmode: enforce\nmx: *.named.test\nmax_age: 86400\n",
    "mta-sts.badcert.test": "version: STSv1\nmode: enforce\nmx: mx.own.test\nmax_age: 86400\n",
    "mta-sts.testing.test": "version: STSv1\nmode: testing\nmx: mx.named.test\nmax_age: 86400\n",
    "mta-sts.other.test": "version: STSv1\nmode: enforce\nmx: *.elsewhere.test\nmax_age: 1000\n",
    "mta-sts.html.test": "<html>no</html>",
}
# Hostile (R5): each would keep mail from the host, were it believed.
policies["mta-sts.huge.test"] = policies["mta-sts.other.test"] + "x: y\n" * 2000000
policies["mta-sts.moved.test"] = policies["mta-sts.typed.test"] = policies["mta-sts.other.test"]
fetched = []


class Policies(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers["Host"].split(":")[0]
        fetched.append(host)
        text = policies.get(host, "").encode()
        moved = host == "mta-sts.moved.test" and self.path == "/.well-known/mta-sts.txt"
        self.send_response(302 if moved else 200 if text and (
            self.path == "/.well-known/mta-sts.txt" or "moved" in host) else 404)
        if moved:
            self.send_header("Location", f"https://{self.headers['Host']}/elsewhere")
        self.send_header("Content-Type", "text/html" if "typed" in host else "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        try:
            self.wfile.write(text)
        except OSError:
            pass  # it has had enough

    def log_message(self, *args):
        pass


policy_host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Policies)
policy_host.socket = web.wrap_socket(policy_host.socket, server_side=True)
threading.Thread(target=policy_host.serve_forever, daemon=True).start()

right = f"3 1 1 {spki_sha256('own')}"
wrong = f"3 1 1 {'00' * 32}"
authority = f"2 0 1 {cert_sha256('ca')}"


def domain(name, sink, tlsa=None, mx="SECURE", address="SECURE", word="SECURE"):
    at = {"own": "127.0.0.2", "named": "127.0.0.3", "clear": "127.0.0.4"}[sink]
    lines = [f"{name}.test MX {mx} 10 mx.{name}.test", f"mx.{name}.test A {address} {at}"]
    if tlsa is not None:
        lines.append(f"_{port}._tcp.mx.{name}.test TLSA {word} {tlsa}")
    return "\n".join(lines) + "\n"


def sts(name, mx, at):
    return (f"{name}.test MX 10 {mx}\n_mta-sts.{name}.test TXT \"v=STSv1; id=1;\"\n"
            f"mta-sts.{name}.test A {at}\n")


DNS = (domain("plain", "clear") + domain("dane", "own", right)
       + domain("mismatch", "own", wrong) + domain("bogus", "own", "", word="BOGUS")
       + domain("servfail", "own", "", word="SERVFAIL")
       + domain("insecure", "own", wrong, word="") + domain("mxinsecure", "own", wrong, mx="")
       + domain("hostinsecure", "own", wrong, address="")
       + domain("bogusmx", "own", right, mx="BOGUS")
       + domain("named", "named", authority) + domain("taname", "named", authority)
       + domain("stripped", "clear", right) + domain("unusable", "own", "1 1 1 " + "00" * 32)
       + domain("unusableclear", "clear", "1 1 1 " + "00" * 32)
       + "mx.own.test A 127.0.0.2\n" + sts("enforce", "mx.named.test", "127.0.0.1")
       + sts("badcert", "mx.own.test", "127.0.0.1")
       + sts("testing", "mx.own.test", "127.0.0.1") + sts("other", "mx.own.test", "127.0.0.1")
       + sts("html", "mx.own.test", "127.0.0.1") + sts("huge", "mx.own.test", "127.0.0.1")
       + sts("moved", "mx.own.test", "127.0.0.1") + sts("typed", "mx.own.test", "127.0.0.1")
       + sts("down", "mx.own.test", "127.0.0.9"))
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"}, dns=DNS,
    conf={"relay": ["allow_private = true", f"port = {port}", 'retry = {"1s", "1h"}',
                    f"mta_sts_port = {policy_host.server_address[1]}"],
          "tls": [f'ca_file = "{path("ca.pem")}"']})
number = 0


def send(name):
    """Delivered (where, secured) or deferred (the reply)."""
    global number
    number += 1
    to = f"n{number}@{name}.test"
    before = {key: s.secured for key, s in sinks.items()}
    s = post.submit("anna@demo.test")
    s.sendmail("anna@demo.test", [to], "From: anna@demo.test\r\nSubject: tls\r\n\r\nx\r\n")
    s.quit()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for key, sink in sinks.items():
            if any(to in m[1] for m in sink.messages):
                return key, sink.secured > before[key]
        waiting = [x for m in post.json("queue", "list") for x in m["recipients"]
                   if x["to"] == to]
        if waiting and waiting[0]["attempts"] >= 2:
            return waiting[0]["last_reply"]
        time.sleep(0.1)
    return "nothing happened"


def via(name):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for m in post.json("trace", f"n{number}@{name}.test"):
            for e in m["events"]:
                if e["event"] == "relay.done":
                    return e.get("host", "")
        time.sleep(0.1)
    return ""


def explained(name):
    return post.json("explain", "--from", "anna@demo.test", "--to", f"x@{name}.test")


r.equal(send("plain"), ("clear", False), "without TLS and without policy: in clear")
r.equal(send("dane"), ("own", True), "a certificate that the TLSA record names")
r.check("TLS by DANE" in via("dane"), f"told by trace: {via('dane')}")
for name in ("mismatch", "bogus", "servfail", "stripped", "unusableclear"):
    got = send(name)
    r.check(isinstance(got, str) and got.startswith("451"), f"{name} waits: {got}")
for name in ("insecure", "mxinsecure", "hostinsecure", "unusable"):
    r.equal(send(name), ("own", True), f"{name}: TLS without a check")
r.check(str(send("bogusmx")).startswith("451 4.4.3"), "a bogus MX answer waits")
r.equal(send("named"), ("named", True), "by an authority that the TLSA record names")
r.check("451" in str(send("taname")), "which has to name the host too")

r.equal(send("enforce"), ("named", True), "MTA-STS: verified")
r.check("TLS verified" in via("enforce"), "told by trace")
got = send("badcert")
r.check(isinstance(got, str) and got.startswith("451"), f"MTA-STS: a bad certificate: {got}")
got = send("other")
r.check("451 4.7.5" in str(got) and "MTA-STS" in got, f"a host outside of the policy: {got}")
for name in ("testing", "html", "down", "huge", "moved", "typed"):
    r.equal(send(name), ("own", True), f"MTA-STS {name}: as without")

r.equal(fetched.count("mta-sts.moved.test"), len([h for h in fetched if "huge" in h]),
        "a redirect is not followed")
told = explained("dane")
r.equal((told["hosts"][0]["tls"], told["hosts"][0]["tlsa"]), ("dane", 1), "explain DANE")
r.equal(explained("bogus")["hosts"][0]["tls"], "not used now", "explain bogus")
told = explained("enforce")
r.equal((told["mta_sts"], told["hosts"][0]["tls"]), ("enforce", "verify"), "explain MTA-STS")
r.check("TLS not used: it is not in the MTA-STS" in post.run(
    "explain", "--from", "a@demo.test", "--to", "x@other.test").stdout, "explain as text")

# What was fetched stays in force when the policy host is away, also over a restart.
policy_host.shutdown()
policy_host.server_close()
post.stop()
post.start()
r.equal(send("enforce"), ("named", True), "the policy is kept")
r.check("TLS verified" in via("enforce"), "and in force")
r.check("451" in str(send("badcert")), "for refusals too")

# The operator's word.
post.run("relay", "tls", "mismatch.test", "none", "--for", "1h")
post.run("relay", "tls", "Plain.test", "encrypt")
r.equal(sorted(x["domain"] + x["level"] for x in post.json("relay", "tls")),
        ["mismatch.testnone", "plain.testencrypt"], "listed")
post.run("reload")
r.equal(send("mismatch"), ("own", False), "in clear because the operator said so")
r.check("451" in str(send("plain")), "not in clear because the operator said so")
r.equal(explained("mismatch")["hosts"][0]["tls"], "none", "explain tells")
post.run("relay", "tls", "plain.test", "default")
post.run("relay", "tls", "mismatch.test", "none", "--for", "1s")
time.sleep(1.5)
post.run("reload")
r.check("451" in str(send("mismatch")), "until its time is over")
r.equal(send("plain"), ("clear", False), "as before")
for args, code in ((("x.test", "strong"), 64), (("a b", "none"), 65),
                   (("none.test", "default"), 66), (("x.test", "none", "--for", "soon"), 64)):
    r.equal(post.run("relay", "tls", *args, check=False).returncode, code, f"{args} is told")
r.equal(sum(len(m[1]) for m in clear_sink.messages), 2, "nothing else went in clear")
r.equal(post.run("check", check=False).returncode, 0, "check")
post.failed = r.failed > 0
sys.exit(r.finish())
