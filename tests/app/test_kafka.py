"""The mapping of the Kafka section to the bus's settings."""

from msgspec.structs import asdict

from airy.app.kafka import kafka_settings
from airy.config import BusConfig, Config, KafkaConfig
from airy.secret import Secret

ELSEWHERE = {"replication", "min_in_sync"}  # of topics


def test_every_key_has_its_setting() -> None:
    said = KafkaConfig(
        bootstrap=("one:9092",),
        namespace="shop",
        tls=True,
        ca_file="ca.pem",
        cert_file="a.crt",
        key_file="a.key",
        sasl="PLAIN",
        username="airy",
        password=Secret("pass"),
        compression="lz4",
        session_s=7.0,
        rebalance_s=8.0,
    )
    default = asdict(KafkaConfig())
    assert all(value != default[name] for name, value in asdict(said).items() if name not in ELSEWHERE)

    settings = asdict(kafka_settings(Config(bus=BusConfig(kafka=said))))
    assert {name: settings[name] for name in asdict(said) if name not in ELSEWHERE} == {
        name: value for name, value in asdict(said).items() if name not in ELSEWHERE
    }
    assert asdict(kafka_settings(Config()))["compression"] == default["compression"]
