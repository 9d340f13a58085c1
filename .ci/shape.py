"""Import circles and long functions of the library crates.

An arrow goes from the file that names something to the file that defines it: imports are followed through re-exports, and a re-export that its own
file does not use is no arrow. A circle is a strongly connected set of three files or more. Test code is left out.
Circles and functions of today are listed, and the lists may only shrink: `.ci/laws --shrink`.
"""

import functools
import os
import re
from collections import defaultdict

import rust
import tree

CRATES = ("graceful-signal", "graceful-layer", "graceful-listener", "graceful-server")
LIMIT = 50
FUNCTIONS = tree.AllowList(".ci/functions-allowed.tsv", f"functions of more than {LIMIT} lines, by file and name")
CIRCLES = ".ci/circles-allowed.tsv"
SOURCES = (".ci/shape.py", ".ci/rust.py")

PATH = re.compile(r'\bpath="([^"]+)"')
TEST_ONLY = re.compile(r"cfg\((?:test|all\((?:.*,)?test(?:,.*)?\))\)$")
ITEMS = {"fn", "struct", "enum", "trait", "type", "const", "static", "union"}
BEGINS_ITEM = ITEMS | {"pub", "impl", "mod", "async", "unsafe", "extern", "macro_rules", "use"}


class Module:
    def __init__(self, name, file, parent):
        self.name, self.file, self.parent = name, file, parent
        self.children, self.items, self.words = {}, set(), set()
        self.uses = []  # (name or "*", path, whether it is a re-export, line)
        self.paths = []  # (path, line)

    def root(self):
        return self.parent.root() if self.parent else self


# Reading


@functools.cache
def live_tokens(file):
    """The tokens of a file without comments, test code and attributes, except that a `path` of one is a token of kind path."""
    found, result, index = rust.code(rust.tokens(tree.read(file))), [], 0
    while index < len(found):
        attribute = rust.attribute(found, index)
        if attribute is None:
            result.append(found[index])
            index += 1
        else:
            index = attribute[0] + 1
            if TEST_ONLY.match(attribute[1]):
                index = after_item(found, index)
            elif path := PATH.search(attribute[1]):
                result.append(rust.Token("path", path.group(1), found[index - 1].at))
    return result


def after_item(found, index):
    """Where the item, field or statement that begins at `index` is over."""
    while attribute := rust.attribute(found, index) if index < len(found) else None:
        index = attribute[0] + 1
    item = index < len(found) and found[index].text in BEGINS_ITEM
    while index < len(found):
        text = found[index].text
        if text == "{" and found[index].kind == "sign" and item and not is_use(found, index):
            return rust.closing(found, index) + 1
        if text in rust.OPEN and found[index].kind == "sign":
            index = rust.closing(found, index)
        elif text == ";" or (text == "," and not item):
            return index + 1
        elif text in rust.CLOSE and found[index].kind == "sign":
            return index
        index += 1
    return index


def is_use(found, index):
    return found[index - 1].text == "::"


@functools.cache
def crate_tree(crate):
    root = Module(crate, f"{crate}/src/lib.rs", None)
    read_file(root, f"{crate}/src")
    return root


def read_file(module, folder):
    line = rust.Lines(tree.read(module.file))
    read_body(module, live_tokens(module.file), 0, folder, line)


def read_body(module, found, index, folder, line):
    """Reads up to the brace that closes the module, and returns the index behind it."""
    depth, public, macros = 0, False, []
    while index < len(found):
        token = found[index]
        following = found[index + 1].text if index + 1 < len(found) else ""
        if macros and index == macros[-1]:
            macros.pop()
        elif token.kind == "sign" and token.text == "{":
            if depth == 0 and found[index - 1].text == "!":
                # An item in the braces of a macro, as in `pin_project! { … }`, is an item of the module.
                macros.append(rust.closing(found, index))
            else:
                depth += 1
        elif token.kind == "sign" and token.text == "}":
            depth -= 1
            if depth < 0:
                return index + 1
        elif token.text == "pub":
            public = True
            index = rust.closing(found, index + 1) + 1 if following == "(" else index + 1
            continue
        elif token.text == "mod" and depth == 0 and index + 2 < len(found):
            index = read_module(module, found, index + 1, folder, line)
            public = False
            continue
        elif token.kind == "path":
            index += 1
            continue
        elif token.text == "use":
            end = next(k for k in range(index, len(found)) if found[k].text == ";")
            for name, path in use_tree(found[index + 1 : end], []):
                module.uses.append((name, path, public, line(token.at)))
            index, public = end + 1, False
            continue
        elif token.text in ITEMS and depth == 0:
            module.items.add(following)
            index += 2
            public = False
            continue
        elif token.text == "macro_rules" and depth == 0:
            module.items.add(found[index + 2].text)
        elif token.kind == "word":
            index = read_path(module, found, index, line)
        public = False
        index += 1
    return index


