#!/usr/bin/env python3
"""The store by itself: runs store_flat, store_churn and store_engine, and makes one table with
aims and marks of their figures.

Usage: bench/store.py [--write] [--quick]

--write: into docs/performance.md; --quick: small numbers, to try the script. $BENCH_DIR: where
the stores are made (/tmp)."""

import argparse
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import benchlib as lib  # noqa: E402

FOLDER = os.environ.get("BENCH_DIR") or "/tmp"
LIMIT_S = 1200
FLAT = 1.25  # a large store against a small one, at most
RATIO = 0.70  # the engine against raw LMDB, at least
# store_flat's rows of pairs: (its name, ours, aim)
PAIRS = (("deliver 2 KB", "deliver", FLAT), ("flag (\\Seen)", "set \\Seen on one", FLAT),
         ("expunge", "expunge one", FLAT),
         ("what changed since, 10 changes", "what changed since, 10 changes", FLAT),
         ("open, first unseen (warm)", "open and first unseen, warm", FLAT),
         ("deliver 2 KB to any", "deliver to any of 100,000 accounts against any of 100", None),
         ("find INBOX of any", "find the INBOX of any of them", None))


def run(tool, *args):
    """What it printed; store_churn's exit code tells a missed aim, which the table tells."""
    began = time.monotonic()
    done = subprocess.run([os.path.join(lib.BUILD, "bench", tool), *map(str, args)],
                          capture_output=True, text=True, timeout=LIMIT_S)
    print(f"# {tool} {' '.join(map(str, args))}: {time.monotonic() - began:.0f} s\n{done.stdout}",
          flush=True)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{tool}: {done.returncode} {done.stderr[-300:]}")
    return done.stdout


def mark(value, most):
    return ", **missed**" if most is not None and value > most else ""


def micro(us):
    return f"{us:,.0f}" if us >= 100 else f"{us:.3g}"


def found(pattern, text, what):
    match = re.search(pattern, text, re.M)
    if not match:
        raise RuntimeError(f"no {what} in what it printed")
    return [float(x) for x in match.groups()]


def flat(messages):
    text, rows = run("store_flat", messages, FOLDER), []
    for name, aim_ms, aim_kb in (("view, warm", 5, 1024), ("view, cold", 100, 1024),
                                 ("view, every other message gone", None, None)):
        count, ms, held = found(rf"^{name} +(\d+) messages +([\d.]+) ms +(\d+) bytes", text, name)
        bad = mark(ms, aim_ms) or mark(held / 1024, aim_kb)
        rows.append((f"{name}: {count:,.0f} messages", f"{ms:.3g} ms, {held / 1024:.0f} KB held{bad}",
                     f"{aim_ms} ms, 1 MB" if aim_ms else ""))
    for name, ours, aim in PAIRS:
        small, large, ratio = found(rf"^{re.escape(name)} +([\d.]+) us +([\d.]+) us +x ([\d.]+)", text,
                                    name)
        rows.append((f"{ours} ({micro(small)} and {micro(large)} us)", f"x {ratio:.2f}{mark(ratio, aim)}",
                     f"x {aim}" if aim else ""))
    boxes, ms = found(r"^(\d+) mailboxes in one account: .* ([\d.]+) ms", text, "mailboxes")
    rows.append((f"{boxes:,.0f} mailboxes in one account: all names with counts",
                 f"{ms:.2g} ms, one scan", "one scan"))
    return rows


def churn(days, a_day):
    text = run("store_churn", days, a_day, FOLDER)
    alone, index = found(r"at worst ([\d.]+) of.* at first, ([\d.]+)", text, "worst")
    moved, share = found(r"([\d.]+) bytes moved.* took ([\d.]+) %", text, "moved")
    return [(f"{days} days, {a_day:,} messages in and out a day: segments at worst",
             f"{alone:.2f} of live bytes{mark(alone, 1.3)}", "1.3"),
            ("the same with the index, whose change log is kept 60 days",
             f"{index:.2f}{mark(index, 1.3)}", "1.3"),
            ("bytes moved for each byte written; time of maintenance, not synced",
             f"{moved:.2f}; {share:.0f} %", "")]


def engine(ms, rounds):
    text, rows = run("store_engine", FOLDER, ms, rounds), []
    for line in text.splitlines()[1:]:
        x = [float(v) for v in line.replace("|", " ").split()]
        missed = " **missed**" if x[7] < RATIO else ""
        rows.append(f"| {x[0]:,.0f} | {x[1]:.0f} | {x[2]:,.0f} | {x[4]:,.0f} | {x[7]:.2f}{missed} | "
                    f"{x[6]:.2f} | {x[8]:,.0f} | {x[9]:,.0f} |")
    if len(rows) < 12:
        raise RuntimeError("store_engine printed too few rows")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    began, failed, rows, engine_rows = time.monotonic(), [], [], []
    measures = ((rows, lambda: flat(20000 if args.quick else 1000000)),
                (rows, lambda: churn(1 if args.quick else 7, 500 if args.quick else 3000)),
                (engine_rows, lambda: engine(30 if args.quick else 300, 1 if args.quick else 3)))
    for into, measure in measures:
        try:
            into += measure()
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            failed.append(str(error)[:200])
    text = (f"`./dev bench store`, {lib.machine()}, {(time.monotonic() - began) / 60:.0f} minutes. Only "
            "ratios within a row mean anything on another machine.\n\n| what | figure | aim |\n"
            "|---|--:|--:|\n" + "".join(f"| {a} | {b} | {c} |\n" for a, b, c in rows))
    if engine_rows:
        text += ("\nMessages a second, medians of rounds in turns; the engine's share of the work is that "
                 "of a session too (draft, index):\n\n| bytes | in flight | raw LMDB | engine | ratio "
                 f"(aim {RATIO:.2f}) | syncs a message | append + fdatasync | memcpy |\n|"
                 + "--:|" * 8 + "\n" + "\n".join(engine_rows) + "\n")
    text += "".join(f"\nNot measured: {f}.\n" for f in failed)
    print(text)
    if args.write:
        lib.write_section("store", text)
    sys.exit(1 if failed else 0)


main()
