"""Every kind whose provider posts webhooks, from connect to receipt, over real HTTP against its scripted provider."""

import pytest

from airy.sources.catalogue import SOURCES
from tests.kit.journey import travel
from tests.kit.providers import WIRES
from tests.kit.providers.base import Wire

pytestmark = pytest.mark.e2e

CASES = [(type(wire), kind) for wire in WIRES.values() for kind in wire.accounts]


def test_every_kind_whose_provider_posts_webhooks_travels() -> None:
    """But custom sources, which bring in their messages by the API: tests/e2e/test_custom_source_journey.py."""
    posted_to = [spec for spec in SOURCES if spec.provider and spec.webhooks]
    assert {kind for _, kind in CASES} == {kind.name for spec in posted_to for kind in spec.kinds}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("kind_of_wire", "kind"), CASES, ids=[kind for _, kind in CASES])
async def test_a_channel_is_connected_a_contact_is_answered_and_receipts_arrive(
    kind_of_wire: type[Wire], kind: str
) -> None:
    wire = kind_of_wire()
    journey = await travel(wire, kind)

    assert (journey.channel["source"], journey.channel["source_channel_id"]) == (kind, wire.accounts[kind])
    assert journey.received["canonical"] == [{"type": "text", "text": "Is the rye bread back?"}]
    assert [taken["text"] for taken in journey.taken] == ["Yes, three left."]
    assert [taken["recipient"] for taken in journey.taken] == [journey.received["sender"]["id"]]
    assert set(journey.statuses) == {200}
    assert journey.sent["metadata"]["source"]["id"]
    assert journey.left == []
    assert [secret for secret in wire.secrets if secret in journey.outputs] == []
