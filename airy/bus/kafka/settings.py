"""How to reach a Kafka cluster, and the limits every call to it has: a value."""

from typing import Literal

from msgspec import Struct

from airy.secret import Secret

Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
"""Of what we write. What is read says itself how it was compressed."""


class KafkaSettings(Struct, frozen=True, kw_only=True):
    bootstrap: tuple[str, ...]
    namespace: str = ""  # before every topic and group on the wire, with a dot; nobody above the bus sees it
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    sasl: Literal["off", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "off"
    username: str = ""
    password: Secret | None = None
    client_id: str = "airy"
    compression: Compression = "zstd"

    session_s: float = 45.0  # heartbeats run on our event loop: generous, because it may be busy
    rebalance_s: float = 60.0
    request_s: float = 10.0
    publish_s: float = 10.0  # after it the outcome of a publish is unknown
    call_s: float = 15.0  # every other call
    stop_s: float = 3.0
    stall_s: float = 30.0  # so long without a record although there are some: a new client

    record_bytes_max: int = 4_194_304
    batch_bytes_max: int = 262_144  # of one partition, unless a single record is larger
    publish_records_max: int = 10_000  # in flight; beyond it `publish` waits
    publish_bytes_max: int = 33_554_432
    fetch_bytes_max: int = 8_388_608  # per broker and request
    partition_fetch_bytes_max: int = 524_288
    gather_s: float = 0.02  # from a small answer with records to the next question, so that records come together

    def named(self, name: str) -> str:
        """A topic's or group's name on the wire."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def bare(self, name: str) -> str:
        """The name without the namespace."""
        return name.removeprefix(f"{self.namespace}.") if self.namespace else name