def read_module(module, found, index, folder, line):
    name = found[index].text
    if found[index + 1].text == "{":
        child = module.children[name] = Module(name, module.file, module)
        return read_body(child, found, index + 2, f"{folder}/{name}", line)
    given = paths_before(found, index - 1, module.file)
    for file in given or (f"{folder}/{name}.rs", f"{folder}/{name}/mod.rs"):
        if os.path.isfile(file):
            # A second file for another platform is read as well, under a name that no path has.
            child = Module(name, file, module)
            module.children[name if name not in module.children else f"{name} of {file}"] = child
            read_file(child, f"{folder}/{name}")
    return index + 2


def paths_before(found, index, file):
    """The files that attributes of the declaration at `index` name."""
    given = []
    while index > 0 and (found[index - 1].kind == "path" or found[index - 1].text in ("pub", "(", "crate", "super", "in", ")")):
        index -= 1
        if found[index].kind == "path":
            given.insert(0, f"{os.path.dirname(file)}/{found[index].text}")
    return given


def read_path(module, found, index, line):
    """Notes the path or the single name at `index`; returns the index of its last token."""
    before = found[index - 1].text if index else ""
    path, begin = [found[index].text], index
    while index + 2 < len(found) and found[index + 1].text == "::" and found[index + 2].kind == "word":
        path.append(found[index + 2].text)
        index += 2
    if before not in ("::", "."):
        module.words.add(path[0])
        if len(path) > 1:
            module.paths.append((path, line(found[begin].at)))
    return index


def use_tree(found, prefix):
    """Pairs of a name and its path for each leaf of the tree between `use` and the semicolon."""
    path, index = list(prefix), 0
    while index < len(found):
        text = found[index].text
        if text == "{":
            for part in parts(found[index + 1 : rust.closing(found, index)]):
                yield from use_tree(part, path)
            return
        if text == "as":
            yield found[index + 1].text, path
            return
        if text == "*":
            yield "*", path
            return
        if text == "self" and path:
            break
        if found[index].kind == "word":
            path.append(text)
        index += 1
    if path:
        yield path[-1] if "as" not in [token.text for token in found] else found[-1].text, path


def parts(found):
    part, depth = [], 0
    for token in found:
        depth += (token.text == "{") - (token.text == "}")
        if token.text == "," and depth == 0:
            yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


# Resolving


def lookup(module, name, last, seen):
    """A Module, the path of the file that defines the name, or None if it is not of this crate."""
    if (id(module), name, last) in seen:
        return None
    seen = seen | {(id(module), name, last)}
    if name in module.children and not last:
        return module.children[name]
    if name in module.items:
        return module.file
    for used, path, _, _ in module.uses:
        if used == name and (target := resolve(module, path, seen)):
            if not last or not isinstance(target, Module):
                return target
    if name in module.children:
        return module.children[name]
    for used, path, _, _ in module.uses:
        if used == "*":
            inner = resolve(module, path, seen, as_module=True)
            if isinstance(inner, Module) and (target := lookup(inner, name, last, seen)):
                return target
    return None


