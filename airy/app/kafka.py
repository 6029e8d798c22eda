"""What the configuration says about Kafka, as the bus takes it."""

from pathlib import Path

from airy.bus.kafka.settings import KafkaSettings
from airy.config import Config


def kafka_settings(config: Config) -> KafkaSettings:
    given = config.bus.kafka
    return KafkaSettings(
        bootstrap=given.bootstrap,
        namespace=given.namespace,
        tls=given.tls,
        ca_file=_path(given.ca_file),
        cert_file=_path(given.cert_file),
        key_file=_path(given.key_file),
        sasl=given.sasl,
        username=given.username,
        password=given.password,
        compression=given.compression,
        session_s=given.session_s,
        rebalance_s=given.rebalance_s,
    )


def _path(given: str | None) -> str | None:
    return str(Path(given).expanduser()) if given else None
