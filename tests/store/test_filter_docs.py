"""Every example of docs/filters.md, over the conversations that the page describes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from airy.errors import Refused
from airy.store.api import Store
from airy.store.sqlite import SqliteStore
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.log import Log
from tests.kit.reference_store import ReferenceStore
from tests.kit.store import listed

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
GRACE, ADA, SMS = Chat(1), Chat(2), Chat(3, source="twilio.sms", source_channel_id="+1")
NAMES = {GRACE.conversation_id: "grace", ADA.conversation_id: "ada", SMS.conversation_id: "sms"}
IDS = {"<id of the SMS channel>": SMS.channel_id, "<id of grace>": GRACE.conversation_id}


def rows(heading: str) -> list[list[str]]:
    """The cells of the rows below a heading, without the head of the table."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def examples() -> list[tuple[str, str]]:
    found = [(cells[-2], cells[-1]) for heading in ("Fields", "Operators") for cells in rows(heading)]
    return [(_filters(example), finds) for example, finds in found]


def _filters(cell: str) -> str:
    text = cell.strip("`")
    for name, id_ in IDS.items():
        text = text.replace(name, id_)
    return text


def described() -> Log:
    log = Log()
    log.append(channel(), channel("twilio.sms", "+1"))
    log.append(GRACE.received(1, "Is the rye bread back?"), GRACE.received(2, "Late again"))
    log.append(GRACE.state_changed("CLOSED"), GRACE.tag_added("urgent"), GRACE.tag_added("later"))
    log.append(ADA.received(1, "Où est l'hôtel? Rue Straße 12"), ADA.read(), ADA.queued(2, "The parcel is late"))
    log.append(ADA.state_changed("OPEN"), ADA.tag_added("urgent"), ADA.metadata({"user_data.erp.id": "abc-1"}))
    log.append(SMS.received(1, "parcels?"), SMS.received(2, "Thanks 👍"), SMS.received(3, "Bye"))
    log.append(SMS.metadata({"user_data.note": "Likes rye"}))
    for chat, name in ((GRACE, "Grace Hopper"), (ADA, "Ada Lovelace"), (SMS, "+49 30 12345")):
        log.append(chat.metadata({"contact.display_name": name}))
    return log


@pytest.fixture(params=[SqliteStore, ReferenceStore])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    store: Store = SqliteStore(":memory:") if request.param is SqliteStore else ReferenceStore()
    await store.open()
    assert (await store.apply(described().records)).unprocessable == []
    yield store
    await store.close()


async def test_the_examples_find_what_the_page_says(store: Store) -> None:
    assert START_MS == 1_767_225_600_000
    assert len(examples()) > 35
    for filters, finds in examples():
        page = await store.conversations(filters=filters, cursor=None, page_size=10)
        assert sorted(NAMES[found] for found in listed(page)) == sorted(finds.split()), filters
        assert (page.total, page.complete) == (len(finds.split()), True), filters


async def test_the_errors_have_the_offset_and_the_reason_of_the_page(store: Store) -> None:
    for cell, offset, reason in rows("Errors"):
        with pytest.raises(Refused) as refused:
            await store.conversations(filters=cell.strip("`"), cursor=None, page_size=10)
        assert (refused.value.field, refused.value.offset) == ("filters", int(offset)), cell
        assert reason in str(refused.value), cell
