"""What views, tabs and the palette use of the application."""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.session import Session


class ConsoleHost(Protocol):
    """`recent`: the latest events, whichever view was shown. `traced`: what the trace shows when it is opened."""

    session: Session
    recent: deque[ShownEvent]
    traced: dict[str, str]

    def now_s(self) -> float:
        """On the clock of the feed."""
        ...

    async def open_view(self, name: str) -> None: ...
    async def trace(self, **wanted: str) -> None:
        """Open the trace of a message; `wanted` is the body of `messages.trace`."""
        ...

    def use_theme(self, name: str) -> None: ...
    def exit(self) -> None: ...
    def keys_of_view(self) -> Iterator[tuple[str, str, str]]:
        """Key, words and action of every binding of the shown view."""
        ...

    async def act(self, action: str) -> None:
        """Run an action of the shown view."""
        ...
