"""Messages sent to the provider: accepted, refused or left without a response, as drawn or as a test requires."""

from collections import deque
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Protocol

import msgspec
from msgspec import Struct

from airy.sim.provider.acts import PersonAct
from airy.sim.provider.api import GATEWAY, NO_RESPONSE, UNREACHABLE, ApiReply
from airy.sim.provider.journal import SendCall, SendOutcome
from airy.sim.provider.options import SendFault
from airy.sim.provider.state import SimState

ANSWERS = frozenset(
    {
        SendFault.RATE_LIMITED,
        SendFault.BUSY,
        SendFault.BLOCKED,
        SendFault.OUTSIDE_WINDOW,
        SendFault.TOKEN_EXPIRED,
        SendFault.ERROR,
    }
)
"""Faults that are an answer of the provider."""


class SimMessage(Struct, frozen=True, kw_only=True):
    """A message as the provider understands it. `offers`: what the person may tap."""

    account_id: str
    recipient_id: str
    content: Mapping[str, object]
    our_id: str = ""
    text: str | None = None
    offers: tuple[PersonAct, ...] = ()
    callback_url: str | None = None  # where its receipts go, if the message says so
    fails_with: int | None = None  # accepted, and reported as failed with this code

    @property
    def key(self) -> str:
        return self.our_id or f"{self.recipient_id}: {self.text or self._digest()}"

    def _digest(self) -> str:
        """Tells messages without text apart."""
        return sha256(msgspec.json.encode(self.content, order="sorted")).hexdigest()[:12]


class ExpectedFault(Struct):
    fault: SendFault
    times: int
    message_id: str | None = None
    code: int | None = None
    retry_after_s: int | None = None


class SendRules(Protocol):
    """What differs between providers."""

    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        """What the provider refuses without an injected fault."""

    def fault_reply(
        self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None
    ) -> ApiReply: ...

    def accept(self, send: SimMessage, number: int, now_ms: int) -> tuple[str, ApiReply]:
        """The provider's id of the message, and its answer. The message is on its way then."""

    def code_of(self, reply: ApiReply) -> int | None: ...


class SendDesk:
    """`busy`: whether too many webhooks wait."""

    def __init__(self, state: SimState, rules: SendRules, busy: Callable[[], bool]) -> None:
        self.expected: deque[ExpectedFault] = deque()
        self._state = state
        self._rules = rules
        self._busy = busy
        self._numbers: dict[str, int] = {}  # calls by message: every repetition has its own draw

    def take(self, send: SimMessage, now_ms: int) -> ApiReply:
        number = self._number(send.key)
        refusal = self._refusal(send, now_ms)
        expected = None if refusal is not None else self._fault(send, number)
        if expected is not None and expected.fault in ANSWERS:
            refusal = self._rules.fault_reply(expected.fault, send, expected.code, expected.retry_after_s)
        if refusal is not None:
            self._record(send, SendOutcome.REFUSED, now_ms, code=self._rules.code_of(refusal))
            return refusal
        return self._answer(send, number, expected, now_ms)

    def _answer(self, send: SimMessage, number: int, expected: ExpectedFault | None, now_ms: int) -> ApiReply:
        fault = None if expected is None else expected.fault
        if fault is SendFault.UNREACHABLE:
            self._record(send, SendOutcome.UNREACHED, now_ms)
            return UNREACHABLE
        dropped = self._state.draw("gateway", send.key, number).random() < 0.5
        if fault is SendFault.DROPPED_UNANSWERED or (fault is SendFault.GATEWAY and dropped):
            self._record(send, SendOutcome.DROPPED_UNANSWERED, now_ms)
            return GATEWAY if fault is SendFault.GATEWAY else NO_RESPONSE
        answered = fault in {None, SendFault.FAILED_LATER}
        outcome = SendOutcome.ACCEPTED if answered else SendOutcome.ACCEPTED_UNANSWERED
        if expected is not None and fault is SendFault.FAILED_LATER:
            send = _failing(send, expected.code)
        mid, reply = self._rules.accept(send, number, now_ms)
        self._record(send, outcome, now_ms, mid=mid)
        match fault:
            case SendFault.ACCEPTED_UNANSWERED:
                return NO_RESPONSE
            case SendFault.GATEWAY:
                return GATEWAY
            case SendFault.GARBLED:
                return ApiReply(reply.status, reply.body[: len(reply.body) // 2], reply.content_type)
        return reply

    def _refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        if self._busy():
            return self._rules.fault_reply(SendFault.BUSY, send, None, None)
        if self._over_rate(send.account_id, now_ms):
            return self._rules.fault_reply(SendFault.RATE_LIMITED, send, None, None)
        return self._rules.refusal(send, now_ms)

    def _over_rate(self, account_id: str, now_ms: int) -> bool:
        limit = self._state.options.behaviour.calls_per_s_max
        if limit is None:
            return False
        account = self._state.accounts[account_id]
        account.sends_ms = tuple(at_ms for at_ms in account.sends_ms if at_ms > now_ms - 1000)
        if len(account.sends_ms) >= limit:
            return True
        account.sends_ms += (now_ms,)
        return False

    def _fault(self, send: SimMessage, number: int) -> ExpectedFault | None:
        for expected in self.expected:
            if expected.message_id in {None, send.our_id, send.text}:
                expected.times -= 1
                if expected.times <= 0:
                    self.expected.remove(expected)
                return expected
        chance = self._state.draw("fault", send.key, number).random()
        for fault, odds in self._state.options.behaviour.faults.items():
            chance -= odds
            if chance < 0:
                return ExpectedFault(fault, 1)
        return None

    def _number(self, key: str) -> int:
        number = self._numbers[key] = self._numbers.pop(key, 0) + 1
        if len(self._numbers) > self._state.options.journal_max:
            del self._numbers[next(iter(self._numbers))]
        return number

    def _record(
        self, send: SimMessage, outcome: SendOutcome, now_ms: int, *, code: int | None = None, mid: str | None = None
    ) -> None:
        self._state.journal.sends.append(
            SendCall(
                at_ms=now_ms,
                account_id=send.account_id,
                recipient_id=send.recipient_id,
                message_id=send.key,
                outcome=outcome,
                code=code,
                mid=mid,
                text=send.text,
            )
        )


def _failing(send: SimMessage, code: int | None) -> SimMessage:
    return SimMessage(
        account_id=send.account_id,
        recipient_id=send.recipient_id,
        content=send.content,
        our_id=send.our_id,
        text=send.text,
        callback_url=send.callback_url,
        fails_with=code or 0,
    )