def resolve(module, path, seen=frozenset(), as_module=False):
    """Like `lookup`. A name that a module does not show, made by a macro for instance, counts as one of its file."""
    if path[0] == "crate":
        here, rest = module.root(), path[1:]
    elif path[0] in ("self", "super"):
        here, rest = module, path
        while rest and rest[0] in ("self", "super"):
            here = here.parent or here if rest[0] == "super" else here
            rest = rest[1:]
    else:
        here, rest = lookup(module, path[0], len(path) == 1 and not as_module, seen), path[1:]
    for position, name in enumerate(rest, 1):
        if not isinstance(here, Module):
            return here
        here = lookup(here, name, position == len(rest) and not as_module, seen) or here.file
    return here


def modules(root):
    yield root
    for child in root.children.values():
        yield from modules(child)


def arrows(root):
    """For each file the files that it needs, with the name and its line."""
    found = defaultdict(dict)

    def arrow(module, path, line):
        target = resolve(module, path)
        if isinstance(target, str) and target != module.file:
            found[module.file].setdefault(target, (path[-1], line))

    for module in modules(root):
        named = {name for name, _, _, _ in module.uses} | module.items | set(module.children)
        for name, path, reexport, line in module.uses:
            if name == "*":
                inner = resolve(module, path, as_module=True)
                for word in (module.words - named) if isinstance(inner, Module) and not reexport else ():
                    if lookup(inner, word, True, frozenset()):
                        arrow(module, [*path, word], line)
            elif not reexport or name in module.words:
                arrow(module, path, line)
        for path, line in module.paths:
            arrow(module, path, line)
    return found


def circles(found):
    """The strongly connected sets of more than two files (Tarjan). Two may be one module and its child."""
    order, low, stack, result = {}, {}, [], []

    def visit(file):
        order[file] = low[file] = len(order)
        stack.append(file)
        for target in found.get(file, ()):
            if target not in order:
                visit(target)
                low[file] = min(low[file], low[target])
            elif target in stack:
                low[file] = min(low[file], order[target])
        if low[file] == order[file]:
            at = stack.index(file)
            circle = frozenset(stack[at:])
            del stack[at:]
            if len(circle) > 2:
                result.append(circle)

    for file in sorted(found):
        if file not in order:
            visit(file)
    return result


def crates():
    return [crate for crate in CRATES if os.path.isfile(f"{crate}/src/lib.rs")]


@functools.cache
def all_circles():
    """For each crate its circles and its arrows."""
    result = {}
    for crate in crates():
        found = arrows(crate_tree(crate))
        result[crate] = (circles(found), found)
    return result


# Functions


def long_functions():
    """Lines between the braces of each function over the limit, by file and name; a second one of that name in the file is NAME#2."""
    result = {}
    for crate in crates():
        for file in sorted({module.file for module in modules(crate_tree(crate))}):
            for lines, name, _ in sorted(functions(file), key=lambda function: -function[0]):
                if lines > LIMIT:
                    key, count = f"{file}\t{name}", 2
                    while key in result:
                        key, count = f"{file}\t{name}#{count}", count + 1
                    result[key] = lines
    return result


def functions(file):
    found, line = live_tokens(file), rust.Lines(tree.read(file))
    for index, token in enumerate(found):
        if token.text == "fn" and token.kind == "word" and found[index + 1].kind == "word":
            opening = body(found, index + 2)
            if opening is not None:
                first, last = line(found[opening].at), line(found[rust.closing(found, opening)].at)
                yield max(last - first - 1, 0), found[index + 1].text, line(token.at)


def body(found, index):
    while index < len(found) and found[index].text != ";":
        if found[index].kind == "sign" and found[index].text == "{":
            return index
        index = rust.closing(found, index) + 1 if found[index].text in ("(", "[") and found[index].kind == "sign" else index + 1
    return None


# The lists


def parse_circles(text):
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return [(crate, frozenset(files.split(" "))) for crate, _, files in lines]


def read_circles():
    return parse_circles(tree.read(CIRCLES) or "")


def write_circles(listed):
    lines = sorted({f"{crate}\t{len(files)}\t{' '.join(sorted(files))}\n" for crate, files in listed})
    head = "# Allowed import circles: crate, number of files, files. May only shrink: .ci/laws --shrink; .ci/laws --moved OLD NEW follows a renamed file.\n"
    with open(CIRCLES, "w", encoding="utf-8") as file:
        file.write(head + "".join(lines))


