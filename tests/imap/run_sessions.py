#!/usr/bin/env python3
# timeout: 120
"""Ten sessions change one mailbox at once; at checkpoints each session's picture of it
(order, uids, flags, mod-sequences) must be the store's.

    run_sessions.py [SEED [SECONDS]]      the seed is printed; 25 seconds by default

A session knows only what it was told: EXISTS, EXPUNGE, VANISHED and FETCH build its
picture.  Checked at each response
  - no EXPUNGE while a command by message number runs (RFC 9051 section 7.5.1), and none
    at all but VANISHED under QRESYNC (RFC 7162 section 3.2.10)
  - numbers are within the mailbox, EXISTS never shrinks it, a uid told with a number is
    the uid of that number, uids ascend, mod-sequences of a message do not fall
and between sessions
  - no uid is given out twice, none is moved away or reported expunged but once
  - of two STOREs with the same UNCHANGEDSINCE only one succeeds on a message
  - what nobody removed is there at the end, what somebody removed is not.
Sessions by number, CONDSTORE, QRESYNC (which leave and come back with their cache),
IMAP4rev2, IDLE and EXAMINE.  The threads' timing is not repeated by the seed, what each
session tries is.
"""

import os
import random
import re
import socket
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from postroom_test import Instance, Results  # noqa: E402

USER, PASSWORD = "ann@example.org", "secret"
BOX, ASIDE = "INBOX", "Aside"
REPLY_S = 60
STEPS = 30          # commands of a session between checkpoints
SIZE_LOW, SIZE_HIGH = 40, 120   # messages that the sessions try to keep to
FLAGS = [r"\Seen", r"\Flagged", r"\Answered", r"\Draft", r"\Deleted"]
KEYWORDS = ["$Work", "$Later", "blue", "Red"]
KINDS = ["plain", "plain", "plain", "condstore", "condstore", "qresync", "qresync",
         "qresync", "rev2", "examine"]


class Wrong(Exception):
    pass


def numbers(text):
    out = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        low, high = sorted((int(first), int(last or first)))
        out.extend(range(low, high + 1))
    return out


class World:
    """What all sessions have brought about together."""

    def __init__(self):
        self.lock = threading.Lock()
        self.given, self.moved, self.stored = set(), set(), set()
        self.commands = {}

    def give(self, uids):
        with self.lock:
            for uid in uids:
                if uid in self.given:
                    raise Wrong(f"uid {uid} was given out twice")
                self.given.add(uid)

    def move(self, uids):
        with self.lock:
            for uid in uids:
                if uid in self.moved:
                    raise Wrong(f"uid {uid} was moved away twice")
                self.moved.add(uid)

    def store(self, uid, since):
        with self.lock:
            if (uid, since) in self.stored:
                raise Wrong(f"uid {uid}: UNCHANGEDSINCE {since} held twice")
            self.stored.add((uid, since))

    def count(self, word):
        with self.lock:
            self.commands[word] = self.commands.get(word, 0) + 1


class Message:
    """A place in a session's picture; None is what it was not told yet."""

    __slots__ = ("uid", "flags", "modseq")

    def __init__(self, uid=None):
        self.uid, self.flags, self.modseq = uid, None, None


