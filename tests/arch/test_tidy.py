"""Tidiness that reviews overlook: sizes, names, words, links and generated lists."""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec.inspect as shapes
import pytest
import yaml

from airy import log
from airy.config import Config
from tests.arch.retired_words import CLASSES, PERSISTED, WORDS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "airy").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PROGRAMS = sorted((ROOT / "benchmarks").rglob("*.py"))
TEXTS = [
    path
    for pattern in ("*.md", "*.toml", "*.lock", "*.yaml", "Makefile", "docs/**/*.md", ".ci/*", "charts/**/*.yaml")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
]
UNFINISHED = re.compile(
    "|".join((r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", "NotImplement" + "edError", r"\bfor" + r" now\b(?! in )"))
)
HOSTS = re.compile(
    r"pypi\.(org|python)|pythonhost" + r"ed\.org|/simple/|index-url[= ]+http|find" + r"-links|registry\.npmjs"
)

DOCUMENTS = [
    path
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
    )
    if path.exists()
]

WORDS_SET = frozenset(WORDS)
LINES_MAX = 400
LONG = {  # longer modules that exist; the number may only go down
}
FUNCTION_LINES_MAX = 60
LONG_FUNCTIONS = {  # longer functions that exist; the number may only go down
}


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text_of(path), str(path))


def test_every_module_has_a_docstring() -> None:
    silent = [place(path) for path in [*SOURCES, *PROGRAMS] if tree(path).body and not ast.get_docstring(tree(path))]

    assert silent == []


def test_modules_stay_short() -> None:
    """A module that has grown past the limit is split, not listed."""
    lengths = {place(path): text_of(path).count("\n") for path in SOURCES}

    too_long = {name: length for name, length in lengths.items() if length > LONG.get(name, LINES_MAX)}
    assert too_long == {}
    assert {name for name in LONG if lengths.get(name, 0) <= LINES_MAX} == set(), "take it off the list"


def test_functions_stay_short() -> None:
    lengths = {
        f"{place(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    too_long = {
        name: length for name, length in lengths.items() if length > LONG_FUNCTIONS.get(name, FUNCTION_LINES_MAX)
    }
    assert too_long == {}
    assert {name for name in LONG_FUNCTIONS if lengths.get(name, 0) <= FUNCTION_LINES_MAX} == set()


