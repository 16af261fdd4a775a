#!/usr/bin/env python3
# timeout: 120
"""Mechanisms that hang on TLS or on somebody else, in all three daemons, with real clients:
SCRAM-SHA-*-PLUS (msmtp by tls-exporter, a client written here by tls-server-end-point),
EXTERNAL by client certificates (curl), OAUTHBEARER and XOAUTH2 with JWT and with
introspection (curl); and that each is announced only where it can be used.  At the end the capability masks of
imapd, per account and per client."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

r = Results("auth")
JO, AMY = "jo@demo.test", "amy@demo.test"


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, check=True,
                          capture_output=True).stdout


class Introspection(http.server.BaseHTTPRequestHandler):
    """Knows one token; the client has to show its own name and secret."""

    def do_POST(self):  # noqa: N802
        form = urllib.parse.parse_qs(
            self.rfile.read(int(self.headers["Content-Length"])).decode())
        login = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
        active = form["token"] == ["opaque-token-of-amy"] and login == "postroom:s3cret"
        answer = json.dumps({"active": active, "email": AMY, "scope": "mail"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Introspection)
threading.Thread(target=server.serve_forever, daemon=True).start()

post = Instance(hostname="localhost", start=False,
                accounts={JO: "pencil and paper", AMY: "secret-amy-1"})
work = os.path.join(post.root, "auth")
os.mkdir(work)


def path(name):
    return os.path.join(work, name)


openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out",
        path("jwt.key"))
openssl("pkey", "-in", path("jwt.key"), "-pubout", "-out", path("jwt.pem"))
with open(path("login"), "w", encoding="ascii") as out:
    out.write("postroom:s3cret\n")


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", f"/CN={name}", "-keyout", path(name + ".key"), "-out",
            path(name + ".pem"))


def certificate(name, issuer, address):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            "/CN=client", "-addext", f"subjectAltName=email:{address}", "-keyout",
            path(name + ".key"), "-out", path(name + ".csr"))
    openssl("x509", "-req", "-in", path(name + ".csr"), "-CA", path(issuer + ".pem"),
            "-CAkey", path(issuer + ".key"), "-CAcreateserial", "-days", "2",
            "-copy_extensions", "copy", "-out", path(name + ".pem"))


authority("ours")
authority("theirs")
certificate("jo", "ours", JO)
certificate("forged", "theirs", JO)
certificate("nobody", "ours", "nobody@demo.test")
post.configure({
    "imap": ['client_masks = "Odd Mail=NAMESPACE, SORT; x=IDLE"'],
    "auth": ["fail_delay = 0s", "block_after = 0",
             'mechanisms = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", '
             '"OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN", "EXTERNAL"}',
             f'client_ca = "{path("ours.pem")}"'],
    "oauth": [f'keys = "{path("jwt.pem")}"', 'issuer = "https://id.demo.test"',
              'audience = "mail imap"', 'scope = "mail"',
              f'introspection_url = "http://127.0.0.1:{server.server_port}/i"',
              f'introspection_login = "{path("login")}"',
              'configuration_url = "https://id.demo.test/openid"']})
post.start()


def token(**changes):
    claims = {"iss": "https://id.demo.test", "aud": "mail", "exp": int(time.time()) + 300,
              "scope": "openid mail", "email": JO, **changes}
    text = b64url(b'{"alg":"RS256","typ":"at+jwt"}') + "." + b64url(
        json.dumps(claims).encode())
    return text + "." + b64url(
        openssl("dgst", "-sha256", "-sign", path("jwt.key"), data=text.encode()))


URLS = {"imap": f"imaps://localhost:{post.port('imaps')}/INBOX?ALL",
        "pop3": f"pop3s://localhost:{post.port('pop3s')}/",
        "smtp": f"smtps://localhost:{post.port('submissions')}/client"}


def curl(protocol, *words):
    more = []
    if protocol == "smtp":
        more = ["--mail-from", JO, "--mail-rcpt", AMY, "-T", path("mail")]
    done = subprocess.run(
        ["curl", "-sS", "-v", "--max-time", "20", "--cacert", post.ca, *more, *words,
         URLS[protocol]],
        capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


with open(path("mail"), "w", encoding="ascii", newline="") as out:
    out.write(f"From: {JO}\r\nTo: {AMY}\r\nSubject: by token\r\n\r\nbody\r\n")

# ---- tokens ----

for protocol in URLS:
    for option in ("AUTH=OAUTHBEARER", "AUTH=XOAUTH2"):
        for sasl_ir in ((), ("--sasl-ir",)):
            words = ("--login-options", option, "--user", JO, *sasl_ir)
            code, text = curl(protocol, "--oauth2-bearer", token(), *words)
            r.equal(code, 0, f"{protocol} {option} {sasl_ir}: {text[-600:]}")
            for what, bad in (("expired", token(exp=int(time.time()) - 100)),
                              ("audience", token(aud="web")),
                              ("other account", token(email=AMY)),
                              ("no token", "x")):
                code, text = curl(protocol, "--oauth2-bearer", bad, *words)
                r.equal(code, 67, f"{protocol} {option} {what}: {text[-600:]}")
    code, text = curl(protocol, "--oauth2-bearer", "opaque-token-of-amy", "--login-options",
                      "AUTH=OAUTHBEARER", "--user", AMY)
    if protocol != "smtp":
        r.equal(code, 0, f"{protocol} by introspection: {text[-600:]}")
    code, text = curl(protocol, "--oauth2-bearer", "opaque-token-of-jo", "--login-options",
                      "AUTH=OAUTHBEARER", "--user", JO)
    r.equal(code, 67, f"{protocol} by introspection, refused: {text[-600:]}")

# ---- certificates ----

for protocol in URLS:
    def external(name, user, *words):
        return curl(protocol, "--cert", path(name + ".pem"), "--key", path(name + ".key"),
                    "--login-options", "AUTH=EXTERNAL", "--user", user + ":", *words)
    for sasl_ir in ((), ("--sasl-ir",)):
        code, text = external("jo", JO, *sasl_ir)
        r.equal(code, 0, f"{protocol} EXTERNAL: {text[-600:]}")
    r.equal(external("jo", AMY)[0], 67, f"{protocol} EXTERNAL for somebody else")
    code, text = external("forged", JO)
    r.check(code != 0 and "EXTERNAL" not in text.replace("AUTH=EXTERNAL", ""),
            f"{protocol} EXTERNAL by another authority: {code} {text[-600:]}")
    r.equal(external("nobody", "nobody@demo.test")[0], 67, f"{protocol} EXTERNAL, no account")

# ---- what is announced ----


class Line:
    """A connection that is read by lines."""

    def __init__(self, name, implicit=True, cert=None):
        context = ssl.create_default_context(cafile=post.ca)
        if cert:
            context.load_cert_chain(path(cert + ".pem"), path(cert + ".key"))
        sock = socket.create_connection(("localhost", post.port(name)), 20)
        self.sock = context.wrap_socket(sock, server_hostname="localhost") if implicit \
            else sock
        self.file = self.sock.makefile("rb")

    def ask(self, line, ends):
        if line:
            self.sock.sendall(line.encode() + b"\r\n")
        lines = []
        while True:
            got = self.file.readline().decode().rstrip("\r\n")
            lines.append(got)
            if not got or ends(got):
                return lines


def announced(name, implicit, cert=None):
    line = Line(name, implicit, cert)
    if name.startswith("imap"):
        line.ask("", lambda x: True)
        words = line.ask("a CAPABILITY", lambda x: x.startswith("a "))[0].split()
        return {w[5:] for w in words if w.startswith("AUTH=")}
    if name.startswith("pop3"):
        line.ask("", lambda x: True)
        found = [x for x in line.ask("CAPA", lambda x: x == ".") if x.startswith("SASL ")]
    else:
        line.ask("", lambda x: x[3:4] == " ")
        found = [x[4:] for x in line.ask("EHLO me", lambda x: x[3:4] == " ")
                 if x[4:].startswith("AUTH ")]
    return set(found[0].split()[1:]) if found else set()


SCRAM = {"SCRAM-SHA-256", "SCRAM-SHA-1"}
WITH_TLS = SCRAM | {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "PLAIN", "LOGIN", "XOAUTH2",
                    "OAUTHBEARER"}
for clear, secure in (("imap", "imaps"), ("pop3", "pop3s"), ("submission", "submissions")):
    r.equal(announced(clear, False), set() if clear == "submission" else SCRAM,
            f"{clear} in clear")
    r.equal(announced(secure, True), WITH_TLS, secure)
    r.equal(announced(secure, True, "jo"), WITH_TLS | {"EXTERNAL"}, f"{secure}, certificate")
    r.equal(announced(secure, True, "forged"), WITH_TLS, f"{secure}, foreign certificate")

# ---- SCRAM with channel binding ----


class Exporter(Line):
    """A connection through openssl's client, with its keying material (RFC 9266)."""

    def __init__(self, version):  # noqa: D107  (the parent's connects by itself)
        self.child = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{post.port('imaps')}", version,
             "-CAfile", post.ca, "-keymatexport", "EXPORTER-Channel-Binding",
             "-keymatexportlen", "32", "-nocommands", "-ign_eof"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.file, self.sock, self.binding = self.child.stdout, self, b""
        self.greeting = ""
        while not self.greeting.startswith("* OK"):
            self.greeting = self.file.readline().decode().strip()
            if "Keying material: " in self.greeting:
                self.binding = bytes.fromhex(self.greeting.split(": ")[1])
            if not self.greeting and self.child.poll() is not None:
                break

    def sendall(self, data):
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def close(self):
        self.child.kill()
        self.child.wait()


