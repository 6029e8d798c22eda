"""The bus on Apache Kafka. The only package that imports aiokafka."""

from airy.bus.kafka.bus import KafkaBus
from airy.bus.kafka.settings import KafkaSettings

__all__ = ["KafkaBus", "KafkaSettings"]