def covered(crate, circle, allowed):
    return any(crate == name and circle <= files for name, files in allowed)


def check():
    good = check_circles()
    found, allowed = long_functions(), FUNCTIONS.read()
    for key, lines in sorted(found.items()):
        if lines > allowed.get(key, LIMIT):
            file, name = key.split("\t")
            at = min(line for _, other, line in functions(file) if other == name.split("#")[0])
            print(f"{file}:{at}: function {name} has {lines} lines, {allowed.get(key, LIMIT)} allowed: split it")
            good = False
    good &= FUNCTIONS.compare(found, SOURCES)
    if good:
        print(f"shape: {len(read_circles())} old circles, {len(found)} old functions of more than {LIMIT} lines, none new")
    return good


def check_circles():
    current, allowed, good = all_circles(), read_circles(), True
    for crate, (found, needs) in current.items():
        for circle in found:
            if not covered(crate, circle, allowed):
                tell(crate, circle, needs, allowed)
                good = False
    whole = [(crate, circle) for crate, (found, _) in current.items() for circle in found]
    for crate, files in sorted(set(allowed) - set(whole), key=lambda entry: (entry[0], sorted(entry[1]))):
        if good:
            print(f"{CIRCLES}: a circle of {len(files)} files in {crate} has become smaller: run .ci/laws --shrink")
        good = False
    return good & not_grown(allowed)


def tell(crate, circle, needs, allowed):
    """Names the arrows of a new circle, or those of the files by which an old one grew."""
    old = max((files & circle for name, files in allowed if name == crate), key=len, default=frozenset())
    added = sorted(circle - old)
    if old:
        print(f"{crate}: the import circle of {len(old)} files has grown to {len(circle)}, by {', '.join(added)}:")
    else:
        print(f"{crate}: a new import circle of {len(circle)} files: {', '.join(added)}:")
    for file in sorted(circle):
        for target, (name, line) in sorted(needs[file].items()):
            if target in circle and (file in added or target in added):
                print(f"  {file}:{line}: needs {name} of {target}")


def not_grown(allowed):
    for base in tree.bases():
        text = tree.git("show", f"{base}:{CIRCLES}")
        if text is None or any(tree.git("show", f"{base}:{source}") != tree.read(source) for source in SOURCES):
            continue
        before = parse_circles(text)
        for crate, files in allowed:
            if not any(crate == name and renamed(files, old) for name, old in before):
                print(f"{CIRCLES}: the list may only shrink, and has grown by a circle of {len(files)} files in {crate}")
                return False
    return True


def renamed(files, old):
    """Whether `files` is a part of `old`. A file may have replaced a file that was deleted."""
    gone = [file for file in old if not os.path.exists(file)]
    return len(files - old) <= len(gone) and len(files) <= len(old)


def shrink():
    current, allowed = all_circles(), read_circles()
    kept = []
    for crate, (found, _) in current.items():
        for circle in found:
            if covered(crate, circle, allowed):
                kept.append((crate, circle))
            else:
                kept += [(name, files) for name, files in allowed if name == crate and files & circle]
    write_circles(kept)
    FUNCTIONS.shrink(long_functions())


def moved(old, new):
    FUNCTIONS.moved(old, new)
    write_circles([(crate, frozenset(new if file == old else file for file in files)) for crate, files in read_circles()])


def print_all():
    for crate, (found, needs) in all_circles().items():
        for circle in sorted(found, key=len):
            print(f"{crate}: a circle of {len(circle)} files")
            for file in sorted(circle):
                for target, (name, line) in sorted(needs[file].items()):
                    if target in circle:
                        print(f"  {file}:{line}: needs {name} of {target}")
    for crate in crates():
        found = [lines for file in {module.file for module in modules(crate_tree(crate))} for lines, _, _ in functions(file)]
        found.sort()
        middle, most = found[len(found) // 2], found[len(found) * 9 // 10]
        print(f"{crate}: {len(found)} functions, lines of the median {middle}, of nine in ten at most {most}, of the longest {found[-1]}")
    for key, lines in sorted(long_functions().items(), key=lambda entry: -entry[1]):
        print(f"{key.replace(chr(9), ' ')}: {lines} lines")
