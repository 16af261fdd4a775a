#!/usr/bin/env python3
"""docs/limits.md from the named limits of the sources.

    tools/make_limits.py [TOP]           says whether the page is current (exit 1: not)
    tools/make_limits.py --write [TOP]   writes it

A limit is an enumerator whose name ends in _MAX, _LIMIT or _MS with a number behind it;
what it means is the comment behind it or, on a line of its own, before it.
"""

import re
import sys
from pathlib import Path

FOLDERS = ["common/base", "common/text", "common/conf", "common/net", "common/auth", "store", "service",
           "smtpd", "pop3d", "imapd", "postroom"]
LIMIT = re.compile(r"^\s+([A-Z][A-Z0-9_]*_(?:MAX|LIMIT|MS)) = ([^,/]*[^,/\s])\s*,?\s*(/\*.*)?$")
# Not limits but names of things that only end alike.
VALUE = re.compile(r"^[\s\dA-Z_a-fx()*+<-]+$")
UNITS = {"_MS": "ms", "_S": "s", "_BYTES": "bytes"}


def comment_text(lines):
    text = " ".join(line.strip().strip("/").strip("*").strip() for line in lines)
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def gather(lines, at):
    """The comment that begins in line `at`, to its end."""
    out = [lines[at][lines[at].index("/*"):]]
    while "*/" not in out[-1] and at + 1 < len(lines):
        at += 1
        out.append(lines[at])
    return comment_text(out)


def comment_before(lines, at):
    """A comment that ends on the line above `at` and stands alone."""
    end = at - 1
    if end < 0 or not lines[end].rstrip().endswith("*/"):
        return ""
    start = end
    while start >= 0 and "/*" not in lines[start]:
        start -= 1
    if start < 0 or not lines[start].lstrip().startswith("/*"):
        return ""
    return comment_text(lines[start:end + 1])


def unit_of(name):
    for suffix, unit in UNITS.items():
        if name.endswith(suffix) or name.endswith(suffix + "_MAX"):
            return unit
    return ""


def limits_of(path):
    lines = path.read_text().splitlines()
    for at, line in enumerate(lines):
        found = LIMIT.match(line)
        if not found or not VALUE.match(found[2]):
            continue
        name, value = found[1], " ".join(found[2].split())
        text = gather(lines, at) if found[3] else comment_before(lines, at)
        yield name, value, unit_of(name), text


def page(top):
    out = ["# Limits", "",
           "Every length, count, depth and time that Postroom bounds without a setting. Made by `tools/make_limits.py --write`",
           "from the sources, which are the truth; what an operator can set is in [config.md](config.md).", ""]
    for folder in FOLDERS:
        rows = []
        for path in sorted((top / folder).glob("*.[ch]")):
            for name, value, unit, text in limits_of(path):
                text = f"{unit}; {text}" if unit and text and not text.startswith(unit) else text or unit
                rows.append(f"| `{name}` | {value.replace('*', chr(92) + '*')} | {text} | {path.name} |")
        if rows:
            out += [f"## {folder}", "", "| limit | value | unit and meaning | in |", "|---|---|---|---|", *rows, ""]
    return "\n".join(out[:-1]) + "\n"


def main():
    arguments = [a for a in sys.argv[1:] if a != "--write"]
    top = Path(arguments[0] if arguments else ".")
    path, text = top / "docs" / "limits.md", page(top)
    if "--write" in sys.argv[1:]:
        path.write_text(text)
        return 0
    if not path.exists() or path.read_text() != text:
        print("docs/limits.md is not what the sources say: run tools/make_limits.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
