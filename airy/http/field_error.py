"""An invalid field of a request, as error responses name it."""

from msgspec import Struct


class FieldError(Struct, frozen=True, omit_defaults=True):
    """An invalid field, as a dotted path into the body, the reason, and the offset in its text if that is known."""

    field: str
    message: str
    offset: int | None = None
