#!/usr/bin/env python3
"""Thunderbird itself against a private instance: reads by IMAP, sends, moves and deletes;
fetches by POP3 with and without "leave on server".

Not part of ./dev test: it wants the Debian packages thunderbird and xvfb.
    apt-get install thunderbird xvfb
    POSTROOM_BIN=build/release/bin tests/clients/thunderbird.py

Thunderbird runs headless under Xvfb with a profile made here and is driven over
Marionette: scripts in its own (chrome) context use the same services as its windows do.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

START_S = 90
STEP_S = 60


class Marionette:
    """Length-prefixed JSON over TCP: [0, id, name, parameters] → [1, id, error, result]."""

    def __init__(self, port):
        end = time.monotonic() + START_S
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), 5)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)
        self.socket.settimeout(STEP_S + 10)
        self.number = 0
        self._read()
        self.call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": True}}})
        self.call("WebDriver:SetTimeouts", {"script": STEP_S * 1000})
        self.call("Marionette:SetContext", {"value": "chrome"})

    def _read(self):
        digits = b""
        while not digits.endswith(b":"):
            digits += self.socket.recv(1) or self._gone()
        left = int(digits[:-1])
        data = b""
        while len(data) < left:
            data += self.socket.recv(left - len(data)) or self._gone()
        return json.loads(data)

    @staticmethod
    def _gone():
        raise ConnectionError("Thunderbird closed the connection")

    def call(self, name, parameters):
        self.number += 1
        text = json.dumps([0, self.number, name, parameters])
        self.socket.sendall(f"{len(text.encode())}:{text}".encode())
        _, _, error, result = self._read()
        if error:
            raise RuntimeError(f"{name}: {error.get('message')}")
        return result

    def script(self, body, *args):
        """Runs an async function body; its return value comes back."""
        text = ("const [resolve] = [arguments[arguments.length - 1]];"
                "const args = Array.from(arguments).slice(0, -1);"
                "(async () => {" + body + "})().then("
                "v => resolve({ok: v === undefined ? null : v}),"
                "e => resolve({error: String(e) + '\\n' + (e.stack || '')}));")
        out = self.call("WebDriver:ExecuteAsyncScript", {"script": text, "args": list(args)})
        value = out["value"]
        if value.get("error"):
            raise RuntimeError(value["error"])
        return value["ok"]


PREFS = {
    "mail.shell.checkDefaultClient": False,
    "mail.rights.version": 1,
    "mail.provider.suppress_dialog_on_startup": True,
    "mailnews.start_page.enabled": False,
    "mail.spotlight.firstRunDone": True,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "extensions.update.enabled": False,
    "app.normandy.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
    "browser.safebrowsing.enabled": False,
    "mail.biff.show_alert": False,
    "mail.winsearch.firstRunDone": True,
}

SETUP = """
const [host, imapPort, smtpPort, user, password, ca] = args;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
db.addCertFromBase64(ca, "C,C,C");
const server = MailServices.accounts.createIncomingServer(user, host, "imap");
server.port = imapPort; server.socketType = 3; server.authMethod = 3;
server.password = password;
server.doBiff = false;
for (const [scheme, realm] of [["imap://", "imap://" + host], ["smtp://", "smtp://" + host]]) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(scheme + host, null, realm, user, password, "", "");
  await Services.logins.addLoginAsync(login);
}
const outgoing = MailServices.outgoingServer.createServer("smtp");
outgoing.QueryInterface(Ci.nsISmtpServer);
outgoing.hostname = host; outgoing.port = smtpPort; outgoing.socketType = 3;
outgoing.authMethod = 3; outgoing.username = user;
const identity = MailServices.accounts.createIdentity();
identity.email = user; identity.fullName = "Anna"; identity.smtpServerKey = outgoing.key;
identity.doFcc = false;
const account = MailServices.accounts.createAccount();
account.addIdentity(identity);
account.incomingServer = server;
MailServices.accounts.defaultAccount = account;
return account.key;
"""

# Opens the inbox and waits for the number of messages; returns subjects.
READ = """
const [count] = args;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.defaultAccount.incomingServer;
const end = Date.now() + 45000;
let inbox = null, last = "no inbox yet";
while (Date.now() < end) {
  try {
    if (!inbox) { server.performExpand(null); inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox); }
    if (inbox) {
      await new Promise(r => inbox.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null,
        { OnStartRunningUrl() {}, OnStopRunningUrl(u, c) { last = "status " + c; r(); } }));
      if (inbox.getTotalMessages(false) >= count) break;
    }
  } catch (e) { last = String(e); }
  await new Promise(r => setTimeout(r, 300));
}
if (!inbox) throw new Error(last);
return [...inbox.messages].map(h => h.mime2DecodedSubject);
"""

STREAM = """
const [subject] = args;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.defaultAccount.incomingServer;
const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const header = [...inbox.messages].find(h => h.mime2DecodedSubject == subject);
const uri = inbox.getUriForMsg(header);
const service = MailServices.messageServiceFromURI(uri);
const chunks = [];
await new Promise((resolve, reject) => service.streamMessage(uri, {
  QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
  onStartRequest() {}, onStopRequest(r, status) { status ? reject(new Error("status " + status)) : resolve(); },
  onDataAvailable(r, stream, offset, count) {
    const s = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
    s.init(stream); chunks.push(s.readBytes(count));
  } }, null, null, false, "", false));
