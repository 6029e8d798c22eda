"""The table of components: resolution of names, required keys, services as in the original."""

import pytest

from airy import components
from airy.components import ALL, BY_ID, ConsumerSection, client_config_services, required_keys, resolve
from airy.config import Config, enabled_components
from airy.errors import Refused


def test_names_are_unique_and_services_belong_to_one_component() -> None:
    services = [service for component in ALL for service in component.services]

    assert len(BY_ID) == len(ALL)
    assert len(set(services)) == len(services)


def test_required_keys_come_from_the_schema() -> None:
    assert required_keys("sources-facebook") == ("appId", "appSecret", "webhookSecret")
    assert required_keys("webhook-consumer") == required_keys("http") == required_keys("no such") == ()


def test_mandatory_components_are_always_enabled_and_others_as_configured() -> None:
    default = enabled_components(Config())
    without_consumer = enabled_components(Config().with_sections(ConsumerSection(enabled=False)))

    api = {"api-communication", "api-admin", "api-contacts", "api-websocket", "media-resolver"}
    assert default == {"http", *api, "webhook-publisher", "webhook-consumer"}
    assert without_consumer == default - {"webhook-consumer"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sources-facebook", {"sources-facebook"}),
        ("sources-facebook-connector", {"sources-facebook"}),
        ("integration-webhook", {"webhook-publisher", "webhook-consumer"}),
        ("webhooks", {"webhook-publisher", "webhook-consumer"}),
        ("core", {"http", "api-communication", "api-admin", "api-contacts", "api-websocket", "media-resolver"}),
    ],
)
def test_a_component_is_found_by_any_of_its_names(name: str, expected: set[str]) -> None:
    assert resolve([name]) == expected


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(Refused, match="did you mean sources-facebook"):
        resolve(["http", "source-facebook"])


def test_services_are_reported_as_the_original_names_them() -> None:
    running = {"api-admin", "webhook-publisher", "webhook-consumer"}
    shown = client_config_services(running, {"api-admin": True, "webhook-consumer": False})

    assert shown["webhook-consumer"] == {"enabled": True, "healthy": False, "component": "integration-webhook"}
    assert shown["webhook-publisher"] == {"enabled": True, "healthy": False, "component": "integration-webhook"}
    assert shown["sources-facebook-connector"] == {"enabled": False, "healthy": False, "component": "sources-facebook"}
    assert shown["api-admin"] == {"enabled": True, "healthy": True, "component": "api-admin"}


def test_every_source_is_a_service_of_its_component_and_custom_sources_have_the_name_of_the_original() -> None:
    shown = client_config_services({"sources-custom", "sources-telegram"}, {})
    reported = {each["component"] for each in shown.values()}

    assert shown["integration-source-api"] == {"enabled": True, "healthy": False, "component": "integration-source-api"}
    assert shown["sources-telegram-connector"] == {"enabled": True, "healthy": False, "component": "sources-telegram"}
    assert {each.id for each in ALL if each.type == "sources"} - {"sources-custom"} <= reported


def test_every_app_has_components_and_every_component_an_app() -> None:
    assert set(components.APPS) == {app for component in ALL for app in component.apps}
    assert all(components.APPS.values())
