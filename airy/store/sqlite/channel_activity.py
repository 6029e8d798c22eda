"""When each channel had its last message from a contact, and its last one to a contact.

A maximum over all messages, also deleted ones: it does not depend on how facts are cut into batches. 0 stands for none.
"""

from collections.abc import Collection, Mapping

import apsw

from airy.store.api import ChannelActivity
from airy.store.sqlite.id_encoding import encode_client_id, encode_id

MessageTimes = Mapping[tuple[str, bool], int]  # of the newest message, by channel and whether it is from a contact

_PUT = """
INSERT INTO channel_activity VALUES(?, ?, ?) ON CONFLICT(channel) DO UPDATE SET
  inbound_at = max(inbound_at, excluded.inbound_at), outbound_at = max(outbound_at, excluded.outbound_at)"""
_ACTIVITY = "SELECT inbound_at, outbound_at FROM channel_activity WHERE channel = ?"


def put(connection: apsw.Connection, times: MessageTimes) -> None:
    connection.executemany(
        _PUT,
        [
            (encode_id(channel), at_ms if from_contact else 0, 0 if from_contact else at_ms)
            for (channel, from_contact), at_ms in times.items()
        ],
    )


def of(connection: apsw.Connection, channel_ids: Collection[str]) -> dict[str, ChannelActivity]:
    found: dict[str, ChannelActivity] = {}
    for channel_id in channel_ids:
        row = connection.execute(_ACTIVITY, (encode_client_id(channel_id),)).get
        found[channel_id] = ChannelActivity(*(at_ms or None for at_ms in row)) if row else ChannelActivity()
    return found
