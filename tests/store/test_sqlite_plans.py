"""The plans of SQLite's queries."""

import apsw

from airy import topics
from airy.model.contact import Contact, ContactWrite
from tests.kit.builders import Chat, channel, seeded_log
from tests.kit.filter_cases import filter_cases, filter_log
from tests.kit.sqlite_store import opened
from tests.kit.store import everything

# --- query plans

FEW = {
    "subquery",
    "entities",
    "counters",
    "offsets",
    "profiles",
    "each",
    "CONSTANT",
    "conversation_counts",
    "unindexed_messages",
    "unindexed_conversations",
    "json_each",
}
"""Small: scanned on purpose."""
INDEXES = (
    "conversations_unread",
    "conversations_unlisted",
    "conversation_tags",
    "message_words VIRTUAL TABLE",
    "conversation_marks VIRTUAL TABLE",
)
"""Scanned up to a limit."""


async def test_no_statement_scans_a_table() -> None:
    """Every statement is planned over an index, or over a table that stays small."""
    statements: set[str] = set()

    def note(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        statements.add(sql)
        return True

    async with opened() as store:
        connection = store._file.write
        connection.exec_trace = note
        log = filter_log()
        log.append(*seeded_log(9, facts=300))
        log.remove(topics.CHANNELS, Chat().channel_id)
        log.append(channel(connected=False))
        chat = Chat()
        person = Contact(id="a", conversations={chat.conversation_id: "facebook"})
        log.contacts(ContactWrite(id="a", base=0, contact=person))
        log.contacts(ContactWrite(id="a", base=1), covered={chat.conversation_id: 1})
        await store.apply(log.records)
        await everything(store, log)
        following = (await store.contacts(cursor=None, page_size=2)).next_cursor
        await store.contacts(cursor=following, page_size=2)
        await store.contact_of(chat.conversation_id)
        first = (await store.messages(chat.conversation_id, cursor=None, page_size=2)).next_cursor
        await store.messages(chat.conversation_id, cursor=first, page_size=2)
        for filters, _ in filter_cases():
            page = await store.conversations(filters=filters, cursor=None, page_size=2)
            await store.conversations(filters=filters, cursor=page.next_cursor, page_size=2)
        await store.accepted(chat.conversation_id, "x")
        await store.prune_changes(dict.fromkeys(topics.EVENTS.topic_partitions, 3))
        connection.exec_trace = None
        walks = set()
        for sql in statements:
            if not sql.strip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                continue
            bindings = (None,) * max(sql.count("?"), 1)
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings[: _bound(connection, sql)]).fetchall():
                verb, table, *_ = [*row[3].split(), ""]
                small = table.strip("()").split("-")[0] in FEW or any(name in row[3] for name in INDEXES)
                if verb == "SCAN" and not small:
                    walks.add((row[3], sql))
        assert walks == set()
        assert len(statements) > 60


def _bound(connection: apsw.Connection, sql: str) -> int:
    """The number of bindings of a statement."""
    try:
        connection.execute(f"EXPLAIN {sql}", ())
    except apsw.BindingsError as error:
        return int(str(error).split("uses ")[1].split()[0])
    return 0