def scram_imap(mechanism, flag, binding, password="pencil and paper", line=None):
    """RFC 5802 from the client's side, over IMAP; the tagged reply's word."""
    algorithm = "sha256" if "256" in mechanism else "sha1"
    if not line:
        line = Line("imaps")
        line.ask("", lambda x: True)
    bare = f"n={JO},r=fyko+d2lbbFgONRv9qkxdawL"
    first = base64.b64encode(f"{flag},,{bare}".encode()).decode()
    got = line.ask(f"a AUTHENTICATE {mechanism} {first}", lambda x: True)[0]
    if not got.startswith("+ "):
        return got.split()[1]
    server_first = base64.b64decode(got[2:]).decode()
    parts = dict(p.split("=", 1) for p in server_first.split(","))
    salted = hashlib.pbkdf2_hmac(algorithm, password.encode(),
                                 base64.b64decode(parts["s"]), int(parts["i"]))
    channel = base64.b64encode(f"{flag},,".encode() + binding).decode()
    final = f"c={channel},r={parts['r']}"
    message = ",".join((bare, server_first, final)).encode()
    key = hmac.digest(salted, b"Client Key", algorithm)
    proof = bytes(a ^ b for a, b in zip(key, hmac.digest(
        hashlib.new(algorithm, key).digest(), message, algorithm)))
    final += ",p=" + base64.b64encode(proof).decode()
    got = line.ask(base64.b64encode(final.encode()).decode(), lambda x: True)[0]
    if got.startswith("+ "):
        want = hmac.digest(hmac.digest(salted, b"Server Key", algorithm), message, algorithm)
        r.equal(base64.b64decode(got[2:]), b"v=" + base64.b64encode(want), "server's proof")
        line.sock.sendall(b"\r\n")
        got = line.ask("", lambda x: True)[0]
    return got.split()[1]


