"""`/components.*`: the configuration is listed without secrets, planned, and applied as it was planned."""

from pathlib import Path

import msgspec
import pytest

from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.component_schemas import (
    AppliedComponentsSchema,
    ComponentListSchema,
    ComponentPlanSchema,
    ComponentValuesSchema,
)
from airy.model.fleet import ComponentCount, FleetStatus, ProcessInfo
from tests.http.test_processes import STATUS
from tests.kit.api import ApiHarness, api_harness
from tests.kit.config_source import MemoryConfigSource
from tests.kit.response_schemas import validated

TEXT = """\
http: {publicUrl: "https://airy.example"}   # ours
components:
  sources:
    viber:
      authToken: ${VIBER}
      welcomeMessage: Hello
security: {systemToken: a-token-of-32-characters-for-the-api}
"""
ENV = {"VIBER": "viber-token-in-the-environment", "AIRY_PORT": "8088"}
SECRETS = ("viber-token-in-the-environment", "a-token-of-32-characters-for-the-api", "entered-token")


@pytest.fixture
def source() -> MemoryConfigSource:
    return MemoryConfigSource(TEXT, ENV)


class Reader:
    """Authenticates every request as a caller with every permission but administer."""

    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("reader", frozenset(Permission) - {Permission.ADMINISTER})


def viber(**data: object) -> dict[str, object]:
    return {"components": [{"name": "sources-viber", "data": data}]}


async def fingerprint(api: ApiHarness, changes: dict[str, object]) -> str:
    return str((await api.call("/components.plan", changes))["fingerprint"])


async def test_every_section_is_listed_with_its_state_and_its_settings(source: MemoryConfigSource) -> None:
    async with api_harness(config_source=source) as api:
        api.health.fleet_status = FleetStatus([], {"sources-viber": ComponentCount(2, 1)})
        answer = await api.call("/components.list")

    validated(ComponentListSchema, answer)
    sections = {each["name"]: each for each in answer["data"]}
    states = {name: sections[name]["state"] for name in ("sources-viber", "sources-twilio", "http")}
    assert states == {"sources-viber": "not_ready", "sources-twilio": "disabled", "http": None}
    settings = {each["path"]: each for section in answer["data"] for each in section["settings"]}
    token = settings["components.sources.viber.authToken"]
    assert (token["value"], token["reference"], token["is_set"]) == (None, "${VIBER}", True)
    assert settings["http.port"]["overridden_by"] == "AIRY_PORT"
    assert (settings["http.bodyBytesMax"]["unit"], settings["http.bodyBytesMax"]["maximum"]) == ("bytes", 2_000_000)
    assert "stop, move the directory" in settings["data.directory"]["fixed"]


async def test_no_answer_shows_a_secret(source: MemoryConfigSource) -> None:
    async with api_harness(config_source=source) as api:
        change = viber(authToken="entered-token")
        plan = await api.call("/components.plan", change)
        applied = await api.call("/components.update", {**change, "fingerprint": plan["fingerprint"]})
        listed, values = await api.call("/components.list"), await api.call("/components.get")

    shown = msgspec.json.encode([plan, applied, listed, values]).decode()
    assert not [secret for secret in SECRETS if secret in shown]


async def test_the_values_of_enabled_components_are_given_as_the_original_does(source: MemoryConfigSource) -> None:
    async with api_harness(config_source=source) as api:
        answer = await api.call("/components.get")

    validated(ComponentValuesSchema, answer)
    viber = answer["components"]["sources-viber"]
    assert (viber["enabled"], viber["authToken"], viber["welcomeMessage"]) == ("true", "${VIBER}", "Hello")
    assert "sources-twilio" not in answer["components"]


