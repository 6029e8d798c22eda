"""Requests generated from the OpenAPI document, valid and invalid: no 5xx, and every answer is what the document says.

`SCHEMA_EXAMPLES` is the number of requests of each kind to each operation.
"""

import os
from functools import cache
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.transport import Response
from schemathesis.specs.openapi import checks
from schemathesis.specs.openapi.schemas import OpenApiSchema
from structlog.testing import capture_logs

from airy import components
from airy.http.catalogue import RESOURCES, served
from airy.model import ids
from airy.sources.catalogue import SOURCES
from tests.kit.api import TOKEN, ApiHarness, api_harness
from tests.kit.asgi import call
from tests.kit.builders import Chat, channel
from tests.kit.event_loops import run_seeded

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "2"))
SERVED = {"facebook", "chatplugin", "custom"}  # sources that the harness has
CHAT = Chat()
KNOWN = {
    "channel_id": CHAT.channel_id,
    "contact_id": ids.contact_id(CHAT.conversation_id),
    "conversation_id": CHAT.conversation_id,
    "message_id": CHAT.outbound_id("ours"),
}
CONFORMANCE = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
RUNNING = frozenset(components.BY_ID) - {f"sources-{spec.name}" for spec in SOURCES if spec.name not in SERVED}
TAGS = sorted({*(each.name for each in served(RESOURCES, RUNNING)), "health", "login", "schema", "sources-facebook"})


@cache
def described() -> OpenApiSchema:
    async def read() -> Any:
        async with api_harness(running=RUNNING) as api:
            return (await call(api.app, "GET", "/schema/openapi.json")).json()

    load_all_checks()
    return schemathesis.openapi.from_dict(run_seeded(0, read))


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("tag", TAGS)
def test_answers_are_those_that_the_document_describes(tag: str, mode: GenerationMode) -> None:
    operations = [each.ok() for each in described().get_all_operations()]
    generated = [
        each.as_strategy(generation_mode=mode)
        for each in operations
        if tag in (each.tags or ()) and (mode is GenerationMode.POSITIVE or _may_be_invalid(each))
    ]
    if not generated:
        return

    @given(st.tuples(*generated), st.booleans())
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=EXAMPLES < 10,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(cases: tuple[Case, ...], known: bool) -> None:
        run_seeded(0, _send_all, cases, known)

    run()


def _may_be_invalid(operation: Any) -> bool:
    """A provider's webhook takes any bytes, so none is invalid by its schema."""
    webhook = any(tag.startswith("sources-") for tag in operation.tags or ())
    return not webhook and bool(list(operation.body) or list(operation.query) or list(operation.headers))


async def _send_all(cases: tuple[Case, ...], known: bool) -> None:
    async with api_harness(wait_s=0.5, running=RUNNING) as api:
        await api.append(channel(), CHAT.received("hello"), Chat().queued("ours"))
        for case in cases:
            if known and isinstance(case.body, dict):
                case.body.update({field: value for field, value in KNOWN.items() if field in case.body})
            await _check(api, case)


async def _check(api: ApiHarness, case: Case) -> None:
    case.headers["Authorization"] = f"Bearer {TOKEN}"
    case.cookies.clear()
    given = _prepared(case)
    path, _, query = given.path_url.partition("?")
    body = given.body.encode() if isinstance(given.body, str) else given.body or b""
    headers = [(name, _latin(value)) for name, value in given.headers.items()]
    with capture_logs() as logged:
        answer = await call(
            api.app, given.method or "", requests.utils.unquote(path), body=body, headers=headers, query=query
        )
    if answer.status == 503 and b"has not reached position" in answer.body:
        return
    if case.path not in ("/livez", "/readyz", "/actuator/health"):
        assert answer.status < 500, (case.path, body, answer.body, logged)
    response = Response(
        status_code=answer.status,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.body,
        request=given,
        elapsed=0.0,
        verify=False,
    )
    case.validate_response(response, checks=CONFORMANCE)


def _prepared(case: Case) -> requests.PreparedRequest:
    given = case.as_transport_kwargs(base_url="http://airy.test")
    given["headers"] = {name: _latin(value) for name, value in given["headers"].items()}
    return requests.Request(**given).prepare()


def _latin(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value.encode("utf-8").decode("latin-1")
