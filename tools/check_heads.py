#!/usr/bin/env python3
"""Checks that every .c and .h begins with a comment that says what it is, and its size.

Fails, with file:line, when a file does not begin with a comment of at least a sentence or
is longer than 1,000 lines.  Warns above 600 lines: is it still one object?

Usage: check_heads.py [top folder]
"""

import os
import sys

from check_layers import source_files

HEAD_WORDS_MIN = 4
LINES_WARN = 600
LINES_FAIL = 1000


def head_comment(text):
    """The words of the comment at the file's start."""
    if not text.startswith("/*"):
        return None
    end = text.find("*/")
    if end < 0:
        return None
    return [w for w in text[2:end].split() if w != "*"]


def main():
    top = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".")
    files = failed = 0
    for path in source_files(top):
        files += 1
        with open(os.path.join(top, path), encoding="utf-8", errors="replace") as source:
            text = source.read()
        words = head_comment(text)
        lines = text.count("\n")
        if words is None:
            failed += 1
            print(f"{path}:1: does not begin with a comment that says what it is")
        elif len(words) < HEAD_WORDS_MIN:
            failed += 1
            print(f"{path}:1: the head comment says too little")
        if lines > LINES_FAIL:
            failed += 1
            print(f"{path}:{lines}: longer than {LINES_FAIL} lines; split it by noun")
        elif lines > LINES_WARN:
            print(f"{path}:{lines}: warning: longer than {LINES_WARN} lines")
    print(f"check_heads: {files} files, {failed} findings")
    return 1 if failed or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
