"""A POP3 client for the tests that says exactly what it is told to: bytes out, lines in,
in clear or over TLS, slowly if need be.  `Drop` fills an account's INBOX and looks at it."""

import imaplib
import socket
import ssl
import time


class Closed(Exception):
    """The server has ended the connection."""


class Client:
    def __init__(self, post, tls=True, receive_bytes=None, timeout=30):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", post.port("pop3s" if tls else "pop3")))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.buffer = b""
        self.greeting = self.line()

    def send(self, data):
        self.socket.sendall(data)

    def fill(self, size=65536):
        data = self.socket.recv(size)
        if not data:
            raise Closed
        self.buffer += data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def listing(self):
        """The raw bytes behind a +OK, up to and without the final dot line."""
        at = 0
        while True:
            if self.buffer.startswith(b".\r\n"):
                end = 0
            else:
                end = self.buffer.find(b"\r\n.\r\n", at)
                end = end + 2 if end >= 0 else -1
            if end >= 0:
                data, self.buffer = self.buffer[:end], self.buffer[end + 3:]
                return data
            at = max(0, len(self.buffer) - 4)
            self.fill()

    def command(self, text):
        self.send(text.encode() + b"\r\n")
        return self.line()

    def login(self, address, password):
        self.command(f"USER {address}")
        return self.command(f"PASS {password}")

    def rest(self, slow=None):
        """Everything up to the end of the connection; `slow`: (bytes, seconds) a step."""
        try:
            while True:
                self.fill(slow[0] if slow else 65536)
                if slow:
                    time.sleep(slow[1])
        except (Closed, ConnectionResetError, ssl.SSLError):
            data, self.buffer = self.buffer, b""
            return data

    def close(self):
        self.socket.close()

    def abort(self):
        """Away without a word: the server gets a reset."""
        raw = self.socket
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if isinstance(raw, ssl.SSLSocket):
            raw = socket.socket(fileno=raw.detach())
        raw.close()


def unstuff(data):
    """A message as it was before the server put dots in front of dots."""
    return b"\r\n".join(line[1:] if line.startswith(b".") else line
                        for line in data.split(b"\r\n"))


class Drop:
    """An account's INBOX over one IMAP connection."""

    def __init__(self, post, address):
        self.imap = post.imap(address)
        self.imap.select("INBOX")

    def append(self, *messages):
        for message in messages:
            done = self.imap.append("INBOX", None, None, message)
            assert done[0] == "OK", done
        self.imap.noop()

    def uids(self):
        self.imap.noop()
        return [int(uid) for uid in self.imap.uid("SEARCH", "ALL")[1][0].split()]

    def count(self):
        return len(self.uids())

    def clear(self):
        if self.uids():
            self.imap.store("1:*", "+FLAGS", "\\Deleted")
            self.imap.expunge()

    def expunge(self, uid):
        self.imap.uid("STORE", str(uid), "+FLAGS", "\\Deleted")
        self.imap.uid("EXPUNGE", str(uid))

    def close(self):
        try:
            self.imap.logout()
        except (OSError, imaplib.IMAP4.error):
            pass


def message(size, mark):
    """About `size` octets with dots at the beginning of lines, CRLF at the end."""
    head = f"Subject: {mark}\r\nFrom: a@demo.test\r\n\r\n".encode()
    line = b".dot and text of a line that is not very long, number %d\r\n"
    body = b"".join(line % i for i in range(max(1, (size - len(head)) // 60)))
    return head + body
