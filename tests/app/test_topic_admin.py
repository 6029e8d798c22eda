"""`airy topics …` without a cluster, and the mapping of the configuration to settings."""

import json
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from airy import acls, process, topics
from airy.app import topic_admin
from airy.app.kafka import kafka_settings
from airy.bus.kafka import KafkaSettings
from airy.cli import main
from airy.config_file import load
from airy.secret import Secret


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without a configuration; logging stays unchanged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "configure_log", lambda _: None)
    for name in ("AIRY_CONFIG", "AIRY_KAFKA", "AIRY_REDIS", "AIRY_DATA"):
        monkeypatch.delenv(name, raising=False)


def test_every_key_about_kafka_becomes_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "airy.yaml"
    file.write_text(
        "bus: {kind: kafka, kafka: {bootstrap: ['a:1', 'b:2'], namespace: prod, tls: true, caFile: ~/ca.pem, "
        "certFile: me.crt, keyFile: me.key, sasl: PLAIN, username: me, password: open-sesame, "
        "sessionS: 7, rebalanceS: 8}}"
    )

    settings = kafka_settings(load(file, {}))

    assert settings.bootstrap == ("a:1", "b:2")
    assert settings.wire_name("x") == "prod.x"
    assert (settings.tls, settings.cert_file, settings.key_file) == (True, "me.crt", "me.key")
    assert settings.ca_file == str(Path.home() / "ca.pem")
    assert (settings.sasl, settings.username, settings.password) == ("PLAIN", "me", Secret("open-sesame"))
    assert (settings.session_s, settings.rebalance_s) == (7, 8)


def test_topics_are_listed_without_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [topic.name for topic in topics.ALL]

    assert main(["topics", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(topics.ALL)


@pytest.mark.parametrize("command", [["plan"], ["check"], ["apply", "--yes"], ["acls", "--apply"]])
def test_commands_that_need_a_cluster_explain_how_to_configure_one(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["topics", *command]) == 78

    assert "bus.kafka.bootstrap" in capsys.readouterr().err


async def test_apply_waits_until_the_cluster_shows_the_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = [SimpleNamespace(empty=empty) for empty in (False, False, True)]

    async def plan(*_: object) -> object:
        return shown.pop(0)

    monkeypatch.setattr(topic_admin, "_plan", plan)
    where = SimpleNamespace(settings=KafkaSettings(bootstrap=("nowhere:1",)))
    assert (await topic_admin._settled(None, where)).empty  # type: ignore[arg-type]

    shown += [SimpleNamespace(empty=False)] * 10_000
    began = anyio.current_time()
    assert not (await topic_admin._settled(None, where)).empty  # type: ignore[arg-type]
    assert anyio.current_time() - began == pytest.approx(where.settings.call_s, abs=topic_admin.POLL_S)


def test_acls_are_limited_to_the_named_components(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "acls", "webhooks", "--json", "--principal-prefix", "User:x-"]) == 0
    named = {acl["principal"] for acl in json.loads(capsys.readouterr().out)}
    assert named == {"User:x-webhook-publisher", "User:x-webhook-consumer"}

    assert main(["topics", "acls", "-o", "json"]) == 0
    principals = {acl["principal"] for acl in json.loads(capsys.readouterr().out)}
    assert principals == {f"User:airy-{component}" for component in acls.ACTORS}


def test_acls_can_be_printed_as_kafka_acls_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "acls", "http", "--commands"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("kafka-acls.sh --bootstrap-server $BOOTSTRAP --add ") for line in lines)
    assert len(lines) == len(acls.used(["http"]))

    assert main(["topics", "acls", "--format", "kafka-acls"]) == 64
    assert "--commands" in capsys.readouterr().err


def test_an_unknown_component_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "acls", "sources-carrier-pigeon"]) == 64

    assert "sources-carrier-pigeon" in capsys.readouterr().err
