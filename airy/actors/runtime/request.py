"""A message with a typed reply: `class CountUnread(Request[int], frozen=True): ...`."""

from typing import Generic, TypeVar

from msgspec import Struct

R = TypeVar("R")


class Request(Struct, Generic[R], frozen=True):
    pass
