"""Brokers with injected failures: librdkafka's mock cluster, from the wheel of `confluent-kafka`.

They keep a log, a group and its offsets in memory, on loopback, and answer the client's requests. They are not Apache
Kafka: ordinary behaviour is tested on a real broker, rare failures here.
"""

import ctypes
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import confluent_kafka

_Pointer = ctypes.c_void_p
_Text = ctypes.c_char_p
_Int = ctypes.c_int
_SIGNATURES: Final[dict[str, tuple[object, tuple[object, ...]]]] = {
    "rd_kafka_conf_new": (_Pointer, ()),
    "rd_kafka_conf_set": (_Int, (_Pointer, _Text, _Text, _Text, ctypes.c_size_t)),
    "rd_kafka_new": (_Pointer, (_Int, _Pointer, _Text, ctypes.c_size_t)),
    "rd_kafka_destroy": (None, (_Pointer,)),
    "rd_kafka_mock_cluster_new": (_Pointer, (_Pointer, _Int)),
    "rd_kafka_mock_cluster_destroy": (None, (_Pointer,)),
    "rd_kafka_mock_cluster_bootstraps": (_Text, (_Pointer,)),
    "rd_kafka_mock_topic_create": (_Int, (_Pointer, _Text, _Int, _Int)),
    "rd_kafka_mock_topic_set_error": (None, (_Pointer, _Text, _Int)),
    "rd_kafka_mock_partition_set_leader": (_Int, (_Pointer, _Text, ctypes.c_int32, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_down": (_Int, (_Pointer, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_up": (_Int, (_Pointer, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_rtt": (_Int, (_Pointer, ctypes.c_int32, _Int)),
    "rd_kafka_mock_broker_set_host_port": (_Int, (_Pointer, ctypes.c_int32, _Text, _Int)),
    "rd_kafka_mock_coordinator_set": (_Int, (_Pointer, _Text, _Text, ctypes.c_int32)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_Pointer, ctypes.c_int32)),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        (_Pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(_Int)),
    ),
    "rd_kafka_mock_clear_request_errors": (None, (_Pointer, ctypes.c_int16)),
    "rd_kafka_mock_start_request_tracking": (None, (_Pointer,)),
    "rd_kafka_mock_clear_requests": (None, (_Pointer,)),
    "rd_kafka_mock_get_requests": (ctypes.POINTER(_Pointer), (_Pointer, ctypes.POINTER(ctypes.c_size_t))),
    "rd_kafka_mock_request_api_key": (ctypes.c_int16, (_Pointer,)),
    "rd_kafka_mock_request_destroy_array": (None, (ctypes.POINTER(_Pointer), ctypes.c_size_t)),
}


class Api(IntEnum):
    """API keys of the protocol."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22


@cache
def _library() -> ctypes.CDLL:
    beside = Path(confluent_kafka.__file__).parent
    found = [*(beside.parent / "confluent_kafka.libs").glob("librdkafka*"), *(beside / ".dylibs").glob("librdkafka*")]
    library = ctypes.CDLL(str(found[0]))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockKafka:
    """`brokers` numbered from 1. Create topics first: a query creates an unknown one."""

    def __init__(self, brokers: int = 1) -> None:
        self._lib = _library()
        self.brokers = range(1, brokers + 1)
        words = ctypes.create_string_buffer(512)
        conf = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(
            conf, b"log_level", b"3", words, len(words)
        )  # only errors, not the missing bootstrap servers
        self._handle = self._lib.rd_kafka_new(0, conf, words, len(words))
        if not self._handle:
            raise RuntimeError(f"librdkafka made no client: {words.value.decode()}")
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._handle, brokers)
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._handle)

    @property
    def bootstrap(self) -> list[str]:
        """Addresses in the order of the brokers."""
        return str(self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()).split(",")

    def topic(self, name: str, partitions: int = 1) -> None:
        self._check(self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, len(self.brokers)))

    def topic_error(self, name: str, code: int) -> None:
        """Return this error in every response about the topic, until it is 0."""
        self._lib.rd_kafka_mock_topic_set_error(self._cluster, name.encode(), code)

    def leader(self, topic: str, partition: int, broker: int) -> None:
        """-1: no leader."""
        self._check(self._lib.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker))

    def fail(self, api: Api, *codes: int) -> None:
        """Answer the next requests of this kind with these errors, one per request."""
        array = (_Int * len(codes))(*codes)
        self._lib.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(codes), array)

    def heal(self, api: Api) -> None:
        """Drop the errors that are still pending."""
        self._lib.rd_kafka_mock_clear_request_errors(self._cluster, api)

    def down(self, brokers: Iterable[int] | None = None) -> None:
        """Close all connections and accept none."""
        for broker in brokers or self.brokers:
            self._check(self._lib.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def up(self, brokers: Iterable[int] | None = None) -> None:
        for broker in brokers or self.brokers:
            self._check(self._lib.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def round_trip(self, ms: int, broker: int = 1) -> None:
        """Delay of the broker's responses from now on."""
        self._check(self._lib.rd_kafka_mock_broker_set_rtt(self._cluster, broker, ms))

    def advertise(self, host: str, port: int, broker: int = 1) -> None:
        """Advertise a proxy's address, so that clients do not bypass it."""
        self._check(self._lib.rd_kafka_mock_broker_set_host_port(self._cluster, broker, host.encode(), port))

    def coordinator(self, group: str, broker: int) -> None:
        self._check(self._lib.rd_kafka_mock_coordinator_set(self._cluster, b"group", group.encode(), broker))

    def track(self) -> None:
        """Start counting requests."""
        self._lib.rd_kafka_mock_start_request_tracking(self._cluster)
        self._lib.rd_kafka_mock_clear_requests(self._cluster)

    def requests(self, api: Api) -> int:
        """Requests of this kind since `track`."""
        count = ctypes.c_size_t()
        requests = self._lib.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        try:
            return sum(self._lib.rd_kafka_mock_request_api_key(requests[at]) == api for at in range(count.value))
        finally:
            self._lib.rd_kafka_mock_request_destroy_array(requests, count)

    def _check(self, code: int) -> None:
        if code:
            raise RuntimeError(f"the mock cluster refuses with code {code}")
