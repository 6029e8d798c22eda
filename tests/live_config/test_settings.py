"""The settings of the configuration: each is described, and what is fixed exists."""

from airy.live_config.descriptions import DESCRIPTIONS
from airy.live_config.settings import BY_PATH, FIXED, SECTIONS


def test_each_setting_has_a_description() -> None:
    assert [path for path, setting in BY_PATH.items() if not setting.description] == []


def test_what_is_described_or_fixed_is_a_setting() -> None:
    assert {*DESCRIPTIONS, *FIXED} <= BY_PATH.keys()


def test_numbers_have_units_and_bounds_of_the_schema() -> None:
    numbers = {path: (each.unit, each.minimum, each.maximum) for path, each in BY_PATH.items() if each.kind == "number"}
    assert numbers["http.bodyBytesMax"] == ("bytes", 1_024, 2_000_000)
    assert numbers["security.sessionS"] == ("s", 300, 2_592_000)
    assert numbers["http.callerRequestsPerS"] == ("per s", 1, 1_000_000)
    assert numbers["http.port"] == ("", 0, 65_535)


def test_a_key_is_found_in_the_spelling_of_the_original_too() -> None:
    viber = next(section for section in SECTIONS if section.name == "sources-viber")
    assert viber.find("auth_token") is viber.find("authToken") is not None
