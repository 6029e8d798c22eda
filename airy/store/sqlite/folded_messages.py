"""Messages with the records that changed them, by id or by the provider's id."""

from collections.abc import Collection
from typing import Any

import apsw
import msgspec

from airy.model.conversation import Message
from airy.store.api import NAMED_MAX, FoldedMessage
from airy.store.sqlite.id_encoding import encode_client_id

_MESSAGES = "SELECT body, offsets FROM messages WHERE id = ? ORDER BY n LIMIT ?"
_NAMED = "SELECT DISTINCT message FROM provider_ids WHERE provider_id = ? LIMIT ?"

_decode = msgspec.json.Decoder(Message).decode


def of_ids(connection: apsw.Connection, message_ids: Collection[str]) -> list[FoldedMessage]:
    rows: list[Any] = []
    for message_id in message_ids:
        rows += connection.execute(_MESSAGES, (encode_client_id(message_id), NAMED_MAX)).fetchall()
    return [FoldedMessage(_decode(body), tuple(map(int, offsets.split(",")[1:]))) for body, offsets in rows]


def named_by_provider(connection: apsw.Connection, provider_id: str) -> list[str]:
    rows: Any = connection.execute(_NAMED, (provider_id, NAMED_MAX))
    return [message for (message,) in rows]
