"""Which language a file is written in, and how that language marks comments, functions and types.

A file is recognised by its name, or by the interpreter its first line asks for; its content decides nothing else. The
patterns are for reading line by line (`line_source`), and give estimates: they know no grammar. Python needs none of
them, because `python_source` parses it. Only languages of the kind `code` are read; of the others, files and bytes are
counted.
"""

import re
from typing import Literal

import msgspec

Kind = Literal["code", "text", "data"]


class Comments(msgspec.Struct, frozen=True):
    """What starts a comment that ends with its line, and what opens and closes one that does not."""

    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()


class Language(msgspec.Struct, frozen=True):
    """How a language is recognised and how it is read line by line.

    `known_by` holds extensions and whole names, in lower case. `function` matches the head of a function and names it
    in one of its groups; `ends` says whether its body ends with its brace, or before the first later line that is
    indented no deeper than the head. `quotes` delimit strings; a single quote that is not among them delimits one
    character. `own_tests` is the text by which a file shows that it holds tests of itself.
    """

    name: str
    known_by: str
    comments: Comments = Comments()
    kind: Kind = "code"
    function: re.Pattern[str] | None = None
    ends: Literal["brace", "indentation"] = "brace"
    types: re.Pattern[str] | None = None
    quotes: str = "\"'"
    own_tests: str | None = None


_HASH = Comments(line=("#",))
_SLASHES = Comments(line=("//",), block=(("/*", "*/"),))
_DASHES = Comments(line=("--",), block=(("/*", "*/"),))
_MARKUP = Comments(block=(("<!--", "-->"),))
_PARENTHESES = Comments(block=(("(*", "*)"),))
_SEMICOLON = Comments(line=(";",))

_NOT_A_KEYWORD = r"(?!(?:if|for|while|switch|catch|return|else|do|with|new|function|await|sizeof|defined)\b)"
_TYPES = re.compile(
    r"^\s*(?:(?:public|private|protected|internal|static|final|abstract|sealed|partial|open|data|export|default|declare"
    r"|implicit|case|indirect|fileprivate|inner|value)\s+)*"
    r"(?:class|interface|enum|record|struct|trait|object|protocol|actor|extension|mixin)\s+\w+"
)
_C_TYPES = re.compile(r"^\s*(?:typedef\s+)?(?:class|struct|enum|union)\s+\w+[^;()]*$")
_METHODS = re.compile(
    r"^\s*(?:(?:public|private|protected|internal|static|final|abstract|synchronized|native|override|virtual|async"
    r"|sealed|unsafe|extern|default)\s+)+(?:[\w<>\[\],.?]+\s+)*?" + _NOT_A_KEYWORD + r"(?P<name>\w+)\s*\([^;=]*$"
)
_C_FUNCTIONS = re.compile(
    r"^(?:[A-Za-z_][\w<>,:]*[\s*&]+)+?[*&]*" + _NOT_A_KEYWORD + r"(?P<name>[A-Za-z_~][\w:~]*)\s*\([^;=]*$"
)
_SCRIPT_FUNCTIONS = re.compile(
    r"^\s*(?:(?:export|default|declare)\s+)*(?:async\s+)?function\b\s*\*?\s*(?P<name>[\w$]+)"
    r"|^\s*(?:export\s+)?(?:const|let|var)\s+(?P<arrow>[\w$]+)\s*=\s*(?:async\s*)?(?:\([^)]*\)|[\w$]+)\s*=>\s*\{"
    r"|^\s+(?:(?:public|private|protected|static|async|readonly|override|get|set)\s+)*\*?"
    + _NOT_A_KEYWORD
    + r"(?P<method>[\w$#]+)\s*\([^;={]*\)[^;={(]*\{\s*$"
)
_SHELL_FUNCTIONS = re.compile(
    r"^\s*(?:function\s+(?P<keyword>[\w:.-]+)\s*(?:\(\))?|(?P<name>[\w:.-]+)\s*\(\))\s*\{?\s*$"
)
_RUBY_FUNCTIONS = re.compile(r"^\s*def\s+(?P<name>[\w.?!=]+)")


def _after(words: str, name: str = r"\w+") -> re.Pattern[str]:
    return re.compile(rf"^\s*(?:[\w@()]+\s+)*?{words}\s+(?P<name>{name})")


