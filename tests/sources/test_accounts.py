"""Connected channels by account and by id, and their secrets."""

import pytest
from msgspec.structs import replace

from airy.errors import Refused
from airy.model.entity import Channel, PreviousSecret
from airy.secret import Secret
from airy.sources.accounts import PREVIOUS, ConnectedChannels

PAGE = Channel(id="c1", source="facebook", source_channel_id="7", connected=True)


def test_a_connected_channel_is_found_by_its_account_and_its_id() -> None:
    known = ConnectedChannels([PAGE])
    assert known.by_account("facebook", "7") is PAGE
    assert known.by_id("c1") is PAGE
    assert known.by_account("instagram", "7") is None


def test_a_disconnected_channel_is_not_found() -> None:
    known = ConnectedChannels([replace(PAGE, connected=False)])
    assert (known.by_account("facebook", "7"), known.by_id("c1")) == (None, None)


def test_of_two_channels_of_an_account_the_later_counts() -> None:
    later = replace(PAGE, id="c2")
    known = ConnectedChannels([PAGE, later])
    assert known.by_account("facebook", "7") is later
    assert known.by_id("c1") is PAGE


def test_a_secret_that_cannot_be_opened_verifies_nothing() -> None:
    def unseal(channel: Channel, name: str) -> Secret | None:
        if name == "broken":
            raise Refused("sealed with another key")
        return Secret(f"{channel.id}:{name}")

    known = ConnectedChannels([PAGE], unseal=unseal)
    assert known.secrets(PAGE, "token", [Secret("configured")]) == [Secret("c1:token")]
    assert known.secrets(PAGE, "broken", [Secret("configured")]) == []


@pytest.mark.parametrize(
    ("own", "previous", "wanted"),
    [
        ("own", None, ["own"]),
        (None, None, ["configured"]),
        ("own", "", ["own", "configured"]),
        ("own", "old", ["own", "old"]),
        (None, "old", ["configured", "old"]),
        ("", None, []),
    ],
)
def test_the_previous_secret_counts_until_its_time(own: str | None, previous: str | None, wanted: list[str]) -> None:
    """Without a secret of its own a channel has the configured ones; an empty one verifies nothing."""
    kept = None if previous is None else PreviousSecret(sealed=previous or None, until_ms=1_000)
    channel = replace(PAGE, previous_secret=kept)

    def unseal(of: Channel, name: str) -> Secret | None:
        text = own
        if name == PREVIOUS:
            text = of.previous_secret.sealed if of.previous_secret is not None else None
        return None if text is None else Secret(text)

    for now_ms, count in ((999, len(wanted)), (1_000, min(len(wanted), 1))):
        known = ConnectedChannels([channel], unseal=unseal, now_ms=lambda now_ms=now_ms: now_ms)
        found = known.secrets(channel, "token", [Secret("configured")])
        assert [secret.reveal() for secret in found] == wanted[:count]
