"""Finds the phrases of words.tsv in what people read of the tracked files.

A file may have as many of them as words-allowed.tsv lists for it, and a file that is not listed none. The list may only shrink: `.ci/laws --shrink`.
A line with the mark `words: quoted` in a comment, or the line below a mark that stands alone, quotes other people's words and is not looked at.
"""

import hashlib
import json
import os
import re
import sys
from collections import Counter
from typing import NamedTuple

import prose
import tree

TABLE = ".ci/words.tsv"
PLANTED = (TABLE, ".ci/laws-test")  # Both contain the phrases on purpose.
ALLOWED = tree.AllowList(".ci/words-allowed.tsv", "hits of .ci/words.tsv")
PATTERNS = (TABLE, ".ci/words.py", ".ci/prose.py", ".ci/rust.py")


class Row(NamedTuple):
    pattern: re.Pattern
    write: str
    why: str
    found: str
    fine: str


class Hit(NamedTuple):
    line: int
    phrase: str
    row: Row
    around: str  # the phrase with its neighbours, by which a hit is known again on another line


def table(text):
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line and not line.startswith("#"):
            cells = line.split("\t")
            if len(cells) != 5:
                sys.exit(f"{TABLE}:{number}: five columns, separated by tabs, not {len(cells)}")
            rows.append(Row(re.compile(cells[0], re.I | re.M), *cells[1:]))
    return rows


def in_text(rows, text):
    """Spans and rows, from left to right. If two matches overlap, the first match counts."""
    found = sorted(
        ((match.start(), match.end(), row) for row in rows for match in row.pattern.finditer(text)), key=lambda hit: hit[:2]
    )
    end = 0
    for start, stop, row in found:
        if start >= end:
            yield start, stop, row
            end = stop


def plain(text):
    """One blank between words, so that a phrase is found over the end of a line, and the offsets of the words in `text`."""
    kept, offsets = [], []
    for match in re.finditer(r"\S+", text):
        if kept:
            kept.append(" ")
            offsets.append(match.start())
        kept.append(match.group())
        offsets.extend(range(match.start(), match.end()))
    return "".join(kept), offsets


MARK = re.compile(r"(?:#|//|<!--)\s*words: quoted\s*(?:-->)?\s*$")


def marks(path, source):
    """The lines that each mark excuses, by the line of the mark."""
    if path.endswith(".md"):
        source = prose.INLINE_CODE.sub(prose.blank, source)
    lines = source.split("\n")
    return {
        number: number if MARK.sub("", line).strip() else number + 1
        for number, line in enumerate(lines, 1)
        if MARK.search(line)
    }


def hits(rows, path, source):
    """Hits, and the lines of marks that excuse nothing. Those of a text that was read before are in the cache."""
    key = CACHE.key(path, source)
    if key not in CACHE.kept:
        found, unused = hits_of(rows, path, source)
        CACHE.kept[key] = [[[hit.line, hit.phrase, rows.index(hit.row), hit.around] for hit in found], unused]
    found, unused = CACHE.kept[key]
    CACHE.used.add(key)
    return [Hit(line, phrase, rows[row], around) for line, phrase, row, around in found], unused


class Cache:
    """Hits by the hash of a file and of the check itself, in `target`, because all patterns over all files take some seconds."""

    PATH = "target/words-cache.json"

    def __init__(self):
        self.kept, self.used, self.check = {}, set(), None
        try:
            with open(self.PATH, encoding="utf-8") as file:
                self.kept = json.load(file)
        except (OSError, ValueError):
            pass

    def key(self, path, source):
        if self.check is None:
            self.check = "".join(tree.read(source) or "" for source in PATTERNS)
        return hashlib.sha256(f"{self.check}\0{path}\0{source}".encode()).hexdigest()

    def write(self):
        if os.path.isdir("target"):
            with open(self.PATH, "w", encoding="utf-8") as file:
                json.dump({key: self.kept[key] for key in self.used}, file)


CACHE = Cache()


def hits_of(rows, path, source):
    marked = marks(path, source)
    excused, found, used = set(marked.values()), [], set()
    for piece in prose.pieces(path, source):
        text, offsets = plain(piece.text)
        for start, stop, row in in_text(rows, text):
            line = piece.line(offsets[start])
            if line in excused:
                used.add(line)
            else:
                found.append(Hit(line, text[start:stop].strip(" .,;:("), row, text[max(0, start - 25) : stop + 25]))
    return sorted(found, key=lambda hit: hit.line), sorted(mark for mark, line in marked.items() if line not in used)


def everywhere(rows):
    for path in tree.files():
        if path not in PLANTED and not path.endswith("-allowed.tsv"):
            source = tree.read(path)
            if source is not None:
                yield path, source, *hits(rows, path, source)
    CACHE.write()


def fresh(rows, path, found):
    """Those of the hits that are not in the version of the file from which its count was taken."""
    before = tree.at_last_change(ALLOWED.path, path)
    known = Counter(hit.around for hit in hits(rows, path, before)[0]) if before else Counter()
    new = []
    for hit in found:
        if known[hit.around] > 0:
            known[hit.around] -= 1
        else:
            new.append(hit)
    return new or found


def show(path, hit):
    print(f'{path}:{hit.line}: "{hit.phrase}": write {hit.row.write} ({hit.row.why})')


def check():
    rows, allowed, counts, good = table(tree.read(TABLE)), ALLOWED.read(), {}, True
    for path, _, found, unused in everywhere(rows):
        if found:
            counts[path] = len(found)
        limit = allowed.get(path, 0)
        if len(found) > limit:
            new = fresh(rows, path, found)
            for hit in new:
                show(path, hit)
            if limit:
                print(f"{path}: {len(found)} phrases that the writing guide rules out, {limit} allowed; the above are new or changed")
            good = False
        for line in unused:
            print(f"{path}:{line}: the mark `words: quoted` excuses nothing, remove it")
            good = False
    good &= ALLOWED.compare(counts, PATTERNS)
    if good:
        print(f"words: no new phrases that the writing guide rules out, {sum(counts.values())} old ones in {len(counts)} files")
    return good


def counts():
    return {path: len(found) for path, _, found, _ in everywhere(table(tree.read(TABLE))) if found}


def shrink():
    return ALLOWED.shrink(counts())


def print_hits(paths):
    """All hits, also the allowed ones, and how many there are among a thousand words."""
    rows, total, words = table(tree.read(TABLE)), 0, 0
    for path, source, found, _ in everywhere(rows):
        if not paths or path in paths:
            for hit in found:
                show(path, hit)
            total += len(found)
            words += sum(len(re.findall(r"[A-Za-z']+", piece.text)) for piece in prose.pieces(path, source))
    print(f"words: {total} phrases in {words} words, {1000 * total / max(words, 1):.1f} in a thousand")
