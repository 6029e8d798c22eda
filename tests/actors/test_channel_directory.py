"""Connected channels as the store has folded them, cached until the fold passes a newer channel record."""

import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.channel_directory import ChannelDirectory
from airy.errors import Unavailable
from airy.secret import Secret
from tests.kit.harness import Harness


async def test_a_connected_channel_is_known_once_it_is_folded_and_forgotten_when_it_is_disconnected() -> None:
    harness = Harness()
    async with harness.open():
        account = harness.channel.source_channel_id
        assert (await harness.directory.refresh()).by_account("facebook", account) is None
        await harness.connect()
        assert (await harness.directory.refresh()).by_account("facebook", account) is not None
        await harness.connect(connected=False)
        assert (await harness.directory.refresh()).by_account("facebook", account) is None


async def test_the_store_is_asked_again_only_after_a_channel_record() -> None:
    harness = Harness()
    async with harness.open():
        await harness.connect()
        first = await harness.directory.refresh()
        assert await harness.directory.refresh() is first
        await harness.connect()
        assert await harness.directory.refresh() is not first


async def test_current_waits_for_what_the_log_holds() -> None:
    harness = Harness()
    async with harness.open():
        record = topics.CHANNELS.record(harness.channel.id, harness.channel)
        await harness.bus.publish([record])
        channels = await harness.directory.current()
        assert channels.by_id(harness.channel.id) is not None


async def test_a_store_that_does_not_fold_the_channels_is_unavailable() -> None:
    harness = Harness()
    async with harness.open():
        harness.directory._progress = _Stuck()  # type: ignore[assignment]
        await harness.connect()
        with pytest.raises(Unavailable, match="did not fold the channels"):
            await harness.directory.current()


class _Stuck:
    version = 0

    @property
    def held(self) -> dict[object, object]:
        return {}

    def positions(self) -> dict[object, int]:
        return {}

    async def wait_for_progress(self, since: int, within_s: float) -> int:
        import anyio

        await anyio.sleep(within_s)
        return since


async def test_secrets_are_unsealed_by_name() -> None:
    harness = Harness()
    directory = ChannelDirectory(
        harness.bus,
        harness.store,
        harness.projector,
        unseal=lambda channel, name: Secret(f"{channel.id} {name}"),
        now_ms=harness.clock.now_ms,
    )
    async with harness.open():
        await harness.connect()
        channels = await directory.refresh()
    known = replace(harness.channel)
    assert channels.secrets(known, "token") == [Secret(f"{known.id} token")]
