"""Telegram's side, as the documentation of its Bot API has it."""

import json
from typing import ClassVar

from airy.http_client import Response
from airy.model import ids
from airy.secret import Secret
from airy.sources.spec import ChannelForm
from airy.sources.telegram.spec import SPEC, ConnectBot, TelegramSection
from tests.kit.providers.base import PUBLIC_URL, Headers, Request, Taken, Webhook, Wire, answer

BOT, CHAT = "700100200", 7100001
TOKEN = f"{BOT}:AAtelegram-token_0123456789"
WEBHOOK_SECRET = "secret-of-the-webhook"
CHANNEL = ids.channel_id("telegram", BOT)


class TelegramWire(Wire):
    spec = SPEC
    section = TelegramSection(enabled=True)
    host = "api.telegram.org"
    secrets = (TOKEN, WEBHOOK_SECRET)
    accounts: ClassVar = {"telegram": BOT}
    participant = str(CHAT)
    signs_body = False
    addresses = ("api_url",)
    text: ClassVar = {"text": "Yes, from Thursday on."}

    def __init__(self) -> None:
        self.token = TOKEN
        self.webhook_secret = WEBHOOK_SECRET  # until a bot is connected with another one
        self.webhook: dict[str, object] = {"url": f"{PUBLIC_URL}/telegram/{CHANNEL}"}  # as getWebhookInfo shows it

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {"token": Secret(self.token), "webhook_secret": Secret(self.webhook_secret)}

    def form(self, kind: str) -> ChannelForm:
        return ConnectBot(bot_token=Secret(self.token))

    def parameters(self, webhook: Webhook) -> dict[str, str]:
        return {"channel_id": webhook.path.rpartition("/")[2]}

    def signed(self, webhook: Webhook) -> Headers:
        return [(b"x-telegram-bot-api-secret-token", self.webhook_secret.encode())]

    def forged(self, webhook: Webhook) -> Headers:
        return [(b"x-telegram-bot-api-secret-token", b"another secret")]

    def wrapped(self, body: bytes, account: str) -> Webhook:
        return Webhook(path=f"/telegram/{ids.channel_id('telegram', account)}", body=body, account=account)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        person = {"id": CHAT, "is_bot": False, "first_name": "Ines"}
        message = {
            "message_id": number,
            "date": at_ms // 1000,
            "from": person,
            "chat": {"id": CHAT, "type": "private", "first_name": "Ines"},
            "text": text,
        }
        update = {"update_id": 870_000 + number, "message": message}
        return self.wrapped(json.dumps(update, separators=(",", ":")).encode(), BOT)

    def taken(self, request: Request) -> Taken | None:
        _, _, method = request.path.rpartition("/")
        if not method.startswith("send") or method == "sendChatAction":
            return None
        text = request.fields.get("text")
        return Taken(str(request.fields["chat_id"]), text if isinstance(text, str) else None)

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        chat = {"id": int(taken.recipient), "type": "private"}
        message = {"message_id": 1_000 + number, "date": 1, "chat": chat}
        return f"{taken.recipient}:{1_000 + number}", answer(200, {"ok": True, "result": message})

    def rate_limited(self, delay_s: int) -> Response:
        said = f"Too Many Requests: retry after {delay_s}"
        return self._error(429, said, {"retry_after": delay_s})

    def token_refused(self) -> Response:
        return self._error(401, f"Unauthorized: {TOKEN}")

    def contact_blocked(self) -> Response:
        return self._error(403, "Forbidden: bot was blocked by the user")

    @staticmethod
    def _error(code: int, description: str, parameters: dict[str, object] | None = None) -> Response:
        document = {"ok": False, "error_code": code, "description": description}
        return answer(code, document | ({"parameters": parameters} if parameters else {}))

    def managed(self, request: Request) -> Response:
        results: dict[str, object] = {
            "getMe": {"id": int(BOT), "first_name": "Bakery", "username": "bake"},
            "getFile": {"file_id": "f", "file_path": "photos/file_1.jpg"},
            "setWebhook": True,
            "deleteWebhook": True,
            "sendChatAction": True,
        }
        method = request.path.rpartition("/")[2]
        if method == "setWebhook":
            self.webhook_secret = str(request.fields["secret_token"])
            self.webhook = {name: request.fields[name] for name in ("url", "allowed_updates")}
        elif method == "deleteWebhook":
            self.webhook = {"url": ""}
        elif method == "getWebhookInfo":
            results[method] = {"pending_update_count": 0, **self.webhook}
        return answer(200, {"ok": True, "result": results[method]} if method in results else {})