return chunks.join("");
"""

SEND = """
const [to, subject, text] = args;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const account = MailServices.accounts.defaultAccount;
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.to = to; fields.subject = subject; fields.body = text; fields.from = account.defaultIdentity.email;
const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
params.composeFields = fields; params.format = Ci.nsIMsgCompFormat.PlainText;
params.type = Ci.nsIMsgCompType.New; params.identity = account.defaultIdentity;
const compose = Cc["@mozilla.org/messengercompose/compose;1"].createInstance(Ci.nsIMsgCompose);
compose.initialize(params);
const done = new Promise((resolve, reject) => compose.addMsgSendListener({
  QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener"]),
  onStartSending() {}, onSendProgress() {}, onStatus() {}, onGetDraftFolderURI() {}, onSendNotPerformed() {
    reject(new Error("not sent")); }, onTransportSecurityError(id, status) { reject(new Error("tls " + status)); },
  onStopSending(id, status) { status ? reject(new Error("send status " + status)) : resolve(true); } }));
compose.sendMsg(Ci.nsIMsgCompDeliverMode.Now, account.defaultIdentity, account.key, null, null).catch(() => {});
await Promise.race([done, new Promise((r, reject) => setTimeout(() => reject(new Error("no end of sending")), 40000))]);
return true;
"""

# Moves one message to a folder and deletes another, on the server.
MOVE_DELETE = """
const [moved, deleted, folderName] = args;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.defaultAccount.incomingServer;
const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const target = server.rootFolder.getChildNamed(folderName);
const pick = s => [...inbox.messages].find(h => h.mime2DecodedSubject == s);
await new Promise((resolve, reject) => MailServices.copy.copyMessages(inbox, [pick(moved)], target, true, {
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() {},
  onStopCopy(status) { status ? reject(new Error("move status " + status)) : resolve(); } }, null, false));
server.QueryInterface(Ci.nsIImapIncomingServer).deleteModel = Ci.nsMsgImapDeleteModels.DeleteNoTrash;
inbox.deleteMessages([pick(deleted)], null, true, false, null, false);
await new Promise(r => setTimeout(r, 3000));
inbox.compact(null, null);
await new Promise(r => setTimeout(r, 3000));
return true;
"""


# A POP3 account; returns the key of its server.
POP3_SETUP = """
const [host, port, user, password, leave] = args;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.createIncomingServer(user, host, "pop3");
server.port = port; server.socketType = 3; server.authMethod = 3;
server.password = password;
server.doBiff = false; server.loginAtStartUp = false;
server.QueryInterface(Ci.nsIPop3IncomingServer).leaveMessagesOnServer = leave;
const account = MailServices.accounts.createAccount();
account.incomingServer = server;
return server.key;
"""

# "Get messages"; returns [subject, text] of what is in the local inbox then.
POP3_FETCH = """
const [key] = args;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.getIncomingServer(key);
const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
await new Promise((resolve, reject) => {
  MailServices.pop3.GetNewMail(null, { QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
    OnStartRunningUrl() {},
    OnStopRunningUrl(u, status) { status ? reject(new Error("status " + status)) : resolve(); } },
    inbox, server);
  setTimeout(() => reject(new Error("no end of fetching")), 40000);
});
const texts = [];
for (const header of inbox.messages) {
  const stream = inbox.getMsgInputStream(header, {});
  const s = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
  s.init(stream);
  texts.push([header.mime2DecodedSubject, s.readBytes(header.messageSize)]);
  stream.close();
}
return texts;
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def count(post, address):
    box = post.imap(address)
    number = int(box.select("INBOX", readonly=True)[1][0])
    box.logout()
    return number


def pop3_append(post, address, *subjects):
    """The last one ends without a line end, and all have dots."""
    box = post.imap(address)
    for i, subject in enumerate(subjects):
        end = b"" if i == len(subjects) - 1 else b"\r\n"
        box.append("INBOX", None, None,
                   f"From: carol@friends.test\r\nTo: {address}\r\nSubject: {subject}\r\n"
                   f"Message-ID: <{subject}-{address}>\r\nDate: Tue, 24 Nov 2026 08:00:00 "
                   f"+0000\r\n\r\n.dot\r\n..two\r\n.\r\nend of {subject}".encode() + end)
    box.logout()


