"""Reading Python through its own parser, so that strings, nesting, decorators and `async` are what they are.

Nothing is imported or run. A file that does not parse keeps its line counts and says where the fault is. The syntax is
that of the Python this runs on: a file for a newer Python, or for Python 2, counts as broken here.

What is counted: a function is a `def` or `async def`, at any depth, and a lambda is none; its length runs from the
`def` line, decorators left out, to its last line. A docstring is asked of a public module that holds any statement, of
a public class, and of a public function that is not nested in a function and is no overload, override or setter. A name
is public when neither it nor anything around it begins with an underscore.
"""

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tenuto.review.source import Broken, Documented, Function, Import, Lines, Source, When, split_lines

PARSE_LIMIT = 1024 * 1024
"""Bytes. The tree of a larger file could take some hundred megabytes, so its lines are counted and no more."""

_FILENAME = "<reviewed>"
_DOCSTRING_START = re.compile(r"\s*[rRuU]?[\"']")

_Block = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_Callable = ast.FunctionDef | ast.AsyncFunctionDef


class _Place(NamedTuple):
    """Where a statement stands: inside which name, whether in a function, whether in public sight, and when it runs."""

    prefix: str
    in_function: bool
    public: bool
    when: When


def read_python(content: bytes, name: str) -> Source:
    """Return what a Python file says, from its bytes and its name. Never raises because of its content."""
    lines = split_lines(_text(content))
    if len(content) > PARSE_LIMIT:
        reason = f"Larger than {PARSE_LIMIT // 1024} KiB: its lines are counted, but it is not parsed"
        return _unparsed(lines, Broken(0, reason))
    try:
        module = _parse(content)
    except SyntaxError as error:
        return _unparsed(lines, Broken(error.lineno or 0, error.msg or "It is not valid Python"))
    except (ValueError, LookupError) as error:
        return _unparsed(lines, Broken(0, str(error) or "It is not valid Python"))
    except (RecursionError, MemoryError):
        return _unparsed(lines, Broken(0, "It is nested too deeply for Python's parser"))
    return _Reader(lines, name).read(module)


