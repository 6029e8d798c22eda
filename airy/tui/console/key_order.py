"""Keys in order: a key is handled completely before the next one is given to a widget.

Textual forwards each key to the widget that has the focus at that moment, and runs bindings when the key has bubbled up
from it. A key that opens a field and the letters behind it arrive together over a slow connection: the letters would go
to the widget that loses the focus.
"""

from collections import deque
from functools import partial
from typing import Any

from textual.app import App
from textual.events import Event, Key
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

KEYS_MAX = 1_000  # that wait; further ones are dropped, as a terminal does
HANDLED_S = 1.0  # for a widget that was removed while it had a key


class KeyHandled(Message):
    """Bubbles behind a key, through the same queues, so it reaches the application after everything the key did; the
    second one behind the messages that this caused, as a field's `Submitted`.
    """

    def __init__(self, number: int, target: Widget, screen: Screen[Any], *, last: bool = False) -> None:
        super().__init__()
        self.number = number
        self.target = target  # had the key
        self.screen = screen  # that was shown
        self.last = last


class KeyOrder(App[None]):
    """An application that holds keys back until the one before is handled."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[Key] = deque()
        self._forwarded = 0
        self._handled = 0

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and not event.is_forwarded:
            if len(self._waiting) < KEYS_MAX:
                self._waiting.append(event)
            await self._forward_next()
        else:
            await super().on_event(event)

    async def _forward_next(self) -> None:
        if self._waiting and self._handled == self._forwarded:
            key, target = self._waiting.popleft(), self.focused or self.screen
            self._forwarded += 1
            message = KeyHandled(self._forwarded, target, self.screen)
            await super().on_event(key)
            target.post_message(message)
            self.set_timer(HANDLED_S, partial(self._end, message.number))

    async def on_key_handled(self, message: KeyHandled) -> None:
        if not message.last and message.target.is_attached:
            message.target.post_message(KeyHandled(message.number, message.target, message.screen, last=True))
        elif self.screen is message.screen:
            await self._end(message.number)
        else:  # the key opened another screen, which has its focus once it is drawn
            self.screen.call_after_refresh(self._end, message.number)

    async def _end(self, number: int) -> None:
        if number > self._handled:
            self._handled = number
            await self._forward_next()
