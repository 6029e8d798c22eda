"""Who and what there is: pages, people, and the tokens that open them."""

import hashlib
from random import Random

from msgspec import Struct

from airy.errors import Refused
from airy.sim.messenger.customers import NAMES, Mood
from airy.sim.messenger.journal import Journal
from airy.sim.messenger.options import Page, SimOptions

FIRST_PSID = 6_120_000_000_000_001
PEOPLE_MAX = 100_000


class Person(Struct):
    """Somebody a page knows by a page-scoped id."""

    psid: str
    page_id: str
    name: str
    private: bool = False
    blocked: bool = False
    wrote_at_ms: int | None = None
    acts: int = 0  # how often they did something; names the next time
    last_mid: str | None = None  # of the page's last message to them
    mood: Mood | None = None  # None: no customer, does what it is told


class Sight(Struct):
    """A page as it is at the moment."""

    page: Page
    fields: frozenset[str] | None  # what it is subscribed to; None: everything
    revoked: bool = False  # all its tokens
    sends_ms: tuple[int, ...] = ()  # within the last second


class World:
    def __init__(self, options: SimOptions) -> None:
        self.options = options
        self.journal = Journal(options.journal_max)
        self.people: dict[str, Person] = {}
        self.pages = {
            page.id: Sight(page=page, fields=None if page.subscribed else frozenset()) for page in options.pages
        }

    def person(self, page_id: str | None = None, name: str | None = None) -> Person:
        """Somebody new."""
        number = len(self.people)
        if number >= PEOPLE_MAX:
            raise Refused(f"there are {PEOPLE_MAX} people already; start a new simulation")
        psid = str(FIRST_PSID + number)
        home = page_id or self.options.pages[0].id
        if home not in self.pages:
            raise Refused(f"there is no page {home} here", field="page_id")
        private = self.draw("private", psid).random() < self.options.behaviour.private
        person = Person(psid=psid, page_id=home, name=name or _name(number), private=private)
        self.people[psid] = person
        return person

    def known(self, psid: str) -> Person:
        person = self.people.get(psid)
        if person is None:
            raise Refused(f"there is nobody with the id {psid} here", field="psid")
        return person

    def draw(self, *about: object) -> Random:
        """The chance that belongs to one thing, whenever it is asked for."""
        return Random(int(self._digest(about)[:16], 16))  # noqa: S311 — a simulation

    def mid(self, *about: object) -> str:
        """A message id as Meta makes them: opaque, and different for everything."""
        return f"m_{self._digest(about)}"

    def _digest(self, about: tuple[object, ...]) -> str:
        name = ":".join(map(str, (self.options.seed, *about)))
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _name(number: int) -> str:
    name = NAMES[number % len(NAMES)]
    return name if number < len(NAMES) else f"{name} {number // len(NAMES) + 1}"
