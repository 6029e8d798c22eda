"""The numbers of listed conversations by channel, state and whether they have unread messages.

The fold keeps them exact, so that the total of a filter over these three needs no scan. In the column `state`, text is
the state after an `=`, and empty text stands for none.
"""

# ruff: noqa: S608 - only names of our own are put into SQL; values are bound

from collections.abc import Mapping

import apsw

from airy.store.sqlite.id_encoding import StoredId
from airy.store.sqlite.schema import LISTED

Group = tuple[StoredId, str, bool]  # channel, state as stored here, has unread

GROUPS_MAX = 10_000  # with more, totals are counted by a scan

_ADD = """
INSERT INTO conversation_counts VALUES(?, ?, ?, ?) ON CONFLICT(channel, state, has_unread) DO UPDATE SET
  conversations = conversations + excluded.conversations"""
_DELETE_EMPTY = """
DELETE FROM conversation_counts WHERE channel = ? AND state = ? AND has_unread = ? AND conversations = 0"""
_CLEAR = "DELETE FROM conversation_counts WHERE channel = ?"
_COUNT = f"""
INSERT INTO conversation_counts
SELECT channel, CASE WHEN state IS NULL THEN '' ELSE '=' || state END AS stored_state, has_unread, count(*)
FROM conversations WHERE channel = ? AND visible = {LISTED} GROUP BY stored_state, has_unread"""
_GROUPS = "SELECT count(*) FROM (SELECT 1 FROM conversation_counts LIMIT ?)"
_TOTAL = """
SELECT ifnull(sum(c.conversations), 0) FROM (
  SELECT 1 AS n, channel, CASE state WHEN '' THEN NULL ELSE substr(state, 2) END AS state, has_unread AS unread_count,
    conversations
  FROM conversation_counts
) AS c WHERE """


def group(channel: StoredId, state: str | None, *, has_unread: bool) -> Group:
    return channel, "" if state is None else f"={state}", has_unread


def add(connection: apsw.Connection, growth: Mapping[Group, int]) -> None:
    changed = [(*group, number) for group, number in growth.items() if number]
    connection.executemany(_ADD, changed)
    connection.executemany(_DELETE_EMPTY, [each[:3] for each in changed if each[3] < 0])


def recount(connection: apsw.Connection, channel: StoredId) -> None:
    """Reads every conversation of the channel."""
    connection.execute(_CLEAR, (channel,))
    connection.execute(_COUNT, (channel,))


def total(connection: apsw.Connection, where: str, bindings: tuple[object, ...]) -> int | None:
    """The number of listed conversations for which `where` holds, over channel, state and `unread_count` 0 or 1."""
    if connection.execute(_GROUPS, (GROUPS_MAX + 1,)).get > GROUPS_MAX:
        return None
    number: int = connection.execute(_TOTAL + where, bindings).get
    return number
