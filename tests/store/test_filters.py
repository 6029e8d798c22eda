"""The filter language as a tree, and patterns: what needs no store."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from airy.errors import Refused
from airy.store.filters import Clauses, Condition, Span, Term, parse
from airy.store.words import any_word_matches, escaped, keyword, literal, matches, pattern, words


def term(text: str, field: str = "id") -> Term:
    return Term(field, pattern(text), text)


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
        (r"\!a", Clauses(should=(Term("id", pattern("!a"), r"\!a"),))),
        (r"\&\&a", Clauses(should=(Term("id", pattern("&&a"), r"\&\&a"),))),
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
def test_numbers(text: str, low: int | None, high: int | None) -> None:
    found = tree(f"created_at:{text}")
    assert isinstance(found, Clauses)
    assert (*found.should, *found.must_not) == (Span("created_at", low, high),)


@given(st.text(min_size=1, max_size=40))
def test_whatever_is_typed_into_the_search_box_is_searched_for_or_refused(typed: str) -> None:
    try:
        found = parse(f"unread_count:[1 TO *] AND display_name:*{typed}* AND source:(facebook)")
    except Refused as refused:
        assert refused.field == "filters"
    else:
        assert isinstance(found, Clauses)


_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs"), exclude_characters='*\\"')
PLAIN = st.text(_CHARACTERS, min_size=1, max_size=12)


@given(st.lists(PLAIN, min_size=1, max_size=3))
def test_typed_text_without_wildcards_is_meant_as_it_is(typed: list[str]) -> None:
    if {"AND", "OR", "NOT", "&&", "||"} & set(typed) or any(":" in word for word in typed):
        return
    (box, unread) = parse(f"display_name:*{' '.join(typed)}* AND unread_count:0").must[0].must  # type: ignore[union-attr]
    assert isinstance(box, Term)
    assert unread == Span("unread_count", 0, 0)
    assert box.field == "display_name"
    assert matches(box.pattern, f"so {keyword(' '.join(typed))} it is")


# --- patterns

PIECES = st.lists(st.sampled_from(["a", "b", "*", "?", "ab"]), max_size=8).map("".join)
TEXTS = st.text("ab", max_size=12)


@given(PIECES, TEXTS)
def test_patterns_match_like_regular_expressions(asked: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(character, character) for character in asked)
    assert matches(pattern(asked), text) == bool(re.fullmatch(expression, text))


@given(st.text(max_size=20))
def test_escaped_text_stands_for_itself(text: str) -> None:
    assert literal(pattern(escaped(text))) == text.lower()


def test_hard_patterns_are_not_slow() -> None:
    """A backtracking matcher would need longer than the universe."""
    assert not matches(pattern("*a" * 40 + "b"), "a" * 5000)


def test_words_are_cut_on_white_space_and_lowered() -> None:
    assert words("  Grace\t HOPPER\n") == " grace hopper "
    assert words(" \t") == ""
    assert keyword(" On   Hold ") == "on hold"
    assert any_word_matches("h*r", words("Grace Hopper"))
    assert not any_word_matches("g*r", words("Grace Hopper"))
