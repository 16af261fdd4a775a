#!/usr/bin/env python3
# timeout: 90
"""TLS reports (RFC 8460): sessions are counted by policy and failure, `relay tls --report` shows
them, and domains that ask for it get the report by mail or POST when the period is over; its
form is held against section 4.4, as is the RFC's own example."""

import base64
import email
import gzip
import hashlib
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink, waiter  # noqa: E402

r = Results("tlsrpt")
wait_for = waiter(25)
folder = tempfile.mkdtemp(prefix="postroom-tlsrpt-")
PERIOD = 6


def openssl(*args, **more):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, **more).stdout


cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
        "/CN=tls", "-days", "30", "-keyout", key, "-out", cert, "-addext",
        "subjectAltName=IP:127.0.0.1")
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(cert, key)
spki = hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", input=openssl(
    "x509", "-in", cert, "-noout", "-pubkey"))).hexdigest()

# The form of a report (RFC 8460 section 4.4).
TYPES = {"starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
         "certificate-not-trusted", "validation-failure", "tlsa-invalid", "dnssec-invalid",
         "dane-required", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def shape(value, required, optional=()):
    """What is wrong, or None."""
    if not isinstance(value, dict) or set(value) - set(required) - set(optional):
        return f"keys {list(value)}"
    for name in required:
        if name not in value:
            return f"no {name}"
    for name, kind in {**required, **dict(optional)}.items():
        if name in value and not isinstance(value[name], kind):
            return f"{name} is {value[name]!r}"
    return None


def strings(value):
    return all(isinstance(x, str) for x in value)


def wrong(report):
    bad = shape(report, {"organization-name": str, "date-range": dict, "contact-info": str,
                         "report-id": str, "policies": list})
    bad = bad or shape(report["date-range"], {"start-datetime": str, "end-datetime": str})
    if bad or not all(STAMP.match(x) for x in report["date-range"].values()):
        return bad or f"dates {report['date-range']}"
    for entry in report["policies"]:
        bad = shape(entry, {"policy": dict, "summary": dict}, {"failure-details": list})
        bad = bad or shape(entry["policy"], {"policy-type": str, "policy-domain": str},
                           {"policy-string": list, "mx-host": (list, str)})
        bad = bad or shape(entry["summary"], {"total-successful-session-count": int,
                                              "total-failure-session-count": int})
        if bad or entry["policy"]["policy-type"] not in ("tlsa", "sts", "no-policy-found") or \
                not strings(entry["policy"].get("policy-string", [])):
            return bad or f"policy {entry['policy']}"
        for failure in entry.get("failure-details", []):
            bad = shape(failure, {"result-type": str, "failed-session-count": int}, {
                "sending-mta-ip": str, "receiving-mx-hostname": str, "receiving-ip": str,
                "receiving-mx-helo": str, "additional-information": str,
                "failure-reason-code": str})
            if bad or failure["result-type"] not in TYPES or failure["failed-session-count"] < 1:
                return bad or f"failure {failure}"
    return None


vectors = os.environ.get("POSTROOM_VECTORS")
if vectors:
    with open(os.path.join(vectors, "tlsrpt/parsedmarc/rfc8460.json")) as f:
        r.equal(wrong(json.load(f)), None, "the RFC's example passes the check")
r.check(wrong({"policies": []}), "what is no report does not")

posted = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        posted.append((self.path, self.headers["Content-Type"], json.loads(gzip.decompress(body))))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
web = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
web.load_cert_chain(cert, key)
receiver.socket = web.wrap_socket(receiver.socket, server_side=True)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
url = f"https://127.0.0.1:{receiver.server_port}/tls"

secure = Sink(tls=tls, where=("127.0.0.2", 0))
port = secure.port
clear = Sink(where=("127.0.0.4", port))


def domain(name, at, tlsa=None, rua=None):
    lines = [f"{name}.test MX SECURE 10 mx.{name}.test", f"mx.{name}.test A SECURE {at}"]
    if tlsa:
        lines.append(f"_{port}._tcp.mx.{name}.test TLSA SECURE 3 1 1 {tlsa}")
    if rua:
        lines.append(f'_smtp._tls.{name}.test TXT "v=TLSRPTv1; rua={rua}"')
    return "\n".join(lines) + "\n"


post = Instance(
    accounts={"anna@demo.test": "secret-anna-1", "tls@demo.test": "secret-tls-1"},
    dns=domain("dane", "127.0.0.2", spki, "mailto:tls@demo.test")
    + domain("broken", "127.0.0.2", "00" * 32, f"mailto:x y@z,{url}")
    + domain("clear", "127.0.0.4", None, f"{url}?c") + domain("silent", "127.0.0.2"),
    conf={"relay": ["allow_private = true", f"port = {port}", "tls_reports = true",
                    f'tls_report_period = "{PERIOD}s"', 'retry = {"1h"}'],
          "tls": [f'ca_file = "{cert}"']})


def shown(name):
    got = post.run("relay", "tls", name, "--report", check=False)
    return json.loads(got.stdout) if got.returncode == 0 else []


def summed(reports):
    """By policy type and failure: how many sessions."""
    out = {}
    for report in reports:
        for entry in report["policies"]:
            kind, summary = entry["policy"]["policy-type"], entry["summary"]
            good = summary["total-successful-session-count"]
            out[kind, "ok"] = out.get((kind, "ok"), 0) + good
            for f in entry.get("failure-details", []):
                name = kind, f["result-type"]
                out[name] = out.get(name, 0) + f["failed-session-count"]
    return {k: v for k, v in out.items() if v}


# At a period's begin, so that all is in one.
time.sleep(PERIOD - time.time() % PERIOD)
s = post.submit("anna@demo.test")
for name in ("dane", "broken", "clear", "silent"):
    s.sendmail("anna@demo.test", [f"b@{name}.test"], "From: anna@demo.test\r\n\r\nx\r\n")
s.quit()
r.check(wait_for(lambda: shown("dane.test")), "counted")
report = shown("dane.test")[0]
r.equal(wrong(report), None, "in the RFC's form")
r.equal(summed([report]), {("tlsa", "ok"): 1}, "a success with DANE")
entry = report["policies"][0]
r.equal((entry["policy"]["policy-string"], entry["policy"]["policy-domain"]),
        ([f"3 1 1 {spki}"], "dane.test"), "with its policy")
r.equal(post.run("relay", "tls", "none.test", "--report", check=False).returncode, 66, "unknown")
r.equal(post.run("relay", "tls", "--report", check=False).returncode, 64, "of what?")


def by_mail():
    with post.imap("tls@demo.test") as imap:
        imap.select("INBOX")
        return [email.message_from_bytes(imap.fetch(n, "(RFC822)")[1][0][1])
                for n in imap.search(None, "ALL")[1][0].split()]


r.check(wait_for(lambda: len(posted) >= 2 and by_mail()), "reports have come")
message = by_mail()[0]
parts = message.get_payload()
r.equal((message.get_content_type(), message.get_param("report-type"),
         [p.get_content_type() for p in parts]),
        ("multipart/report", "tlsrpt", ["text/plain", "application/tlsrpt+gzip"]), "the message")
r.equal((message["TLS-Report-Domain"], message["TLS-Report-Submitter"], message["TLS-Required"]),
        ("dane.test", report["organization-name"], "No"), "its fields")
told = json.loads(gzip.decompress(base64.b64decode(parts[1].get_payload())))
r.equal(wrong(told), None, "the report")
r.equal(told["policies"], report["policies"], "is what was shown")
r.check(parts[1].get_filename().endswith(f"!{told['report-id']}.json.gz"), "the file's name")
r.equal({kind for _, kind, _ in posted}, {"application/tlsrpt+gzip"}, "posted as gzip")
r.check(all(wrong(x) is None for _, _, x in posted), "in the RFC's form too")
r.equal(summed([x for p, _, x in posted if p == "/tls?c"]),
        {("no-policy-found", "starttls-not-supported"): 1}, "no TLS offered")
r.equal(summed([x for p, _, x in posted if p == "/tls"]),
        {("tlsa", "validation-failure"): 1}, "a certificate that no record vouches for")
r.check(wait_for(lambda: not shown("dane.test") and not shown("silent.test")),
        "what was told, or nobody asked for, is gone")
r.equal((len(by_mail()), len(posted)), (1, 2), "told once")
r.check(post.run("check").returncode == 0, "the store is in order")
post.close()
receiver.shutdown()
secure.close()
clear.close()
shutil.rmtree(folder)
r.finish()
