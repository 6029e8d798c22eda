"""Tidiness that a tool has to watch, because people stop seeing it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec.inspect as shapes
import yaml

from airy import log
from airy.config import Config

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

LINES_MAX = 400
LONG = {  # longer modules that exist; the number may only go down
    "airy/actors/webhooks/queue_sqlite.py": 415,
}
FUNCTION_LINES_MAX = 60
LONG_FUNCTIONS = {  # longer functions that exist; the number may only go down
}


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def test_every_module_says_what_it_is() -> None:
    silent = [place(path) for path in [*SOURCES, *PROGRAMS] if tree(path).body and not ast.get_docstring(tree(path))]

    assert silent == []


def test_modules_stay_short() -> None:
    """A module that has grown past the limit is split, not listed."""
    lengths = {place(path): path.read_text().count("\n") for path in SOURCES}

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
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_is_left_unfinished() -> None:
    assert lines_with(UNFINISHED, [*SOURCES, *TESTS, *PROGRAMS, *TEXTS]) == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's business: a mirror has to work without a change here."""
    assert lines_with(HOSTS, [*SOURCES, *PROGRAMS, *TEXTS]) == []


def packages(*, extras: bool) -> set[str]:
    """The names pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"].values() if extras else ())]
    return {re.split(r"[<>=!~;\[ ]", each)[0].lower() for group in groups for each in group}


def test_every_dependency_is_justified_and_nothing_else_is() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    told = set(re.findall(r"^\| `([a-z0-9_.-]+)` \| \S.{20,} \|$", page, re.MULTILINE))

    assert packages(extras=True) - told == set(), "needs a line in docs/dependencies.md"
    assert told - packages(extras=True) == set(), "is no dependency any more"


def test_what_is_imported_is_declared() -> None:
    """No package is used that only came along with another."""
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
    """Every literal event name somebody logs, and one place where."""
    found: dict[str, str] = {}
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and node.args and LOGS.search(re.sub(r"\(.*?\)", "", ast.unparse(node.func))):
                first = node.args[0]
                where = f"{place(path)}:{node.lineno}"
                assert isinstance(first, ast.Constant | ast.Name), f"{where}: an event's name is no place for data"
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


def test_every_configuration_key_is_read_by_somebody() -> None:
    """A key nobody reads is a promise nobody keeps."""
    text = "\n".join(path.read_text() for path in SOURCES if path.name != "config.py" or path.parent.name != "airy")

    unread = [name for name in key_names(shapes.type_info(Config)) if not re.search(rf"\.{name}\b|\"{name}\"", text)]
    assert unread == []


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_targets_that_are_written_about_exist() -> None:
    text = "\n".join(path.read_text() for path in DOCUMENTS)

    assert set(re.findall(r"`make ([a-z]+)", text)) - make_targets() == set()


def test_links_between_documents_are_alive() -> None:
    links = [
        (path, target)
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
        if "://" not in target and not target.startswith("mailto:")
    ]

    assert [f"{place(path)} → {target}" for path, target in links if not (path.parent / target).exists()] == []


def test_the_tour_names_files_and_things_that_exist() -> None:
    """`path/file.py` must be a file; `path/file.py:name` must define or mention that name."""
    tour = ROOT / "docs/tour.md"
    text = tour.read_text() if tour.exists() else ""
    named = re.findall(r"`((?:airy|tests|docs|benchmarks)/[\w./-]+\.\w+)(?::([\w.]+))?`", text)

    assert [path for path, _ in named if not (ROOT / path).exists()] == []
    assert [
        f"{path}:{name}" for path, name in named if name and name.rpartition(".")[2] not in (ROOT / path).read_text()
    ] == []


def test_workflow_files_are_yaml() -> None:
    for path in (path for path in TEXTS if path.suffix == ".yaml" and "templates" not in path.parts):
        list(yaml.safe_load_all(path.read_text()))


def test_the_guarantees_name_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / "docs/guarantees.md").read_text())

    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
