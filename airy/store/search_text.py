"""Text matching of the search filters: words are split on white space and lower case; `*` and `?` are wildcards.

Stored text and queries are normalised alike.
"""

from functools import lru_cache

Piece = tuple[str | None, ...]  # one element per character; None matches any character
Pattern = tuple[Piece, ...]  # pieces separated by `*`; a single piece is a pattern without `*`


def normalized_words(text: str) -> str:
    """The words of `text`, a space around each: a substring search then finds whole words. Empty without words."""
    split = text.lower().split()
    return f" {' '.join(split)} " if split else ""


def normalized_keyword(text: str) -> str:
    """`text` as one value to compare, independent of case and spacing."""
    return " ".join(text.lower().split())


def parse_pattern(text: str) -> Pattern:
    """The pattern written in `text`: escapes resolved, lower case."""
    pieces: list[list[str | None]] = [[]]
    characters = iter(text.lower())
    for character in characters:
        if character == "*":
            pieces.append([])
        elif character == "?":
            pieces[-1].append(None)
        else:
            pieces[-1].append(next(characters, "\\") if character == "\\" else character)
    inner = [piece for piece in pieces[1:-1] if piece]  # `**` is `*`
    return tuple(tuple(piece) for piece in ([pieces[0], *inner, pieces[-1]] if len(pieces) > 1 else pieces))


def escape(literal: str) -> str:
    """`literal` as text that `parse_pattern` reads as itself."""
    return "".join(f"\\{character}" if character in "*?\\" else character for character in literal)


def piece_text(piece: Piece) -> str | None:
    """The piece as text, or None if it has a wildcard."""
    return None if None in piece else "".join(piece)  # type: ignore[arg-type]


def literal_text(pattern: Pattern) -> str | None:
    """The only text the pattern matches, or None if it has a wildcard."""
    return piece_text(pattern[0]) if len(pattern) == 1 else None


def plain_substring(pattern: Pattern) -> str | None:
    """What to search for in a result of `normalized_words`, if the pattern is a plain prefix, suffix, part or whole of
    a word.
    """
    match [piece_text(piece) for piece in pattern]:
        case [str(word)]:
            return f" {word} "
        case [str(start), ""]:
            return f" {start}"
        case ["", str(end)]:
            return f"{end} "
        case ["", str(middle), ""]:
            return middle
        case _:
            return None


def _at(piece: Piece, text: str, start: int) -> bool:
    return start + len(piece) <= len(text) and all(
        character is None or character == text[start + index] for index, character in enumerate(piece)
    )


def matches(pattern: Pattern, text: str) -> bool:
    """Whether `pattern` matches all of `text`. Greedy from the left, at most len(text) * len(pattern) steps."""
    first, last = pattern[0], pattern[-1]
    if len(pattern) == 1:
        return len(first) == len(text) and _at(first, text, 0)
    end = len(text) - len(last)
    if end < len(first) or not _at(first, text, 0) or not _at(last, text, end):
        return False
    start = len(first)
    for piece in pattern[1:-1]:
        while start + len(piece) <= end and not _at(piece, text, start):
            start += 1
        if start + len(piece) > end:
            return False
        start += len(piece)
    return True


_parse_cached = lru_cache(maxsize=256)(parse_pattern)


def pattern_matches(pattern: str, text: str) -> bool:
    """Whether the pattern written in `pattern` matches all of `text`."""
    return matches(_parse_cached(pattern), text)


def any_word_matches(pattern: str, words: str) -> bool:
    """Whether the pattern matches one of `words`, a result of `normalized_words`."""
    parsed = _parse_cached(pattern)
    return any(matches(parsed, word) for word in words.split())
