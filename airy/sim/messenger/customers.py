"""People who write to pages: a few topics each, and small talk that goes on when they are answered.

Pure: what somebody does next depends on the topic, the turn, what the page said and a seeded draw. They tap
the quick replies and buttons they are offered, react now and then, and come back later with something else.
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

TAPS_MAX = 3  # of one topic: a bot that only offers choices must not hold anybody for ever


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
        Says("I left an umbrella in the shop this morning, a green one. Did anybody find it?"),
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


class Mood(NamedTuple):
    """Where somebody is in a conversation."""

    topic: int
    turn: int
    taps: int = 0


def opening(draw: Random) -> tuple[Act, Mood]:
    topic = draw.randrange(len(TOPICS))
    return TOPICS[topic][0], Mood(topic, 1)


def answer(mood: Mood, said: Mapping[str, object], draw: Random) -> tuple[Act, Mood]:
    """What somebody does about a message of the page, and where that leaves them."""
    offered = _offered(said) if mood.taps < TAPS_MAX else []
    if offered and draw.random() < 0.8:
        return draw.choice(offered), mood._replace(taps=mood.taps + 1)
    topic = TOPICS[mood.topic]
    if mood.turn >= len(topic):
        return Leaves(), mood
    return topic[mood.turn], mood._replace(turn=mood.turn + 1)


def _offered(said: Mapping[str, object]) -> list[Act]:
    replies = said.get("quick_replies")
    taps: list[Act] = [
        Taps(str(reply.get("title", "")), str(reply.get("payload", "")))
        for reply in (replies if isinstance(replies, list) else ())
        if isinstance(reply, dict) and reply.get("content_type") == "text"
    ]
    return taps + [
        Presses(str(button.get("title", "")), str(button.get("payload", "")))
        for button in _buttons(said)
        if button.get("type") == "postback"
    ]


def _buttons(said: Mapping[str, object]) -> list[Mapping[str, object]]:
    attachment = said.get("attachment")
    payload = attachment.get("payload") if isinstance(attachment, dict) else None
    if not isinstance(payload, dict):
        return []
    elements = payload.get("elements")
    holders = [payload, *(elements if isinstance(elements, list) else ())]
    lists = [holder.get("buttons") for holder in holders if isinstance(holder, dict)]
    return [button for buttons in lists if isinstance(buttons, list) for button in buttons if isinstance(button, dict)]