_LANGUAGES = (
    Language("Python", ".py .pyi .pyw", _HASH),
    Language("Cython", ".pyx .pxd .pxi", _HASH),
    Language("JavaScript", ".js .mjs .cjs .jsx", _SLASHES, "code", _SCRIPT_FUNCTIONS, "brace", _TYPES, "\"'`"),
    Language("TypeScript", ".ts .tsx .mts .cts", _SLASHES, "code", _SCRIPT_FUNCTIONS, "brace", _TYPES, "\"'`"),
    Language("Vue, Svelte", ".vue .svelte", _SLASHES, "code", _SCRIPT_FUNCTIONS, "brace", None, "\"'`"),
    Language(
        "Go",
        ".go",
        _SLASHES,
        function=re.compile(r"^func\s+(?:\([^)]*\)\s*)?(?P<name>\w+)"),
        types=re.compile(r"^\s*type\s+\w+\s+(?:struct|interface)\b"),
        quotes='"`',
    ),
    Language(
        "Rust",
        ".rs",
        _SLASHES,
        function=_after(r"(?:extern\s+\"\w*\"\s+)?fn"),
        types=re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:struct|enum|trait|union)\s+\w+"),
        quotes='"',
        own_tests="#[cfg(test)]",
    ),
    Language("Java", ".java", _SLASHES, "code", _METHODS, "brace", _TYPES, '"'),
    Language("C#", ".cs", _SLASHES, "code", _METHODS, "brace", _TYPES, '"'),
    Language("Kotlin", ".kt .kts", _SLASHES, "code", _after(r"fun", r"(?:[\w<>?]+\.)?\w+"), "brace", _TYPES, '"'),
    Language("Swift", ".swift", _SLASHES, "code", _after("func"), "brace", _TYPES, '"'),
    Language("Scala", ".scala .sc", _SLASHES, "code", _after("def"), "indentation", _TYPES, '"'),
    Language("Dart", ".dart", _SLASHES, "code", _C_FUNCTIONS, "brace", _TYPES),
    Language("PHP", ".php", Comments(("//", "#"), (("/*", "*/"),)), "code", _after("function"), "brace", _TYPES),
    Language("C", ".c .h", _SLASHES, "code", _C_FUNCTIONS, "brace", _C_TYPES, '"'),
    Language(
        "C++",
        ".cc .cpp .cxx .hh .hpp .hxx .inl .cu .cuh",
        _SLASHES,
        "code",
        _C_FUNCTIONS,
        "brace",
        _C_TYPES,
        '"',
    ),
    Language("Objective-C", ".m .mm", _SLASHES, "code", _C_FUNCTIONS, "brace", None, '"'),
    Language("Zig", ".zig", Comments(("//",)), "code", _after("fn"), "brace", None, '"'),
    Language("Shell", ".sh .bash .zsh .ksh .fish .bats", _HASH, function=_SHELL_FUNCTIONS),
    Language("PowerShell", ".ps1 .psm1", Comments(("#",), (("<#", "#>"),)), function=_after("function", r"[\w:-]+")),
    Language("Ruby", ".rb .rake .gemspec rakefile gemfile", _HASH, "code", _RUBY_FUNCTIONS, "indentation"),
    Language("Crystal", ".cr", _HASH, "code", _RUBY_FUNCTIONS, "indentation"),
    Language("Elixir", ".ex .exs", _HASH, "code", _after("defp?", r"\w+[?!]?"), "indentation"),
    Language(
        "Lua",
        ".lua",
        Comments(("--",), (("--[[", "]]"),)),
        "code",
        _after("function", r"[\w.:]+"),
        "indentation",
    ),
    Language("Perl", ".pl .pm", _HASH, function=_after("sub")),
    Language("R", ".r", _HASH, function=re.compile(r"^\s*(?P<name>[\w.]+)\s*(?:<-|=)\s*function\s*\(")),
    Language("Julia", ".jl", _HASH, "code", _after("function", r"[\w.!]+"), "indentation"),
    Language("Nim", ".nim", _HASH, "code", _after("(?:proc|func|method)"), "indentation"),
    Language("Haskell", ".hs", Comments(("--",), (("{-", "-}"),))),
    Language("OCaml", ".ml .mli", _PARENTHESES),
    Language("F#", ".fs .fsx", Comments(("//",), (("(*", "*)"),))),
    Language("Erlang", ".erl .hrl", Comments(("%",))),
    Language("Clojure", ".clj .cljs .cljc", _SEMICOLON),
    Language("Lisp", ".lisp .el .scm .rkt", _SEMICOLON),
    Language("Fortran", ".f .f90 .f95 .f03", Comments(("!",))),
    Language("Assembly", ".s .asm", Comments(("#", ";", "//"), (("/*", "*/"),))),
    Language("SQL", ".sql", _DASHES),
    Language("HTML", ".html .htm .xhtml .jinja .j2", _MARKUP),
    Language("CSS", ".css", Comments(block=(("/*", "*/"),))),
    Language("Sass, Less", ".scss .sass .less", _SLASHES),
    Language("Protocol Buffers", ".proto", _SLASHES),
    Language("GraphQL", ".graphql .gql", _HASH),
    Language("Terraform", ".tf .hcl", Comments(("#", "//"), (("/*", "*/"),))),
    Language("Nix", ".nix", Comments(("#",), (("/*", "*/"),))),
    Language("Makefile", ".mk makefile gnumakefile", _HASH),
    Language("Dockerfile", ".dockerfile dockerfile containerfile", _HASH),
    Language("CMake", ".cmake cmakelists.txt", _HASH),
    Language("Starlark", ".bzl .star build.bazel workspace.bazel", _HASH),
    Language("Batch", ".bat .cmd", Comments(("rem ", "REM ", "::"))),
    Language("Markdown", ".md .markdown .mdx", kind="text"),
    Language("reStructuredText", ".rst", kind="text"),
    Language("AsciiDoc", ".adoc .asciidoc", kind="text"),
    Language("TeX", ".tex .sty .cls .bib", kind="text"),
    Language("Plain text", ".txt .text license licence copying notice authors readme changelog", kind="text"),
    Language("JSON", ".json .jsonl .ndjson .json5 .geojson .webmanifest .map", kind="data"),
    Language("YAML", ".yaml .yml", kind="data"),
    Language("TOML", ".toml", kind="data"),
    Language("XML", ".xml .xsd .xsl .xslt .plist .csproj .svg", kind="data"),
    Language("CSV, TSV", ".csv .tsv", kind="data"),
    Language("Settings", ".ini .cfg .conf .properties .env .editorconfig .gitignore .gitattributes", kind="data"),
    Language("Lock files", ".lock package-lock.json pnpm-lock.yaml go.sum", kind="data"),
    Language("Jupyter notebook", ".ipynb", kind="data"),
    Language("Translations", ".po .pot", kind="data"),
    Language("Patches", ".diff .patch", kind="data"),
)

