"""State of a simulated provider: accounts, people and their conversations; source of all seeded draws and ids."""

import hashlib
from collections import OrderedDict
from random import Random

from msgspec import Struct, field

from airy.errors import Refused
from airy.sim.provider.api import SimFile
from airy.sim.provider.customers import NAMES, CustomerState
from airy.sim.provider.journal import SimJournal
from airy.sim.provider.options import SimAccount, SimOptions

PEOPLE_MAX = 100_000
LINES_MAX = 500  # of one conversation
FILES_MAX = 200


class ChatLine(Struct):
    """A message as a person sees it."""

    id: str
    from_person: bool
    text: str
    at_ms: int
    state: str = "sent"  # of the account's: sent, delivered, read, failed
    our_id: str = ""  # the caller's id of it, where the provider takes one
    content: dict[str, object] = field(default_factory=dict)  # as the caller sent it


class Person(Struct):
    """A user, known to an account by an id of the provider."""

    id: str
    account_id: str
    name: str
    private: bool = False
    blocked: bool = False
    wrote_at_ms: int | None = None
    acts: int = 0  # number of their actions; part of the seed of the next draw
    last_message_id: str | None = None  # of the account's last message to them
    unanswered: int = 0  # messages of the account since they last wrote
    customer: CustomerState | None = None  # None: acts only when a test or the HTTP API says so
    lines: list[ChatLine] = field(default_factory=list)

    def add_line(self, line: ChatLine) -> None:
        self.lines.append(line)
        del self.lines[:-LINES_MAX]

    def line(self, message_id: str) -> ChatLine | None:
        return next((line for line in reversed(self.lines) if line.id == message_id), None)


class AccountState(Struct):
    """An account and its changeable state."""

    account: SimAccount
    fields: frozenset[str] | None  # subscribed kinds of events; None: all
    revoked: bool = False  # all its tokens
    sends_ms: tuple[int, ...] = ()  # within the last second
    webhook_url: str | None = None  # registered by its owner
    webhook_secret: str = ""


class SimState:
    def __init__(self, options: SimOptions) -> None:
        self.options = options
        self.reset()

    def reset(self) -> None:
        """As at the start; registered webhooks are kept."""
        before: dict[str, AccountState] = getattr(self, "accounts", {})
        self.journal = SimJournal(self.options.journal_max)
        self.people: dict[str, Person] = {}
        self.files: OrderedDict[str, SimFile] = OrderedDict()
        self.counted = 0
        self.accounts = {
            account.id: before.get(account.id)
            or AccountState(account=account, fields=None if account.subscribed else frozenset())
            for account in self.options.accounts
        }

    def add_person(self, account_id: str, person_id: str, name: str | None = None) -> Person:
        if len(self.people) >= PEOPLE_MAX:
            raise Refused(f"the limit of {PEOPLE_MAX} people is reached: start a new simulation")
        if person_id in self.people:
            raise Refused(f"person {person_id} exists", field="person")
        private = self.draw("private", person_id).random() < self.options.behaviour.private
        person = Person(
            person_id, account_id, name or _name(self.options.first_name + len(self.people)), private=private
        )
        self.people[person_id] = person
        return person

    def account(self, account_id: str | None) -> AccountState:
        """The first one by default."""
        wanted = account_id or self.options.accounts[0].id
        if wanted not in self.accounts:
            raise Refused(f"unknown account {wanted}", field="account")
        return self.accounts[wanted]

    def known(self, person_id: str) -> Person:
        person = self.people.get(person_id)
        if person is None:
            raise Refused(f"unknown person {person_id}", field="person")
        return person

    def count(self) -> int:
        self.counted += 1
        return self.counted

    def keep_file(self, file_id: str, file: SimFile) -> None:
        self.files[file_id] = file
        while len(self.files) > FILES_MAX:
            self.files.popitem(last=False)

    def draw(self, *about: object) -> Random:
        """A random source seeded by its subject: the same one at every call."""
        return Random(int(self.digest(*about)[:16], 16))  # noqa: S311 — a simulation

    def digest(self, *about: object) -> str:
        """40 hexadecimal digits, unique to the subject and the seed."""
        name = ":".join(map(str, (self.options.seed, *about)))
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _name(number: int) -> str:
    name = NAMES[number % len(NAMES)]
    return name if number < len(NAMES) else f"{name} {number // len(NAMES) + 1}"
