"""How text is cut and compared for searching: on white space, lower case, `*` and `?` as wildcards, nothing else.

The same for what is stored and for what is asked.
"""

from functools import lru_cache

Piece = tuple[str | None, ...]  # one element per character; None stands for any character
Pattern = tuple[Piece, ...]  # pieces with any number of characters between them; a single one is without `*`


def words(text: str) -> str:
    """The words of `text` with a space around each, so that a word is found by its spaces; empty if there are none."""
    cut = text.lower().split()
    return f" {' '.join(cut)} " if cut else ""


def keyword(text: str) -> str:
    """`text` as one comparable word, whatever its case and spacing."""
    return " ".join(text.lower().split())


def pattern(text: str) -> Pattern:
    """`text` with its escapes resolved, lower case."""
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


def escaped(literal: str) -> str:
    """Text for `pattern` that stands for itself."""
    return "".join(f"\\{character}" if character in "*?\\" else character for character in literal)


def text_of(piece: Piece) -> str | None:
    """The piece as text, if every character of it is given."""
    return None if None in piece else "".join(piece)  # type: ignore[arg-type]


def literal(asked: Pattern) -> str | None:
    """What the pattern stands for, if that is one text."""
    return text_of(asked[0]) if len(asked) == 1 else None


def _at(piece: Piece, text: str, start: int) -> bool:
    return start + len(piece) <= len(text) and all(
        character is None or character == text[start + index] for index, character in enumerate(piece)
    )


def matches(asked: Pattern, text: str) -> bool:
    """Whether the whole of `text` fits. Takes pieces from the left: never more than text times pattern steps."""
    first, last = asked[0], asked[-1]
    if len(asked) == 1:
        return len(first) == len(text) and _at(first, text, 0)
    end = len(text) - len(last)
    if end < len(first) or not _at(first, text, 0) or not _at(last, text, end):
        return False
    start = len(first)
    for piece in asked[1:-1]:
        while start + len(piece) <= end and not _at(piece, text, start):
            start += 1
        if start + len(piece) > end:
            return False
        start += len(piece)
    return True


_pattern = lru_cache(maxsize=256)(pattern)


def pattern_matches(asked: str, text: str) -> bool:
    """Whether all of `text` fits the pattern `asked`."""
    return matches(_pattern(asked), text)


def any_word_matches(asked: str, cut: str) -> bool:
    """Whether a word of `cut` (made by `words`) fits the pattern `asked`."""
    wanted = _pattern(asked)
    return any(matches(wanted, word) for word in cut.split())
