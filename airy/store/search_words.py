"""Words of full-text search: how text is cut into words, and words into a query. Independent of the engine.

Case and diacritics do not count (`Straße`, `STRASSE`; `café`, `cafe`). A word is a run of letters, digits and the signs
that belong to them; a character of a script without spaces, or a symbol such as an emoji, is a word of its own.
"""

import re
import unicodedata
from collections.abc import Sequence

from msgspec import Struct

WORD_CHARS_MAX = 64  # longer words are cut
SEARCHED_WORDS_MAX = 32  # of one phrase
WORDS_VERSION = 1  # raised with every change of `words_of`, so that stores are rebuilt

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)  # Thai, Lao, Burmese, Khmer, Kana, Han
_DROPPED = re.compile("[\u00ad\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]")  # soft hyphen, joiners, variation selectors

_OF_THE_LETTER = frozenset({0, 7, 8, 9})  # combining classes: none, nukta, voiced sound mark, virama


class _Characters(dict[int, str]):
    """What each character becomes; filled as characters occur, at most all of Unicode."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if unicodedata.combining(character) not in _OF_THE_LETTER or _DROPPED.match(character):
            becomes = ""
        elif category == "So" or _UNSPACED.match(character):
            becomes = f" {character} "
        else:
            becomes = character if category[0] in "LNM" or category == "Co" else " "
        self[code] = becomes
        return becomes


_characters = _Characters()


def words_of(text: str) -> list[str]:
    """The words of `text` in order, in the form in which they are compared."""
    if text.isascii():
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return [word[:WORD_CHARS_MAX] for word in folded.translate(_characters).split()]


class Phrase(Struct, frozen=True):
    """Words that follow each other in one message. `prefix`: the last one is the beginning of a word."""

    words: tuple[str, ...]
    prefix: bool = False


def phrase(literal: str, *, prefix: bool = False) -> Phrase:
    """`prefix` has no effect where `literal` does not end within a word. Without a word: no words."""
    words = words_of(literal)
    inside = prefix and bool(words) and len(words_of(literal + "a")) == len(words)
    return Phrase(tuple(words), inside)


def holds(wanted: Phrase, words: Sequence[str]) -> bool:
    """Whether the phrase occurs in `words`, a result of `words_of`."""
    size = len(wanted.words)
    *first, last = wanted.words
    for start in range(len(words) - size + 1):
        end = words[start + size - 1]
        if list(words[start : start + size - 1]) == first and (end.startswith(last) if wanted.prefix else end == last):
            return True
    return False