class _Reader:
    """Walks the statements of one file. With a list of what is still to be visited, because depth has no limit."""

    def __init__(self, lines: list[str], name: str) -> None:
        self._lines = lines
        self._public_name = not name.startswith("_") or name.startswith(("__init__.", "__main__."))
        self._functions: list[Function] = []
        self._classes = 0
        self._imports: list[Import] = []
        self._documented = Documented()
        self._docstrings: list[ast.Constant] = []

    def read(self, module: ast.Module) -> Source:
        place = _Place("", in_function=False, public=self._public_name, when="load")
        self._ask_docstring(module, public=place.public and bool(module.body))
        pending: list[tuple[ast.stmt, _Place]] = [(statement, place) for statement in reversed(module.body)]
        while pending:
            statement, place = pending.pop()
            below = list(self._visit(statement, place))
            pending.extend(reversed(below))
        return Source(
            lines=self._count_lines(module),
            functions=self._functions,
            classes=self._classes,
            documentation=self._documented,
            imports=self._imports,
        )

    def _visit(self, statement: ast.stmt, place: _Place) -> Iterator[tuple[ast.stmt, _Place]]:
        """Record a statement, and yield the statements inside it with their places."""
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from self._visit_function(statement, place)
            case ast.ClassDef():
                yield from self._visit_class(statement, place)
            case ast.Import(names=names):
                self._imports += [Import(alias.name, [], place.when) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                taken = [alias.name for alias in names]
                self._imports.append(Import("." * level + (module or ""), taken, place.when))
            case ast.If(test=test, body=body, orelse=orelse):
                when, otherwise = _branches(test, place.when)
                yield from ((inner, place._replace(when=when)) for inner in body)
                yield from ((inner, place._replace(when=otherwise)) for inner in orelse)
            case _:
                yield from ((inner, place) for inner in _statements_inside(statement))

    def _visit_function(self, function: _Callable, place: _Place) -> Iterator[tuple[ast.stmt, _Place]]:
        name = f"{place.prefix}{function.name}"
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        self._functions.append(Function(name, function.lineno, length))
        public = place.public and not function.name.startswith("_") and not place.in_function
        self._ask_docstring(function, public=public and not _shares_docstring(function))
        when: When = "typing" if place.when == "typing" else "later"
        inside = _Place(f"{name}.", in_function=True, public=False, when=when)
        yield from ((inner, inside) for inner in function.body)

    def _visit_class(self, definition: ast.ClassDef, place: _Place) -> Iterator[tuple[ast.stmt, _Place]]:
        self._classes += 1
        public = place.public and not definition.name.startswith("_") and not place.in_function
        self._ask_docstring(definition, public=public)
        inside = place._replace(prefix=f"{place.prefix}{definition.name}.", public=public)
        yield from ((inner, inside) for inner in definition.body)

    def _ask_docstring(self, block: _Block, *, public: bool) -> None:
        docstring = _docstring(block)
        if docstring is not None:
            self._docstrings.append(docstring)
        if public:
            says_something = docstring is not None and bool(str(docstring.value).strip())
            self._documented += Documented(1, int(says_something))

    def _count_lines(self, module: ast.Module) -> Lines:
        documentation = {number for number in _covered(self._docstrings) if number <= len(self._lines)}
        for docstring in self._docstrings:
            # A docstring on the line of its `def` is on a line of code.
            if not _DOCSTRING_START.match(self._lines[docstring.lineno - 1]):
                documentation.discard(docstring.lineno)
        return _count(self._lines, documentation, self._lines_in_strings(module) - documentation)

    def _lines_in_strings(self, module: ast.Module) -> set[int]:
        # Looking at every expression takes longer than all the rest, and few files have a long string that is no
        # docstring: each of these has two triple quotes.
        quotes = sum(_triple_quotes(line) for line in self._lines)
        if quotes <= 2 * sum(_triple_quotes(self._lines[one.lineno - 1]) > 0 for one in self._docstrings):
            return set()
        constants = (node for node in ast.walk(module) if isinstance(node, ast.Constant | ast.JoinedStr))
        return _covered(node for node in constants if not isinstance(getattr(node, "value", ""), int | float))


def _parse(content: bytes) -> ast.Module:
    """Parse, without warning the user of a review about the code that is reviewed.

    `warnings.catch_warnings` would change the filters of every thread, so one filter is put in place, once for all. It
    meets nothing else, because the file name is the parser's word for the module. `filterwarnings` puts a filter that
    is there already first again, and no second one.
    """
    warnings.filterwarnings("ignore", module=re.escape(_FILENAME))
    module = compile(content, _FILENAME, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(module, ast.Module)
    return module


def _text(content: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError):
        return content.decode("latin-1")


def _unparsed(lines: list[str], broken: Broken) -> Source:
    return Source(lines=_count(lines, set(), set()), broken=broken)


def _count(lines: list[str], documentation: set[int], strings: set[int]) -> Lines:
    comment = blank = 0
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if not stripped:
            blank += 1
        elif number in documentation or (stripped[0] == "#" and number not in strings):
            comment += 1
    return Lines(len(lines) - comment - blank, comment, blank)


def _triple_quotes(line: str) -> int:
    return line.count('"""') + line.count("'''")


def _covered(nodes: Iterable[ast.expr]) -> set[int]:
    return {
        number for node in nodes if node.end_lineno is not None for number in range(node.lineno, node.end_lineno + 1)
    }


def _docstring(block: _Block) -> ast.Constant | None:
    match block.body:
        case [ast.Expr(value=ast.Constant(value=str()) as constant), *_]:
            return constant
    return None


def _statements_inside(statement: ast.stmt) -> Iterator[ast.stmt]:
    for field in ("body", "handlers", "cases", "orelse", "finalbody"):
        for inner in getattr(statement, field, ()):
            yield from (inner,) if isinstance(inner, ast.stmt) else inner.body


def _branches(test: ast.expr, when: When) -> tuple[When, When]:
    """Return when the two branches of an `if` run, for one that itself runs at `when`."""
    if when == "typing":
        return when, when
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return "typing", when
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            body, otherwise = _branches(operand, when)
            return otherwise, body
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]):
            return "later", when
    return when, when


def _shares_docstring(function: _Callable) -> bool:
    names = (getattr(decorator, "attr", getattr(decorator, "id", "")) for decorator in function.decorator_list)
    return not {"overload", "override", "setter", "deleter"}.isdisjoint(names)
