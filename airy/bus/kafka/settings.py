"""How to connect to a Kafka cluster, and the limits of every call to it: a value."""

from typing import Literal

from msgspec import Struct

from airy.secret import Secret

Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
"""Of the batches we write. Batches that are read name their own compression."""


class KafkaSettings(Struct, frozen=True, kw_only=True):
    bootstrap: tuple[str, ...]
    namespace: str = ""  # prefix of topics and groups on the wire, with a dot; invisible above the bus
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    sasl: Literal["off", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "off"
    username: str = ""
    password: Secret | None = None
    client_id: str = "airy"
    compression: Compression = "zstd"

    session_s: float = 45.0  # generous, because heartbeats run on our event loop, which may be busy
    rebalance_s: float = 60.0
    request_s: float = 10.0
    publish_s: float = 10.0  # after that the outcome of a publish is unknown
    call_s: float = 15.0  # every other call
    stop_s: float = 3.0
    stall_s: float = 30.0  # a client that returns no records for so long, although there are some, is replaced

    record_bytes_max: int = 4_194_304
    batch_bytes_max: int = 262_144  # of one partition, unless a single record is larger
    publish_records_max: int = 10_000  # in flight; beyond it `publish` waits
    publish_bytes_max: int = 33_554_432
    fetch_bytes_max: int = 8_388_608  # per broker and request
    partition_fetch_bytes_max: int = 524_288
    fetch_delay_s: float = 0.02  # from a small response with records to the next request: see `fetch_pacing`

    def wire_name(self, name: str) -> str:
        """The name of a topic or group on the wire."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def local_name(self, name: str) -> str:
        """The name without the namespace, from the one on the wire."""
        return name.removeprefix(f"{self.namespace}.") if self.namespace else name