async def test_a_plan_has_differences_problems_and_restarts_and_writes_nothing(source: MemoryConfigSource) -> None:
    async with api_harness(config_source=source) as api:
        api.configuration.running = frozenset({"api-admin", "sources-viber"})
        api.health.fleet_status = FleetStatus([ProcessInfo(STATUS, 1.0, False)], {})
        changes = {"components": [{"name": "http", "data": {"host": "::1", "port": 1, "prot": 2}}]}
        answer = await api.call("/components.plan", changes)
        alone = await api.call("/components.plan", viber(welcomeMessage="Hi"))

    validated(ComponentPlanSchema, answer)
    assert [(each["path"], each["before"], each["after"]) for each in answer["differences"]] == [
        ("http.host", "127.0.0.1", "::1")
    ]
    assert {each["path"] for each in answer["problems"]} == {"http.port", "http.prot"}
    assert answer["restarts"] == ["api-admin", "sources-viber"]
    assert [each["instance"] for each in answer["restart_by_hand"]] == ["one:8081"]
    assert alone["restart_by_hand"] == []
    assert source.text == TEXT


async def test_an_update_writes_the_file_keeps_the_secret_elsewhere_and_reloads(source: MemoryConfigSource) -> None:
    reloads = []
    async with api_harness(config_source=source) as api:
        api.configuration.on_reload = lambda: reloads.append(True)
        change = viber(auth_token="entered-token")
        body = {**change, "fingerprint": await fingerprint(api, change)}
        answer = await api.call("/components.update", body)

    validated(AppliedComponentsSchema, answer)
    assert answer["components"] == {"sources-viber": True}
    assert answer["data"] == [{"component": "sources-viber", "result": "applied"}]
    assert source.text == TEXT.replace("${VIBER}", "env:KEPT_0")
    assert source.kept == {"KEPT_0": "entered-token"}
    assert (answer["reloading"], reloads) == (True, [True])


async def test_a_plan_of_another_state_is_a_409_and_writes_nothing(source: MemoryConfigSource) -> None:
    async with api_harness(config_source=source) as api:
        change = viber(welcomeMessage="Hi")
        planned = await fingerprint(api, change)
        source.text = edited = TEXT + "# by hand\n"
        answer = await api.call("/components.update", {**change, "fingerprint": planned}, status=409)
        again = await fingerprint(api, change)
        await api.call("/components.update", {**change, "fingerprint": again})
        second = await api.call("/components.update", {**change, "fingerprint": again}, status=409)

    assert "changed since this plan was made" in answer["message"]
    assert "another change is being applied" in second["message"]
    assert source.previous == edited


async def test_an_update_with_problems_is_a_400_that_names_each_key(source: MemoryConfigSource) -> None:
    async with api_harness(config_source=source) as api:
        change = viber(apiUrl="ftp://x", authToken="*****", welcomeMessage="Hi")
        answer = await api.call(
            "/components.update", {**change, "fingerprint": await fingerprint(api, change)}, status=400
        )

    assert {each["field"] for each in answer["fields"]} == {
        "components.sources.viber.apiUrl",
        "components.sources.viber.authToken",
    }
    assert source.text == TEXT


async def test_an_update_without_a_difference_does_not_reload(source: MemoryConfigSource) -> None:
    async with api_harness(config_source=source) as api:
        change = viber(welcomeMessage="Hello")
        answer = await api.call("/components.update", {**change, "fingerprint": await fingerprint(api, change)})

    assert answer["data"] == [{"component": "sources-viber", "result": "unchanged"}]
    assert not answer["reloading"]


async def test_a_file_that_cannot_be_replaced_is_said_in_the_plan_and_refused(source: MemoryConfigSource) -> None:
    source.refusal = "/etc/airy is read-only"
    async with api_harness(config_source=source) as api:
        change = viber(welcomeMessage="Hi")
        plan = await api.call("/components.plan", change)
        answer = await api.call("/components.update", {**change, "fingerprint": plan["fingerprint"]}, status=400)

    assert plan["refused"] == answer["message"] == "/etc/airy is read-only"


async def test_a_log_in_memory_survives_no_reload_so_nothing_is_applied() -> None:
    source = MemoryConfigSource("bus: {kind: memory}\n", directory=Path("/x"))
    async with api_harness(config_source=source) as api:
        assert "is in memory" in (await api.call("/components.list"))["refused"]


async def test_the_configuration_is_for_administrators() -> None:
    async with api_harness(authenticators=[Reader()]) as api:
        for verb in ("list", "get", "plan", "update"):
            assert (await api.post(f"/components.{verb}", {"fingerprint": "x"})).status == 403
