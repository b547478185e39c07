"""Counting the files of a tree, one after the other, by what their names and their first bytes say.

The listing (`scan`) decides which paths there are; here each is looked at, and either counted as source, text, data or
binary, or set aside with the reason.
"""

import os
import stat
from collections.abc import Collection

from tenuto.review.filenames import to_path
from tenuto.review.languages import OTHER_TEXT, Kind, Language, by_first_line, by_name, is_binary_name
from tenuto.review.tree import LanguageFiles, Package, SkipList, SourceFile

IS_LINK = "Symbolic links are not followed"
IS_REPOSITORY = "Repositories inside this one are not entered"
IS_SPECIAL = "Pipes, sockets and devices are not opened"
IS_GONE = "Listed by git, but not in the work tree"
IS_CLOSED = "Could not be opened"

_HEAD = 1024


class Census:
    """What has been counted so far in the tree at `root`, which holds at most `file_limit` files that count.

    The paths in `apart` are passed over without a word: the report itself, for example.
    """

    def __init__(self, root: str, file_limit: int, apart: Collection[str] = ()) -> None:
        self.skipped = SkipList()
        self.files = 0
        self.size = 0
        self.binary = 0
        self.cut_off = False
        self.directories: set[str] = set()
        self._root = root
        self._limit = file_limit
        self._apart = frozenset(apart)
        self._languages: dict[str, tuple[Kind, int, int]] = {}
        self._sources: dict[str, list[SourceFile]] = {}

    def add(self, path: str) -> bool:
        """Count the file at this path of the tree, and return whether there is room for more."""
        if path in self._apart:
            return True
        try:
            status = os.lstat(f"{self._root}/{to_path(path)}")
            if not stat.S_ISREG(status.st_mode):
                self.skipped.add(_unfit(status.st_mode), path)
                return True
            if self.files >= self._limit:
                self.cut_off = True
                return False
            self._count(path, status.st_size)
        except FileNotFoundError:
            self.skipped.add(IS_GONE, path)
        except OSError as error:
            self.skipped.add(f"{IS_CLOSED}: {error.strerror}", path)
        return True

    def languages(self) -> list[LanguageFiles]:
        """Return the languages, the one with most bytes first."""
        counted = [LanguageFiles(name, *numbers) for name, numbers in self._languages.items()]
        return sorted(counted, key=lambda entry: (-entry.size, entry.name))

    def packages(self) -> list[Package]:
        """Return the directories that hold source files, and these files, each in the order of their names."""
        return [
            Package(directory, sorted(files, key=lambda file: file.name))
            for directory, files in sorted(self._sources.items())
        ]

    def _count(self, path: str, size: int) -> None:
        above, _, name = path.rpartition("/")
        directory = above or "."
        language = None if is_binary_name(name) else by_name(name) or self._look_into(path)
        self.files += 1
        self.size += size
        self.directories.add(directory)
        if language is None:
            self.binary += 1
            return
        _, files, total = self._languages.get(language.name, (language.kind, 0, 0))
        self._languages[language.name] = (language.kind, files + 1, total + size)
        if language.kind == "code":
            self._sources.setdefault(directory, []).append(SourceFile(name, size))

    def _look_into(self, path: str) -> Language | None:
        head = read_regular(f"{self._root}/{to_path(path)}", _HEAD)
        return None if b"\0" in head else by_first_line(head) or OTHER_TEXT


def read_regular(path: str, limit: int) -> bytes:
    """Return the first `limit` bytes of a regular file. Raises `OSError`, also for anything but a regular file."""
    # Without O_NONBLOCK, opening a pipe that took the file's place would wait for a writer that never comes.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "Not a regular file any more")
        return file.read(limit)


def _unfit(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return IS_LINK
    return IS_REPOSITORY if stat.S_ISDIR(mode) else IS_SPECIAL
