"""Clients of the Core API that write to one replica, read from another, and record requests and answers.

They use only HTTP: `Ask` is one request to one replica, in a simulation or over a socket. `history.violations` checks
the recorded history.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

import anyio
from msgspec import Struct

from airy import topics
from airy.errors import Refused
from tests.sim.history import Kind, Operation, OperationOutcome

POSITION = "x-airy-position"
TRIES_MAX = 6


class ApiResponse(Struct, frozen=True):
    """Status 0: no answer was received."""

    status: int
    headers: Mapping[str, str]
    document: Any = None


Ask = Callable[[str, Mapping[str, object], Mapping[str, str]], Awaitable[ApiResponse]]


class ApiClient:
    """Sends one request at a time and remembers the positions it receives."""

    def __init__(
        self,
        name: str,
        replicas: Mapping[str, Ask],
        conversations: Sequence[str],
        random: Random,
        history: list[Operation],
        *,
        carries_positions: bool = True,
    ) -> None:
        self.name = name
        self._replicas = replicas
        self._conversations = conversations
        self._random = random
        self._history = history
        self._carries = carries_positions
        self._positions: dict[int, int] = {}  # by partition of EVENTS
        self._count = 0

    async def act(self, steps: int) -> None:
        for _ in range(steps):
            await anyio.sleep(self._random.choice((0.0, 0.0, 0.01, 0.1, 1.0)))
            conversation = self._random.choice(self._conversations)
            replica = self._random.choice(list(self._replicas))
            self._count += 1
            await self._random.choices(
                (self._send, self._set, self._tag, self._mark_read, self.read_messages, self.read_conversation),
                weights=(3, 3, 1, 1, 3, 4),
            )[0](replica, conversation)

    # --- writing

    async def _send(self, replica: str, conversation: str) -> None:
        """With one idempotency key until it is answered, at random replicas; sometimes once more after that."""
        key, text = f"{self.name}-{self._count}", f"text {self._count} of {self.name}"
        body = {"conversation_id": conversation, "message": {"text": text}}
        again = self._random.random() < 0.3
        for _ in range(TRIES_MAX):
            response = await self._write(replica, "send", conversation, "/messages.send", body, key=key, value=text)
            if response.status and response.status < 500:
                if not again:
                    return
                again = False
            replica = self._random.choice(list(self._replicas))

    async def _set(self, replica: str, conversation: str) -> None:
        name, value = f"k{self._random.randrange(2)}", f"{self.name}-{self._count}"
        body = {"subject": "conversation", "id": conversation, "data": {name: value}}
        await self._write(replica, "set", conversation, "/metadata.upsert", body, key=name, value=value)

    async def _tag(self, replica: str, conversation: str) -> None:
        tag = f"00000000-0000-4000-8000-{self._random.getrandbits(48):012x}"
        body = {"conversation_id": conversation, "tag_id": tag}
        await self._write(replica, "tag", conversation, "/conversations.tag", body, value=tag)

    async def _mark_read(self, replica: str, conversation: str) -> None:
        body = {"conversation_id": conversation}
        await self._write(replica, "mark_read", conversation, "/conversations.mark-read", body)

    async def _write(
        self,
        replica: str,
        kind: Kind,
        conversation: str,
        path: str,
        body: Mapping[str, object],
        *,
        key: str = "",
        value: str = "",
    ) -> ApiResponse:
        begin = anyio.current_time()
        response = await self._replicas[replica](path, body, {"idempotency-key": key} if kind == "send" else {})
        position = self._remember(response)
        outcome: OperationOutcome = (
            "ok" if 200 <= response.status < 300 else "refused" if 400 <= response.status < 500 else "doubt"
        )
        message_id = response.document["id"] if kind == "send" and outcome == "ok" else ""
        self._history.append(
            Operation(
                client=self.name,
                replica=replica,
                kind=kind,
                conversation=conversation,
                begin=begin,
                end=anyio.current_time(),
                outcome=outcome,
                position=position,
                key=key,
                value=value,
                message_id=message_id,
            )
        )
        return response

    def _remember(self, response: ApiResponse) -> int | None:
        try:
            position = topics.parse_position_token(response.headers.get(POSITION, ""))
        except Refused:
            return None
        self._positions[position.partition] = max(position.offset, self._positions.get(position.partition, -1))
        return position.offset

    # --- reading

    async def read_messages(self, replica: str, conversation: str, *, final: bool = False) -> bool:
        body = {"conversation_id": conversation, "page_size": 100}
        begin, presented, response = await self._read(replica, conversation, "/messages.list", body)
        if response.status != 200:
            return False
        self._history.append(
            Operation(
                client=self.name,
                replica=replica,
                kind="read_messages",
                conversation=conversation,
                begin=begin,
                end=anyio.current_time(),
                outcome="ok",
                presented=presented,
                final=final,
                messages=tuple(one["id"] for one in response.document["data"]),
            )
        )
        return True

    async def read_conversation(self, replica: str, conversation: str, *, final: bool = False) -> bool:
        body = {"conversation_id": conversation}
        begin, presented, response = await self._read(replica, conversation, "/conversations.info", body)
        if response.status != 200:
            return False
        metadata = response.document["metadata"]
        self._history.append(
            Operation(
                client=self.name,
                replica=replica,
                kind="read_conversation",
                conversation=conversation,
                begin=begin,
                end=anyio.current_time(),
                outcome="ok",
                presented=presented,
                final=final,
                data=metadata.get("user_data", {}),
                tags=tuple(sorted(metadata.get("tags", ()))),
                unread=metadata["unread_count"],
            )
        )
        return True

    async def _read(
        self, replica: str, conversation: str, path: str, body: Mapping[str, object]
    ) -> tuple[float, int | None, ApiResponse]:
        partition = topics.EVENTS.partition(conversation)
        offset = self._positions.get(partition) if self._carries else None
        token = "" if offset is None else f"{topics.FOLDED.index(topics.EVENTS)}.{partition}.{offset}"
        begin = anyio.current_time()
        response = await self._replicas[replica](path, body, {POSITION: token} if token else {})
        return begin, offset, response

    def learn(self, positions: Mapping[int, int]) -> None:
        """Take over the positions other clients received."""
        for partition, offset in positions.items():
            self._positions[partition] = max(offset, self._positions.get(partition, -1))

    @property
    def positions(self) -> Mapping[int, int]:
        return self._positions
