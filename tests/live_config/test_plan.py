"""Plans: the difference of each key, what cannot be changed, and that no secret is shown."""

import pytest

from airy.config import Config
from airy.config_file import load_text
from airy.live_config.entered import SectionChange
from airy.live_config.plan import ConfigState, Difference, Plan, make_plan

ENV = {"VIBER": "viber-token-in-the-environment", "REDIS": "redis://:hidden@cache:6379/0"}
TEXT = """\
http:
  port: 9090
  publicUrl: https://airy.example
components:
  sources:
    viber:
      authToken: ${VIBER}
queue: {redis: {url: "${REDIS:-redis://:default-password@x:1/0}"}}
"""


def plan(
    *changes: SectionChange,
    text: str | None = TEXT,
    stored: str | None = None,
    chosen: frozenset[str] | None = None,
    overridden: dict[str, str] | None = None,
) -> Plan:
    def loads(given: str | None, more: dict[str, str] | None = None) -> Config:
        return load_text(given, "airy.yaml", {**ENV, **(more or {})})

    state = ConfigState(
        config=loads(text),
        text=text,
        stored=text if stored is None else stored,
        chosen=chosen,
        overridden=overridden or {},
    )
    return make_plan(state, changes, loads)  # type: ignore[arg-type]


def problems(found: Plan) -> dict[str, str]:
    return {each.path: each.message for each in found.problems}


def test_each_changed_key_is_a_difference_as_text() -> None:
    found = plan(
        SectionChange("http", data={"port": 8081, "allowed_origins": "https://a.example, https://b.example"}),
        SectionChange("sources-telegram", enabled=True),
        SectionChange("http", data={"publicUrl": "https://b.example"}),
    )
    assert found.problems == ()
    assert found.differences == (
        Difference("sources-telegram", "components.sources.telegram.enabled", "false", "true"),
        Difference("http", "http.port", "9090", "8081"),
        Difference("http", "http.allowedOrigins", None, "https://a.example, https://b.example"),
        Difference("http", "http.publicUrl", "https://airy.example", "https://b.example"),
    )


def test_secrets_are_masked_and_references_shown_without_their_defaults() -> None:
    found = plan(
        SectionChange("sources-viber", data={"authToken": "a-new-token-of-viber"}),
        SectionChange("queue", data={"redis.url": "redis://:entered@cache:6379/0"}),
    )
    assert found.problems == ()
    assert (
        Difference("sources-viber", "components.sources.viber.authToken", "${VIBER}", "*****", True)
        in found.differences
    )
    assert Difference("queue", "queue.redis.url", "${REDIS:-*****}", "*****", True) in found.differences
    assert "entered" not in str(found.differences)


def test_what_has_the_value_already_is_no_difference() -> None:
    echoed = SectionChange("sources-viber", enabled=True, data={"authToken": "${VIBER}", "apiUrl": None})
    assert plan(SectionChange("http", data={"port": "9090"}), echoed, stored=TEXT + "\n# by hand").differences == ()


def test_what_was_edited_in_the_file_by_hand_is_in_the_plan() -> None:
    found = plan(SectionChange("log", data={"level": "debug"}), stored=TEXT.replace("9090", "9191"))
    assert [each.path for each in found.differences] == ["http.port", "log.level"]


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("sources-vibre", "x", 1, "did you mean sources-viber?"),
        ("http", "prot", 1, "did you mean port?"),
        ("http", "port", 99_999, "expected a whole number from 0 to 65535, found the number 99999"),
        ("http", "port", "many", "expected a whole number from 0 to 65535, found text 'many'"),
        ("http", "port", [1], "expected a number, found a list"),
        ("log", "level", "trace", "expected one of debug, error, info, warning"),
        ("sources-viber", "authToken", "*****", "is the mask of the present secret"),
        ("sources-viber", "authToken", "${HOME}", "a reference is written in the file itself"),
        ("http", "publicUrl", "file:/etc/passwd", "a reference is written in the file itself"),
        ("data", "directory", "/elsewhere", "stop, move the directory"),
        ("bus", "kind", "kafka", "is another log"),
        ("security", "tokens", {"a": "b"}, "its entries are changed in the file"),
        ("api-communication", "enabled", False, "unknown key"),
        ("sources-facebook", "enabled", True, ""),
    ],
)
def test_what_cannot_be_is_said_at_the_path_of_its_key(section: str, key: str, value: object, message: str) -> None:
    found = plan(SectionChange(section, data={key: value}))
    assert any(message in said for said in problems(found).values()), found.problems
    if section == "sources-facebook":
        assert set(problems(found)) == {
            f"components.sources.facebook.{key}" for key in ("appId", "appSecret", "webhookSecret")
        }


def test_a_key_that_the_environment_sets_is_changed_there() -> None:
    found = plan(SectionChange("http", data={"port": 1}), overridden={"http.port": "AIRY_PORT"})
    assert "is set by AIRY_PORT" in problems(found)["http.port"]


def test_a_component_this_process_was_started_for_cannot_be_disabled() -> None:
    found = plan(SectionChange("sources-viber", enabled=False), chosen=frozenset({"sources-viber"}))
    assert "not enabled in the configuration" in problems(found)["components.sources.viber.enabled"]


def test_a_section_that_begins_to_be_written_keeps_its_state() -> None:
    """A section that is present is enabled."""
    found = plan(SectionChange("sources-telegram", data={"markRead": False}))
    assert [each.path for each in found.differences] == ["components.sources.telegram.markRead"]


def test_a_file_that_cannot_be_edited_for_one_key_alone_is_refused() -> None:
    shared = "components: {sources: {viber: &v {apiUrl: 'https://a.example'}, telegram: *v}}\nhttp: {publicUrl: 'https://x.example'}\n"
    found = plan(SectionChange("sources-viber", data={"apiUrl": "https://b.example"}), text=shared)
    assert "edit the file" in problems(found)["components.sources.telegram.apiUrl"]


def test_a_file_that_became_invalid_is_said_with_its_line() -> None:
    found = plan(stored="http: {port: many}\n")
    assert "airy.yaml:1: http.port" in problems(found)["http.port"]


def test_the_first_change_without_a_file_begins_one() -> None:
    found = plan(SectionChange("log", data={"level": "debug"}), text=None)
    assert [each.path for each in found.differences] == ["log.level"]
