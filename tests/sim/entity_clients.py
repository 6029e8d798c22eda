"""Clients that write and read a channel, a tag, a template, a webhook and a contact over HTTP, and record what they do.

All clients write the same entities at random replicas. Every written value is unique where the API allows it, so a
read says which writes it contains. `entity_history.violations` checks the recorded history.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import anyio
from msgspec import Struct

from airy import topics
from airy.bus.topic import Topic
from airy.errors import Refused
from airy.model import ids
from tests.kit.builders import PAGE
from tests.sim.api_clients import POSITION, ApiResponse, Ask
from tests.sim.entity_history import EntityOperation, Fields, Kind
from tests.sim.history import OperationOutcome

COLORS = ("tag-red", "tag-green", "tag-blue", "tag-purple")
STATUSES = ("Subscribed", "Unsubscribed")
WEBHOOK_ID = ids.derive("webhook", "of all clients")


class Request(Struct, frozen=True):
    """A write of one entity, and its meaning for the checker."""

    kind: Kind
    path: str
    body: Mapping[str, object]
    fields: Fields = {}
    creates: bool = False
    requires: bool = True
    clears: bool = True
    key: str = ""


class EntityKind(Struct, frozen=True):
    name: str
    topic: Topic[Any]
    entity_id: str
    key: str = ""  # of its records, if it is not the id

    @property
    def partition(self) -> int:
        return self.topic.partition(self.key or self.entity_id)


class EntityClient:
    """Sends one request at a time and remembers the positions it receives."""

    def __init__(
        self,
        name: str,
        replicas: Mapping[str, Ask],
        kinds: Sequence[EntityKind],
        random: Random,
        history: list[EntityOperation],
    ) -> None:
        self.name = name
        self._replicas = replicas
        self._kinds = kinds
        self._random = random
        self._history = history
        self._count = 0
        self.positions: dict[str, int] = {}  # entity to offset

    async def act(self, steps: int) -> None:
        for _ in range(steps):
            await anyio.sleep(self._random.choice((0.0, 0.0, 0.0, 0.01, 0.3)))
            kind, replica = self._random.choice(self._kinds), self._random.choice(list(self._replicas))
            if self._random.random() < 0.3:
                await self.read(replica, kind)
            else:
                self._count += 1
                await self._write(replica, kind, getattr(self, f"_{kind.name}")(kind.entity_id))

    async def create(self, replica: str, kind: EntityKind) -> None:
        """Write `put` requests until one is answered; a refusal means that an earlier one was applied."""
        while True:
            self._count += 1
            request: Request = getattr(self, f"_{kind.name}")(kind.entity_id)
            if request.kind == "put" and await self._write(replica, kind, request) != "doubt":
                return

    def _value(self) -> str:
        return f"{self.name}-{self._count}"

    # --- requests

    def _channel(self, channel_id: str) -> Request:
        value, choice = self._value(), self._random.random()
        if choice < 0.1:
            return Request(
                "delete", "/channels.facebook.disconnect", {"channel_id": channel_id}, requires=False, clears=False
            )
        if choice < 0.3:
            body = {"page_id": PAGE, "page_token": "token", "name": value}
            return Request("put", "/channels.facebook.connect", body, {"name": value})
        if choice < 0.7:
            name = self._random.choice(("name", "image_url"))
            return Request("update", "/channels.update", {"channel_id": channel_id, name: value}, {name: value})
        key = self._random.choice(("a", "b"))
        body = {"subject": "channel", "id": channel_id, "data": {key: value}}
        return Request("update", "/metadata.upsert", body, {key: value}, requires=False)

    def _tag(self, tag_id: str) -> Request:
        value, choice = self._value(), self._random.random()
        color = self._random.choice(COLORS)
        if choice < 0.08:
            return Request("delete", "/tags.delete", {"id": tag_id})
        if choice < 0.25:
            fields = {"name": value, "color": color}
            return Request("put", "/tags.create", fields, fields, creates=True, key="tag")
        if choice < 0.7:
            return Request("update", "/tags.update", {"id": tag_id, "name": value}, {"name": value})
        return Request("update", "/tags.update", {"id": tag_id, "color": color}, {"color": color})

    def _template(self, template_id: str) -> Request:
        value, choice = self._value(), self._random.random()
        if choice < 0.08:
            return Request("delete", "/templates.delete", {"id": template_id})
        if choice < 0.25:
            body = {"name": value, "source": value, "content": {"text": value}}
            fields = {"name": value, "source": value, "content": value}
            return Request("put", "/templates.create", body, fields, creates=True, key="template")
        name = self._random.choice(("name", "source", "content"))
        body = {"id": template_id, name: {"text": value} if name == "content" else value}
        return Request("update", "/templates.update", body, {name: value})

    def _webhook(self, webhook_id: str) -> Request:
        value, choice = self._value(), self._random.random()
        url = f"https://{value}.example.com/"
        if choice < 0.1:
            return Request("delete", "/webhooks.delete", {"id": webhook_id})
        if choice < 0.25:
            fields = {"url": url, "name": value, "status": "Subscribed"}
            return Request("put", "/webhooks.subscribe", {"id": webhook_id, "url": url, "name": value}, fields)
        if choice < 0.35:
            return Request("update", "/webhooks.unsubscribe", {"id": webhook_id}, {"status": "Unsubscribed"})
        if choice < 0.45:
            return Request("update", "/webhooks.rotate-secret", {"id": webhook_id})
        name = self._random.choice(("url", "name", "status"))
        given = {"url": url, "name": value, "status": self._random.choice(STATUSES)}[name]
        return Request("update", "/webhooks.update", {"id": webhook_id, name: given}, {name: given})

    def _contact(self, contact_id: str) -> Request:
        value, choice = self._value(), self._random.random()
        if choice < 0.08:
            return Request("delete", "/contacts.delete", {"id": contact_id})
        if choice < 0.25:
            body = {"display_name": value, "title": value, "address": {"city": value}}
            fields = {"display_name": value, "title": value, "city": value}
            return Request("put", "/contacts.create", body, fields, creates=True, key="contact")
        name = self._random.choice(("display_name", "title", "city"))
        change: dict[str, object] = {"address": {"city": value}} if name == "city" else {name: value}
        return Request("update", "/contacts.update", {"id": contact_id, **change}, {name: value})

    async def _write(self, replica: str, kind: EntityKind, request: Request) -> OperationOutcome:
        begin = anyio.current_time()
        headers = {"idempotency-key": request.key} if request.key else {}
        response = await self._replicas[replica](request.path, request.body, headers)
        outcome: OperationOutcome = (
            "ok" if 200 <= response.status < 300 else "refused" if 400 <= response.status < 500 else "doubt"
        )
        self._history.append(
            EntityOperation(
                client=self.name,
                replica=replica,
                kind=request.kind,
                entity=kind.name,
                begin=begin,
                end=anyio.current_time(),
                outcome=outcome,
                position=self._remember(kind, response),
                fields=request.fields,
                creates=request.creates,
                requires=request.requires,
                clears=request.clears,
            )
        )
        return outcome

    def _remember(self, kind: EntityKind, response: ApiResponse) -> int | None:
        try:
            position = topics.parse_position_token(response.headers.get(POSITION, ""))
        except Refused:
            return None
        assert position.topic_partition == (kind.topic.name, kind.partition)
        self.positions[kind.name] = max(position.offset, self.positions.get(kind.name, -1))
        return position.offset

    # --- reading

    async def read(self, replica: str, kind: EntityKind, *, final: bool = False) -> bool:
        presented = self.positions.get(kind.name)
        partition = kind.partition
        token = f"{topics.FOLDED.index(kind.topic)}.{partition}.{presented}"
        begin = anyio.current_time()
        path, body = _reading(kind)
        response = await self._replicas[replica](path, body, {} if presented is None else {POSITION: token})
        if response.status not in (200, 404):
            return False
        fields = _shown(kind, response)
        self._history.append(
            EntityOperation(
                client=self.name,
                replica=replica,
                kind="read",
                entity=kind.name,
                begin=begin,
                end=anyio.current_time(),
                outcome="ok",
                presented=presented,
                fields=fields or {},
                exists=fields is not None,
                final=final,
            )
        )
        return True


def _reading(kind: EntityKind) -> tuple[str, Mapping[str, object]]:
    if kind.name == "tag":
        return "/tags.list", {}
    return f"/{kind.name}s.info", {"channel_id" if kind.name == "channel" else "id": kind.entity_id}


def _shown(kind: EntityKind, response: ApiResponse) -> Fields | None:
    """The fields of the entity; None: it does not exist."""
    if response.status == 404:
        return None
    document = response.document
    match kind.name:
        case "channel":
            metadata = document["metadata"]
            shown = {"name": metadata["name"], "image_url": metadata.get("image_url"), **metadata.get("user_data", {})}
        case "tag":
            found = [each for each in document["data"] if each["id"] == kind.entity_id]
            if not found:
                return None
            shown = {"name": found[0]["name"], "color": found[0]["color"]}
        case "template":
            shown = {name: document[name] for name in ("name", "source")} | {"content": document["content"]["text"]}
        case "contact":
            shown = {name: document[name] for name in ("display_name", "title")} | {"city": document["address"]["city"]}
        case _:
            shown = {name: document[name] for name in ("url", "name", "status")}
    return {name: value for name, value in shown.items() if value is not None}
