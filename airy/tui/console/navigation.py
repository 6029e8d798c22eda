"""The views of the console, in the order of their keys."""

from importlib import import_module
from typing import NamedTuple

from textual.screen import Screen


class Entry(NamedTuple):
    """`screen` is a dotted path, imported when the view is opened for the first time."""

    name: str
    key: str
    title: str
    summary: str
    screen: str

    def open(self) -> Screen[None]:
        module, _, name = self.screen.partition(":")
        view: Screen[None] = getattr(import_module(module), name)()
        return view


VIEWS: tuple[Entry, ...] = (
    Entry(
        "overview",
        "1",
        "Overview",
        "processes, components and actors, rates and lag",
        "airy.tui.console.overview.screen:OverviewView",
    ),
    Entry(
        "conversations",
        "2",
        "Conversations",
        "a live list, threads with delivery states, answers",
        "airy.tui.console.conversations.screen:ConversationsView",
    ),
    Entry("tail", "3", "Tail", "changes as they happen, with their JSON", "airy.tui.console.tail.screen:TailView"),
)
BY_NAME = {entry.name: entry for entry in VIEWS}
