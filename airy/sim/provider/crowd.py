"""Customers who write by themselves: when each acts next. What they do is in customers.py."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from airy.errors import Refused
from airy.sim.provider import customers
from airy.sim.provider.acts import Leaves, PersonAct
from airy.sim.provider.customers import CustomerState
from airy.sim.provider.schedule import Schedule
from airy.sim.provider.state import Person, SimState


class _Turn(Struct, frozen=True):
    """A customer's next action; None: a new topic. Void if the customer has acted meanwhile."""

    person_id: str
    act: PersonAct | None
    acts: int


class Crowd:
    """`busy`: whether customers should pause."""

    def __init__(self, state: SimState, act: Callable[[str, PersonAct, int], object], busy: Callable[[], bool]) -> None:
        self._state = state
        self._act = act
        self._busy = busy
        self._turns: Schedule[_Turn] = Schedule()

    @property
    def about_to_act(self) -> bool:
        return self._turns.any(lambda turn: turn.act is not None and self._is_valid(turn))

    def next_due_ms(self) -> int | None:
        return self._turns.next_due_ms()

    def join(self, person: Person, now_ms: int) -> None:
        person.customer = CustomerState(0, 0)
        delay_ms = self._state.draw("arrives", person.id).randint(0, self._state.options.turns_ms[1])
        self._turns.add(now_ms + delay_ms, _Turn(person.id, None, person.acts))

    def stop(self) -> None:
        self._turns = Schedule()
        for person in self._state.people.values():
            person.customer = None

    def reply(self, person: Person, offers: Sequence[PersonAct], message_id: str, now_ms: int) -> None:
        """A customer got this message."""
        if person.customer is None:
            return
        draw = self._state.draw("answers", message_id)
        act, person.customer = customers.answer(person.customer, offers, draw)
        if isinstance(act, Leaves):
            self._schedule_return(person, now_ms)
        else:
            delay_ms = draw.randint(*self._state.options.turns_ms)
            self._turns.add(now_ms + delay_ms, _Turn(person.id, act, person.acts))

    def advance(self, now_ms: int) -> None:
        while (due_ms := self._turns.next_due_ms()) is not None and due_ms <= now_ms:
            for turn_ms, turn in self._turns.take(due_ms):
                self._take(turn, turn_ms)

    def _is_valid(self, turn: _Turn) -> bool:
        person = self._state.people.get(turn.person_id)
        return person is not None and person.acts == turn.acts

    def _take(self, turn: _Turn, now_ms: int) -> None:
        if not self._is_valid(turn):
            return
        if self._busy():
            self._turns.add(now_ms + self._state.options.rest_ms[1], turn)
            return
        person, act = self._state.people[turn.person_id], turn.act
        if act is None:
            act, person.customer = customers.opening(self._state.draw("opens", person.id, person.acts))
        try:
            self._act(person.id, act, now_ms)
        except Refused:  # not every app can do everything
            person.acts += 1
        self._schedule_return(person, now_ms)  # void if the customer acts before

    def _schedule_return(self, person: Person, now_ms: int) -> None:
        delay_ms = self._state.draw("returns", person.id, person.acts).randint(*self._state.options.rest_ms)
        self._turns.add(now_ms + delay_ms, _Turn(person.id, None, person.acts))
