"""The command palette: views, themes, and the actions of the current view."""

from collections.abc import Callable, Iterator
from typing import cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from airy.tui.console.host import ConsoleHost
from airy.tui.console.navigation import VIEWS
from airy.tui.console.theme_names import NAMES


class PaletteCommands(Provider):
    async def discover(self) -> Hits:
        for name, summary, run in self._commands():
            yield DiscoveryHit(name, run, help=summary)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, summary, run in self._commands():
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, help=summary)

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        host = cast("ConsoleHost", self.app)
        for entry in VIEWS:
            yield f"open {entry.title.lower()}", entry.summary, _Opening(host, entry.name)
        for name in NAMES:
            yield f"theme {name}", "colours of the console", _Theming(host, name)
        for key, words, action in host.keys_of_view():
            yield words, f"key {key}", _Acting(host, action)
        yield "quit", "leave the console", host.exit


class _Opening:
    def __init__(self, host: ConsoleHost, name: str) -> None:
        self._host, self._name = host, name

    async def __call__(self) -> None:
        await self._host.open_view(self._name)


class _Theming:
    def __init__(self, host: ConsoleHost, name: str) -> None:
        self._host, self._name = host, name

    def __call__(self) -> None:
        self._host.use_theme(self._name)


class _Acting:
    def __init__(self, host: ConsoleHost, action: str) -> None:
        self._host, self._action = host, action

    async def __call__(self) -> None:
        await self._host.act(self._action)
