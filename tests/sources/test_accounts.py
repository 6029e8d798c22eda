"""Connected channels by account and by id, and their secrets."""

from msgspec.structs import replace

from airy.errors import Refused
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources.accounts import ConnectedChannels

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


def test_a_secret_that_cannot_be_opened_is_none() -> None:
    def unseal(channel: Channel, name: str) -> Secret | None:
        if name == "broken":
            raise Refused("sealed with another key")
        return Secret(f"{channel.id}:{name}")

    known = ConnectedChannels([PAGE], unseal=unseal)
    assert known.secret(PAGE, "token") == Secret("c1:token")
    assert known.secret(PAGE, "broken") is None
