"""A source that is known to the catalogue alone: everything else derives from its specification, and no output shows a
secret of its section.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECRETS = ("canary-api-key", "canary-spare-1", "canary-spare-2", "canary-region")
CONFIG = """
components:
  sources:
    carrier:
      apiKey: canary-api-key
      spareKeys: [canary-spare-1, canary-spare-2]
      keysByRegion: {eu: canary-region}
"""


def program(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def airy(*arguments: str, directory: Path) -> str:
    done = program("-m", "tests.kit.extended_catalogue", *arguments, directory=directory)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "airy.yaml").write_text(CONFIG)
    return tmp_path


def test_topics_groups_and_acls_are_derived(directory: Path) -> None:
    topics = {topic["name"]: topic for topic in json.loads(airy("topics", "list", "--json", directory=directory))}
    acls = json.loads(airy("topics", "acls", "sources-carrier", "--json", directory=directory))

    assert topics["source.carrier.events"]["writers"] == ["api-admin", "sources-carrier"]  # replays, ingress
    assert {"parked.source.carrier.events", "dlq.source.carrier.events"} <= topics.keys()
    allowed = {(line["resource"], line["name"], line["operation"]) for line in acls}
    assert ("topic", "source.carrier.events", "Write") in allowed
    assert ("topic", "application.communication.events", "Write") in allowed
    assert ("group", "sources.carrier.router", "Read") in allowed


def test_the_source_is_listed_with_its_configuration_block(directory: Path) -> None:
    listed = json.loads(airy("sources", "list", "--json", directory=directory))
    page = airy("sources", "info", "carrier", directory=directory)

    assert {"name": "carrier", "component": "sources-carrier"}.items() <= listed[-1].items()
    assert "      # apiKey: null                # required; from the carrier's console" in page
    assert "/channels.carrier.line.connect" in page


def test_its_component_has_routes_services_and_required_keys(directory: Path) -> None:
    check = """
from tests.kit.extended_catalogue import install
install()
from airy import components
from airy.config import enabled_components
from airy.http.catalogue import RESOURCES
from airy.config_file import find, load
actions = [action for each in RESOURCES if each.component == "sources-carrier" for action in each.actions]
print([path for action in actions for path in action.paths], components.BY_ID["sources-carrier"].routes[0])
print(components.required_keys("sources-carrier"), "sources-carrier" in enabled_components(load(find(), {})))
print(components.client_config_services(set(), {})["sources-carrier-connector"]["component"])
"""
    done = program("-c", check, directory=directory)

    assert done.stdout.splitlines() == [
        "['/channels.carrier.line.connect', '/channels.carrier.line.disconnect'] /carrier/{line}",
        "('apiKey',) True",
        "sources-carrier",
    ], done.stderr


def test_a_secret_of_its_section_is_masked_in_the_shown_configuration(directory: Path) -> None:
    shown = airy("config", "show", directory=directory) + airy("config", "show", "--json", directory=directory)

    assert "keysByRegion" in shown
    assert [secret for secret in SECRETS if secret in shown] == []


def test_a_problem_of_its_section_shows_no_secret(directory: Path) -> None:
    (directory / "airy.yaml").write_text(
        CONFIG.replace("apiKey:", "apiKeys:").replace("{eu: canary-region}", "canary-region")
    )
    done = program("-m", "tests.kit.extended_catalogue", "config", "validate", directory=directory)

    assert done.returncode == 78
    assert "components.sources.carrier.apiKeys: unknown key; did you mean apiKey?" in done.stderr
    assert [secret for secret in SECRETS if secret in done.stdout + done.stderr] == []


def test_log_lines_errors_and_reported_reasons_show_no_secret(directory: Path) -> None:
    check = f"""
from tests.kit.extended_catalogue import install
install()
import structlog
from airy.config_file import find, load
from airy.config_secrets import secret_values
from airy.log import masker
from airy.process import configure_log
config = load(find(), {{}})
configure_log(config)
mask = masker(secret_values(config))
for secret in {SECRETS!r}:
    print(mask(f"airy/sources-carrier: 401 for {{secret}}"))
    try:
        raise ValueError(f"refused {{secret}}")
    except ValueError:
        structlog.get_logger().exception("send.ended", url=f"https://carrier.example/{{secret}}")
print(config)
"""
    done = program("-c", check, directory=directory)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("send.ended") == len(SECRETS)
    assert [secret for secret in SECRETS if secret in done.stdout + done.stderr] == []