class Session:
    def __init__(self, post, world, kind, seed):
        self.world, self.kind, self.random = world, kind, random.Random(seed)
        self.messages, self.log = [], []
        self.validity, self.next_tag = None, 0
        self.by_number, self.copied = False, None
        raw = socket.create_connection(("127.0.0.1", post.port("imaps")), REPLY_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = post.tls().wrap_socket(raw, server_hostname="localhost")
        self.input = self.socket.makefile("rb")
        self.line()
        self.command(f"LOGIN {USER} {PASSWORD}")
        enable = {"condstore": "CONDSTORE", "qresync": "QRESYNC", "rev2": "IMAP4rev2"}
        if kind in enable:
            self.command(f"ENABLE {enable[kind]}")

    # ---- lines ----

    def line(self):
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise Wrong(f"the server closed, after {line!r}")
        line = line[:-2].decode()
        self.log.append("S: " + line)
        del self.log[:-60]
        return line

    def send(self, text):
        self.log.append("C: " + text)
        self.socket.sendall(text.encode() + b"\r\n")

    def start(self, text):
        self.next_tag += 1
        tag = f"a{self.next_tag}"
        self.send(f"{tag} {text}")
        words = text.split()
        self.world.count(" ".join(words[:2]) if words[0] == "UID" else words[0])
        return tag

    def finish(self, tag, allowed=("OK",)):
        """Takes lines up to the tagged one; gives that."""
        while True:
            line = self.line()
            if line.startswith(tag + " "):
                if line.split(" ")[1] not in allowed:
                    raise Wrong(f"refused: {line}")
                self.codes(line)
                return line
            self.untagged(line)

    def command(self, text, by_number=False, allowed=("OK",)):
        self.by_number = by_number
        try:
            return self.finish(self.start(text), allowed)
        finally:
            self.by_number = False

    # ---- the picture ----

    def codes(self, line):
        found = re.search(r"\[UIDVALIDITY (\d+)\]", line)
        if found:
            self.validity = int(found.group(1))
        found = re.search(r"\[COPYUID \d+ (\S+) (\S+)\]", line)
        if found:
            self.copied = (numbers(found.group(1)), numbers(found.group(2)))

    def untagged(self, line):
        found = re.fullmatch(r"\* (\d+) (EXISTS|EXPUNGE|FETCH|RECENT)(?: (.*))?", line)
        if found:
            number, what, rest = int(found.group(1)), found.group(2), found.group(3)
            if what == "EXISTS":
                self.exists(number)
            elif what == "EXPUNGE":
                self.expunge(number)
            elif what == "FETCH":
                self.fetch(number, rest)
            return
        found = re.fullmatch(r"\* VANISHED( \(EARLIER\))? (\S+)", line)
        if found:
            self.vanished(numbers(found.group(2)), bool(found.group(1)))
        elif line.startswith("* BYE"):
            raise Wrong(line)
        elif line.startswith("* OK"):
            self.codes(line)

    def exists(self, count):
        if count < len(self.messages):
            raise Wrong(f"EXISTS {count} with {len(self.messages)} messages known")
        while len(self.messages) < count:
            self.messages.append(Message())

    def expunge(self, number):
        if self.kind == "qresync":
            raise Wrong("EXPUNGE under QRESYNC")
        if self.by_number:
            raise Wrong("EXPUNGE while a command by number runs")
        if not 1 <= number <= len(self.messages):
            raise Wrong(f"EXPUNGE {number} of {len(self.messages)}")
        del self.messages[number - 1]

    def vanished(self, uids, earlier):
        if self.kind != "qresync":
            raise Wrong("VANISHED without QRESYNC")
        if earlier:
            raise Wrong("VANISHED (EARLIER) outside of SELECT")
        if self.by_number:
            raise Wrong("VANISHED while a command by number runs")
        for uid in uids:
            self.messages.remove(self.place(uid))

    def place(self, uid):
        """The message of a uid; one that was told only by EXISTS has none yet, then it
        is a nameless one that fits in between."""
        low = 0
        for m in self.messages:
            if m.uid == uid or (m.uid is None and self.next_uid(m) > uid > low):
                return m
            low = m.uid or low
        raise Wrong(f"vanished what was not there: {uid}")

    def next_uid(self, message):
        at = self.messages.index(message)
        return next((m.uid for m in self.messages[at:] if m.uid), 1 << 32)

    def fetch(self, number, rest):
        if not 1 <= number <= len(self.messages):
            raise Wrong(f"FETCH {number} of {len(self.messages)}")
        uid = re.search(r"UID (\d+)", rest)
        flags = re.search(r"FLAGS \(([^)]*)\)", rest)
        modseq = re.search(r"MODSEQ \((\d+)\)", rest)
        if self.kind in ("qresync", "rev2") and flags and not uid:
            raise Wrong("FETCH without UID")
        m = self.messages[number - 1]
        if uid:
            self.name(number, int(uid.group(1)))
        if modseq:
            value = int(modseq.group(1))
            if m.modseq is not None and value < m.modseq:
                raise Wrong(f"MODSEQ of {number} fell from {m.modseq} to {value}")
            m.modseq = value
        if flags:
            m.flags = frozenset(flags.group(1).split()) - {r"\Recent"}

    def name(self, number, uid):
        m = self.messages[number - 1]
        if m.uid not in (None, uid):
            raise Wrong(f"number {number} is uid {m.uid}, told as {uid}")
        m.uid = uid
        before = next((o.uid for o in reversed(self.messages[:number - 1]) if o.uid), 0)
        after = next((o.uid for o in self.messages[number:] if o.uid), 1 << 32)
        if not before < uid < after:
            raise Wrong(f"number {number} with uid {uid} between {before} and {after}")

    # ---- selecting ----


    def select(self):
        self.messages = []
        self.command(("EXAMINE " if self.kind == "examine" else "SELECT ") + BOX)
        self.learn()

    def learn(self):
        """Asks for what the picture lacks, as every client does after EXISTS."""
        lacking = [i for i, m in enumerate(self.messages, 1)
                   if m.uid is None or m.flags is None]
        if not lacking:
            return
        items = "UID FLAGS MODSEQ" if self.kind in ("condstore", "qresync") else "UID FLAGS"
        # A gap in between was expunged meanwhile: it answers with nothing.
        self.command(f"FETCH {lacking[0]}:{lacking[-1]} ({items})", by_number=True,
                     allowed=("OK", "NO"))

    def leave_and_return(self):
        """QRESYNC: out of the mailbox and back with the cache."""
        self.command("NOOP")
        self.learn()
        self.command("NOOP")
        if any(m.uid is None or m.flags is None for m in self.messages):
            return
        since = max([m.modseq for m in self.messages if m.modseq] or [1])
        self.command("UNSELECT")
        if self.random.random() < 0.5:
            time.sleep(self.random.random() * 0.05)
        cache = {m.uid: m for m in self.messages}
        known = f" 1:{max(cache)}" if cache and self.random.random() < 0.5 else ""
        # Here the picture is by uid: numbers come only when SELECT has told all.
        tag = self.start(f"SELECT {BOX} (QRESYNC ({self.validity} {since}{known}))")
        count, news, gone = 0, {}, set()
        while True:
            line = self.line()
            if line.startswith(tag + " "):
                if not line.startswith(tag + " OK"):
                    raise Wrong(line)
                break
            found = re.fullmatch(r"\* (\d+) EXISTS", line)
            if found:
                count = int(found.group(1))
            found = re.fullmatch(r"\* VANISHED \(EARLIER\) (\S+)", line)
            if found:
                gone |= set(numbers(found.group(1)))
            found = re.fullmatch(r"\* (\d+) FETCH \((.*)\)", line)
            if found:
                news[int(found.group(1))] = found.group(2)
            self.codes(line)
        kept = [cache[uid] for uid in sorted(cache) if uid not in gone]
        if len(kept) > count:
            raise Wrong(f"QRESYNC: {len(kept)} known are left of {count}")
        # Cached ones are the lowest uids, in order; the rest came since.
        self.messages = kept + [Message() for _ in range(count - len(kept))]
        for number, rest in news.items():
            self.fetch(number, rest)
        self.learn()

    # ---- what a session tries ----

    def pick_set(self, uid):
        if uid:
            known = [m.uid for m in self.messages if m.uid]
        else:
            known = list(range(1, len(self.messages) + 1))
        if not known:
            return None
        if self.random.random() < 0.6:
            return str(self.random.choice(known))
        at = self.random.randrange(len(known))
        return f"{known[at]}:{known[min(at + self.random.randrange(6), len(known) - 1)]}"

    def pick_flags(self):
        r = self.random
        return " ".join(r.sample(FLAGS + KEYWORDS, r.randrange(1, 4)))

    def do_store(self):
        uid = self.random.random() < 0.5
        chosen = self.pick_set(uid)
        if not chosen:
            return
        mode = self.random.choice(["+FLAGS", "-FLAGS", "FLAGS"])
        text = f"STORE {chosen} {mode} ({self.pick_flags()})"
        self.command(("UID " if uid else "") + text, by_number=not uid,
                     allowed=("OK", "NO"))

    def do_unchangedsince(self):
        m = self.random.choice(self.messages or [None])
        if not m or not m.uid or not m.modseq:
            return
        since, uid = m.modseq, m.uid
        sign = self.random.choice("+-")
        flag = self.random.choice(KEYWORDS)
        was = m.flags
        line = self.command(
            f"UID STORE {uid} (UNCHANGEDSINCE {since}) {sign}FLAGS ({flag})",
            allowed=("OK", "NO"))
        there = any(o is m for o in self.messages)
        changes = was is not None and (flag in was) != (sign == "+")
        if there and changes and " OK " in line and "[MODIFIED" not in line:
            self.world.store(uid, since)

    def do_fetch(self):
        uid = self.random.random() < 0.5
        chosen = self.pick_set(uid)
        if chosen:
            self.command(f"{'UID ' if uid else ''}FETCH {chosen} (UID FLAGS)",
                         by_number=not uid, allowed=("OK", "NO"))

    def do_seen(self):
        uid = self.random.random() < 0.5
        chosen = self.pick_set(uid)
        if chosen:
            chosen = chosen.split(":")[0]
            self.command(f"{'UID ' if uid else ''}FETCH {chosen} (UID RFC822.SIZE "
                         "BODY.PEEK[HEADER.FIELDS (X-NONE)]<0.9>)", by_number=not uid,
                         allowed=("OK", "NO"))

    def do_read(self):
        """Sets \\Seen (RFC 9051 section 6.4.5)."""
        uid = self.random.random() < 0.5
        chosen = self.pick_set(uid)
        if chosen:
            self.command(f"{'UID ' if uid else ''}FETCH {chosen} (UID BODY[TEXT]<0.1>)",
                         by_number=not uid, allowed=("OK", "NO"))

    def do_search(self):
        if self.random.random() < 0.5:
            self.command("SEARCH DELETED", by_number=True)
        else:
            self.command("UID SEARCH UNSEEN")

    def do_burst(self):
        """Pipelined, by number, none of which may tell an EXPUNGE."""
        chosen = [self.pick_set(False) for _ in range(3)]
        if None in chosen:
            return
        self.by_number = True
        tags = [self.start(f"FETCH {chosen[0]} (UID FLAGS)")]
        if self.kind != "examine":
            tags.append(self.start(f"STORE {chosen[1]} +FLAGS ({self.pick_flags()})"))
        tags.append(self.start(f"FETCH {chosen[2]} (UID FLAGS)"))
        for tag in tags:
            self.finish(tag, allowed=("OK", "NO"))
        self.by_number = False

    def do_append(self):
        if len(self.messages) > SIZE_HIGH:
            return self.do_expunge()
        count = self.random.choice([1, 1, 1, 2, 3])
        body = f"Subject: {self.kind} {self.next_tag}\r\n\r\nhello\r\n"
        parts = "".join(f" ({self.pick_flags()}) {{{len(body)}+}}\r\n{body}"
                        for _ in range(count))
        line = self.command(f"APPEND {BOX}{parts}")
        found = re.search(r"\[APPENDUID (\d+) (\S+)\]", line)
        if not found or len(numbers(found.group(2))) != count:
            raise Wrong(line)
        self.world.give(numbers(found.group(2)))

    def copy(self, verb, target):
        if verb == "MOVE" and len(self.messages) < SIZE_LOW:
            return
        uid = self.random.random() < 0.5
        chosen = self.pick_set(uid)
        if not chosen:
            return
        self.copied = None
        self.command(f"{'UID ' if uid else ''}{verb} {chosen} {target}",
                     allowed=("OK", "NO"))
        if not self.copied:
            return
        sources, targets = self.copied
        if len(sources) != len(targets):
            raise Wrong(f"COPYUID {self.copied}")
        if target == BOX:
            self.world.give(targets)
        if verb == "MOVE":
            self.world.move(sources)

    def do_copy(self):
        self.copy("COPY", BOX if len(self.messages) < SIZE_HIGH else ASIDE)

    def do_move(self):
        self.copy("MOVE", ASIDE)

    def do_move_here(self):
        self.copy("MOVE", BOX)

    def do_expunge(self):
        if len(self.messages) < SIZE_LOW:
            return self.do_append()
        if self.random.random() < 0.5:
            self.command("EXPUNGE")
            return None
        chosen = self.pick_set(True)
        if chosen:
            self.command(f"UID EXPUNGE {chosen}")
        return None

    def do_noop(self):
        self.command("NOOP")
        self.learn()

    def do_idle(self):
        tag = self.start("IDLE")
        self.socket.settimeout(REPLY_S)
        while True:
            line = self.line()
            if line.startswith("+"):
                break
            self.untagged(line)
        time.sleep(self.random.random() * 0.1)
        self.send("DONE")
        self.finish(tag)
        self.learn()

    def step(self):
        reads = [self.do_fetch, self.do_seen, self.do_search, self.do_burst, self.do_noop,
                 self.do_idle]
        if self.kind == "examine":
            return self.random.choice(reads)()
        writes = [self.do_store] * 5 + [self.do_read] + [self.do_append] * 3 + [self.do_copy] * 2 + \
                 [self.do_move, self.do_move_here] + [self.do_expunge] * 2
        if self.kind in ("condstore", "qresync"):
            writes += [self.do_unchangedsince] * 4
        if self.kind == "qresync":
            writes += [self.leave_and_return] * 2
        return self.random.choice(reads + writes)()

    def picture(self):
        """Everything there is to know, for a checkpoint when nobody writes."""
        for _ in range(3):
            self.command("NOOP")
            self.learn()
        return self.messages


def reference(post, world):
    """The store, by a session that has just come."""
    s = Session(post, world, "condstore", 0)
    s.command(f"SELECT {BOX}")
    s.command("UID FETCH 1:* (FLAGS MODSEQ)")
    line = None
    tag = s.start(f"STATUS {BOX} (MESSAGES UNSEEN)")
    while True:
        got = s.line()
        if got.startswith(tag + " "):
            break
        if got.startswith("* STATUS"):
            line = got
        else:
            s.untagged(got)
    s.socket.close()
    return s.messages, line


def compare(results, session, want, where):
    got = session.picture()
    who = f"{where}, {session.kind}"
    if not results.equal([m.uid for m in got], [m.uid for m in want], f"{who}: uids"):
        return
    for number, (a, b) in enumerate(zip(got, want), 1):
        if a.flags != b.flags:
            results.check(False, f"{who}: flags of {number} (uid {b.uid}): "
                          f"{sorted(a.flags)}, want {sorted(b.flags)}")
        if a.modseq is not None and session.kind in ("condstore", "qresync") and \
                a.modseq != b.modseq:
            results.check(False, f"{who}: modseq of {number} (uid {b.uid}): "
                          f"{a.modseq}, want {b.modseq}")
    results.check(True, who)


def checkpoint(results, post, world, sessions, round_number):
    where = f"checkpoint {round_number}"
    want, status = reference(post, world)
    unseen = sum(1 for m in want if r"\Seen" not in m.flags)
    results.equal(status, f"* STATUS {BOX} (MESSAGES {len(want)} UNSEEN {unseen})",
                  f"{where}: STATUS")
    uids = {m.uid for m in want}
    results.check(uids <= world.given, f"{where}: uids nobody gave: {uids - world.given}")
    results.check(not uids & world.moved, f"{where}: moved but there: {uids & world.moved}")
    for session in sessions:
        compare(results, session, want, where)


def run_round(sessions):
    faults = []

    def run(session):
        try:
            for _ in range(STEPS):
                session.step()
        except Exception as e:
            faults.append((session, e, traceback.format_exc()))

    threads = [threading.Thread(target=run, args=(s,)) for s in sessions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return faults


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 25
    print(f"seed {seed}", flush=True)
    results, world = Results("sessions"), World()
    post = Instance(domains=("example.org",), accounts={USER: PASSWORD}, conf={
        "": ["threads = 4"],
        "auth": ["password_min = 6", "block_after = 0", 'mechanisms = {"PLAIN"}']})
    setup = Session(post, world, "plain", seed)
    setup.command(f"CREATE {ASIDE}")
    setup.select()
    for _ in range(SIZE_LOW):
        setup.do_append()
    setup.socket.close()
    sessions = [Session(post, world, kind, seed * 100 + i)
                for i, kind in enumerate(KINDS)]
    for session in sessions:
        session.select()
    end, round_number = time.monotonic() + seconds, 0
    while time.monotonic() < end and not results.failed:
        round_number += 1
        for session, fault, trace in run_round(sessions):
            results.check(False, f"round {round_number}, {session.kind}: {fault}")
            if not isinstance(fault, Wrong):
                print(trace)
            print("\n".join("    " + line for line in session.log[-25:]))
        if results.failed:
            break
        checkpoint(results, post, world, sessions, round_number)
        if results.failed:
            for session in sessions:
                print(f"  {session.kind}:")
                print("\n".join("    " + line for line in session.log[-12:]))
    print(", ".join(f"{n} {w}" for w, n in sorted(world.commands.items())))
    post.failed = bool(results.failed)
    post.close()
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
