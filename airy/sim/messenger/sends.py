"""The Send API: takes messages, refuses them, or leaves its caller in the dark, as chance or a test will have
it.
"""

from collections import deque
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from airy.sim.messenger import graph
from airy.sim.messenger.directory import Holder
from airy.sim.messenger.graph import Reply, Request
from airy.sim.messenger.journal import Sending, Verdict
from airy.sim.messenger.options import Fault
from airy.sim.messenger.world import Person, World

WINDOW_MS = 86_400_000
HUMAN_AGENT_MS = 7 * 86_400_000
TEXT_CHARACTERS_MAX = 2000
QUICK_REPLIES_MAX = 13

Content = Mapping[str, object]
Taken = Callable[[Person, Content, str, int], None]  # person, message object, mid, time

RATE_LIMITED = graph.error("(#613) Calls to this api have exceeded the rate limit.", 613)
BUSY = graph.error("Service temporarily unavailable", 2, status=500)
BLOCKED = graph.error("(#551) This person isn't available right now.", 551, subcode=1545041)
OUTSIDE_WINDOW = graph.error(
    "(#10) This message is sent outside of allowed window.",
    10,
    subcode=2018278,
)
NOBODY = graph.error("(#100) No matching user found", 100, subcode=2018001)
GATEWAY = Reply(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html")

REFUSALS: dict[Fault, Callable[[], Reply]] = {
    Fault.RATE_LIMITED: lambda: RATE_LIMITED,
    Fault.BUSY: lambda: BUSY,
    Fault.BLOCKED: lambda: BLOCKED,
    Fault.OUTSIDE_WINDOW: lambda: OUTSIDE_WINDOW,
    Fault.TOKEN_EXPIRED: graph.expired_token,
}


class _Expected(Struct):
    fault: Fault
    times: int
    message_id: str | None


class _Call(Struct, frozen=True):
    request: Request
    page_id: str
    content: Content
    message_id: str  # the caller's
    number: int  # how often that message was called, with this time
    now_ms: int

    @property
    def recipient_id(self) -> str:
        return str(_object(self.request.parameters.get("recipient")).get("id") or "")


class Sends:
    """`taken` is told of every message that was accepted, whatever its caller learns about it."""

    def __init__(self, world: World, taken: Taken, busy: Callable[[], bool]) -> None:
        self._world = world
        self._taken = taken
        self._busy = busy
        self._expected: deque[_Expected] = deque()
        self._numbers: dict[str, int] = {}  # calls by message id, so that a repeat meets its own chance

    def expect(self, fault: Fault, times: int, message_id: str | None) -> None:
        self._expected.append(_Expected(fault, times, message_id))

    def call(self, request: Request, holder: Holder, now_ms: int) -> Reply:
        if holder.page_id is None:
            return graph.error("(#100) A page access token is required.", 100)
        content = _object(request.parameters.get("message"))
        message_id = str(content.get("metadata") or "")
        call = _Call(request, holder.page_id, content, message_id, self._number(message_id), now_ms)
        refusal = self._refusal(call)
        fault = None if refusal is not None else self._fault(call)
        if fault in REFUSALS:
            refusal = REFUSALS[fault]()
        if refusal is None:
            return self._answer(call, fault)
        self._note(call, Verdict.REFUSED, code=graph.code_of(refusal))
        return refusal

    def _number(self, message_id: str) -> int:
        number = self._numbers[message_id] = self._numbers.pop(message_id, 0) + 1
        if len(self._numbers) > self._world.options.journal_max:
            del self._numbers[next(iter(self._numbers))]
        return number

    def _answer(self, call: _Call, fault: Fault | None) -> Reply:
        if fault is Fault.UNREACHABLE:
            self._note(call, Verdict.UNREACHED)
            return graph.UNREACHABLE
        heads = self._world.draw("gateway", call.message_id, call.number).random() < 0.5
        if fault is Fault.LOST_SILENT or (fault is Fault.GATEWAY and heads):
            self._note(call, Verdict.LOST_UNTOLD)
            return GATEWAY if fault is Fault.GATEWAY else graph.SILENCE
        person = self._world.people[call.recipient_id]
        mid = self._world.mid("sent", person.psid, call.message_id or call.now_ms, call.number)
        person.last_mid = mid
        self._note(call, Verdict.TAKEN if fault is None else Verdict.TAKEN_UNTOLD, mid=mid)
        self._taken(person, call.content, mid, call.now_ms)
        told = graph.ok({"recipient_id": person.psid, "message_id": mid})
        match fault:
            case Fault.TAKEN_SILENT:
                return graph.SILENCE
            case Fault.GATEWAY:
                return GATEWAY
            case Fault.GARBLED:
                return Reply(200, told.body[: len(told.body) // 2])
        return told

    def _fault(self, call: _Call) -> Fault | None:
        for expected in self._expected:
            if expected.message_id in {None, call.message_id}:
                expected.times -= 1
                if expected.times <= 0:
                    self._expected.remove(expected)
                return expected.fault
        chance = self._world.draw("fault", call.message_id, call.number).random()
        for fault, odds in self._world.options.behaviour.faults.items():
            chance -= odds
            if chance < 0:
                return fault
        return None

    def _refusal(self, call: _Call) -> Reply | None:
        """What Graph refuses without any bad luck."""
        if self._busy():
            return BUSY
        if self._over_rate(call.page_id, call.now_ms):
            return RATE_LIMITED
        person = self._world.people.get(call.recipient_id)
        if person is None or person.page_id != call.page_id:
            return NOBODY
        if person.blocked:
            return BLOCKED
        return _malformed(call.content) or self._out_of_window(call, person)

    def _over_rate(self, page_id: str, now_ms: int) -> bool:
        limit = self._world.options.behaviour.calls_per_s_max
        if limit is None:
            return False
        sight = self._world.pages[page_id]
        sight.sends_ms = tuple(at_ms for at_ms in sight.sends_ms if at_ms > now_ms - 1000)
        if len(sight.sends_ms) >= limit:
            return True
        sight.sends_ms += (now_ms,)
        return False

    def _out_of_window(self, call: _Call, person: Person) -> Reply | None:
        silence_ms = None if person.wrote_at_ms is None else call.now_ms - person.wrote_at_ms
        if silence_ms is not None and silence_ms <= WINDOW_MS:
            return None
        if call.request.text("messaging_type") != "MESSAGE_TAG":
            return OUTSIDE_WINDOW
        if call.request.text("tag") != "HUMAN_AGENT":
            return None
        human = self._world.options.human_agent and silence_ms is not None and silence_ms <= HUMAN_AGENT_MS
        return None if human else OUTSIDE_WINDOW

    def _note(self, call: _Call, verdict: Verdict, *, code: int | None = None, mid: str | None = None) -> None:
        text = call.content.get("text")
        self._world.journal.sendings.append(
            Sending(
                at_ms=call.now_ms,
                page_id=call.page_id,
                recipient_id=call.recipient_id,
                message_id=call.message_id,
                verdict=verdict,
                code=code,
                mid=mid,
                text=text if isinstance(text, str) else None,
            )
        )


def _malformed(content: Content) -> Reply | None:
    text, attachment, replies = content.get("text"), content.get("attachment"), content.get("quick_replies")
    if text is None and attachment is None:
        return graph.error(
            "(#100) Message cannot be empty, must provide valid attachment or text", 100, subcode=2018089
        )
    if text is not None and (not isinstance(text, str) or not text or len(text) > TEXT_CHARACTERS_MAX):
        return graph.error(
            f"(#100) Length of param message[text] must be less than or equal to {TEXT_CHARACTERS_MAX}", 100
        )
    if attachment is not None and not _object(attachment).get("type"):
        return graph.error("(#100) Param message[attachment][type] is required", 100)
    if isinstance(replies, list) and len(replies) > QUICK_REPLIES_MAX:
        return graph.error(f"(#100) Quick replies are limited to {QUICK_REPLIES_MAX}", 100)
    return None


def _object(thing: object) -> Content:
    """`thing` if it is an object; forms carry objects as text."""
    if isinstance(thing, str):
        try:
            thing = msgspec.json.decode(thing)
        except (msgspec.MsgspecError, RecursionError):
            return {}
    return thing if isinstance(thing, dict) else {}
