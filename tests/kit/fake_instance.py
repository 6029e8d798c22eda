"""A fake Airy instance: answers API requests from what it stores.

It is a `HttpClient`, so a client under test needs no socket. Only the requests of the terminal views.
"""

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec

from airy.http_client import ConnectFailed, Response
from tests.kit.fake_answers import FakeRefusal, known, page
from tests.kit.fake_directory import FakeDirectory
from tests.kit.fake_logs import FakeLogs
from tests.kit.fake_operations import FakeOperations
from tests.kit.fake_topics import FakeTopics

NOW_MS = 1_767_258_600_000  # 2026-01-01T09:10:00Z


class FakeInstance:
    """Change its attributes; `asked` counts the calls by path."""

    def __init__(self, *, token: str | None = None) -> None:
        self.token = token
        self.down = False
        self.waiting_for: dict[str, str] = {}
        self.counts: dict[str, float] = {}
        self.pages = {"/metrics", *READS}  # paths it serves
        self.services: dict[str, dict[str, object]] = {}
        self.fleet: dict[str, Any] | None = None  # None: a version without /processes.list
        self.documents: dict[str, object] = {}  # answers by path, of what needs no more than one
        self.refusals: dict[str, Response] = {}  # by path
        self.delays_s: dict[str, list[float]] = {}  # of the next calls, by path
        self.written: list[tuple[str, dict[str, Any]]] = []  # writes it accepted
        self.asked: dict[str, int] = {}
        self.operations = FakeOperations()
        self.topics = FakeTopics(NOW_MS)
        self.logs = FakeLogs()
        self.directory = FakeDirectory()
        self.unlisted: set[str] = set()  # conversations that no list has
        self._conversations: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, list[dict[str, Any]]] = {}

    def conversation(self, conversation_id: str, name: str, *, source: str = "facebook", unread: int = 0) -> None:
        self._conversations[conversation_id] = {
            "id": conversation_id,
            "created_at": "2026-01-01T00:00:00.000Z",
            "channel": {
                "id": "c",
                "source": source,
                "source_channel_id": "page",
                "connected": True,
                "metadata": {"name": "Page"},
            },
            "metadata": {"contact": {"display_name": name}, "unread_count": unread},
            "state_version": 0,
            "last_message": None,
        }

    def message(
        self,
        conversation_id: str,
        message_id: str,
        content: object,
        *,
        from_contact: bool = True,
        state: str = "delivered",
        metadata: dict[str, Any] | None = None,
        sent_at: str = "2026-01-01T00:00:01.000Z",
    ) -> None:
        message = {
            "id": message_id,
            "content": content,
            "sent_at": sent_at,
            "delivery_state": state,
            "from_contact": from_contact,
            "source": self._conversations[conversation_id]["channel"]["source"],
            "metadata": metadata or {},
            "sender": {"id": conversation_id if from_contact else "system", "name": None, "avatar_url": None},
        }
        messages = self._messages.setdefault(conversation_id, [])
        messages[:] = [message, *(each for each in messages if each["id"] != message_id)]
        conversation = self._conversations.pop(conversation_id)
        self._conversations[conversation_id] = {**conversation, "last_message": message}

    def receipt(self, conversation_id: str, message_id: str, state: str) -> None:
        """A provider's delivery state for a message, which need not be the newest."""
        for message in self._messages[conversation_id]:
            if message["id"] == message_id:
                message["metadata"] = {**message["metadata"], "source": {"delivery_state": state}}

    def refuse(self, path: str, status: int, message: str, *, field: str | None = None) -> None:
        """From here on requests to `path` are answered with an error."""
        fields = [{"field": field, "message": "is wrong"}] if field else []
        self.refusals[path] = _json({"message": message, "code": "x", "fields": fields}, status)

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Response:
        path = "/" + url.split("/", 3)[3]
        self.asked[path] = self.asked.get(path, 0) + 1
        if delays := self.delays_s.get(path):
            await anyio.sleep(delays.pop(0))
        if self.down:
            raise ConnectFailed("127.0.0.1: connection refused")
        if path == "/readyz":
            ready = not self.waiting_for
            return _json({"ready": ready, "waiting_for": self.waiting_for}, 200 if ready else 503)
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            return _json({"message": "forbidden", "code": "forbidden", "fields": []}, 403)
        if path in self.refusals:
            return self.refusals[path]
        given = msgspec.json.decode(body) if body else {}
        try:
            for stored in (self.topics, self.logs):
                if (answer := await stored.answer(path, given)) is not None:
                    return answer
            return self._authorized(path, given)
        except FakeRefusal as refusal:
            return _json(refusal.document, refusal.status)

    def _authorized(self, path: str, given: dict[str, Any]) -> Response:
        if path in self.documents:
            return _json(self.documents[path])
        operated = self.operations.answer(path, given)
        answered = self.directory.answer(path, given) if operated is None else operated
        if answered is not None:
            return _json(answered)
        if path in WRITES:
            written = WRITES[path](self, given)
            self.written.append((path, given))
            return _json(written or {})
        return self._answer(path, given)

    def _answer(self, path: str, body: dict[str, Any]) -> Response:
        if path == "/metrics" and path in self.pages:
            lines = ["# HELP airy_store x", *(f"{name} {value}" for name, value in self.counts.items())]
            return Response(200, {}, "\n".join(lines).encode())
        found = READS[path](self, body) if path in READS and path in self.pages else None
        return _json({"message": f"no such path {path}"}, 404) if found is None else _json(found)

    # --- reads

    def _config(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {"services": self.services, "cluster_version": "1.2.3"}

    def _fleet(self, _body: dict[str, Any]) -> dict[str, Any] | None:
        return self.fleet

    def _list_conversations(self, body: dict[str, Any]) -> dict[str, Any]:
        newest_first = [each for each in reversed(self._conversations.values()) if each["id"] not in self.unlisted]
        wanted = (body.get("filters") or "").partition(":")[2].lower()
        return page([each for each in newest_first if wanted in str(each["metadata"]["contact"]).lower()], body)

    def _list_messages(self, body: dict[str, Any]) -> dict[str, Any]:
        return page(self._messages.get(body["conversation_id"], []), body)

    def _info_of_conversation(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._conversation(body["conversation_id"])

    def _info_of_message(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._message(body["message_id"])

    def _conversation(self, conversation_id: str) -> dict[str, Any]:
        return known(self._conversations, conversation_id, "conversation", "conversation_id")

    def _message(self, message_id: str) -> dict[str, Any]:
        messages = {each["id"]: each for messages in self._messages.values() for each in messages}
        return known(messages, message_id, "message", "message_id")

    # --- writes

    def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        content = body["message"].get("canonical", body["message"])
        number = len(self._messages[body["conversation_id"]]) + 1
        self.message(body["conversation_id"], f"sent-{number}", content, from_contact=False, state="pending")
        return self._message(f"sent-{number}")

    def _set_state(self, body: dict[str, Any]) -> None:
        self._conversation(body["conversation_id"])["metadata"]["state"] = body["state"]

    def _remove_state(self, body: dict[str, Any]) -> None:
        self._conversation(body["conversation_id"])["metadata"].pop("state", None)

    def _tag(self, body: dict[str, Any]) -> None:
        self._conversation(body["conversation_id"])["metadata"].setdefault("tags", {})[body["tag_id"]] = ""

    def _untag(self, body: dict[str, Any]) -> None:
        del self._conversation(body["conversation_id"])["metadata"]["tags"][body["tag_id"]]

    def _mark_read(self, body: dict[str, Any]) -> None:
        self._conversation(body["conversation_id"])["metadata"]["unread_count"] = 0

    def _resend(self, body: dict[str, Any]) -> None:
        self._message(body["message_id"])["delivery_state"] = "pending"

    def _cancel(self, body: dict[str, Any]) -> dict[str, Any]:
        message = self._message(body["message_id"])
        message["delivery_state"] = "failed"
        return message


Read = Callable[[FakeInstance, dict[str, Any]], dict[str, Any] | None]
READS: dict[str, Read] = {
    "/client.config": FakeInstance._config,
    "/processes.list": FakeInstance._fleet,
    "/conversations.list": FakeInstance._list_conversations,
    "/conversations.info": FakeInstance._info_of_conversation,
    "/messages.list": FakeInstance._list_messages,
    "/messages.info": FakeInstance._info_of_message,
}
Write = Callable[[FakeInstance, dict[str, Any]], dict[str, Any] | None]
WRITES: dict[str, Write] = {
    "/messages.send": FakeInstance._send,
    "/messages.resend": FakeInstance._resend,
    "/messages.cancel": FakeInstance._cancel,
    "/conversations.remove-state": FakeInstance._remove_state,
    "/conversations.set-state": FakeInstance._set_state,
    "/conversations.tag": FakeInstance._tag,
    "/conversations.untag": FakeInstance._untag,
    "/conversations.mark-read": FakeInstance._mark_read,
}


def _json(value: object, status: int = 200) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(value))
