"""What an operator is told to type into Redis is what the queue asks for, and the page has it."""

from pathlib import Path

import pytest

from airy.actors.webhooks.queue_redis import Server, permissions
from airy.actors.webhooks.queue_redis.keys import Names
from airy.app.redis import redis_server
from airy.cli import main
from airy.config import load
from airy.errors import Refused
from airy.secret import Secret

PAGE = (Path(__file__).parents[2] / "docs/cluster.md").read_text()


def printed(capsys: pytest.CaptureFixture[str], folder: Path, text: str = "") -> str:
    file = folder / "airy.yaml"
    file.write_text(text)
    assert main(["queue", "acl", "--config", str(file)]) == 0
    return capsys.readouterr().out


def test_the_page_has_the_line_that_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = printed(capsys, tmp_path)
    assert line.startswith("ACL SETUSER airy on >PASSWORD resetkeys ~{airy}:* ~{airy:* resetchannels ")
    assert f"```\n{line}```\n" in PAGE


def test_a_cluster_asks_for_more_and_a_namespace_for_other_keys(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = printed(capsys, tmp_path, "queue: {redis: {cluster: true, namespace: shop}}").split()
    assert {"~{shop}:*", "~{shop:*", "&shop:arrivals"} <= set(words)
    alone, together = ({*permissions.commands(cluster=cluster)} for cluster in (False, True))
    assert together - alone == {"CLUSTER|SLOTS", "COMMAND"}
    assert {"+cluster|slots", "+command"} <= set(words)


def test_every_command_is_tried_on_what_it_is_for() -> None:
    words = list(permissions.trials(Names(""), cluster=True))
    assert dict(zip(words[::2], words[1::2], strict=True)).items() >= {
        ("XADD", "{airy}:shards"),
        ("PUBLISH", "airy:arrivals"),
        ("INFO", ""),
    }
    assert words[::2] == permissions.commands(cluster=True)


def test_the_configuration_becomes_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "airy.yaml"
    file.write_text(
        "queue: {redis: {url: rediss://main/0, caFile: ~/ca.pem, certFile: a.crt, keyFile: a.key, sentinels: 'a:1,b'}}"
    )
    assert redis_server(load(file, {})) == Server(
        url=Secret("rediss://main/0"),
        sentinels=("a:1", "b"),
        ca_file=str(tmp_path / "ca.pem"),
        cert_file="a.crt",
        key_file="a.key",
    )
    with pytest.raises(Refused, match=r"queue\.redis\.url"):
        redis_server(load(None, {}))
