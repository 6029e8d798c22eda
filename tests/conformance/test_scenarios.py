"""Every scenario of the original is either a test here, named by its ids, or listed with the reason why it is not.

A test names its scenarios at the start of its name (`test_com_7_v15_…`) or of its docstring (`COM-7, V15.`).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent.parent
LETTERS = {"A": 8, "P": 10, "U": 1, "C": 1, "H": 10, "V": 20, "M": 12, "T": 3, "K": 8, "N": 7, "S": 1, "L": 4, "R": 5}
LETTERS["F"] = 12
WORDS = {"LIB": 7, "COM": 14, "ADM": 6, "WS": 1, "UNR": 1, "CON": 7, "WHK": 2, "MED": 1, "INS": 1, "FB": 6, "WA": 5}
WORDS |= {"TW": 4, "GO": 2, "VI": 3, "CH": 2, "SRC": 3, "BOT": 3, "X": 14}  # X: of failures, which it does not test
SCENARIOS = {f"{word}{nth}" for word, count in LETTERS.items() for nth in range(1, count + 1)} | {
    f"{word}-{nth}" for word, count in WORDS.items() for nth in range(1, count + 1)
}

BOTS = "bots are components that are not part of this installation"
INSTALLER = "components are configured in airy.yaml, and nothing installs them at run time"

NOT_HERE: dict[str, str] = {
    **dict.fromkeys(("BOT-1", "BOT-2", "BOT-3"), BOTS),
    "INS-1": INSTALLER,
}

_NAME = re.compile(
    rf"_?({'|'.join(word.lower() for word in WORDS)})_(\d+)(?=_)|_?([{''.join(LETTERS).lower()}])(\d+)(?=_)"
)
_DOCSTRING = re.compile(r"[A-Z]+-?\d+(?:, [A-Z]+-?\d+)*(?=[.,])")


def named_by(name: str) -> Iterator[str]:
    """The ids at the start of a test's name."""
    at = len("test")
    while (found := _NAME.match(name, at)) is not None:
        word, nth, letter, number = found.groups()
        yield f"{word.upper()}-{nth}" if word else f"{letter.upper()}{number}"
        at = found.end()


def named() -> dict[str, list[str]]:
    """The tests of each id."""
    found: dict[str, list[str]] = {}
    for path in sorted([*TESTS.rglob("test_*.py"), *(TESTS / "kit" / "contracts").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                listed = _DOCSTRING.match(ast.get_docstring(node) or "")
                ids = [*named_by(node.name), *(listed[0].split(", ") if listed else ())]
                for scenario in ids:
                    found.setdefault(scenario, []).append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def test_every_scenario_is_tested_or_listed_with_a_reason() -> None:
    found = named()
    assert found.keys() - SCENARIOS == set(), "there is no such scenario"
    assert NOT_HERE.keys() - SCENARIOS == set()
    assert SCENARIOS - found.keys() - NOT_HERE.keys() == set(), "needs a test that names it, or a line in NOT_HERE"
    assert found.keys() & NOT_HERE.keys() == set(), "is tested: take it off the list"


def test_the_ids_of_a_test_are_read_from_its_name() -> None:
    assert [*named_by("test_lib_7_a1_a2_tokens_open_1")] == ["LIB-7", "A1", "A2"]
    assert [*named_by("test_a_tag_lives")] == []
