"""A secret string that is masked when printed: only `reveal` returns the text.

Not encryption. It keeps tokens out of log lines, tracebacks and test output.
"""

from hmac import compare_digest

from airy.entered_text import invisible, trimmed

MASK = "*****"
TOKEN_CHARS_MIN = 16  # of a configured token of the API


class Secret:
    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def entered(cls, text: str) -> "Secret":
        """A secret from outside the program, without outer white space; it may be empty.

        Raises `ValueError` for invisible characters, with a message that never contains the text.
        """
        text = trimmed(text)
        if found := invisible(text, formats=True):
            raise ValueError(f"contains {found}: give it as one line of visible characters")
        return cls(text)

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)
