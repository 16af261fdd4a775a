#!/usr/bin/env python3
"""Fails the build on an include that goes the wrong way (CONTRIBUTING.md, "Layers").

Checked for every .c and .h of the tree, with file:line for each finding:
  - includes between our folders follow the ALLOWED table;
  - our includes are written with their folder: "base/slice.h";
  - a *_int.h is included by its own folder only (and by its tests);
  - a third-party header is included only by the folder that owns the library;
  - a .c file includes its own header first (x.h or x_int.h);
  - no file is called util, misc, helper, common or manager.

Usage: check_layers.py [top folder]
"""

import os
import re
import sys

BASE = {"base"}
SERVICE = {"base", "text", "conf", "net", "auth", "store"}
DAEMON = SERVICE | {"service"}
ALLOWED = {  # folder: what it may include besides itself
    "base": set(),
    "text": BASE,
    "conf": BASE,
    "net": BASE,
    "auth": BASE | {"text"},
    "store": BASE | {"text"},
    "service": SERVICE,  # what the daemons share at start and stop
    "smtpd": DAEMON,
    "pop3d": DAEMON,
    "imapd": DAEMON,
    "postroom": DAEMON,
    "bench": DAEMON,
}
LAYERS = set(ALLOWED)

# Third-party headers and the only files (prefixes of paths) that may include them.
OWNERS = {
    r"lmdb\.h": ("store/engine_lmdb", "bench/store_engine"),  # bench: the raw limit
    r"roaring/.*": ("store/",),
    r"confuse\.h": ("common/conf/",),
    r"uv\.h": ("common/net/",),
    r"unbound\.h": ("common/net/",),
    r"curl/.*": ("common/net/",),
    r"sasl/.*": ("common/auth/",),
    r"seccomp\.h": ("common/net/", "smtpd/", "pop3d/", "imapd/", "postroom/"),
}

FORBIDDEN_NAMES = {"util", "utils", "misc", "helper", "helpers", "common", "manager"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def source_files(top):
    for where, folders, files in os.walk(top):
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and not f.startswith("build")
        )
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(where, name), top)


def layer_of(path):
    """The layer that a file belongs to, or None for tests and tools."""
    parts = path.split(os.sep)
    if parts[0] == "common" and len(parts) > 2:
        return parts[1]
    return parts[0] if parts[0] in LAYERS else None


def tested_folder(path):
    """The folder whose insides a unit test may see, or "*" for a fuzz target."""
    parts = path.split(os.sep)
    if parts[:2] == ["tests", "unit"] and len(parts) > 3:
        return parts[2]
    return "*" if parts[0] == "tests" else None


def check_ours(path, target):
    folder, slash, name = target.rpartition("/")
    layer = layer_of(path)
    if not slash:
        return f'"{target}" is written without its folder'
    if name.endswith("_int.h") and folder != layer:
        if tested_folder(path) not in (folder, "*"):
            return f'"{target}" is private to {folder}'
    if layer and folder != layer and folder in LAYERS and folder not in ALLOWED[layer]:
        return f'{layer} may not include "{target}"'
    return None


def check_third_party(path, target):
    for pattern, owners in OWNERS.items():
        if re.fullmatch(pattern, target):
            if not path.startswith(owners) and not path.startswith("tests/"):
                return f"<{target}> belongs to {', '.join(owners)}"
    return None


def check_file(top, path):
    findings = []
    stem = os.path.splitext(os.path.basename(path))[0]
    if FORBIDDEN_NAMES & set(stem.split("_")):
        findings.append((1, f"the name {stem} says nothing; name the file after its noun"))
    own = stem + ".h" if path.endswith(".c") else None
    has_own = own and os.path.exists(os.path.join(top, os.path.dirname(path), own))
    first = True
    with open(os.path.join(top, path), encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            ours, theirs = match.groups()
            own_names = (own, stem + "_int.h")
            if first and has_own and (ours or "").rpartition("/")[2] not in own_names:
                findings.append((number, f"{own} must be the first include"))
            first = False
            said = check_ours(path, ours) if ours else check_third_party(path, theirs)
            if said:
                findings.append((number, said))
    return findings


def main():
    top = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".")
    files = failed = 0
    for path in source_files(top):
        files += 1
        for number, said in check_file(top, path):
            failed += 1
            print(f"{path}:{number}: {said}")
    print(f"check_layers: {files} files, {failed} findings")
    return 1 if failed or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