def lines_with(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{place(path)}:{number}: {line.strip()}"
        for path in paths
        if pattern.search(text_of(path))
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_is_left_unfinished() -> None:
    assert lines_with(UNFINISHED, [*SOURCES, *TESTS, *PROGRAMS, *TEXTS]) == []


def test_no_file_names_a_package_registry() -> None:
    """The registry is configured per machine, so that a mirror works without a change here."""
    assert lines_with(HOSTS, [*SOURCES, *PROGRAMS, *TEXTS]) == []


def packages(*, extras: bool) -> set[str]:
    """The names pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"].values() if extras else ())]
    return {re.split(r"[<>=!~;\[ ]", each)[0].lower() for group in groups for each in group}


def test_the_page_of_dependencies_lists_exactly_the_dependencies() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    listed = set(re.findall(r"^\| `([a-z0-9_.-]+)` \| \S.{20,} \|$", page, re.MULTILINE))

    assert packages(extras=True) - listed == set(), "needs a line in docs/dependencies.md"
    assert listed - packages(extras=True) == set(), "is no longer a dependency"


def test_every_imported_package_is_declared() -> None:
    """No package is imported that is only a dependency of another."""
    spelled = {"yaml": "pyyaml", "rich_click": "rich-click", "prometheus_client": "prometheus-client"}
    exempt = {"airy", "yarl", "trio"}  # yarl is in aiohttp's signatures; trio is imported only where it runs
    used = {name for path in SOURCES for name in imports(tree(path))}

    outside = {spelled.get(name, name) for name in used - sys.stdlib_module_names - exempt}
    assert outside - packages(extras=False) == set()


def imports(parsed: ast.Module) -> Iterator[str]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_locks_pin_every_package_with_hashes_and_agree() -> None:
    pinned: dict[str, str] = {}
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-build.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
        for entry in entries:
            package, version = re.match(r"([a-z0-9._-]+)==([^\s;]+)", entry).groups()  # type: ignore[union-attr]
            assert "--hash=sha256:" in entry, f"{package} in {name} has no hash"
            assert pinned.setdefault(package, version) == version, f"{package} has two versions"

    assert packages(extras=True) <= pinned.keys(), "run `make lock`"


LOGS = re.compile(r"(\b|_)log(ger)?\.(debug|info|warning|error|exception|critical)$|\._log$")


def log_events() -> dict[str, str]:
    """Every literal event name that is logged, with one place."""
    found: dict[str, str] = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and node.args and LOGS.search(re.sub(r"\(.*?\)", "", ast.unparse(node.func))):
                first = node.args[0]
                where = f"{place(path)}:{node.lineno}"
                assert isinstance(first, ast.Constant | ast.Name), (
                    f"{where}: data belongs into fields, not into the event name"
                )
                if isinstance(first, ast.Constant):
                    found[str(first.value)] = where
    return found


def test_every_event_that_is_logged_is_listed_and_every_listed_one_is_logged() -> None:
    logged = log_events()

    assert {name: where for name, where in logged.items() if name not in log.EVENTS} == {}
    assert set(log.EVENTS) - set(logged) == set()


def key_names(shape: shapes.Type) -> Iterator[str]:
    """Leaves only: a section is read through its keys."""
    if isinstance(shape, shapes.StructType):
        for each in shape.fields:
            inner = list(key_names(each.type))
            yield from inner or [each.name]


def test_every_configuration_key_is_read() -> None:
    text = "\n".join(text_of(path) for path in SOURCES if path.name != "config.py" or path.parent.name != "airy")

    unread = [name for name in key_names(shapes.type_info(Config)) if not re.search(rf"\.{name}\b|\"{name}\"", text)]
    assert unread == []


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_targets_in_documents_exist() -> None:
    text = "\n".join(text_of(path) for path in DOCUMENTS)

    assert set(re.findall(r"`make ([a-z]+)", text)) - make_targets() == set()


LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_lead_to_files_and_headings() -> None:
    broken = []
    for path in DOCUMENTS:
        for target, anchor in LINK.findall(text_of(path)):
            if "://" in target or target.startswith("mailto:"):
                continue
            linked = (path.parent / target).resolve() if target else path
            if not linked.exists() or (anchor and anchor not in anchors(linked)):
                broken.append(f"{place(path)} → {target}#{anchor}")
    assert broken == []


NAMED_PATH = re.compile(r"`(?:python )?((?:airy|tests|docs|benchmarks|charts)/[\w./*-]+)(?: [^`]*)?`")


def test_paths_in_documents_exist() -> None:
    named = [(path, name) for path in DOCUMENTS for name in NAMED_PATH.findall(text_of(path))]

    assert len(named) > 100
    assert [f"{place(path)}: {name}" for path, name in named if not any(ROOT.glob(name))] == []


NAMED_MODULE = re.compile(r"`(airy(?!\.yaml)(?:\.\w+)+)(?:\(\))?`")


def is_defined(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name that its module mentions."""
    path = ROOT / dotted.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module, _, name = dotted.rpartition(".")
    folder = ROOT / module.replace(".", "/")
    files = (folder.with_suffix(".py"), folder / "__init__.py")
    return any(re.search(rf"\b{name}\b", file.read_text()) for file in files if file.exists())


def test_modules_named_in_texts_exist() -> None:
    texts = [*DOCUMENTS, *SOURCES, *TESTS, *PROGRAMS]
    named = [(path, name) for path in texts for name in NAMED_MODULE.findall(text_of(path))]

    assert [f"{place(path)}: {name}" for path, name in named if not is_defined(name)] == []


def test_tests_named_in_documents_exist() -> None:
    """A name may be shortened with an ellipsis."""
    text = "\n".join(text_of(path) for path in TESTS)
    named = {name for path in DOCUMENTS for name in re.findall(r"`(test_\w+)…?`", text_of(path))}

    assert [name for name in named if f"def {name}" not in text] == []


def test_the_tour_names_things_that_exist() -> None:
    """In a row of a file, every other backticked identifier is mentioned in one of the row's files."""
    for line in (ROOT / "docs/tour.md").read_text().splitlines():
        files = [ROOT / name for name in NAMED_PATH.findall(line)]
        text = "\n".join(file.read_text() for file in files if file.is_file())
        names = [name for name in re.findall(r"`([A-Z]\w+(?:\.\w+)?)`", line) if files]
        assert [name for name in names if name.rpartition(".")[2] not in text] == [], line


def test_workflow_files_are_yaml() -> None:
    for path in (path for path in TEXTS if path.suffix == ".yaml" and "templates" not in path.parts):
        list(yaml.safe_load_all(text_of(path)))


def test_the_guarantees_name_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / "docs/guarantees.md").read_text())

    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


