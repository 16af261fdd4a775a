#!/usr/bin/env python3
# timeout: 240
"""Real clients against one instance: curl, mbsync, neomutt, fetchmail, getmail, mpop,
msmtp, swaks, offlineimap (if it is there) and Python's own modules.  Each verifies the
certificate of the instance's own authority.  A client that is not installed counts as
failed: ./dev deps installs all of them but offlineimap."""

import email
import os
import poplib
import shutil
import smtplib
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

CLIENT_S = 60
USERS = ["curl", "sync", "mutt", "fetch", "fetchimap", "getmail", "mpop", "msmtp", "swaks",
         "python", "offline", "sender"]
r = Results("clients")
post = Instance(
    hostname="localhost",
    accounts={f"{u}@demo.test": f"secret-{u}-1" for u in USERS},
    conf={"auth": ["fail_delay = 0s"], "pop3": ["delete_on_retrieval = true"]})
work = os.path.join(post.root, "clients")
os.mkdir(work)
HOME = {**os.environ, "HOME": work, "LC_ALL": "C.UTF-8", "SSL_CERT_FILE": post.ca,
        "TERM": "xterm"}


def have(tool):
    return r.check(shutil.which(tool), f"{tool} is installed")


def run(*words, input=None, good=(0,)):
    """Runs a client; (output, succeeded)."""
    try:
        done = subprocess.run(words, input=input, capture_output=True, env=HOME, cwd=work,
                              timeout=CLIENT_S, check=False)
    except subprocess.TimeoutExpired as late:
        r.check(False, f"{words[0]} ended within {CLIENT_S} s: {late.stdout} {late.stderr}")
        return "", False
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    return text, r.check(done.returncode in good,
                         f"{' '.join(words)[:200]}: {done.returncode} {text[-1500:]}")


