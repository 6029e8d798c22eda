"""What a fake Airy instance stores for its operator: dead letters, webhooks with dead deliveries, channels."""

from collections.abc import Callable

from tests.kit.fake_answers import Document, known, page
from tests.kit.fake_configuration import FakeConfiguration

CONNECT_TELEGRAM: Document = {
    "type": "object",
    "properties": {
        "name": {"anyOf": [{"type": "string", "maxLength": 1024}, {"type": "null"}], "default": None},
        "mode": {"enum": ["bot", "business"], "default": "bot"},
        "bot_token": {"type": "string", "format": "password"},
    },
    "required": ["bot_token"],
}


class FakeOperations:
    """`answer` gives what a path answers, None if it is none of these; `written` are the accepted writes."""

    def __init__(self) -> None:
        self.letters: dict[str, Document] = {}
        self.configuration = FakeConfiguration()
        self.webhooks: dict[str, Document] = {}
        self.deliveries: dict[str, Document] = {}
        self.stats: dict[str, Document] = {}  # what differs from the figures of an idle webhook, by webhook
        self.attempts: dict[str, list[Document]] = {}  # by webhook, newest first
        self.test_answer: Document = {"status": 200, "outcome": "delivered", "response": "thanks"}
        self.channels: dict[str, Document] = {}
        self.traces: dict[str, Document] = {}  # by id of a message or a conversation
        self.trees: list[Document] = []  # of the processes, the one that answers first
        self.written: list[tuple[str, Document]] = []

    def letter(self, letter_id: str, reason: str, body: str, *, encoding: str = "text") -> None:
        self.letters[letter_id] = {
            "id": letter_id,
            "topic": "source.facebook.events",
            "partition": 3,
            "offset": 42,
            "key": "page-1",
            "reason": reason,
            "attempts": 3,
            "first_seen_at": "2026-01-01T00:00:00.000Z",
            "dead_lettered_at": "2026-01-01T00:00:01.000Z",
            "trace_id": None,
            "size_bytes": len(body),
            "state": "open",
            "resolved_at": None,
            "resolved_by": None,
            "resolution_reason": None,
            "headers": [{"name": "request-id", "value": "r"}],
            "body_encoding": encoding,
            "body": body,
        }

    def webhook(self, webhook_id: str, name: str, *dead: str) -> None:
        """`dead`: the reasons of its dead deliveries."""
        url, events = f"https://{webhook_id}.example.net/hook", ["message.created"]
        self.webhooks[webhook_id] = {
            "id": webhook_id,
            "name": name,
            "status": "Subscribed",
            "url": url,
            "headers": {},
            "events": events,
        }
        for number, reason in enumerate(dead):
            self.deliveries[f"{webhook_id}-{number}"] = {
                "delivery_id": f"{webhook_id}-{number}",
                "webhook_id": webhook_id,
                "event_id": f"e-{number}",
                "event": "message.created",
                "lane": "c-1",
                "attempts": 8,
                "reason": reason,
                "died_at": "2026-01-01T00:00:00.000Z",
                "body": {"text": f"body {number}"},
            }

    def attempt(self, webhook_id: str, number: int, **outcome: object) -> Document:
        """Of the event `e-<number>`, made `number` seconds after 10:00."""
        attempt = {
            "delivery_id": f"e-{number}:{webhook_id}",
            "event_id": f"e-{number}",
            "event": "message.created",
            "attempt": 1,
            "attempted_at": f"2026-01-01T10:00:{number:02}.000Z",
            "latency_ms": 40,
            "outcome": "delivered",
            "status": 200,
            "error": None,
            "response": "",
            "next_attempt_at": None,
            **outcome,
        }
        self.attempts.setdefault(webhook_id, []).insert(0, attempt)
        return attempt

    def channel(self, channel_id: str, source: str, name: str, **health: str) -> None:
        metadata = {"name": name, **({"health": health} if health else {})}
        self.channels[channel_id] = {
            "id": channel_id,
            "source": source,
            "source_channel_id": f"account-{channel_id}",
            "connected": True,
            "metadata": metadata,
            "webhook_url": f"https://airy.example.net/{source}",
            "last_inbound_at": "2026-01-01T09:40:00.000Z",
            "last_outbound_at": None,
        }

    def answer(self, path: str, body: Document) -> object | None:
        if path in READS:
            return READS[path](self, body)
        if path not in WRITES:
            return None
        self.written.append((path, body))
        return WRITES[path](self, body)

    # --- reads

    def _letters(self, body: Document) -> Document:
        return page([each for each in self.letters.values() if body["state"] in ("all", each["state"])], body)

    def _letter(self, body: Document) -> Document:
        return self.letters[body["id"]]

    def _webhooks(self, _body: Document) -> Document:
        return {"data": list(self.webhooks.values())}

    def _stats(self, body: Document) -> Document:
        idle = {"at": "2026-01-01T10:01:00.000Z", "waiting": 0, "in_flight": 0, "failures": 0, "attempts": 0}
        known = [
            {
                "id": name,
                "health": "ok" if self.webhooks[name]["status"] == "Subscribed" else "unsubscribed",
                **idle,
                **self.stats.get(name, {}),
            }
            for name in body["ids"]
        ]
        return {"data": known}

    def _attempts(self, body: Document) -> Document:
        return {"data": self.attempts.get(body["id"], [])[: body["page_size"]]}

    def _deliveries(self, body: Document) -> Document:
        return page([each for each in self.deliveries.values() if each["webhook_id"] == body["id"]], body)

    def _channels(self, _body: Document) -> Document:
        return {"data": list(self.channels.values())}

    def _trees(self, body: Document) -> Document:
        if "process" in body:
            trees = {each["instance"]: each for each in self.trees}
            return {"data": [known(trees, body["process"], "process", "process")]}
        return {"data": self.trees}

    def _trace(self, body: Document) -> Document | None:
        return self.traces.get(next(iter(body.values())))

    def _channel(self, body: Document) -> Document:
        return known(self.channels, body["channel_id"], "channel", "channel_id")

    def _openapi(self, _body: Document) -> Document:
        """As much of the document as describes how a channel is connected."""
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/ConnectTelegram"}}}
        summary = "Connect a channel: Telegram bot. Its credentials are sealed, and no response contains them."
        return {
            "paths": {
                "/channels.telegram.connect": {"post": {"summary": summary, "requestBody": {"content": content}}},
                "/channels.telegram.disconnect": {"post": {}},
            },
            "components": {"schemas": {"ConnectTelegram": CONNECT_TELEGRAM}},
        }

    # --- writes

    def _replay_letters(self, body: Document) -> Document:
        return {"data": [self._resolve(each, "replayed") for each in body["ids"]]}

    def _discard_letters(self, body: Document) -> Document:
        outcomes = [self._resolve(each, "discarded") for each in body["ids"]]
        for outcome in outcomes:
            if outcome["result"] == "discarded":
                self.letters[outcome["id"]] |= {"resolved_by": "op", "resolution_reason": body["reason"]}
        return {"data": outcomes}

    def _resolve(self, letter_id: str, result: str) -> Document:
        before = self.letters[letter_id]["state"]
        if before != "open":
            return {"id": letter_id, "result": f"already_{before}"}
        self.letters[letter_id]["state"] = result
        return {"id": letter_id, "result": result}

    def _replay_deliveries(self, body: Document) -> Document:
        key, wanted = ("delivery_id", body["delivery_id"]) if "delivery_id" in body else ("webhook_id", body["id"])
        gone = [name for name, each in self.deliveries.items() if each[key] == wanted]
        for name in gone:
            del self.deliveries[name]
        return {"replayed": len(gone)}

    def _test(self, body: Document) -> Document:
        return self.attempt(body["id"], 59, event="webhook.test", **self.test_answer)

    def _unsubscribe(self, body: Document) -> Document:
        return self._set_status(body["id"], "Unsubscribed")

    def _update(self, body: Document) -> Document:
        return self._set_status(body["id"], body["status"])

    def _connect(self, body: Document) -> Document:
        self.channel("new", "telegram", body.get("name", "bot"))
        settings = {"webhook_url": "https://airy.example.net/telegram"}
        return {**self.channels["new"], "instructions": "Paste this address", "settings": settings}

    def _update_channel(self, body: Document) -> Document:
        channel = self._channel(body)
        channel["metadata"]["name"] = body["name"]
        return channel

    def _disconnect(self, body: Document) -> Document:
        del self.channels[body["channel_id"]]
        return {}

    def _set_status(self, webhook_id: str, status: str) -> Document:
        self.webhooks[webhook_id]["status"] = status
        return self.webhooks[webhook_id]


