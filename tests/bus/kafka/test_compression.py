"""Batches are compressed as configured and read back unchanged; a missing codec is refused at the start."""

from typing import Any, get_args

import pytest
from aiokafka.admin import NewTopic
from aiokafka.record.default_records import DefaultRecordBatch
from msgspec.structs import replace

from airy.bus import Topic
from airy.bus.kafka import KafkaBus, KafkaSettings, producer
from airy.bus.kafka.client import dispose
from airy.bus.kafka.settings import Compression
from airy.errors import Refused
from tests.kit.bus import READ_S, read, running
from tests.kit.servers.shared import SharedKafka
from tests.kit.servers.topics import make_topics

CODECS: tuple[Compression, ...] = get_args(Compression)
ON_THE_WIRE = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
TOPIC: Topic[Any] = Topic("facts", bytes, partitions=1, retention="kept")
SETTINGS = KafkaSettings(bootstrap=("nowhere:1",))

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.mark.parametrize("compression", CODECS)
async def test_a_batch_names_its_compression_and_is_smaller(compression: Compression) -> None:
    generation = producer._Generation(replace(SETTINGS, compression=compression))
    batch = generation._producer.create_batch()
    for number in range(50):
        assert batch.append(timestamp=number, key=b"key", value=b"the same words again and again", headers=[])
    written = bytes(batch._build())
    await dispose(generation, SETTINGS)

    assert DefaultRecordBatch(written).compression_type == ON_THE_WIRE[compression]
    assert (len(written) < 50 * 30 / 2) == (compression != "none")


@pytest.mark.cluster
async def test_records_of_all_codecs_are_read_back_unchanged(kafka: SharedKafka) -> None:
    limits = {"request_s": READ_S, "publish_s": READ_S, "call_s": READ_S}
    settings = KafkaSettings(bootstrap=tuple(kafka.bootstrap), namespace="test-compression", **limits)
    await make_topics(kafka.bootstrap, [NewTopic(settings.wire_name(TOPIC.name), 1, 1)])
    outgoing = [TOPIC.record(f"{nth}", bytes([nth]) * 3_000, headers=(("id", b"x" * nth),)) for nth in range(20)]
    positions: list[int] = []
    for compression in CODECS:
        async with running(KafkaBus([TOPIC], replace(settings, compression=compression))) as bus:
            positions += [position.offset for position in await bus.publish(outgoing)]
    async with running(KafkaBus([TOPIC], settings)) as bus, bus.tail({TOPIC.topic_partitions[0]: 0}) as tail:
        records = await read(tail, len(CODECS) * len(outgoing))
    assert positions == [record.offset for record in records] == list(range(len(records)))
    assert [(record.key, record.value, record.headers) for record in records] == [
        (each.key, each.value, each.headers) for _ in CODECS for each in outgoing
    ]


@pytest.mark.parametrize("compression", ["snappy", "lz4", "zstd"])
async def test_a_codec_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch, compression: Compression
) -> None:
    monkeypatch.setattr("aiokafka.codec.cramjam", None)
    with pytest.raises(Refused, match=f"{compression} needs the Python package cramjam"):
        producer.Producer(replace(SETTINGS, compression=compression))
    assert producer.codec(replace(SETTINGS, compression="gzip")) == "gzip"
