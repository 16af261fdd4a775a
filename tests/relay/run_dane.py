#!/usr/bin/env python3
"""DANE (RFC 7672) through real name servers: Knot signs zones and serves them, Unbound asks
it, libunbound in smtpd validates. run_tls.py has the same cases, and more, with scripted
answers; this one proves the signatures. Left out (77) where the servers are not there."""

import atexit
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results, Sink  # noqa: E402

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
TOOLS = {name: shutil.which(name, path=PATH) for name in ("knotd", "knotc", "keymgr", "unbound")}
if not all(TOOLS.values()):
    print("knot or unbound is not installed: left out")
    sys.exit(77)
r = Results("dane")
folder = tempfile.mkdtemp(prefix="postroom-dane-")
atexit.register(shutil.rmtree, folder, True)


def path(name):
    return os.path.join(folder, name)


def write(name, text):
    with open(path(name), "w") as out:
        out.write(text)


def port_free():
    with socket.socket() as s, socket.socket(type=socket.SOCK_DGRAM) as u:
        s.bind(("127.0.0.1", 0))
        u.bind(s.getsockname())
        return s.getsockname()[1]


def until(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise RuntimeError(f"no {what}")


def start(name, *args):
    with open(path(name + ".log"), "w") as log:
        p = subprocess.Popen([TOOLS[name], *args], stdout=log, stderr=log)

    def stop():
        p.terminate()
        p.wait(20)
    atexit.register(stop)
    return stop


# ---- the hosts ----
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=mx", "-days", "3",
                "-keyout", path("key"), "-out", path("crt")], check=True, capture_output=True)
pub = subprocess.run(["openssl", "x509", "-in", path("crt"), "-noout", "-pubkey"], check=True,
                     capture_output=True).stdout
der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pub, check=True,
                     capture_output=True).stdout
RIGHT, WRONG = f"3 1 1 {hashlib.sha256(der).hexdigest()}", f"3 1 1 {'00' * 32}"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(path("crt"), path("key"))
sink = Sink(tls=context, where=("127.0.0.2", 0))
clear = Sink(where=("127.0.0.4", sink.port))

# ---- the zones ----
# name: (address of the host, TLSA or None, signed, what is done to the signed zone)
ZONES = {"right": ("127.0.0.2", RIGHT, True, None), "wrong": ("127.0.0.2", WRONG, True, None),
         "none": ("127.0.0.2", None, True, None), "stripped": ("127.0.0.4", RIGHT, True, None),
         "plain": ("127.0.0.4", None, True, None),
         "unsigned": ("127.0.0.2", WRONG, False, None),
         "forgedtlsa": ("127.0.0.2", RIGHT, True, "tlsa"),
         "forgedmx": ("127.0.0.2", RIGHT, True, "mx"),
         "cut": ("127.0.0.2", RIGHT, True, "denial")}
KNOT, ASKED = port_free(), port_free()


def knot_conf(zones):
    lines = ["server:", f"    listen: 127.0.0.1@{KNOT}", f"    rundir: {folder}", "    user: root",
             "database:", f"    storage: {path('keys')}", "control:", f"    listen: {path('ctl')}",
             "policy:", "  - id: p", "    algorithm: ecdsap256sha256",
             "    single-type-signing: on", "zone:"]
    for zone, sign in zones.items():
        lines += [f"  - domain: {zone}.example", f"    file: {path(zone + '.zone')}",
                  "    zonefile-sync: 0", "    semantic-checks: off", "    journal-content: none"]
        if sign:
            lines += ["    dnssec-signing: on", "    dnssec-policy: p"]
    write("knot.conf", "\n".join(lines) + "\n")


for name, (address, tlsa, _, _) in ZONES.items():
    text = (f"$ORIGIN {name}.example.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n"
            f"@ NS ns\nns A 127.0.0.1\n@ MX 10 mx\nmx A {address}\n")
    if tlsa:
        text += f"_{sink.port}._tcp.mx TLSA {tlsa}\n"
    write(name + ".zone", text)
os.mkdir(path("keys"))
knot_conf({name: signed for name, (_, _, signed, _) in ZONES.items()})
stop = start("knotd", "-c", path("knot.conf"))


