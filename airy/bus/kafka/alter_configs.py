"""The request IncrementalAlterConfigs, which aiokafka lacks. Its AlterConfigs resets every setting it does not name,
including those an operator made.
"""

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

KEY = 44
SET = 0
TOPIC = 2


class _Response(Response):  # type: ignore[misc]
    API_KEY = KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _Request(RequestStruct):  # type: ignore[misc]
    API_KEY = KEY
    API_VERSION = 0
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class IncrementalAlterConfigs(Request[_Request]):  # type: ignore[misc]
    API_KEY = KEY

    def __init__(self, topics: dict[str, dict[str, str]]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_Request]) -> _Request:
        resources = [
            (TOPIC, name, [(key, SET, value) for key, value in config.items()]) for name, config in self._topics.items()
        ]
        return request_struct_class(resources, False)
