"""The Send API: accepts or refuses messages, or withholds the response, as drawn or as a test requires."""

from collections import deque
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from airy.sim.messenger import graph
from airy.sim.messenger.graph import GraphReply, GraphRequest
from airy.sim.messenger.graph_api import TokenOwner
from airy.sim.messenger.journal import SendCall, SendOutcome
from airy.sim.messenger.options import SendFault
from airy.sim.messenger.state import Person, SimState

WINDOW_MS = 86_400_000
HUMAN_AGENT_MS = 7 * 86_400_000
TEXT_CHARACTERS_MAX = 2000
QUICK_REPLIES_MAX = 13

Content = Mapping[str, object]
OnAccepted = Callable[[Person, Content, str, int], None]  # person, message object, mid, time

RATE_LIMITED = graph.error("(#613) Calls to this api have exceeded the rate limit.", 613)
BUSY = graph.error("Service temporarily unavailable", 2, status=500)
BLOCKED = graph.error("(#551) This person isn't available right now.", 551, subcode=1545041)
OUTSIDE_WINDOW = graph.error(
    "(#10) This message is sent outside of allowed window.",
    10,
    subcode=2018278,
)
NO_USER = graph.error("(#100) No matching user found", 100, subcode=2018001)
GATEWAY = GraphReply(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html")

REFUSALS: dict[SendFault, Callable[[], GraphReply]] = {
    SendFault.RATE_LIMITED: lambda: RATE_LIMITED,
    SendFault.BUSY: lambda: BUSY,
    SendFault.BLOCKED: lambda: BLOCKED,
    SendFault.OUTSIDE_WINDOW: lambda: OUTSIDE_WINDOW,
    SendFault.TOKEN_EXPIRED: graph.expired_token,
}


class _ExpectedFault(Struct):
    fault: SendFault
    times: int
    message_id: str | None


class _Call(Struct, frozen=True):
    request: GraphRequest
    page_id: str
    content: Content
    message_id: str  # the caller's
    number: int  # calls for this message so far, this one included
    now_ms: int

    @property
    def recipient_id(self) -> str:
        return str(_object(self.request.parameters.get("recipient")).get("id") or "")


class SendApi:
    """`on_accepted` is called for every accepted message, whether or not its caller gets a response."""

    def __init__(self, state: SimState, on_accepted: OnAccepted, busy: Callable[[], bool]) -> None:
        self._state = state
        self._on_accepted = on_accepted
        self._busy = busy
        self._expected: deque[_ExpectedFault] = deque()
        self._numbers: dict[str, int] = {}  # calls by message id: every repetition has its own draw

    def expect(self, fault: SendFault, times: int, message_id: str | None) -> None:
        self._expected.append(_ExpectedFault(fault, times, message_id))

    def call(self, request: GraphRequest, owner: TokenOwner, now_ms: int) -> GraphReply:
        if owner.page_id is None:
            return graph.error("(#100) A page access token is required.", 100)
        content = _object(request.parameters.get("message"))
        message_id = str(content.get("metadata") or "")
        call = _Call(request, owner.page_id, content, message_id, self._number(message_id), now_ms)
        refusal = self._refusal(call)
        fault = None if refusal is not None else self._fault(call)
        if fault in REFUSALS:
            refusal = REFUSALS[fault]()
        if refusal is None:
            return self._answer(call, fault)
        self._record(call, SendOutcome.REFUSED, code=graph.code_of(refusal))
        return refusal

    def _number(self, message_id: str) -> int:
        number = self._numbers[message_id] = self._numbers.pop(message_id, 0) + 1
        if len(self._numbers) > self._state.options.journal_max:
            del self._numbers[next(iter(self._numbers))]
        return number

    def _answer(self, call: _Call, fault: SendFault | None) -> GraphReply:
        if fault is SendFault.UNREACHABLE:
            self._record(call, SendOutcome.UNREACHED)
            return graph.UNREACHABLE
        dropped = self._state.draw("gateway", call.message_id, call.number).random() < 0.5
        if fault is SendFault.DROPPED_UNANSWERED or (fault is SendFault.GATEWAY and dropped):
            self._record(call, SendOutcome.DROPPED_UNANSWERED)
            return GATEWAY if fault is SendFault.GATEWAY else graph.NO_RESPONSE
        person = self._state.people[call.recipient_id]
        mid = self._state.mid("sent", person.psid, call.message_id or call.now_ms, call.number)
        person.last_mid = mid
        self._record(call, SendOutcome.ACCEPTED if fault is None else SendOutcome.ACCEPTED_UNANSWERED, mid=mid)
        self._on_accepted(person, call.content, mid, call.now_ms)
        response = graph.ok({"recipient_id": person.psid, "message_id": mid})
        match fault:
            case SendFault.ACCEPTED_UNANSWERED:
                return graph.NO_RESPONSE
            case SendFault.GATEWAY:
                return GATEWAY
            case SendFault.GARBLED:
                return GraphReply(200, response.body[: len(response.body) // 2])
        return response

    def _fault(self, call: _Call) -> SendFault | None:
        for expected in self._expected:
            if expected.message_id in {None, call.message_id}:
                expected.times -= 1
                if expected.times <= 0:
                    self._expected.remove(expected)
                return expected.fault
        chance = self._state.draw("fault", call.message_id, call.number).random()
        for fault, odds in self._state.options.behaviour.faults.items():
            chance -= odds
            if chance < 0:
                return fault
        return None

    def _refusal(self, call: _Call) -> GraphReply | None:
        """What Graph refuses without an injected fault."""
        if self._busy():
            return BUSY
        if self._over_rate(call.page_id, call.now_ms):
            return RATE_LIMITED
        person = self._state.people.get(call.recipient_id)
        if person is None or person.page_id != call.page_id:
            return NO_USER
        if person.blocked:
            return BLOCKED
        return _malformed(call.content) or self._out_of_window(call, person)

    def _over_rate(self, page_id: str, now_ms: int) -> bool:
        limit = self._state.options.behaviour.calls_per_s_max
        if limit is None:
            return False
        page = self._state.pages[page_id]
        page.sends_ms = tuple(at_ms for at_ms in page.sends_ms if at_ms > now_ms - 1000)
        if len(page.sends_ms) >= limit:
            return True
        page.sends_ms += (now_ms,)
        return False

    def _out_of_window(self, call: _Call, person: Person) -> GraphReply | None:
        silence_ms = None if person.wrote_at_ms is None else call.now_ms - person.wrote_at_ms
        if silence_ms is not None and silence_ms <= WINDOW_MS:
            return None
        if call.request.text("messaging_type") != "MESSAGE_TAG":
            return OUTSIDE_WINDOW
        if call.request.text("tag") != "HUMAN_AGENT":
            return None
        human_agent = self._state.options.human_agent and silence_ms is not None and silence_ms <= HUMAN_AGENT_MS
        return None if human_agent else OUTSIDE_WINDOW

    def _record(self, call: _Call, outcome: SendOutcome, *, code: int | None = None, mid: str | None = None) -> None:
        text = call.content.get("text")
        self._state.journal.sends.append(
            SendCall(
                at_ms=call.now_ms,
                page_id=call.page_id,
                recipient_id=call.recipient_id,
                message_id=call.message_id,
                outcome=outcome,
                code=code,
                mid=mid,
                text=text if isinstance(text, str) else None,
            )
        )


def _malformed(content: Content) -> GraphReply | None:
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
