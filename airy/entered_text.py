"""Text entered outside of the program: by operators, in environment variables, in files, in requests.

Outer white space is dropped. An invisible character inside is a mistake that has to be named, because the text looks
right wherever it is shown.
"""

import unicodedata

BYTE_ORDER_MARK = "\ufeff"
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line and paragraph separators
_NAMES = {"\0": "NUL", "\t": "a tab", "\n": "a line break", "\r": "a line break"}


def trimmed(text: str) -> str:
    """Without outer white space and byte order marks."""
    while (shorter := text.strip().strip(BYTE_ORDER_MARK)) != text:
        text = shorter
    return text


def invisible(text: str, *, formats: bool = False) -> str:
    """The first control character and its place, in words; empty without one. Shows no other part of the text.

    `formats`: format characters (zero-width space, byte order mark) count too. Emoji in names contain them.
    """
    if text.isprintable():
        return ""
    for place, character in enumerate(text, start=1):
        category = unicodedata.category(character)
        if category in _CONTROLS or (formats and category == "Cf"):
            return f"{_NAMES.get(character) or f'U+{ord(character):04X}'} at character {place}"
    return ""
