"""The views of the console, in the order of their keys."""

from importlib import import_module
from typing import NamedTuple

from textual.screen import Screen


class Entry(NamedTuple):
    """`screen` is a dotted path, imported when the view is opened for the first time."""

    name: str
    key: str
    title: str
    short: str  # where the terminal is narrow
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
        "Over",
        "processes, components and actors, rates and lag",
        "airy.tui.console.overview.screen:OverviewView",
    ),
    Entry(
        "conversations",
        "2",
        "Conversations",
        "Conv",
        "a live list, threads with delivery states, answers",
        "airy.tui.console.conversations.screen:ConversationsView",
    ),
    Entry(
        "tail",
        "3",
        "Tail",
        "Tail",
        "changes as they happen, with their JSON",
        "airy.tui.console.tail.screen:TailView",
    ),
    Entry(
        "trace",
        "4",
        "Trace",
        "Trace",
        "one message from the provider's webhook to its last delivery, with the time between",
        "airy.tui.console.trace.screen:TraceView",
    ),
    Entry(
        "webhooks",
        "5",
        "Webhooks",
        "Hooks",
        "subscriptions, their health, attempts and dead deliveries; test, replay",
        "airy.tui.console.webhooks.screen:WebhooksView",
    ),
    Entry(
        "dead-letters",
        "6",
        "Dead letters",
        "Dead",
        "records that could not be processed, with their bytes; replay, discard",
        "airy.tui.console.dead_letters.screen:DeadLettersView",
    ),
    Entry(
        "channels",
        "7",
        "Channels",
        "Chan",
        "connected accounts, their health, connect and disconnect",
        "airy.tui.console.channels.screen:ChannelsView",
    ),
    Entry(
        "topics",
        "8",
        "Topics",
        "Topics",
        "partitions, offsets and lag of the log; its records",
        "airy.tui.console.topics.screen:TopicsView",
    ),
    Entry(
        "config",
        "9",
        "Config",
        "Conf",
        "components and sections of the configuration; a form, a plan, apply",
        "airy.tui.console.config.screen:ConfigView",
    ),
    Entry(
        "logs",
        "0",
        "Logs",
        "Logs",
        "log lines of every process, by level and words",
        "airy.tui.console.logs.screen:LogsView",
    ),
)
BY_NAME = {entry.name: entry for entry in VIEWS}
