"""Maps the configuration to the Kafka bus's settings."""

from pathlib import Path

from airy.bus.kafka.settings import KafkaSettings
from airy.config import Config


def kafka_settings(config: Config) -> KafkaSettings:
    section = config.bus.kafka
    return KafkaSettings(
        bootstrap=section.bootstrap,
        namespace=section.namespace,
        tls=section.tls,
        ca_file=_path(section.ca_file),
        cert_file=_path(section.cert_file),
        key_file=_path(section.key_file),
        sasl=section.sasl,
        username=section.username,
        password=section.password,
        compression=section.compression,
        session_s=section.session_s,
        rebalance_s=section.rebalance_s,
    )


def _path(path: str | None) -> str | None:
    return str(Path(path).expanduser()) if path else None