def signed():
    for zone, (_, _, sign, _) in ZONES.items():
        with open(path(zone + ".zone")) as f:
            if sign and "RRSIG\tSOA" not in f.read().replace(" ", "\t").replace("\t\t", "\t"):
                return False
    return True


until("signed zones", signed)
anchors = ""
for name, (_, _, sign, _) in ZONES.items():
    if sign:
        anchors += subprocess.run([TOOLS["keymgr"], "-c", path("knot.conf"), f"{name}.example",
                                   "ds"], check=True, capture_output=True, text=True).stdout
write("anchors", anchors)
stop()

# What somebody on the way would do: change a record, or hide it, and leave the signatures.
for name, (_, _, _, harm) in ZONES.items():
    with open(path(name + ".zone")) as f:
        lines = f.read().splitlines()
    for i, line in enumerate(lines):
        fields = line.split()
        kind = fields[2] if len(fields) > 2 else ""
        if harm == "tlsa" and kind == "TLSA":
            lines[i] = line.replace(RIGHT.split()[-1].upper(), WRONG.split()[-1]) \
                .replace(RIGHT.split()[-1], WRONG.split()[-1])
        elif harm == "mx" and kind == "MX":
            lines[i] = line.replace("mx.forgedmx", "ns.forgedmx")
        elif harm == "denial" and (kind in ("TLSA", "NSEC") or "RRSIG" in line and
                                   fields[3] in ("TLSA", "NSEC")):
            lines[i] = ""
    write(name + ".zone", "\n".join(lines) + "\n")
knot_conf({name: False for name in ZONES})
start("knotd", "-c", path("knot.conf"))
stubs = "".join(f"stub-zone:\n  name: \"{name}\"\n  stub-addr: 127.0.0.1@{KNOT}\n"
                for name in [f"{z}.example" for z in ZONES] + ["."])
write("unbound.conf", f"""server:
  interface: 127.0.0.1
  port: {ASKED}
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "iterator"
  qname-minimisation: no
remote-control:
  control-enable: no
{stubs}""")
start("unbound", "-d", "-p", "-c", path("unbound.conf"))


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


until("name servers", lambda: listens(ASKED) and listens(KNOT))

# ---- the mail ----
post = Instance(
    accounts={"anna@demo.test": "secret-anna-1"},
    conf={"relay": ["allow_private = true", f"port = {sink.port}", 'retry = {"1s", "1h"}'],
          "dns": [f'servers = {{"127.0.0.1@{ASKED}"}}', f'anchors = "{path("anchors")}"',
                  'timeout = "5s"']})
WANT = {"right": ("own", "dane"), "none": ("own", "TLS"), "unsigned": ("own", "TLS"),
        "plain": ("clear", ""), "wrong": "451", "stripped": "451", "forgedtlsa": "451",
        "forgedmx": "451", "cut": "451"}
s = post.submit("anna@demo.test")
for name in WANT:
    s.sendmail("anna@demo.test", [f"to@{name}.example"],
               "From: anna@demo.test\r\nSubject: dane\r\n\r\nx\r\n")
s.quit()


def outcome():
    got = {}
    for where, at in (("own", sink), ("clear", clear)):
        for message in at.messages:
            got[message[1][0].split("@")[1].split(".")[0]] = where
    for m in post.json("queue", "list"):
        for x in m["recipients"]:
            if x["attempts"] >= 2:
                got[x["to"].split("@")[1].split(".")[0]] = x["last_reply"]
    return got


until("outcome of each", lambda: len(outcome()) == len(WANT), 60)
got = outcome()
for name, want in WANT.items():
    if isinstance(want, tuple):
        r.equal(got[name], want[0], name)
    else:
        r.check(got[name].startswith(want), f"{name} waits: {got[name]}")
r.equal(sink.secured, len([w for w in WANT.values() if w[0] == "own"]), "all of them over TLS")
for name, tls in (("right", "dane"), ("none", "opportunistic"), ("unsigned", "opportunistic")):
    told = post.json("explain", "--from", "anna@demo.test", "--to", f"x@{name}.example")
    r.equal(told["hosts"][0]["tls"], tls, f"explain {name}")
post.failed = r.failed > 0
sys.exit(r.finish())
