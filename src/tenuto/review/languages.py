"""Which language a file is written in, and how that language marks comments.

A file is recognised by its name, or by the interpreter its first line asks for; its content decides nothing else. Only
languages of the kind `code` are read. Of the others, files and bytes are counted.
"""

from typing import Literal

import msgspec

Kind = Literal["code", "text", "data"]


class Comments(msgspec.Struct, frozen=True):
    """What starts a comment that ends with its line, and what opens and closes one that does not."""

    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()


class Language(msgspec.Struct, frozen=True):
    """How a language is recognised: `known_by` holds extensions and whole names, in lower case."""

    name: str
    known_by: str
    comments: Comments = Comments()
    kind: Kind = "code"


_C_BLOCK = (("/*", "*/"),)
_HASH = Comments(("#",))
_SLASHES = Comments(("//",), _C_BLOCK)
_DASHES = Comments(("--",), _C_BLOCK)
_SEMICOLON = Comments((";",))

_LANGUAGES = (
    Language("Python", ".py .pyi .pyw", _HASH),
    Language("Cython", ".pyx .pxd .pxi", _HASH),
    Language("JavaScript", ".js .mjs .cjs .jsx", _SLASHES),
    Language("TypeScript", ".ts .tsx .mts .cts", _SLASHES),
    Language("Vue, Svelte", ".vue .svelte", Comments(("//",), (("/*", "*/"), ("<!--", "-->")))),
    Language("Go", ".go", _SLASHES),
    Language("Rust", ".rs", _SLASHES),
    Language("Java", ".java", _SLASHES),
    Language("C#", ".cs", _SLASHES),
    Language("Kotlin", ".kt .kts", _SLASHES),
    Language("Swift", ".swift", _SLASHES),
    Language("Scala", ".scala .sc", _SLASHES),
    Language("Dart", ".dart", _SLASHES),
    Language("PHP", ".php", Comments(("//", "#"), _C_BLOCK)),
    Language("C", ".c .h", _SLASHES),
    Language("C++", ".cc .cpp .cxx .hh .hpp .hxx .inl .cu .cuh", _SLASHES),
    Language("Objective-C", ".m .mm", _SLASHES),
    Language("Zig", ".zig", Comments(("//",))),
    Language("Shell", ".sh .bash .zsh .ksh .fish .bats", _HASH),
    Language("PowerShell", ".ps1 .psm1", Comments(("#",), (("<#", "#>"),))),
    Language("Ruby", ".rb .rake .gemspec rakefile gemfile", _HASH),
    Language("Crystal", ".cr", _HASH),
    Language("Elixir", ".ex .exs", _HASH),
    Language("Lua", ".lua", Comments(("--",), (("--[[", "]]"),))),
    Language("Perl", ".pl .pm", _HASH),
    Language("R", ".r", _HASH),
    Language("Julia", ".jl", _HASH),
    Language("Nim", ".nim", _HASH),
    Language("Haskell", ".hs", Comments(("--",), (("{-", "-}"),))),
    Language("OCaml", ".ml .mli", Comments(block=(("(*", "*)"),))),
    Language("F#", ".fs .fsx", Comments(("//",), (("(*", "*)"),))),
    Language("Erlang", ".erl .hrl", Comments(("%",))),
    Language("Clojure", ".clj .cljs .cljc", _SEMICOLON),
    Language("Lisp", ".lisp .el .scm .rkt", _SEMICOLON),
    Language("Fortran", ".f .f90 .f95 .f03", Comments(("!",))),
    Language("Assembly", ".s .asm", Comments(("#", ";", "//"), _C_BLOCK)),
    Language("SQL", ".sql", _DASHES),
    Language("HTML", ".html .htm .xhtml .jinja .j2", Comments(block=(("<!--", "-->"),))),
    Language("CSS", ".css", Comments(block=_C_BLOCK)),
    Language("Sass, Less", ".scss .sass .less", _SLASHES),
    Language("Protocol Buffers", ".proto", _SLASHES),
    Language("GraphQL", ".graphql .gql", _HASH),
    Language("Terraform", ".tf .hcl", Comments(("#", "//"), _C_BLOCK)),
    Language("Nix", ".nix", Comments(("#",), _C_BLOCK)),
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

OTHER_TEXT = Language("Other text", "", kind="text")
"""What is text, in no language known here."""

_BY_KNOWN_NAME = {word: language for language in _LANGUAGES for word in language.known_by.split()}

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

_BINARY_NAMES = (
    ".png .jpg .jpeg .gif .bmp .ico .webp .avif .tif .tiff .psd .pdf",
    ".zip .gz .bz2 .xz .zst .7z .tar .tgz .rar .jar .war .whl .egg .deb .rpm .dmg .iso",
    ".pyc .pyo .pyd .so .a .o .obj .lib .dll .exe .dylib .bin .class .wasm",
    ".woff .woff2 .ttf .otf .eot",
    ".mp3 .mp4 .m4a .ogg .wav .flac .avi .mov .mkv .webm",
    ".db .sqlite .sqlite3 .parquet .npy .npz .pkl .pt .h5 .hdf5",
    ".doc .docx .xls .xlsx .ppt .pptx .odt .p12 .der .mo",
)
_BINARY = frozenset(suffix for group in _BINARY_NAMES for suffix in group.split())


def by_name(name: str) -> Language | None:
    """Return the language that a file's name says it is in, or None where the name says nothing."""
    return _BY_KNOWN_NAME.get(name.lower()) or _BY_KNOWN_NAME.get(suffix(name))


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
    return _BY_KNOWN_NAME[extension] if extension else None


def is_binary_name(name: str) -> bool:
    """Return whether a file with this name is binary without any need to look into it."""
    return suffix(name) in _BINARY


def suffix(name: str) -> str:
    """Return the last extension with its dot, in lower case; of `.bashrc` and of `Makefile`, an empty text."""
    stem, dot, extension = name.rpartition(".")
    return f".{extension.lower()}" if dot and stem else ""
