"""The simulated Bot API: updates strictly in order per chat, the secret header, the token in every address."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from airy.sim.provider.acts import PersonAct, SendsMedia
from airy.sim.provider.api import (
    AddressCheck,
    ApiReply,
    ApiRequest,
    Event,
    PendingWebhook,
    SimFile,
    WebhookRequestBody,
    record,
)
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.files import SAMPLES
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.outbox import Redelivery
from airy.sim.provider.sends import SimMessage
from airy.sim.provider.setup import Connect, Setup
from airy.sim.provider.state import AccountState, Person
from airy.sim.telegram import bot_methods, updates
from airy.sim.telegram.options import TelegramOptions

FIRST_PERSON = 7_100_001
FIRST_UPDATE = 870_000_000
LIVES_MS = 24 * 3_600_000
TAP_LIVES_MS = 150_000
RETRY_MS = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000)
DEFAULT_UPDATES = frozenset({"message", "edited_message", "callback_query", "my_chat_member"})


class TelegramProvider(SimulatedProvider[TelegramOptions]):
    title = "Telegram"
    default_address = "https://api.telegram.org"
    redelivery: ClassVar = Redelivery(retry_ms=RETRY_MS, give_up_ms=LIVES_MS, honours_retry_after=True)

    def __init__(self, options: TelegramOptions, *, now_ms: int = 0) -> None:
        self.answered_taps: list[str] = []
        super().__init__(options, now_ms=now_ms)

    def setup(self, address: str) -> Setup:
        connects = [Connect("telegram", {"bot_token": account.token}) for account in self.options.accounts]
        return Setup({"telegram": {"apiUrl": address}}, connects, needs_public_url=True)

    # --- calls

    def answer(self, request: ApiRequest, now_ms: int) -> ApiReply:
        prefix, _, rest = request.path.lstrip("/").partition("/")
        if prefix == "file":
            token, _, path = rest.partition("/")
            return self._file(token, path)
        if not prefix.startswith("bot"):
            return bot_methods.error(*bot_methods.NOT_FOUND)
        account = self._account(prefix.removeprefix("bot"))
        if account is None:
            return bot_methods.error(*bot_methods.UNAUTHORIZED)
        fields = {**request.query, **request.fields()}
        if rest in bot_methods.CONTENT:
            return self._sent(account, rest, fields, now_ms)
        return self._managed(account, rest, fields)

    def _account(self, token: str) -> AccountState | None:
        known = (each for each in self.state.accounts.values() if each.account.token == token and not each.revoked)
        return next(known, None)

    def _file(self, token: str, path: str) -> ApiReply:
        file = self.state.files.get(path.rpartition("/")[2]) if self._account(token.removeprefix("bot")) else None
        if file is None:
            return bot_methods.error(*bot_methods.NOT_FOUND)
        return ApiReply(200, file.body, "application/octet-stream")

    def _managed(self, account: AccountState, method: str, fields: Mapping[str, Any]) -> ApiReply:
        match method:
            case "getMe":
                return bot_methods.ok(updates.bot(account.account))
            case "setWebhook" | "deleteWebhook":
                return self._set_webhook(account, fields if method == "setWebhook" else {})
            case "getWebhookInfo":
                info = {"url": account.webhook_url or "", "pending_update_count": self.pending}
                return bot_methods.ok(info | {"has_custom_certificate": False})
            case "getFile":
                return self._described(str(fields.get("file_id", "")))
        return self._acted(method, fields)

    def _acted(self, method: str, fields: Mapping[str, Any]) -> ApiReply:
        if method == "answerCallbackQuery":
            self.answered_taps.append(str(fields.get("callback_query_id", "")))
            return bot_methods.ok(True)
        if method not in bot_methods.ACTIONS:
            return bot_methods.error(*bot_methods.NOT_FOUND)
        known = str(fields.get("chat_id", "")) in self.state.people
        return bot_methods.ok(True) if known else bot_methods.error(*bot_methods.CHAT_NOT_FOUND)

    def _set_webhook(self, account: AccountState, fields: Mapping[str, Any]) -> ApiReply:
        url = str(fields.get("url") or "")
        if url and self.options.https_only and not url.startswith("https://"):
            return bot_methods.error(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        account.webhook_url = url or None
        account.webhook_secret = str(fields.get("secret_token") or "")
        allowed = fields.get("allowed_updates")
        if isinstance(allowed, str):
            allowed = msgspec.json.decode(allowed)
        if isinstance(allowed, list):  # left out, the last list stays
            account.fields = frozenset(map(str, allowed)) or DEFAULT_UPDATES
        description = "Webhook was set" if url else "Webhook was deleted"
        return ApiReply(200, msgspec.json.encode({"ok": True, "result": True, "description": description}))

    def _described(self, file_id: str) -> ApiReply:
        file = self.state.files.get(file_id)
        if file is None:
            return bot_methods.error(400, "Bad Request: invalid file_id")
        shown = {"file_id": file_id, "file_unique_id": file_id[-8:], "file_size": len(file.body)}
        return bot_methods.ok(shown | {"file_path": f"files/{file_id}"})

    def _sent(self, account: AccountState, method: str, fields: Mapping[str, Any], now_ms: int) -> ApiReply:
        problem = bot_methods.malformed(method, fields)
        if problem is not None:
            return bot_methods.error(400, f"Bad Request: {problem}")
        send = SimMessage(
            account_id=account.account.id,
            recipient_id=str(fields.get("chat_id", "")),
            content={"method": method, **bot_methods.shown_content(fields)},
            text=bot_methods.text_of(fields),
            offers=bot_methods.offered(fields),
        )
        return self.take(send, now_ms)

    # --- sends

    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        person = self.state.people.get(send.recipient_id)
        if person is None or person.wrote_at_ms is None:  # a bot cannot write first
            return bot_methods.error(*bot_methods.CHAT_NOT_FOUND)
        return bot_methods.error(*bot_methods.BLOCKED) if person.blocked else None

    def fault_reply(self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None) -> ApiReply:
        return bot_methods.fault_reply(fault, code, retry_after_s)

    def accepted(self, send: SimMessage, message_id: str) -> ApiReply:
        person = self.state.people[send.recipient_id]
        account = self.state.accounts[send.account_id].account
        written_ms = person.lines[-1].at_ms
        shown = updates.message(person, message_id, written_ms) | {"from": updates.bot(account)}
        if send.content["method"] == "sendMediaGroup":
            return bot_methods.ok([shown])
        return bot_methods.ok(shown | ({} if send.text is None else {"text": send.text}))

    def code_of(self, reply: ApiReply) -> int | None:
        code = record(reply.body.decode()).get("error_code")
        return code if isinstance(code, int) else None

    # --- ids

    def message_id(self, account: SimAccount, person_id: str, *about: object) -> str:
        """Counted per bot, so that ids of a chat increase; in front is the chat."""
        return f"{person_id}:{self.state.count()}"

    def person_id(self, account: SimAccount, number: int) -> str:
        return str(FIRST_PERSON + number)

    # --- events

    def event_of(self, person: Person, act: PersonAct, message_id: str, now_ms: int) -> Event | None:
        account = self.state.accounts[person.account_id].account
        update = updates.update_of(account, person, act, message_id, now_ms, self._sent_file(act, message_id))
        (kind,) = update
        queue = "message" if kind in {"message", "edited_message"} else kind
        return Event(
            account_id=account.id,
            kind=kind,
            element={"update_id": FIRST_UPDATE + self.state.count(), **update},
            ids=(message_id,),
            topic=kind,
            order=f"{person.id}:{queue}",
            lives_ms=TAP_LIVES_MS if kind == "callback_query" else None,
        )

    def _sent_file(self, act: PersonAct, message_id: str) -> tuple[str, SimFile] | None:
        if not isinstance(act, SendsMedia):
            return None
        file_id = f"AgAC{self.state.digest('file', message_id)}"
        self.state.keep_file(file_id, SAMPLES[act.kind])
        return file_id, SAMPLES[act.kind]

    def echo(self, person: Person, send: SimMessage, message_id: str, now_ms: int) -> Event | None:
        """Telegram has none."""

    def receipt(self, person: Person, send: SimMessage, message_id: str, state: str, now_ms: int) -> Event | None:
        """Telegram has none."""

    # --- webhooks

    def handshake(self, account: SimAccount) -> AddressCheck | None:
        """Telegram has none."""

    def handle_answer(self, post: PendingWebhook, body: bytes, now_ms: int) -> None:
        """The response may hold one call of a method."""
        called = record(body.decode("utf-8", "replace"))
        method = called.pop("method", None)
        account = self.state.accounts[post.events[0].account_id]
        if method in bot_methods.CONTENT:
            self._sent(account, method, called, now_ms)
        elif isinstance(method, str):
            self._managed(account, method, called)

    def webhook(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody:
        account = self.state.accounts[events[0].account_id]
        headers = {"content-type": "application/json"}
        if account.webhook_secret:
            headers["x-telegram-bot-api-secret-token"] = account.webhook_secret
        return WebhookRequestBody(account.webhook_url or "", msgspec.json.encode(events[0].element), headers)
