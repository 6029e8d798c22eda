"""The parser of the filter language, and text patterns."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from airy.errors import Refused
from airy.store.filters import Clauses, Condition, NumberRange, Term, parse
from airy.store.search_text import (
    any_word_matches,
    escape,
    literal_text,
    matches,
    normalized_keyword,
    normalized_words,
    parse_pattern,
)


def term(text: str, field: str = "id") -> Term:
    return Term(field, parse_pattern(text), text)


def tree(text: str) -> Condition:
    (found,) = parse(text).must
    return found


a, b, c, d = (term(letter) for letter in "abcd")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", Clauses(should=(a,))),
        ("a b c", Clauses(should=(a, b, c))),
        ("a OR b || c", Clauses(should=(a, b, c))),
        ("a AND b && c", Clauses(must=(a, b, c))),
        ("a OR b AND c", Clauses(must=(b, c), should=(a,))),
        ("a AND b OR c", Clauses(must=(a, b), should=(c,))),
        ("a AND b c d", Clauses(must=(a, b), should=(c, d))),
        ("+a b -c", Clauses(must=(a,), should=(b,), must_not=(c,))),
        ("a NOT b", Clauses(should=(a,), must_not=(b,))),
        ("a AND NOT b AND c", Clauses(must=(a, c), must_not=(b,))),
        ("a !b", Clauses(should=(a,), must_not=(b,))),
        ("a AND !(b c)", Clauses(must=(a,), must_not=(Clauses(should=(b, c)),))),
        ("!id:a", Clauses(must_not=(a,))),
        ("-a", Clauses(must_not=(a,))),
        ("(a b) AND (c d)", Clauses(must=(Clauses(should=(a, b)), Clauses(should=(c, d))))),
        ("a!b", Clauses(should=(term("a!b"),))),
        (r"\!a", Clauses(should=(Term("id", parse_pattern("!a"), r"\!a"),))),
        (r"\&\&a", Clauses(should=(Term("id", parse_pattern("&&a"), r"\&\&a"),))),
        ('"a && !b"', Clauses(should=(term("a && !b"),))),
    ],
)
def test_clauses_are_required_optional_or_prohibited(text: str, expected: Clauses) -> None:
    assert tree(text) == expected


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("[1 TO 5]", 1, 5),
        ("{1 TO 5}", 2, 4),
        ("[1 TO 5}", 1, 4),
        ("{1 TO 5]", 2, 5),
        ("[* TO 5]", None, 5),
        ("[1 TO *]", 1, None),
        ("[* TO *]", None, None),
        ("[-5 TO -1]", -5, -1),
        ("7", 7, 7),
        ("-7", -7, -7),
        (">7", 8, None),
        (">=7", 7, None),
        ("<7", None, 6),
        ("<=7", None, 7),
        ("*", None, None),
        ('"7"', 7, 7),
        ("[-9223372036854775808 TO 9223372036854775807]", -(1 << 63), (1 << 63) - 1),
    ],
)
def test_number_ranges(text: str, low: int | None, high: int | None) -> None:
    found = tree(f"created_at:{text}")
    assert isinstance(found, Clauses)
    assert (*found.should, *found.must_not) == (NumberRange("created_at", low, high),)


@given(st.text(min_size=1, max_size=40))
def test_text_typed_into_the_search_box_is_parsed_or_refused(typed: str) -> None:
    try:
        found = parse(f"unread_count:[1 TO *] AND display_name:*{typed}* AND source:(facebook)")
    except Refused as refused:
        assert refused.field == "filters"
    else:
        assert isinstance(found, Clauses)


_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs"), exclude_characters='*\\"')
PLAIN = st.text(_CHARACTERS, min_size=1, max_size=12)


@given(st.lists(PLAIN, min_size=1, max_size=3))
def test_typed_text_without_wildcards_is_literal(typed: list[str]) -> None:
    if {"AND", "OR", "NOT", "&&", "||"} & set(typed) or any(":" in word for word in typed):
        return
    (box, unread) = parse(f"display_name:*{' '.join(typed)}* AND unread_count:0").must[0].must  # type: ignore[union-attr]
    assert isinstance(box, Term)
    assert unread == NumberRange("unread_count", 0, 0)
    assert box.field == "display_name"
    assert matches(box.pattern, f"so {normalized_keyword(' '.join(typed))} it is")


# --- patterns

PIECES = st.lists(st.sampled_from(["a", "b", "*", "?", "ab"]), max_size=8).map("".join)
TEXTS = st.text("ab", max_size=12)


@given(PIECES, TEXTS)
def test_patterns_match_like_regular_expressions(written: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(character, character) for character in written)
    assert matches(parse_pattern(written), text) == bool(re.fullmatch(expression, text))


@given(st.text(max_size=20))
def test_escaped_text_matches_itself(text: str) -> None:
    assert literal_text(parse_pattern(escape(text))) == text.lower()


def test_matching_a_hard_pattern_does_not_backtrack() -> None:
    """A backtracking matcher needs exponential time here."""
    assert not matches(parse_pattern("*a" * 40 + "b"), "a" * 5000)


def test_words_are_split_on_white_space_and_lowered() -> None:
    assert normalized_words("  Grace\t HOPPER\n") == " grace hopper "
    assert normalized_words(" \t") == ""
    assert normalized_keyword(" On   Hold ") == "on hold"
    assert any_word_matches("h*r", normalized_words("Grace Hopper"))
    assert not any_word_matches("g*r", normalized_words("Grace Hopper"))
