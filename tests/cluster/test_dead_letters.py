"""`airy dlq` on a real cluster: the records of the log itself, no process of Airy runs."""

from pathlib import Path
from secrets import token_hex

import pytest
from structlog.testing import capture_logs

from airy import topics
from airy.app import dead_letter_admin as admin
from airy.app import topic_admin
from airy.app.log_transfer.open_log import open_log
from airy.bus.dead_letter import make_dead_letter
from airy.bus.record import Record
from airy.config import BusConfig, Config, DataConfig, HttpConfig, KafkaConfig
from tests.kit.servers.shared import SharedKafka

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

RAW = topics.source_events("facebook")


async def test_dead_letters_of_a_cluster_are_listed_and_replayed(
    tmp_path: Path, kafka: SharedKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    place = KafkaConfig(bootstrap=tuple(kafka.bootstrap), namespace=f"dlq-{token_hex(4)}", replication=1, min_in_sync=1)
    bus_config = BusConfig(kind="kafka", kafka=place)
    config = Config(data=DataConfig(directory=str(tmp_path)), bus=bus_config, http=HttpConfig(port=1))
    assert (await topic_admin.apply(config)).empty
    dead_letters = topics.dead_letters_of(RAW.name)
    assert dead_letters is not None
    async with open_log(config) as bus:
        [position] = await bus.publish([RAW.record("page", b"\xff", headers=(("request-id", b"r"),))])
        original = Record(*position, b"page", b"\xff", (("request-id", b"r"),), 1_700_000_000_000)
        await bus.publish([make_dead_letter(dead_letters, original, "no entry", 3)] * 2)
    name = "/".join(map(str, position))
    with capture_logs():
        [letter] = (await admin.find_all(config, None, None, topic=None, state="open")).data
        assert (letter["id"], letter["reason"], letter["attempts"]) == (name, "no entry", 3)
        assert (await admin.get(config, None, None, name))["body"] == "/w=="
        for result in ("replayed", "already_replayed"):
            outcomes = await admin.resolve(
                config, None, None, "replay", [name], all_of=None, everything=False, confirm=bool
            )
            assert outcomes == [{"id": name, "result": result}]
    async with open_log(config) as bus, bus.tail({position.topic_partition: position.offset + 1}) as tail:
        [replayed] = await tail.fetch(records_max=9, wait_s=10)
        assert (replayed.key, replayed.value, replayed.header("dlq-id")) == (b"page", b"\xff", name)
        assert replayed.header("request-id") == "r"
