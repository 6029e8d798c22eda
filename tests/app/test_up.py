"""What an operator has to correct is refused at the start, once and with a sentence."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from airy.actors.runtime import Child, Supervision
from airy.app import up
from airy.components import ConsumerSection, PublisherSection
from airy.config import BusConfig, Config, DataConfig, HttpConfig, KafkaConfig
from airy.errors import Misconfigured, Refused
from airy.http.listener_handover import ListenerHandover
from airy.live_config.live_config import LiveConfig
from airy.shutdown import GUARD_S
from tests.kit.config_source import MemoryConfigSource

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def start(config: Config, **options: Any) -> None:
    given = {
        "components": None,
        "ephemeral": False,
        "demo": False,
        "on_started": lambda _: None,
        "configuration": LiveConfig(config, MemoryConfigSource()),
        "handover": ListenerHandover(),
    }
    await up(config, **(given | options))


def on_kafka(directory: Path) -> Config:
    """At an unused address: a start that connects raises `Unavailable`, not `Refused`."""
    bus = BusConfig(kind="kafka", kafka=KafkaConfig(bootstrap=("127.0.0.1:1",)))
    return replace(Config(), bus=bus, data=DataConfig(directory=str(directory)))


async def test_a_cluster_with_an_embedded_queue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"queue\.kind: redis"):
        await start(on_kafka(tmp_path))
    with pytest.raises(Refused, match=r"queue\.kind: redis"):
        await start(on_kafka(tmp_path), components=frozenset({"api-communication"}))


async def test_without_webhooks_a_cluster_needs_no_shared_queue(tmp_path: Path) -> None:
    disabled = PublisherSection(enabled=False), ConsumerSection(enabled=False)
    with pytest.raises(Exception, match=r"127\.0\.0\.1:1|cluster") as caught:
        await start(on_kafka(tmp_path).with_sections(*disabled))
    assert not isinstance(caught.value, Refused)


async def test_a_disabled_component_cannot_be_run(tmp_path: Path) -> None:
    config = replace(Config(), data=DataConfig(directory=str(tmp_path)))

    with pytest.raises(Refused, match="sources-facebook"):
        await start(config, components=frozenset({"sources-facebook"}))


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "address already in use"), ("nowhere.invalid", "name"), ("192.0.2.1", "cannot assign")],
)
async def test_an_address_that_cannot_be_bound_ends_the_process(tmp_path: Path, host: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = HttpConfig(host=host, port=taken.getsockname()[1])
        config = replace(Config(), data=DataConfig(directory=str(tmp_path)), http=http)

        with pytest.raises(Misconfigured, match=rf"^cannot listen on {host}:\d+: .*{reason}"):
            await start(config, ephemeral=True)


@pytest.mark.parametrize("name", ["journal/journal.db", "store.db", "queue.db"])
async def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)

    with pytest.raises((Refused, OSError), match=rf"{name}"):
        await start(replace(Config(), data=DataConfig(directory=str(tmp_path))))


async def test_draining_ends_before_the_guard_exits_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    async def run_tree(root: Supervision, **options: Any) -> None:
        told.update(options, root=root)

    monkeypatch.setattr(sys.modules["airy.app.up"], "run_tree", run_tree)
    await start(replace(Config(), data=DataConfig(directory=str(tmp_path))), ephemeral=True)

    slowest = max(cleanup_s(child) for child in told["root"].children)
    assert told["drain_s"] + slowest < GUARD_S


def cleanup_s(node: Child | Supervision) -> float:
    """The longest clean-up of one actor in the tree."""
    return node.cleanup_s if isinstance(node, Child) else max(cleanup_s(child) for child in node.children)