def pop3(r, post, m):
    """Without "leave on server" the maildrop is empty afterwards; with it (and mail kept by
    the server) what was fetched is known by its unique id and not fetched again."""
    for address, leave in (("pop@demo.test", False), ("keep@demo.test", True)):
        what = f"POP3, leave={leave}"
        pop3_append(post, address, "p1", "p2")
        key = m.script(POP3_SETUP, "localhost", post.port("pop3s"), address,
                       post.passwords[address], leave)
        got = m.script(POP3_FETCH, key)
        r.equal(sorted(subject for subject, _ in got), ["p1", "p2"], what + ": fetches")
        for subject, text in got:
            r.check(f"\n.dot\n..two\n.\nend of {subject}" in text.replace("\r\n", "\n"),
                    what + f": the text of {subject}: {text!r}")
        r.equal(count(post, address), 2 if leave else 0, what + ": left on the server")
        pop3_append(post, address, "p3")
        got = m.script(POP3_FETCH, key)
        r.equal(sorted(subject for subject, _ in got), ["p1", "p2", "p3"],
                what + ": fetches what is new only")
        got = m.script(POP3_FETCH, key)
        r.equal(len(got), 3, what + ": and nothing twice")
        r.equal(count(post, address), 3 if leave else 0, what + ": left on the server")


def main():
    r = Results("thunderbird")
    if not shutil.which("thunderbird") or not shutil.which("Xvfb"):
        print("thunderbird and xvfb are not installed: apt-get install thunderbird xvfb")
        return 77
    post = Instance(accounts={"anna@demo.test": "secret-anna-1",
                              "bob@demo.test": "secret-bob-1",
                              "pop@demo.test": "secret-pop-1",
                              "keep@demo.test": "secret-keep-1"}, hostname="localhost")
    post.run("account", "set", "keep@demo.test", "--pop3", "keep")
    with post.smtp() as s:
        for subject in ("read me", "move me", "delete me"):
            s.sendmail("carol@friends.test", ["anna@demo.test"],
                       f"From: carol@friends.test\r\nTo: anna@demo.test\r\n"
                       f"Subject: {subject}\r\nMessage-ID: <{subject.replace(' ', '')}@f.test>"
                       f"\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\ntext of {subject}\r\n")
    profile = tempfile.mkdtemp(prefix="postroom-thunderbird-")
    port = free_port()
    with open(os.path.join(profile, "user.js"), "w") as f:
        for key, value in {**PREFS, "marionette.port": port}.items():
            f.write(f"user_pref({json.dumps(key)}, {json.dumps(value)});\n")
    with open(post.ca) as f:
        ca = "".join(line.strip() for line in f if "-----" not in line)
    base64.b64decode(ca, validate=True)
    display = f":{90 + os.getpid() % 900}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    xvfb = subprocess.Popen(["Xvfb", display, "-screen", "0", "1280x900x24", "-nolisten",
                             "tcp"], **quiet)
    env = dict(os.environ, DISPLAY=display, HOME=profile, MOZ_MARIONETTE="1")
    bird = subprocess.Popen(["thunderbird", "--profile", profile, "--marionette",
                             "--remote-allow-system-access", "--no-remote"], env=env, **quiet)
    try:
        m = Marionette(port)
        m.script(SETUP, "localhost", post.port("imaps"), post.port("submissions"),
                 "anna@demo.test", "secret-anna-1", ca)
        subjects = m.script(READ, 3)
        r.equal(sorted(subjects), ["delete me", "move me", "read me"], "reads the inbox")
        text = m.script(STREAM, "read me")
        r.check("text of read me" in text, "reads a message")
        r.check(m.script(SEND, "bob@demo.test", "from thunderbird", "sent by Thunderbird\n"),
                "sends")
        box = post.imap("bob@demo.test")
        box.select("INBOX")
        end = time.monotonic() + 20
        found = []
        while time.monotonic() < end and not found:
            box.noop()
            found = box.search(None, "SUBJECT", '"from thunderbird"')[1][0].split()
            time.sleep(0.2)
        r.equal(len(found), 1, "what it sent has arrived")
        box.logout()
        m.script(MOVE_DELETE, "move me", "delete me", "Archive")
        box = post.imap("anna@demo.test")
        box.select("INBOX", readonly=True)
        left = [box.fetch(n, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1].strip()
                for n in box.search(None, "UNDELETED")[1][0].split()]
        r.equal(left, [b"Subject: read me"], "one is left in the inbox")
        box.select("Archive", readonly=True)
        r.equal(len(box.search(None, "SUBJECT", '"move me"')[1][0].split()), 1,
                "the moved one is in Archive")
        box.logout()
        pop3(r, post, m)
    finally:
        for process in (bird, xvfb):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(profile, ignore_errors=True)
    post.failed = r.failed > 0
    return r.finish()


if __name__ == "__main__":
    sys.exit(main())
