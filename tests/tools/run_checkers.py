#!/usr/bin/env python3
"""The checkers find what they are for: a tree with one fault of each kind, and a clean one."""

import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEAD = "/* A file of the test tree that says what it is. */\n"

CLEAN = {
    "common/base/slice.h": HEAD,
    "common/text/mime.h": HEAD + '#include "base/slice.h"\n',
    "common/text/mime.c": HEAD + '#include "text/mime.h"\n#include <stdio.h>\n',
    "store/store_int.h": HEAD,
    "store/engine_lmdb.c": HEAD + '#include <lmdb.h>\n#include "store/store_int.h"\n',
    "imapd/imap_cmd.c": HEAD + '#include "store/store.h"\n#include "net/loop.h"\n',
    "tests/unit/store/test_txn.c": HEAD + '#include "store/store_int.h"\n',
}

# path, content, and what the first finding must begin with
FAULTS = [
    ("common/base/x.c", HEAD + '#include "text/mime.h"\n', "common/base/x.c:2: base may not"),
    ("common/net/x.c", HEAD + '#include "text/mime.h"\n', "common/net/x.c:2: net may not"),
    ("store/x.c", HEAD + '#include "net/loop.h"\n', "store/x.c:2: store may not"),
    ("imapd/x.c", HEAD + '#include "smtpd/y.h"\n', "imapd/x.c:2: imapd may not"),
    ("imapd/x.c", HEAD + '#include "store/store_int.h"\n', "imapd/x.c:2: "),
    ("imapd/x.c", HEAD + '#include "imap_cmd.h"\n', "imapd/x.c:2: "),
    ("store/store_txn.c", HEAD + "#include <lmdb.h>\n", "store/store_txn.c:2: <lmdb.h>"),
    ("smtpd/x.c", HEAD + "#include <uv.h>\n", "smtpd/x.c:2: <uv.h>"),
    ("common/text/mime.c", HEAD + '#include <stdio.h>\n#include "text/mime.h"\n',
     "common/text/mime.c:2: mime.h"),
    ("common/text/text_util.c", HEAD, "common/text/text_util.c:1: the name"),
    ("tests/unit/imapd/test_x.c", HEAD + '#include "store/store_int.h"\n',
     "tests/unit/imapd/test_x.c:2: "),
]
HEAD_FAULTS = [
    ("store/x.c", "int x;\n", "store/x.c:1: does not begin"),
    ("store/x.c", "/* x */\n", "store/x.c:1: the head comment"),
    ("store/x.c", HEAD + "int x;\n" * 1000, "store/x.c:1001: longer"),
]


def run(tool, files):
    with tempfile.TemporaryDirectory(prefix="postroom-checkers-") as top:
        for path, content in files.items():
            path = os.path.join(top, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as out:
                out.write(content)
        done = subprocess.run([sys.executable, os.path.join(TOP, "tools", tool), top],
                              capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout


def main():
    failed = 0
    cases = [("check_layers.py", None, None, None), ("check_heads.py", None, None, None)]
    cases += [("check_layers.py", *fault) for fault in FAULTS]
    cases += [("check_heads.py", *fault) for fault in HEAD_FAULTS]
    for tool, path, content, want in cases:
        code, said = run(tool, CLEAN if path is None else {**CLEAN, path: content})
        good = code == 0 if path is None else code == 1 and said.startswith(want)
        if not good:
            failed += 1
            print(f"{tool} with {path}: wanted {want!r}, exit {code}, said:\n{said}")
    # A page of limits that is not current, or not there, is told of.
    limit = {"store/x.h": HEAD + "enum {\n\tX_NAME_MAX = 3, /* bytes of it */\n};\n"}
    row = "| `X_NAME_MAX` | 3 | bytes of it | x.h |"
    for tree, want in ((limit, 1), ({**limit, "docs/limits.md": row}, 1)):
        code, said = run("make_limits.py", tree)
        cases.append("limits")
        if code != want or "make_limits.py --write" not in said:
            failed += 1
            print(f"make_limits.py: wanted exit {want}, got {code}, said:\n{said}")
    print(f"{len(cases) - failed} of {len(cases)} cases right")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
