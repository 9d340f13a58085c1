#!/usr/bin/env python3
"""The checks of words and shape. See .ci/laws for how they are called."""

import os
import sys

sys.dont_write_bytecode = True

import shape
import tree
import words


def main(arguments):
    if not arguments:
        good = words.check()
        good &= shape.check()
        return 0 if good else 1
    if arguments == ["--shrink"]:
        words.shrink()
        shape.shrink()
        return 0
    if arguments[0] == "--moved" and len(arguments) == 3:
        return moved(*arguments[1:])
    if arguments[0] == "--print":
        words.print_hits(arguments[1:])
        if len(arguments) == 1:
            shape.print_all()
        return 0
    print("usage: .ci/laws [--shrink | --moved OLD NEW | --print [FILE …]]", file=sys.stderr)
    return 2


def moved(old, new):
    if os.path.exists(old) or not os.path.isfile(new):
        print(f"{old} must be gone and {new} must be a file", file=sys.stderr)
        return 1
    words.ALLOWED.moved(old, new)
    shape.moved(old, new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
