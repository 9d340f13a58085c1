"""Takes out of a tracked file the text that people read: paragraphs of Markdown, comments, rustdoc, names of tests, texts of logs and errors.

Left out: code in backticks and in fences, struck-out text (~~like this~~, for examples of what not to write), addresses of links, identifiers.
"""

import re
from typing import NamedTuple

import rust


class Piece(NamedTuple):
    kind: str  # markdown, comment, doc, test or text
    text: str
    lines: list  # pairs of an offset in `text` and the line of the file that begins there

    def line(self, at):
        found = self.lines[0][1]
        for offset, line in self.lines:
            if offset > at:
                break
            found = line
        return found


def pieces(path, source):
    name = path.rsplit("/", 1)[-1]
    extension = name.rsplit(".", 1)[-1] if "." in name else ""
    if extension == "rs":
        return of_rust(source)
    if extension == "md":
        return list(of_markdown(source.split("\n"), 1, "markdown"))
    if extension == "html":
        return of_html(source)
    if extension == "go":
        return of_go(source)
    if extension == "py" or "python" in source.split("\n", 1)[0]:
        return of_python(source)
    if extension in HASHED or name in HASHED_NAMES or source.startswith("#!"):
        return of_hashed(source, extension)
    return []


HASHED = {"toml", "yml", "yaml", "service", "socket", "conf", "cfg", "sh", "tsv"}
HASHED_NAMES = {"Dockerfile", ".gitignore"}

# Code in backticks may run over the end of a line, but not over the end of a paragraph.
INLINE_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.S)
LINK_ADDRESS = re.compile(r"\]\([^)\s]*\)|\]\[[^\]]*\]|^\s*\[[^\]]+\]:.*$", re.M)
ADDRESS = re.compile(r"<?https?://[^\s>)]+>?")
STRUCK_OUT = re.compile(r"~~.*?~~", re.S)
TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>]*>", re.S)


def blank(match):
    """Code counts as one noun, X, and keeps its length, so that offsets stay right."""
    return "X".ljust(len(match.group())) if match.group().startswith("`") else re.sub(r"[^\n]", " ", match.group())


def clean(text):
    text = INLINE_CODE.sub(blank, text)
    for pattern in (STRUCK_OUT, LINK_ADDRESS, ADDRESS, TAG):
        text = pattern.sub(blank, text)
    return re.sub(r"\*\*|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)", lambda mark: " " * len(mark.group()), text)


def piece(kind, parts):
    """Joins lines of one paragraph, given as pairs of text and line."""
    text, lines = "", []
    for part, line in parts:
        lines.append((len(text), line))
        text += part + "\n"
    return Piece(kind, clean(text), lines)


FENCE = re.compile(r"^\s*(?:>\s*)*(```|~~~)")
NEW_PARAGRAPH = re.compile(r"^\s*(?:[-*+]\s|\d+[.)]\s|#|\|)")


def of_markdown(lines, first, kind):
    """Paragraphs, headings, items and rows, each a piece. `lines` are without the marks of a comment."""
    paragraph, fence = [], None
    for number, line in enumerate(lines, first):
        mark = FENCE.match(line)
        ends = fence or mark or not line.strip() or NEW_PARAGRAPH.match(line)
        if paragraph and ends:
            yield piece(kind, paragraph)
            paragraph = []
        if mark:
            fence = None if fence == mark.group(1) else fence or mark.group(1)
        elif line.strip() and not fence:
            paragraph.append((line, number))
    if paragraph:
        yield piece(kind, paragraph)


def of_rust(source):
    found, line = rust.tokens(source), rust.Lines(source)
    result = comments(found, source, line)
    result += test_names(rust.code(found), line)
    result += texts(rust.code(found), line)
    return result


COMMENT_MARK = re.compile(r"^(///|//!|//|/\*\*|/\*!|/\*)?")


def comments(found, source, line):
    """Line comments of one mark that follow each other are one text."""
    result, block, mark_of_block, last = [], [], None, 0

    def flush():
        kind = "comment" if mark_of_block == "//" else "doc"
        if block:
            result.extend(of_markdown([text for text, _ in block], block[0][1], kind))
        block.clear()

    for token in found:
        if token.kind != "comment":
            continue
        first, mark = line(token.at), COMMENT_MARK.match(token.text).group()
        alone = not source[source.rfind("\n", 0, token.at) + 1 : token.at].strip()
        if mark != mark_of_block or first != last + 1 or not alone or mark.startswith("/*"):
            flush()
        mark_of_block = mark
        body = token.text[len(mark) :].removesuffix("*/") if mark.startswith("/*") else token.text[len(mark) :]
        for number, text in enumerate(body.split("\n"), first):
            block.append((text.removeprefix(" "), number))
            last = number
    flush()
    return result