with open(os.path.join(post.root, "etc", "tls", "server.pem"), encoding="ascii") as f:
    der = ssl.PEM_cert_to_DER_cert(
        f.read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
end_point = hashlib.sha256(der).digest()
END_POINT = "p=tls-server-end-point"
for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
    r.equal(scram_imap(mechanism, END_POINT, end_point), "OK", mechanism)
    r.equal(scram_imap(mechanism, END_POINT, end_point, "wrong"), "NO", f"{mechanism} wrong")
    r.equal(scram_imap(mechanism, END_POINT, end_point[::-1]), "NO",
            f"{mechanism}, somebody in between")
    r.equal(scram_imap(mechanism, "n", b""), "BAD", f"{mechanism} without binding")
    r.equal(scram_imap(mechanism, "p=tls-exporter", end_point), "NO", f"{mechanism} mixed")
r.equal(scram_imap("SCRAM-SHA-256", "n", b""), "OK", "SCRAM-SHA-256")
r.equal(scram_imap("SCRAM-SHA-256", "y", b""), "NO", "downgrade found")

# Python's ssl cannot export keying material; openssl's client can.
for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
    for version in ("-tls1_3", "-tls1_2"):
        line = Exporter(version)
        r.equal(len(line.binding), 32, "keying material")
        r.equal(scram_imap(mechanism, "p=tls-exporter", line.binding, line=line), "OK",
                f"{mechanism} by tls-exporter, {version}")
        line.close()
line = Exporter("-tls1_3")
r.equal(scram_imap(mechanism, "p=tls-exporter", line.binding[::-1], line=line), "NO",
        "tls-exporter of another connection")
line.close()

done = subprocess.run(
    ["msmtp", "--host=localhost", f"--port={post.port('submissions')}", "--tls=on",
     "--tls-starttls=off", f"--tls-trust-file={post.ca}", "--auth=scram-sha-256",
     f"--user={JO}", "--passwordeval=echo pencil and paper", f"--from={JO}", "--debug", AMY],
    input=b"Subject: by msmtp\n\nbody\n", capture_output=True, timeout=60, check=False)
r.equal(done.returncode, 0, f"msmtp: {(done.stdout + done.stderr)[-900:]}")

# ---- keys are taken up by a reload ----

openssl("genpkey", "-algorithm", "ed25519", "-out", path("other.key"))
openssl("pkey", "-in", path("other.key"), "-pubout", "-out", path("jwt.pem"))
words = ("--login-options", "AUTH=OAUTHBEARER", "--user", JO)
r.equal(curl("imap", "--oauth2-bearer", token(), *words)[0], 0, "keys before the reload")
post.run("reload")
r.equal(curl("imap", "--oauth2-bearer", token(), *words)[0], 67, "keys after the reload")

# ---- capability masks of imapd ----


def imap_as(user, password, *commands):
    line = Line("imaps")
    line.ask("", lambda x: True)
    got = [line.ask(f'l LOGIN {user} "{password}"', lambda x: x.startswith("l "))[-1]]
    for command in commands:
        got.append(" ".join(line.ask("a " + command, lambda x: x.startswith("a "))))
    return got


post.run("account", "set", AMY, "--imap-without", "MOVE,QRESYNC,X-NONE")
r.equal(post.json("account", "show", AMY).get("imap_without"), ["MOVE", "QRESYNC", "X-NONE"],
        "account show")
got = imap_as(AMY, "secret-amy-1", "ENABLE QRESYNC CONDSTORE", "SELECT INBOX", "MOVE 1 Trash",
              "IDLE X", 'ID ("name" "Odd Mail 2")', "CAPABILITY", "NAMESPACE",
              "UNAUTHENTICATE", f"LOGIN {JO} \"pencil and paper\"")
r.check(" MOVE " not in got[0] and " QRESYNC " not in got[0] and " CONDSTORE " in got[0]
        and " NAMESPACE " in got[0], f"login: {got[0]}")
r.check("* ENABLED CONDSTORE a OK" in got[1], f"ENABLE: {got[1]}")
r.check(got[3].startswith("a BAD"), f"MOVE: {got[3]}")
r.check(" NAMESPACE " not in got[6] and " MOVE " not in got[6] and " IDLE " in got[6],
        f"by the client's name: {got[6]}")
r.check(got[7].startswith("a BAD"), f"NAMESPACE: {got[7]}")
r.check(" MOVE " in got[9] and " NAMESPACE " in got[9], f"somebody else: {got[9]}")
post.run("account", "set", AMY, "--imap-without", "none")
r.check(" MOVE " in imap_as(AMY, "secret-amy-1")[0], "everything again")

post.failed = r.failed > 0
server.shutdown()
sys.exit(r.finish())
