"""The aliases of conversations as rows, and the conversations that a participant's name belongs to."""

from collections.abc import Collection, Mapping

import apsw

from airy.model import ids
from airy.model.identity import IdentityKey
from airy.store.sqlite.batch_rows import BatchRows
from airy.store.sqlite.id_encoding import StoredId, decode_id, encode_id
from airy.store.sqlite.schema import HIDDEN

_DERIVED = "SELECT id FROM conversations WHERE id = ? AND visible <> ?"
_ALIASED = """
SELECT conversations.id FROM aliases JOIN conversations ON n = conversation
WHERE aliases.channel = ? AND aliases.name = ? ORDER BY since, conversations.id"""


def add(
    rows: BatchRows, channel: StoredId, conversation: int, before: Mapping[str, int], after: Mapping[str, int]
) -> None:
    """Adds the difference of two sets of aliases to the batch."""
    rows.aliases.extend((channel, name, conversation, since) for name, since in after.items() if name not in before)
    rows.removed_aliases.extend((channel, name, conversation) for name in before if name not in after)


def conversations_of(connection: apsw.Connection, keys: Collection[IdentityKey]) -> dict[IdentityKey, tuple[str, ...]]:
    found: dict[IdentityKey, tuple[str, ...]] = {}
    for key in keys:
        derived = encode_id(ids.conversation_id(key.channel_id, key.name))
        own = connection.execute(_DERIVED, (derived, HIDDEN)).get
        aliased = connection.execute(_ALIASED, (encode_id(key.channel_id), key.name)).fetchall()
        named = dict.fromkeys(
            decode_id(each) for each in (*([] if own is None else [own]), *(row[0] for row in aliased))
        )
        if named:
            found[key] = tuple(named)
    return found