_BY_NAME = {word: language for language in _LANGUAGES for word in language.known_by.split()}

_INTERPRETERS = {
    "python": ".py",
    "node": ".js",
    "deno": ".ts",
    "bun": ".ts",
    "ruby": ".rb",
    "perl": ".pl",
    "php": ".php",
    "lua": ".lua",
    "Rscript": ".r",
    "pwsh": ".ps1",
    **dict.fromkeys(("sh", "bash", "zsh", "dash", "ksh", "fish"), ".sh"),
}

_BINARY = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".bmp",
        ".ico",
        ".webp",
        ".avif",
        ".tif",
        ".tiff",
        ".psd",
        ".pdf",
        ".zip",
        ".gz",
        ".bz2",
        ".xz",
        ".zst",
        ".7z",
        ".tar",
        ".tgz",
        ".rar",
        ".jar",
        ".war",
        ".whl",
        ".egg",
        ".pyc",
        ".pyo",
        ".pyd",
        ".so",
        ".a",
        ".o",
        ".obj",
        ".lib",
        ".dll",
        ".exe",
        ".dylib",
        ".bin",
        ".class",
        ".wasm",
        ".woff",
        ".woff2",
        ".ttf",
        ".otf",
        ".eot",
        ".mp3",
        ".mp4",
        ".m4a",
        ".ogg",
        ".wav",
        ".flac",
        ".avi",
        ".mov",
        ".mkv",
        ".webm",
        ".db",
        ".sqlite",
        ".sqlite3",
        ".parquet",
        ".npy",
        ".npz",
        ".pkl",
        ".pt",
        ".h5",
        ".hdf5",
        ".doc",
        ".docx",
        ".xls",
        ".xlsx",
        ".ppt",
        ".pptx",
        ".odt",
        ".p12",
        ".der",
        ".mo",
        ".dmg",
        ".iso",
        ".deb",
        ".rpm",
    ]
)


def by_name(name: str) -> Language | None:
    """Return the language that a file's name says it is in, or None where the name says nothing."""
    return _BY_NAME.get(name.lower()) or _BY_NAME.get(suffix(name))


def by_first_line(head: bytes) -> Language | None:
    """Return the language of the interpreter that a `#!` line asks for, or None."""
    if not head.startswith(b"#!"):
        return None
    words = head[2:].split(b"\n", 1)[0].decode("latin-1").split()
    programs = [word.rpartition("/")[2] for word in words if not word.startswith("-") and "=" not in word]
    if programs[:1] == ["env"]:
        programs = programs[1:]
    if not programs:
        return None
    extension = _INTERPRETERS.get(programs[0].rstrip("0123456789."))
    return _BY_NAME[extension] if extension else None


def is_binary_name(name: str) -> bool:
    """Return whether a file with this name is binary without any need to look into it."""
    return suffix(name) in _BINARY


def suffix(name: str) -> str:
    """Return the last extension with its dot, in lower case; of `.bashrc` and of `Makefile`, an empty text."""
    stem, dot, extension = name.rpartition(".")
    return f".{extension.lower()}" if dot and stem else ""
