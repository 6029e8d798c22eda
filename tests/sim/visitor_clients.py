"""Visitors of a chat plugin and thieves of their resume tokens, who use only HTTP and record what they did and saw."""

from collections.abc import Mapping
from random import Random
from typing import Any

import anyio
import msgspec
from msgspec import Struct, field

from airy import base64url
from tests.sim.api_clients import ApiResponse, Ask
from tests.sim.visitor_history import Outcome, ResumeName, VisitorOperation, text_of

TRIES_MAX = 6
PAUSES_S = (0.0, 0.0, 0.05, 0.5, 0.5, 3.0, 20.0, 45.0)  # before a step: below, about and above the overlap


class VisitToken(Struct, frozen=True):
    text: str
    conversation: str
    family: int


class Visitor(Struct):
    """`visits` are all tokens it had; `copies`: its resume tokens that a thief has as well."""

    name: str
    channel: str
    replicas: Mapping[str, Ask]
    random: Random
    history: list[VisitorOperation]
    resume_token: str = ""
    visits: list[VisitToken] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    _count: int = 0

    async def act(self, steps: int) -> None:
        for _ in range(steps):
            await anyio.sleep(self.random.choice(PAUSES_S))
            if not self.resume_token:
                await self._begin()
                continue
            step = self.random.choices((self._send, self._resume, self._resume_in_two_tabs), weights=(5, 3, 1))[0]
            await step()

    async def steal(self, others: list["Visitor"], steps: int) -> None:
        """Use copies of resume tokens, and the token of a visit for what belongs to others."""
        for _ in range(steps):
            await anyio.sleep(self.random.choice(PAUSES_S))
            victim = self.random.choice(others)
            if victim.copies and self.random.random() < 0.6:
                await self.use(self.random.choice(victim.copies))
            elif victim.visits and self.visits:
                await self._read_foreign(self.random.choice(self.visits), victim.visits[-1])

    # --- steps

    async def _begin(self) -> None:
        begin = anyio.current_time()
        answer = await self._ask("/chatplugin.authenticate", {"channel_id": self.channel})
        if answer.status == 200:
            self._take(answer.document)
            received = resume_name(self.resume_token)
            self.record("resume", begin, answer, received=received, opened=self.visits[-1].conversation)

    async def _resume(self) -> None:
        token = self.resume_token
        for _ in range(TRIES_MAX):
            answer = await self.use(token)
            if answer.status == 200:
                self._take(answer.document)
                return
            if answer.status == 401:
                self.resume_token = ""  # a new conversation begins
                return

    async def _resume_in_two_tabs(self) -> None:
        async with anyio.create_task_group() as tabs:
            tabs.start_soon(self._resume)
            tabs.start_soon(self._resume)

    async def _send(self) -> None:
        """With one id until it is answered, at random replicas; sometimes once more after that."""
        self._count += 1
        visit = self.visits[-1]
        text = text_of(visit.conversation, f"{self.name}-{self._count}")
        body = {"message": {"text": text}, "id": text}
        again = self.random.random() < 0.3
        for _ in range(TRIES_MAX):
            begin = anyio.current_time()
            answer = await self._ask("/chatplugin.send", body, visit)
            self.record("send", begin, answer, opened=visit.conversation, family=visit.family, text=text)
            if answer.status == 403:
                self.resume_token = ""
            if answer.status in {200, 403}:
                if not again:
                    return
                again = False

    async def use(self, token: str) -> ApiResponse:
        """Begin a visit with a resume token."""
        begin = anyio.current_time()
        answer = await self._ask("/chatplugin.authenticate", {"resume_token": token})
        if answer.status == 200:
            document = answer.document
            received, opened = resume_name(document["resume_token"]), visit_of(document["token"]).conversation
            shown = tuple(each["content"]["text"] for each in document["messages"])
            self.record(
                "resume", begin, answer, presented=resume_name(token), received=received, opened=opened, shown=shown
            )
        else:
            self.record("resume", begin, answer, presented=resume_name(token))
        return answer

    async def probe(self, replica: str, visit: VisitToken, *, final: bool) -> ApiResponse:
        """Whether a visit goes on."""
        return await self._probe(visit, {}, replica, final=final)

    async def _read_foreign(self, visit: VisitToken, victim: VisitToken) -> None:
        foreign = {"channel_id": self.channel, "conversation_id": victim.conversation}
        await self._probe(visit, foreign, self._any_replica(), final=False)
        begin = anyio.current_time()
        answer = await self._ask("/messages.list", {"conversation_id": victim.conversation}, visit)
        if answer.status == 200:
            shown = tuple(each["content"]["text"] for each in answer.document["data"])
            self.record("read", begin, answer, opened=visit.conversation, family=visit.family, shown=shown)

    async def _probe(self, visit: VisitToken, body: Mapping[str, object], replica: str, *, final: bool) -> ApiResponse:
        begin = anyio.current_time()
        answer = await self._ask("/chatplugin.resumeToken", body, visit, replica)
        received = resume_name(answer.document["resume_token"]) if answer.status == 200 else None
        self.record(
            "probe", begin, answer, received=received, opened=visit.conversation, family=visit.family, final=final
        )
        return answer

    # --- requests

    def _take(self, document: Mapping[str, Any]) -> None:
        self.resume_token = document["resume_token"]
        self.visits.append(visit_of(document["token"]))
        if self.random.random() < 0.3:
            self.copies.append(self.resume_token)

    def _any_replica(self) -> str:
        return self.random.choice(list(self.replicas))

    async def _ask(
        self, path: str, body: Mapping[str, object], visit: VisitToken | None = None, replica: str = ""
    ) -> ApiResponse:
        headers = {"authorization": "" if visit is None else f"Bearer {visit.text}"}
        return await self.replicas[replica or self._any_replica()](path, body, headers)

    def record(self, kind: Any, begin: float, answer: ApiResponse, **more: Any) -> None:
        outcome: Outcome = (
            "ok" if answer.status == 200 else "refused" if answer.status in {400, 401, 403, 404, 409} else "doubt"
        )
        self.history.append(VisitorOperation(kind=kind, begin=begin, end=anyio.current_time(), outcome=outcome, **more))


def resume_name(token: str) -> ResumeName:
    claims = _claims(token)
    return ResumeName(claims["resume_conversation_id"], claims["family"], claims["generation"])


def visit_of(token: str) -> VisitToken:
    claims = _claims(token)
    return VisitToken(token, claims["conversation_id"], claims["family"])


def _claims(token: str) -> Any:
    return msgspec.json.decode(base64url.decode(token.split(".")[1].encode()))