def put(name, text, mode=0o600):
    path = os.path.join(work, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.write(text)
    os.chmod(path, mode)
    return path


def message(subject, to="x", body="hello\r\n.dot\r\n..two\r\nGr\u00fc\u00dfe\r\n"):
    return (f"From: sender@demo.test\r\nTo: {to}@demo.test\r\nSubject: {subject}\r\n"
            f"Date: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{subject}@test>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Transfer-Encoding: 8bit\r\n\r\n{body}").encode()


def deliver(user, *subjects):
    with post.smtp() as s:
        for subject in subjects:
            s.sendmail("sender@demo.test", [f"{user}@demo.test"], message(subject, user),
                       mail_options=["BODY=8BITMIME"])


def inbox(user, mailbox="INBOX"):
    """[(uid, flags, bytes)] of a mailbox."""
    m = post.imap(f"{user}@demo.test")
    m.select(mailbox, readonly=True)
    _, rows = m.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
    m.logout()
    found = []
    for row in rows or []:
        if isinstance(row, tuple):
            head = row[0].decode()
            flags = head.split("FLAGS (", 1)[1].split(")")[0].split()
            found.append((int(head.split("UID ")[1].split()[0].rstrip(")")),
                          sorted(f for f in flags if f != "\\Recent"), row[1]))
    return found


def subjects(user, mailbox="INBOX"):
    return sorted(email.message_from_bytes(m[2])["Subject"] for m in inbox(user, mailbox))


def wait_subjects(user, want, mailbox="INBOX"):
    end = time.monotonic() + 10
    while subjects(user, mailbox) != sorted(want) and time.monotonic() < end:
        time.sleep(0.1)
    return r.equal(subjects(user, mailbox), sorted(want), f"mailbox {mailbox} of {user}")


# ---- curl: IMAP, POP3, SMTP ----

def curl():
    def go(*words, **more):
        return run("curl", "-sS", "--cacert", post.ca, "--user",
                   "curl@demo.test:secret-curl-1", *words, **more)[0]

    deliver("curl", "c1", "c2")
    imaps = f"imaps://localhost:{post.port('imaps')}"
    text = go(f"{imaps}/")
    r.check("LIST" in text and "INBOX" in text, f"curl lists mailboxes: {text}")
    text = go(f"{imaps}/INBOX;UID=1")
    r.check("Subject: c1" in text and "\r\n.dot" in text.replace("\n", "\r\n")
            or "\n.dot" in text, "curl fetches by UID")
    text = go(f"{imaps}/INBOX;UID=2;SECTION=HEADER.FIELDS%20(SUBJECT)")
    r.check("Subject: c2" in text, f"curl fetches a section: {text}")
    text = go(f"{imaps}/INBOX?SUBJECT%20c2")
    r.check(text.strip() == "* SEARCH 2", f"curl searches: {text}")
    put("c3.txt", message("c3").decode())
    go("-T", os.path.join(work, "c3.txt"), f"{imaps}/INBOX")
    text = go(f"imap://localhost:{post.port('imap')}/INBOX", "--ssl-reqd",
              "-X", "STORE 3 +Flags \\Flagged")
    r.check("\\Flagged" in text, f"curl by STARTTLS: {text}")
    pop3s = f"pop3s://localhost:{post.port('pop3s')}"
    text = go(f"{pop3s}/")
    r.equal(len(text.split("\n")) - 1, 3, "curl lists by POP3")
    text = go(f"{pop3s}/3")
    r.check("Subject: c3" in text and "\n.dot" in text and "\n..two" in text,
            "curl retrieves by POP3, dots as they were")
    text = go(f"pop3://localhost:{post.port('pop3')}/", "--ssl-reqd", "-X", "UIDL")
    r.equal(len(text.split("\n")) - 1, 2, "what curl retrieved is gone; STLS")
    put("mail.txt", message("c4").decode())
    go("--ssl-reqd", f"smtp://localhost:{post.port('submission')}/client.test",
       "--mail-from", "curl@demo.test", "--mail-rcpt", "curl@demo.test",
       "-T", os.path.join(work, "mail.txt"))
    go(f"smtps://localhost:{post.port('submissions')}/client.test",
       "--mail-from", "curl@demo.test", "--mail-rcpt", "curl@demo.test",
       "-T", "-", input=message("c5"))
    wait_subjects("curl", ["c1", "c2", "c4", "c5"])
    text = run("curl", "-sS", "--cacert", post.ca, "--user", "curl@demo.test:wrong",
               f"{imaps}/", good=(67,))[0]


# ---- mbsync: both directions, flags, deletions, nothing the second time ----

def maildir(folder):
    out = {}
    for part in ("cur", "new"):
        path = os.path.join(folder, part)
        for name in os.listdir(path) if os.path.isdir(path) else []:
            with open(os.path.join(path, name), "rb") as file:
                m = email.message_from_bytes(file.read())
            out[m["Subject"]] = (os.path.join(path, name),
                                 "".join(sorted(name.rpartition(":2,")[2]))
                                 if ":2," in name else "")
    return out


def mbsync():
    os.mkdir(os.path.join(work, "mail"))
    config = put("mbsyncrc", f"""
IMAPStore far
Host localhost
Port {post.port('imaps')}
User sync@demo.test
Pass secret-sync-1
SSLType IMAPS
CertificateFile {post.ca}

MaildirStore near
SubFolders Verbatim
Path {work}/mail/
Inbox {work}/mail/INBOX

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
    deliver("sync", *[f"s{i}" for i in range(10)])
    box = os.path.join(work, "mail", "INBOX")

    def sync():
        return run("mbsync", "-c", config, "-a", "-V")[0]

    sync()
    near = maildir(box)
    r.equal(sorted(near), [f"s{i}" for i in range(10)], "mbsync fetched all")
    far = {email.message_from_bytes(m[2])["Subject"]: m[2] for m in inbox("sync")}
    for subject, (path, _) in near.items():
        with open(path, "rb") as file:
            data = file.read().replace(b"\r\n", b"\n")
        plain = b"\n".join(line for line in data.split(b"\n")
                           if not line.startswith(b"X-TUID:"))
        r.equal(plain, far[subject].replace(b"\r\n", b"\n"), f"{subject} is whole")
    # Flags and a deletion here, others there, a new message on each side.
    path = near["s1"][0]
    os.rename(path, os.path.join(box, "cur", os.path.basename(path).split(":")[0] + ":2,FS"))
    path = near["s2"][0]
    os.unlink(path)
    put("mail/INBOX/new/1.1.here", message("local").decode().replace("\r\n", "\n"))
    m = post.imap("sync@demo.test")
    m.select("INBOX")
    m.store("4", "+FLAGS", "(\\Answered \\Seen)")
    m.store("5", "+FLAGS", "(\\Deleted)")
    m.expunge()
    m.create("Work")
    m.append("Work", None, None, message("there"))
    m.logout()
    deliver("sync", "late")
    sync()
    near = maildir(box)
    want = sorted(["s0", "s1", "s3", "s5", "s6", "s7", "s8", "s9", "local", "late"])
    r.equal(sorted(near), want, "near side has all changes")
    wait_subjects("sync", want)
    flags = {email.message_from_bytes(m[2])["Subject"]: m[1] for m in inbox("sync")}
    r.equal(flags.get("s1"), ["\\Flagged", "\\Seen"], "flags went up")
    r.equal(near.get("s3", ("", ""))[1], "RS", "flags came down")
    r.equal(list(maildir(os.path.join(work, "mail", "Work"))), ["there"],
            "a new mailbox came down")
    os.makedirs(os.path.join(work, "mail", "Mine", "cur"))
    os.mkdir(os.path.join(work, "mail", "Mine", "new"))
    os.mkdir(os.path.join(work, "mail", "Mine", "tmp"))
    put("mail/Mine/new/1.2.here", message("mine").decode().replace("\r\n", "\n"))
    sync()
    wait_subjects("sync", ["mine"], "Mine")
    before = (sorted(maildir(box)), inbox("sync"))
    text = sync()
    r.check("+0 *0 #0 -0" in text and "+0 *0 #0 -0" in text.rsplit("near", 1)[-1] or
            all(w[1:].isdigit() and int(w[1:]) == 0 for line in text.splitlines()
                if line.startswith(("Channels", "F:", "N:")) for w in line.split()
                if w[0] in "+*#-"), f"a second run transfers nothing: {text}")
    r.equal((sorted(maildir(box)), inbox("sync")), before, "and changes nothing")


# ---- neomutt in batch mode ----

def neomutt():
    deliver("mutt", "m1", "m2")
    rc = put("muttrc", f"""
set folder = "imaps://mutt%40demo.test@localhost:{post.port('imaps')}/"
set spoolfile = "+INBOX"
set imap_user = "mutt@demo.test"
set imap_pass = "secret-mutt-1"
set smtp_url = "smtp://mutt%40demo.test@localhost:{post.port('submission')}/"
set smtp_pass = "secret-mutt-1"
set ssl_starttls = yes
set ssl_force_tls = yes
set ssl_ca_certificates_file = "{post.ca}"
set certificate_file = "{post.ca}"
set from = "mutt@demo.test"
set record = "+Sent"
set copy = yes
set confirmcreate = no
set move = no
set delete = yes
set imap_idle = no
set confirmappend = no
set resolve = no
set quit = yes
set mbox = "+INBOX"
""")
    run("neomutt", "-n", "-F", rc, "-s", "by mutt", "mutt@demo.test", input=b"hello\n")
    wait_subjects("mutt", ["m1", "m2", "by mutt"])
    m = post.imap("mutt@demo.test")
    m.create("Saved")
    m.logout()
    # A terminal for the index: flag the first, save the second elsewhere, quit.
    put("muttrc", open(rc, encoding="utf-8").read() +
        'push "<first-entry><flag-message><next-entry><save-message>=Saved<enter>'
        '<sync-mailbox><quit>"\n')
    if r.check(shutil.which("script"), "script is installed"):
        run("script", "-qec", f"neomutt -n -F {rc}", "/dev/null", input=b"")
        wait_subjects("mutt", ["m2"], "Saved")
        wait_subjects("mutt", ["m1", "by mutt"])
        r.check(any("\\Flagged" in m[1] for m in inbox("mutt")), "neomutt flags")


# ---- fetchmail, getmail, mpop ----

def mda_file(name):
    out = os.path.join(work, name)
    return out, f"/bin/sh -c 'cat >>{out}; echo >>{out}'"


def fetchmail():
    for user, protocol, port in (("fetch", "POP3", "pop3s"), ("fetchimap", "IMAP", "imaps")):
        deliver(user, "f1", "f2", "f3")
        out, mda = mda_file(user)
        rc = put("fetchmailrc-" + user, f"""
poll localhost protocol {protocol} port {post.port(port)}
  user "{user}@demo.test" password "secret-{user}-1" is root here
  ssl sslproto "TLS1.2+" sslcertck sslcertfile "{post.ca}" mda "{mda}"
""")
        words = ["fetchmail", "-f", rc, "--pidfile", os.path.join(work, "fetchmail.pid"),
                 "--invisible", "--idfile", os.path.join(work, "ids-" + user)]
        run(*words)
        with open(out, "rb") as file:
            got = file.read()
        for subject in (b"f1", b"f2", b"f3"):
            r.equal(got.count(b"Subject: " + subject), 1, f"fetchmail {protocol} {subject}")
        r.check(b"\n.dot\n..two\n" in got, f"fetchmail {protocol}: dots are as they were")
        if protocol == "POP3":
            wait_subjects(user, [])
        run(*words, good=(1,))  # nothing new
    # STLS.
    deliver("fetch", "f4")
    rc = put("fetchmailrc-stls", f"""
poll localhost protocol POP3 port {post.port('pop3')}
  user "fetch@demo.test" password "secret-fetch-1" is root here
  sslproto "TLS1.2+" sslcertck sslcertfile "{post.ca}" mda "{mda_file('stls')[1]}"
""")
    run("fetchmail", "-f", rc, "--pidfile", os.path.join(work, "fetchmail.pid"))
    wait_subjects("fetch", [])


def getmail():
    deliver("getmail", "g1", "g2")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(work, "getmail-maildir", part))
    for kind, port in (("SimplePOP3SSLRetriever", "pop3s"),
                       ("SimpleIMAPSSLRetriever", "imaps")):
        more = "mailboxes = (\"INBOX\",)" if "IMAP" in kind else ""
        rc = put(f"getmail/rc-{port}", f"""
[retriever]
type = {kind}
server = localhost
port = {post.port(port)}
username = getmail@demo.test
password = secret-getmail-1
ca_certs = {post.ca}
{more}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat > {work}/getmail-maildir/new/$$.here")
allow_root_commands = true
[options]
delete = true
read_all = true
delivered_to = false
received = false
""")
        if port == "imaps":
            deliver("getmail", "g3")
        run("getmail", "--getmaildir", os.path.join(work, "getmail"), "--rcfile", rc)
        wait_subjects("getmail", [])
    r.equal(sorted(maildir(os.path.join(work, "getmail-maildir"))), ["g1", "g2", "g3"],
            "getmail has all")


def mpop():
    deliver("mpop", "p1", "p2")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(work, "mpop-maildir", part))
    for port, starttls in (("pop3s", "off"), ("pop3", "on")):
        rc = put("mpoprc", f"""
account default
host localhost
port {post.port(port)}
user mpop@demo.test
password secret-mpop-1
tls on
tls_starttls {starttls}
tls_trust_file {post.ca}
keep off
pipelining on
uidls_file {work}/mpop-uidls-%H-{port}
delivery maildir {work}/mpop-maildir
""")
        if port == "pop3":
            deliver("mpop", "p3")
        run("mpop", "-C", rc)
        wait_subjects("mpop", [])
    r.equal(sorted(maildir(os.path.join(work, "mpop-maildir"))), ["p1", "p2", "p3"],
            "mpop has all")


# ---- msmtp, swaks ----

def msmtp():
    want = []
    for port, starttls in (("submission", "on"), ("submissions", "off")):
        for method in ("scram-sha-256", "plain"):
            rc = put("msmtprc", f"""
account default
host localhost
port {post.port(port)}
from msmtp@demo.test
auth {method}
user msmtp@demo.test
password secret-msmtp-1
tls on
tls_starttls {starttls}
tls_trust_file {post.ca}
""")
            want.append(f"{port}-{method}")
            run("msmtp", "-C", rc, "msmtp@demo.test", input=message(want[-1]))
    wait_subjects("msmtp", want)


def swaks():
    def go(subject, *words, good=(0,)):
        return run("swaks", "--server", "localhost", "--to", "swaks@demo.test", "--from",
                   "swaks@demo.test", "--helo", "client.test", "--tls-verify",
                   "--tls-ca-path", post.ca, "--header", f"Subject: {subject}", *words,
                   good=good)[0]

    login = ["--auth-user", "swaks@demo.test", "--auth-password", "secret-swaks-1"]
    port = str(post.port("submission"))
    go("w1", "--port", port, "--tls", "--auth", "PLAIN", *login)
    go("w2", "--port", port, "--tls", "--auth", "LOGIN", *login)
    go("w3", "--port", str(post.port("submissions")), "--tlsc", "--auth", "PLAIN", *login)
    go("w4", "--port", str(post.port("smtp")), "--tls", "--pipeline")
    text = go("no", "--port", port, "--tls", "--auth", "PLAIN", "--auth-user",
              "swaks@demo.test", "--auth-password", "wrong", good=(28,))
    r.check("535" in text, "swaks: a wrong password gets 535")
    text = go("no", "--port", port, "--auth", "PLAIN", *login, good=(28,))
    r.check("secret" not in text, "swaks: no mechanism in clear, no password sent")
    wait_subjects("swaks", ["w1", "w2", "w3", "w4"])


# ---- Python ----

def python():
    s = smtplib.SMTP("localhost", post.port("submission"), "client.test", timeout=30)
    s.starttls(context=post.tls())
    s.login("python@demo.test", "secret-python-1")
    s.sendmail("python@demo.test", ["python@demo.test"], message("y1"),
               mail_options=["BODY=8BITMIME"])
    s.quit()
    wait_subjects("python", ["y1"])
    # IDLE by hand: imaplib of this Python has none.
    raw = post.tls().wrap_socket(
        socket.create_connection(("127.0.0.1", post.port("imaps")), 30),
        server_hostname="localhost")
    lines = raw.makefile("rb")
    lines.readline()
    raw.sendall(b"a LOGIN python@demo.test secret-python-1\r\nb SELECT INBOX\r\nc IDLE\r\n")
    while not (line := lines.readline()).startswith(b"+ "):
        if not r.check(line, "IDLE begins"):
            return
    began = time.monotonic()
    deliver("python", "y2")
    line = lines.readline()
    while b"EXISTS" not in line and line:
        line = lines.readline()
    r.equal(line, b"* 2 EXISTS\r\n", "IDLE tells of a delivery")
    r.check(time.monotonic() - began < 3, "within seconds")
    raw.sendall(b"DONE\r\nd LOGOUT\r\n")
    rest = lines.read()
    r.check(b"c OK" in rest and b"d OK" in rest, "IDLE ends")
    m = post.imap("python@demo.test")
    m.enable("UTF8=ACCEPT")
    m.create('"B\u00fccher"')
    m.select("INBOX")
    r.equal(m.copy("1:2", '"B\u00fccher"')[0], "OK", "imaplib copies")
    r.equal(m.search(None, "SUBJECT", "y2")[1], [b"2"], "imaplib searches")
    r.equal(m.thread("REFERENCES", "UTF-8", "ALL")[0], "OK", "imaplib threads")
    r.equal(m.sort("REVERSE SUBJECT", "UTF-8", "ALL")[1], [b"2 1"], "imaplib sorts")
    m.logout()
    p = poplib.POP3("localhost", post.port("pop3"), timeout=30)
    p.stls(context=post.tls())
    p.user("python@demo.test")
    p.pass_("secret-python-1")
    r.equal(p.stat()[0], 2, "poplib sees both")
    p.quit()
    told = post.run("domain", "set", "demo.test", "--apop", "on").stdout
    missing = len(post.json("account", "list", "demo.test"))
    r.check(f"\n{missing} accounts have to set their password again" in told,
            "who cannot use APOP yet is counted")
    post.run("account", "password", "python@demo.test", "--password-stdin",
             input="secret-python-1\n")
    p = poplib.POP3("localhost", post.port("pop3"), timeout=30)
    p.apop("python@demo.test", "secret-python-1")
    r.check(b".dot" in p.retr(1)[1] and b"..two" in p.retr(2)[1], "poplib retrieves")
    p.quit()
    wait_subjects("python", [])
    post.run("domain", "set", "demo.test", "--apop", "off")
    p = poplib.POP3("localhost", post.port("pop3"), timeout=30)
    r.check(b"<" not in p.getwelcome(), "no timestamp when APOP is off")
    p.quit()


def offlineimap():
    deliver("offline", "o1", "o2")
    rc = put("offlineimaprc", f"""
[general]
accounts = a
metadata = {work}/offline-meta
ui = basic
[Account a]
localrepository = here
remoterepository = there
[Repository here]
type = Maildir
localfolders = {work}/offline
[Repository there]
type = IMAP
remotehost = localhost
remoteport = {post.port('imaps')}
remoteuser = offline@demo.test
remotepass = secret-offline-1
ssl = yes
sslcacertfile = {post.ca}
""")
    run("offlineimap", "-o", "-c", rc)
    r.equal(sorted(maildir(os.path.join(work, "offline", "INBOX"))), ["o1", "o2"],
            "offlineimap has all")
    for path, _ in list(maildir(os.path.join(work, "offline", "INBOX")).values())[:1]:
        os.rename(path, path.replace("/new/", "/cur/").split(":")[0] + ":2,FS")
    run("offlineimap", "-o", "-c", rc)
    r.check(any("\\Flagged" in m[1] for m in inbox("offline")), "offlineimap flags")


if __name__ == "__main__":
    only = sys.argv[1:]
    for tool in (curl, mbsync, neomutt, fetchmail, getmail, mpop, msmtp, swaks, python):
        if only and tool.__name__ not in only:
            continue
        began = time.monotonic()
        if tool is python or have(tool.__name__):
            try:
                tool()
            except Exception as e:
                r.check(False, f"{tool.__name__}: {type(e).__name__} {e}")
        print(f"{tool.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    if shutil.which("offlineimap") and (not only or "offlineimap" in only):
        offlineimap()
    check = post.run("check", check=False)
    r.equal(check.returncode, 0, f"postroom check: {check.stdout}{check.stderr}")
    post.failed = r.failed > 0
    sys.exit(r.finish())
