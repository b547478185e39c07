"""Reading the source files of a parcel, and joining what was read of all parcels.

A file that cannot be opened any more, is too large, or turns out to be binary is set aside with the reason; nothing a
file contains makes reading fail.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from heapq import nlargest
from pathlib import Path

from tenuto.review.census import IS_CLOSED, IS_GONE, read_regular
from tenuto.review.facts import Facts, FileFacts, FunctionAt, Reading
from tenuto.review.filenames import join, to_path
from tenuto.review.imports import Resolver
from tenuto.review.languages import by_first_line, by_name
from tenuto.review.line_source import read_lines
from tenuto.review.module_names import is_python
from tenuto.review.parcels import Parcel
from tenuto.review.python_source import read_python
from tenuto.review.source import READ_LIMIT, Import, Source
from tenuto.review.tested import is_test_file
from tenuto.review.tree import SkipList

KEPT_FUNCTIONS = 20
"""The longest functions that are kept, of each parcel and of the tree."""


def read_parcel(root: Path, parcel: Parcel, own_names: Collection[str] | None) -> Reading:
    """Return what the files of a parcel say. `own_names` is that of the scan: imports of other names are left out."""
    files: list[FileFacts] = []
    imports: dict[str, list[Import]] = {}
    functions: list[FunctionAt] = []
    lengths: Counter[int] = Counter()
    skipped = SkipList()
    own = None if own_names is None else frozenset(own_names)
    for package in parcel.packages:
        for file in package.files:
            path = join(package.directory, file.name)
            found = _read(root, path, skipped)
            if found is None:
                continue
            language, source = found
            is_test = is_test_file(path)
            files.append(
                FileFacts(
                    path,
                    language,
                    source.lines,
                    len(source.functions),
                    source.classes,
                    source.documentation,
                    is_test,
                    source.broken,
                )
            )
            inside = [entry for entry in source.imports if _may_be_inside(entry, own)]
            if inside:
                imports[path] = inside
            functions += [FunctionAt(path, one.name, one.line, one.length, is_test) for one in source.functions]
            functions = _longest(functions)
            if not is_test:
                lengths.update(one.length for one in source.functions)
    return Reading(files, imports, functions, dict(sorted(lengths.items())), skipped.entries())


def join_readings(readings: Iterable[Reading], python_prefix: str) -> Facts:
    """Return all readings as one, with imports resolved to files. `python_prefix` is that of the scan."""
    files: list[FileFacts] = []
    imports: dict[str, list[Import]] = {}
    functions: list[FunctionAt] = []
    lengths: Counter[int] = Counter()
    skipped = SkipList()
    for reading in readings:
        files += reading.files
        imports.update(reading.imports)
        functions = _longest([*functions, *reading.longest])
        lengths.update(reading.lengths)
        for entry in reading.skipped:
            skipped.merge(entry)
    files.sort(key=lambda file: file.path)
    resolver = Resolver([file.path for file in files], python_prefix)
    loaded, late = resolver.edges(imports)
    return Facts(files, loaded, late, functions, dict(sorted(lengths.items())), skipped.entries())


def _read(root: Path, path: str, skipped: SkipList) -> tuple[str, Source] | None:
    try:
        content = read_regular(f"{root}/{to_path(path)}", READ_LIMIT + 1)
    except FileNotFoundError:
        skipped.add(IS_GONE, path)
        return None
    except OSError as error:
        skipped.add(f"{IS_CLOSED}: {error.strerror}", path)
        return None
    if len(content) > READ_LIMIT:
        skipped.add(f"Source files larger than {READ_LIMIT // 1024**2} MiB are not read", path)
        return None
    name = path.rpartition("/")[2]
    language = by_name(name) or by_first_line(content[:1024])
    if language is None or (b"\0" in content and not _is_wide(content)):
        skipped.add("Named like source, but not text", path)
        return None
    if is_python(name) or language.name == "Python":
        return language.name, read_python(content, name)
    if _is_wide(content):
        content = content.decode("utf-16", "replace").encode("utf-8", "replace")
    return language.name, read_lines(content, language.comments)


def _is_wide(content: bytes) -> bool:
    return content.startswith((b"\xff\xfe", b"\xfe\xff"))


def _may_be_inside(entry: Import, own_names: frozenset[str] | None) -> bool:
    if entry.when == "typing":
        return False
    return own_names is None or entry.module.startswith(".") or entry.module.partition(".")[0] in own_names


def _longest(functions: list[FunctionAt]) -> list[FunctionAt]:
    # Tests are kept apart, so that long tests do not push the functions of the program out of the list.
    kept: list[FunctionAt] = []
    for is_test in (False, True):
        those = [one for one in functions if one.is_test is is_test]
        kept += nlargest(KEPT_FUNCTIONS, those, key=lambda one: (one.length, one.path, -one.line))
    return kept
