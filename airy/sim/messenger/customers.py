"""Simulated customers: each writes about a few topics and continues when the page replies.

Pure: the next action depends on the topic, the turn, the page's message and a seeded draw. Customers tap offered quick
replies and buttons, react, and return later with another topic.
"""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

NAMES = (
    "Ines Kuhn",
    "Tomás Oliveira",
    "Aylin Şahin",
    "Björn Nyström",
    "Maya Okafor",
    "Kenji Watanabe",
    "Chloé Laurent",
    "Piotr Zieliński",
    "Lucía Ferrer",
    "Noah Becker",
    "Zoë van Dijk",
    "Amir Haddad",
)

TAPS_MAX = 3  # per topic, so that a bot that only offers choices does not keep a customer forever


class Says(NamedTuple):
    text: str


class SendsImage(NamedTuple):
    url: str


class Taps(NamedTuple):
    """A quick reply."""

    title: str
    payload: str


class Presses(NamedTuple):
    """A button of a template."""

    title: str
    payload: str


class Reacts(NamedTuple):
    """To the page's last message."""

    emoji: str


class Leaves(NamedTuple):
    """The topic is done."""


Act = Says | SendsImage | Taps | Presses | Reacts | Leaves

TOPICS: tuple[tuple[Act, ...], ...] = (
    (
        Says("Hi! Is the rye bread back? 🍞"),
        Says("Great. Can you keep one for me?"),
        Says("Around five, if that works"),
        Says("Thank you, see you then!"),
    ),
    (
        Says("Do you make birthday cakes?"),
        Says("For twelve people, on Saturday. One of them cannot have nuts."),
        SendsImage("https://cdn.example.net/customers/cake.jpg"),
        Says("Something like this. What would it cost?"),
        Says("Perfect, I'll take it 🎂"),
    ),
    (Says("Are you open on Sunday?"), Says("And is there a place to park?"), Says("ok thanks")),
    (
        Says("I left an umbrella in the shop this morning, a green one. Has it been found?"),
        Says("That's the one!! I can come by tomorrow."),
        Reacts("❤️"),
    ),
    (
        Says("Grüß Gott! Habt ihr noch Mohnzöpfe?"),
        Says("Dann bitte zwei, für Größenberger."),
        Says("Danke schön, bis später 👋"),
    ),
    (
        Says("my order #4711 arrived without the butter"),
        Says("no hurry, next week is fine"),
        Says("that's very kind, thanks"),
        Reacts("👍"),
    ),
)


class CustomerState(NamedTuple):
    """A customer's position in a conversation."""

    topic: int
    turn: int
    taps: int = 0


def opening(draw: Random) -> tuple[Act, CustomerState]:
    topic = draw.randrange(len(TOPICS))
    return TOPICS[topic][0], CustomerState(topic, 1)


def answer(customer: CustomerState, message: Mapping[str, object], draw: Random) -> tuple[Act, CustomerState]:
    """The customer's action on a message of the page, and the state after it."""
    offered = _offered(message) if customer.taps < TAPS_MAX else []
    if offered and draw.random() < 0.8:
        return draw.choice(offered), customer._replace(taps=customer.taps + 1)
    topic = TOPICS[customer.topic]
    if customer.turn >= len(topic):
        return Leaves(), customer
    return topic[customer.turn], customer._replace(turn=customer.turn + 1)


def _offered(message: Mapping[str, object]) -> list[Act]:
    replies = message.get("quick_replies")
    taps: list[Act] = [
        Taps(str(reply.get("title", "")), str(reply.get("payload", "")))
        for reply in (replies if isinstance(replies, list) else ())
        if isinstance(reply, dict) and reply.get("content_type") == "text"
    ]
    return taps + [
        Presses(str(button.get("title", "")), str(button.get("payload", "")))
        for button in _buttons(message)
        if button.get("type") == "postback"
    ]


def _buttons(message: Mapping[str, object]) -> list[Mapping[str, object]]:
    attachment = message.get("attachment")
    payload = attachment.get("payload") if isinstance(attachment, dict) else None
    if not isinstance(payload, dict):
        return []
    elements = payload.get("elements")
    holders = [payload, *(elements if isinstance(elements, list) else ())]
    lists = [holder.get("buttons") for holder in holders if isinstance(holder, dict)]
    return [button for buttons in lists if isinstance(buttons, list) for button in buttons if isinstance(button, dict)]
