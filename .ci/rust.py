"""Splits Rust source into tokens, so that the checks in this folder cannot mistake a string for code or a lifetime for a character."""

import functools
import re
from bisect import bisect_left
from typing import NamedTuple


class Token(NamedTuple):
    kind: str  # comment, string, char, lifetime, word, number or sign
    text: str
    at: int  # the offset in the source


TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*|/\*)
    | (?P<string>(?:\b(?:b|c)?r(?P<hashes>\#*)".*?"(?P=hashes))|\b[bc]"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*")
    | (?P<char>\bb?'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'\n])'|'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'\n])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    | (?P<word>(?:r\#)?[^\W\d]\w*)
    | (?P<number>\d\w*(?:\.\d\w*)?)
    | (?P<sign>::|->|=>|[^\s\w])
    """,
    re.X | re.S,
)
EDGE = re.compile(r"/\*|\*/")


@functools.lru_cache(maxsize=None)
def tokens(source):
    found, at = [], 0
    while match := TOKEN.search(source, at):
        kind, at = match.lastgroup, match.end()
        if kind == "hashes":
            kind = "string"
        if match.group() == "/*":
            at = block_comment_end(source, at)
        found.append(Token(kind, source[match.start() : at], match.start()))
    return found


def block_comment_end(source, at):
    """Block comments nest in Rust."""
    depth = 1
    while depth:
        edge = EDGE.search(source, at)
        if edge is None:
            return len(source)
        depth += 1 if edge.group() == "/*" else -1
        at = edge.end()
    return at


def code(found):
    return [token for token in found if token.kind != "comment"]


OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}


def closing(found, at):
    """The index of the token that closes the bracket at index `at`."""
    depth = 0
    for index in range(at, len(found)):
        if found[index].kind == "sign":
            if found[index].text in OPEN:
                depth += 1
            elif found[index].text in CLOSE:
                depth -= 1
                if depth == 0:
                    return index
    return len(found) - 1


def attribute(found, at):
    """The end and the text of the attribute that begins at index `at`, or None."""
    if found[at].text != "#":
        return None
    begin = at + 1
    if begin < len(found) and found[begin].text == "!":
        begin += 1
    if begin >= len(found) or found[begin].text != "[":
        return None
    end = closing(found, begin)
    return end, "".join(token.text for token in found[begin + 1 : end])


class Lines:
    """The line of an offset."""

    def __init__(self, source):
        self.ends = [match.start() for match in re.finditer("\n", source)]

    def __call__(self, at):
        return bisect_left(self.ends, at) + 1