REPEATED_CLASSES: dict[str, int] = {}  # private class names that several modules use; the number may only go down


def test_a_class_name_is_defined_once() -> None:
    """One name, one meaning: a reader who finds a class by name has found the class."""
    defined: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                defined.setdefault(node.name, []).append(place(path))

    repeated = {name: paths for name, paths in defined.items() if len(paths) > 1}
    assert {name: paths for name, paths in repeated.items() if len(paths) > REPEATED_CLASSES.get(name, 1)} == {}
    assert [name for name in REPEATED_CLASSES if not name.startswith("_") or name not in repeated] == []


SCANNED = [
    path
    for path in (
        *TEXTS,
        *(each for folder in ("airy", "tests", "benchmarks", "charts") for each in sorted((ROOT / folder).rglob("*"))),
    )
    if path.suffix in {".py", ".lua", ".md", ".yaml", ".json", ".toml"} or path.name in {"Makefile", "run"}
    if path.is_file() and path.name != "retired_words.py" and not {"fixtures", "golden"} & set(path.parts)
]


@cache
def retired_words() -> re.Pattern[str]:
    """Each word whole, or as a part of an identifier in any of its spellings."""
    words = "|".join(WORDS)
    titles = "|".join(word.capitalize() for word in WORDS)
    capitals = "|".join(word.upper() for word in WORDS)
    return re.compile(rf"(?<![A-Za-z])(?:{words}|{titles}|{capitals})(?![a-z])|(?<=[a-z])(?:{titles})(?![a-z])")


def may_have_retired_words(text: str) -> bool:
    """Quickly: whether a part of any identifier or word is one. The pattern decides; it takes a second per megabyte."""
    return not WORDS_SET.isdisjoint(part.lower() for part in set(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)))


@pytest.mark.parametrize("word", WORDS)
def test_a_retired_word_is_found_in_every_spelling_and_not_inside_others(word: str) -> None:
    found = [
        f"the {word}",
        f"_{word}",
        f"the_{word}_of",
        word.upper(),
        f"{word.capitalize()}Of",
        f"the{word.capitalize()}",
    ]
    others = [f"x{word}", f"{word}x"]

    assert [text for text in found if not retired_words().search(text)] == []
    assert [text for text in found if not may_have_retired_words(text)] == []
    assert [text for text in others if retired_words().search(text)] == []


def test_retired_words_do_not_come_back() -> None:
    found = [
        f"{place(path)}:{number}: {line.strip()}"
        for path in sorted(set(SCANNED))
        if may_have_retired_words(f"{place(path)}\n{text_of(path)}")
        for number, line in enumerate([place(path), *text_of(path).splitlines()])
        if {word.lower() for word in retired_words().findall(line)} - PERSISTED.get(place(path), frozenset())
    ]

    assert found == [], "see tests/arch/retired_words.py"
    assert [name for name in PERSISTED if not (ROOT / name).exists()] == []


def test_retired_class_names_do_not_come_back() -> None:
    retired = [
        f"{place(path)}:{token.start[0]}: {token.string}"
        for path in [*SOURCES, *TESTS, *PROGRAMS]
        if any(name in text_of(path) for name in CLASSES)
        for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline)
        if token.type == tokenize.NAME and token.string in CLASSES
    ]

    assert retired == [], "see tests/arch/retired_words.py"
