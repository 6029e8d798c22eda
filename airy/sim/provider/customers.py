"""Simulated customers: each writes about a few topics and continues when the account replies.

Pure: the next action depends on the topic, the turn, the choices it offered and a seeded draw. Customers tap offered
replies and buttons, react, and return later with another topic.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from airy.sim.provider.acts import Leaves, PersonAct, Reacts, Says, SendsMedia

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


TOPICS: tuple[tuple[PersonAct, ...], ...] = (
    (
        Says("Hi! Is the rye bread back? 🍞"),
        Says("Great. Can you keep one for me?"),
        Says("Around five, if that works"),
        Says("Thank you, see you then!"),
    ),
    (
        Says("Do you make birthday cakes?"),
        Says("For twelve people, on Saturday. One of them cannot have nuts."),
        SendsMedia("image"),
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


def opening(draw: Random) -> tuple[PersonAct, CustomerState]:
    topic = draw.randrange(len(TOPICS))
    return TOPICS[topic][0], CustomerState(topic, 1)


def answer(customer: CustomerState, offered: Sequence[PersonAct], draw: Random) -> tuple[PersonAct, CustomerState]:
    """The customer's action on a message with these choices, and the state after it."""
    if offered and customer.taps < TAPS_MAX and draw.random() < 0.8:
        return draw.choice(offered), customer._replace(taps=customer.taps + 1)
    topic = TOPICS[customer.topic]
    if customer.turn >= len(topic):
        return Leaves(), customer
    return topic[customer.turn], customer._replace(turn=customer.turn + 1)