TEST = re.compile(r"(?:\w+::)*test(?:\(.*)?$")


def test_names(found, line):
    """The name of a function with an attribute `test`, `tokio::test` and the like, read as words."""
    result, is_test, index = [], False, 0
    while index < len(found):
        if attribute := rust.attribute(found, index):
            index = attribute[0] + 1
            is_test |= bool(TEST.match(attribute[1]))
            continue
        if found[index].text == "fn" and index + 1 < len(found):
            if is_test:
                name = found[index + 1]
                result.append(Piece("test", name.text.replace("_", " "), [(0, line(name.at))]))
            is_test = False
        elif found[index].text in ("{", "}", ";"):
            is_test = False
        index += 1
    return result


PLACEHOLDER = re.compile(r"(?<!\{)\{[^{}]*\}")
ESCAPE = re.compile(r"\\(?:\n|.)", re.S)
DOC = re.compile(r"doc=")


def texts(found, line):
    """String literals of two words and more, those of attributes left out."""
    result, index = [], 0
    while index < len(found):
        if attribute := rust.attribute(found, index):
            index = attribute[0] + 1
            continue
        token = found[index]
        index += 1
        if token.kind != "string" or token.text.startswith("b") or " " not in token.text:
            continue
        if token.text.startswith("r"):
            body = token.text
        else:
            body = ESCAPE.sub(lambda escape: " \n" if escape.group() == "\\\n" else "  ", token.text)
        body = PLACEHOLDER.sub(lambda place: "X".ljust(len(place.group())), body)
        first = line(token.at)
        result.append(piece("text", [(part, number) for number, part in enumerate(body.split("\n"), first)]))
    return result


HASH_COMMENT = re.compile(r"(?:^|(?<=\s))#(?!!)(?P<text>.*)$|^\s*;(?P<semi>.*)$")
VALUE = re.compile(r"^(?:Description=|description\s*=)(.*)$")
SHOWN = re.compile(r"\b(?:echo|printf)\s+(?:-\w+\s+)*(\"[^\"]*\"|'[^']*')")


def of_hashed(source, extension):
    """Comments that begin with #, descriptions of units and packages, and what a script prints."""
    result, block, last = [], [], 0

    def flush():
        if block:
            result.extend(of_markdown([text for text, _ in block], block[0][1], "comment"))
        block.clear()

    for number, text in enumerate(source.split("\n"), 1):
        if comment := HASH_COMMENT.search(text):
            alone = not text[: comment.start()].strip()
            if number != last + 1 or not alone:
                flush()
            body = comment.group("text") if comment.group("text") is not None else comment.group("semi")
            block.append((body.removeprefix(" "), number))
            last = number
        shown = [value.group(1) for value in VALUE.finditer(text)] + [quoted.group(1) for quoted in SHOWN.finditer(text)]
        result += [piece("text", [(value, number)]) for value in shown if not text.lstrip().startswith("#")]
    flush()
    return result


def of_html(source):
    unseen = re.compile(r"<(script|style)\b.*?</\1>", re.S)
    lines = unseen.sub(lambda part: re.sub(r"[^\n]", " ", part.group()), source).split("\n")
    return list(of_markdown(lines, 1, "text"))


def of_go(source):
    """Go's comments and strings look like Rust's."""
    found, line = rust.tokens(source), rust.Lines(source)
    return comments(found, source, line) + texts(rust.code(found), line)


def of_python(source):
    """Comments, docstrings and texts."""
    import io
    import tokenize

    result, block, last = [], [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and block:
                result.extend(of_markdown([text for text, _ in block], block[0][1], "comment"))
                block = []
            last = token.start[0]
            block.append((token.string.lstrip("#! "), last))
        elif token.type == tokenize.STRING and " " in token.string and not re.match(r"[bB]?[rR]", token.string):
            text = PLACEHOLDER.sub(lambda place: "X".ljust(len(place.group())), token.string)
            result.extend(of_markdown(text.split("\n"), token.start[0], "text"))
    if block:
        result.extend(of_markdown([text for text, _ in block], block[0][1], "comment"))
    return result