Operation = Callable[[FakeOperations, Document], object | None]
READS: dict[str, Operation] = {
    "/dead-letters.list": FakeOperations._letters,
    "/dead-letters.info": FakeOperations._letter,
    "/webhooks.list": FakeOperations._webhooks,
    "/webhooks.dead-letters": FakeOperations._deliveries,
    "/webhooks.stats": FakeOperations._stats,
    "/webhooks.attempts": FakeOperations._attempts,
    "/channels.list": FakeOperations._channels,
    "/components.list": lambda fake, _body: fake.configuration.list(),
    "/components.plan": lambda fake, body: fake.configuration.plan(body),
    "/processes.actors": FakeOperations._trees,
    "/messages.trace": FakeOperations._trace,
    "/channels.info": FakeOperations._channel,
    "/schema/openapi.json": FakeOperations._openapi,
}
WRITES: dict[str, Operation] = {
    "/dead-letters.replay": FakeOperations._replay_letters,
    "/dead-letters.discard": FakeOperations._discard_letters,
    "/webhooks.replay": FakeOperations._replay_deliveries,
    "/components.update": lambda fake, body: fake.configuration.update(body),
    "/webhooks.test": FakeOperations._test,
    "/webhooks.unsubscribe": FakeOperations._unsubscribe,
    "/webhooks.update": FakeOperations._update,
    "/channels.update": FakeOperations._update_channel,
    "/channels.telegram.connect": FakeOperations._connect,
    "/channels.custom.disconnect": FakeOperations._disconnect,
    "/channels.telegram.disconnect": FakeOperations._disconnect,
}
