"""State of the simulated Messenger: its pages and people; source of all seeded draws and ids."""

import hashlib
from random import Random

from msgspec import Struct

from airy.errors import Refused
from airy.sim.messenger.customers import NAMES, CustomerState
from airy.sim.messenger.journal import SimJournal
from airy.sim.messenger.options import SimOptions, SimPage

FIRST_PSID = 6_120_000_000_000_001
PEOPLE_MAX = 100_000


class Person(Struct):
    """A user, known to a page by a page-scoped id."""

    psid: str
    page_id: str
    name: str
    private: bool = False
    blocked: bool = False
    wrote_at_ms: int | None = None
    acts: int = 0  # number of their actions; part of the seed of the next draw
    last_mid: str | None = None  # of the page's last message to them
    customer: CustomerState | None = None  # None: acts only when a test or the HTTP API says so


class PageState(Struct):
    """A page and its changeable state."""

    page: SimPage
    fields: frozenset[str] | None  # subscribed webhook fields; None: all
    revoked: bool = False  # all its tokens
    sends_ms: tuple[int, ...] = ()  # within the last second


class SimState:
    def __init__(self, options: SimOptions) -> None:
        self.options = options
        self.journal = SimJournal(options.journal_max)
        self.people: dict[str, Person] = {}
        self.pages = {
            page.id: PageState(page=page, fields=None if page.subscribed else frozenset()) for page in options.pages
        }

    def person(self, page_id: str | None = None, name: str | None = None) -> Person:
        """Add a person."""
        number = len(self.people)
        if number >= PEOPLE_MAX:
            raise Refused(f"the limit of {PEOPLE_MAX} people is reached: start a new simulation")
        psid = str(FIRST_PSID + number)
        home = page_id or self.options.pages[0].id
        if home not in self.pages:
            raise Refused(f"unknown page {home}", field="page_id")
        private = self.draw("private", psid).random() < self.options.behaviour.private
        person = Person(psid=psid, page_id=home, name=name or _name(number), private=private)
        self.people[psid] = person
        return person

    def known(self, psid: str) -> Person:
        person = self.people.get(psid)
        if person is None:
            raise Refused(f"unknown psid {psid}", field="psid")
        return person

    def draw(self, *about: object) -> Random:
        """A random source seeded by its subject: the same one at every call."""
        return Random(int(self._digest(about)[:16], 16))  # noqa: S311 — a simulation

    def mid(self, *about: object) -> str:
        """A message id like Meta's: opaque and unique to its subject."""
        return f"m_{self._digest(about)}"

    def _digest(self, about: tuple[object, ...]) -> str:
        name = ":".join(map(str, (self.options.seed, *about)))
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _name(number: int) -> str:
    name = NAMES[number % len(NAMES)]
    return name if number < len(NAMES) else f"{name} {number // len(NAMES) + 1}"
