"""The tracked files, and the allow-lists of the checks."""

import os
import subprocess


def git(*arguments):
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def files():
    """Tracked files, and those that could be added."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    return sorted(path for path in set(listed.stdout.split("\0")) if path and os.path.isfile(path))


def read(path):
    """The text, or None if the file is not UTF-8."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def at_last_change(path, other):
    """`other` as it was in the commit that last changed `path`."""
    commit = git("log", "-1", "--format=%H", "--", path)
    return git("show", f"{commit.strip()}:{other}") if commit and commit.strip() else None


def bases():
    """The commits from which a list may not have grown: HEAD, and where this branch left the main one."""
    found = ["HEAD"]
    for main in ("origin/main", "main"):
        if base := git("merge-base", "HEAD", main):
            found.append(base.strip())
    return found


class AllowList:
    """Lines of a key and a number, separated by a tab. The key begins with a path. Where git has merged two versions, the smaller number counts."""

    def __init__(self, path, what):
        self.path, self.what = path, what

    def parse(self, text):
        numbers = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                key, number = line.rsplit("\t", 1)
                numbers[key] = min(int(number), numbers.get(key, int(number)))
        return numbers

    def read(self):
        return self.parse(read(self.path) or "")

    def write(self, numbers):
        head = f"# Allowed {self.what}. May only shrink: .ci/laws --shrink lowers the numbers, .ci/laws --moved OLD NEW follows a renamed file.\n"
        lines = [f"{key}\t{number}\n" for key, number in sorted(numbers.items()) if number > 0]
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(head + "".join(lines))

    def shrink(self, numbers):
        """Never raises a number and never adds a line."""
        allowed = self.read()
        self.write({key: min(allowed[key], numbers.get(key, 0)) for key in allowed})

    def moved(self, old, new):
        allowed = self.read()
        for key in [key for key in allowed if key.split("\t")[0] == old]:
            there = "\t".join([new, *key.split("\t")[1:]])
            allowed[there] = allowed.get(there, 0) + allowed.pop(key)
        self.write(allowed)

    def compare(self, numbers, sources):
        """Whether the list is as small as it can be, and no larger than it was. The caller reports the files above their number."""
        allowed, good = self.read(), True
        for key, number in sorted(allowed.items()):
            if numbers.get(key, 0) < number:
                print(f"{self.path}: {key.replace(chr(9), ' ')}: {number} allowed, {numbers.get(key, 0)} found: run .ci/laws --shrink")
                good = False
        lines = [line for line in (read(self.path) or "").splitlines() if line and not line.startswith("#")]
        if good and len(lines) != len(allowed):
            print(f"{self.path}: a merge has left two lines of one file: run .ci/laws --shrink")
            good = False
        return good & self.has_not_grown(allowed, sources)

    def has_not_grown(self, allowed, sources):
        """Numbers may move from a file that is gone to another one. A change of the check itself starts a new count."""
        for base in bases():
            text = git("show", f"{base}:{self.path}")
            if text is None or any(git("show", f"{base}:{source}") != read(source) for source in sources):
                continue
            before = self.parse(text)
            raised = {key: number - before.get(key, 0) for key, number in allowed.items() if number > before.get(key, 0)}
            gone = sum(number for key, number in before.items() if key not in allowed and not os.path.exists(key.split("\t")[0]))
            if sum(raised.values()) > gone:
                names = ", ".join(key.split("\t")[0] for key in sorted(raised))
                print(f"{self.path}: the list may only shrink, and has grown for {names}: mend the text instead")
                return False
        return True
