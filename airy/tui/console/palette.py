"""The command palette: views, themes, and the actions of the current view."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from airy.tui.console.navigation import VIEWS
from airy.tui.console.themes import NAMES

if TYPE_CHECKING:
    from airy.tui.console.app import ConsoleApp


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
        app = cast("ConsoleApp", self.app)
        for entry in VIEWS:
            yield f"open {entry.title.lower()}", entry.summary, _Opening(app, entry.name)
        for name in NAMES:
            yield f"theme {name}", "colours of the console", _Theming(app, name)
        for key, words, action in app.keys_of_view():
            yield words, f"key {key}", _Acting(app, action)
        yield "quit", "leave the console", app.exit


class _Opening:
    def __init__(self, app: "ConsoleApp", name: str) -> None:
        self._app, self._name = app, name

    async def __call__(self) -> None:
        await self._app.open_view(self._name)


class _Theming:
    def __init__(self, app: "ConsoleApp", name: str) -> None:
        self._app, self._name = app, name

    def __call__(self) -> None:
        self._app.use_theme(self._name)


class _Acting:
    def __init__(self, app: "ConsoleApp", action: str) -> None:
        self._app, self._action = app, action

    async def __call__(self) -> None:
        await self._app.screen.run_action(self._action)
