"""What a start refuses before anything is opened."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from airy.app import up
from airy.config import BusConfig, Components, Config, ConsumerComponent, Data, KafkaConfig, PublisherComponent
from airy.errors import Refused

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def start(config: Config, **options: Any) -> None:
    given = {"components": None, "ephemeral": False, "demo": False, "on_started": lambda _: None}
    await up(config, **(given | options))


def on_kafka(directory: Path) -> Config:
    """At an address where nobody is: a start that gets so far as to connect is `Unavailable`, not `Refused`."""
    bus = BusConfig(kind="kafka", kafka=KafkaConfig(bootstrap=("127.0.0.1:1",)))
    return replace(Config(), bus=bus, data=Data(directory=str(directory)))


async def test_a_cluster_whose_deliveries_would_wait_in_one_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"queue\.kind: redis"):
        await start(on_kafka(tmp_path))
    with pytest.raises(Refused, match=r"queue\.kind: redis"):
        await start(on_kafka(tmp_path), components=frozenset({"api-communication"}))


async def test_without_webhooks_a_cluster_needs_no_shared_queue(tmp_path: Path) -> None:
    quiet = Components(
        webhook_publisher=PublisherComponent(enabled=False), webhook_consumer=ConsumerComponent(enabled=False)
    )
    with pytest.raises(Exception, match=r"127\.0\.0\.1:1|cluster") as caught:
        await start(replace(on_kafka(tmp_path), components=quiet))
    assert not isinstance(caught.value, Refused)


async def test_a_component_that_is_off_cannot_be_run(tmp_path: Path) -> None:
    config = replace(Config(), data=Data(directory=str(tmp_path)))

    with pytest.raises(Refused, match="sources-facebook"):
        await start(config, components=frozenset({"sources-facebook"}))
