"""The printed Redis ACL permits what the queue uses, and the documentation shows it."""

from pathlib import Path

import pytest

from airy.app.redis import redis_server
from airy.cli import main
from airy.config_file import load
from airy.errors import Refused
from airy.queue.redis import RedisSettings, permissions
from airy.queue.redis.keys import KeyNames
from airy.secret import Secret

PAGE = (Path(__file__).parents[2] / "docs/cluster.md").read_text()


def printed(capsys: pytest.CaptureFixture[str], folder: Path, text: str = "") -> str:
    file = folder / "airy.yaml"
    file.write_text(text)
    assert main(["queue", "acl", "--config", str(file)]) == 0
    return capsys.readouterr().out


def test_the_documentation_shows_the_printed_acl(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = printed(capsys, tmp_path)
    assert line.startswith("ACL SETUSER airy on >PASSWORD resetkeys ~{airy}:* ~{airy:* resetchannels ")
    assert f"```\n{line}```\n" in PAGE


def test_cluster_and_namespace_change_the_acl(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = printed(capsys, tmp_path, "queue: {redis: {cluster: true, namespace: shop}}").split()
    assert {"~{shop}:*", "~{shop:*", "&shop:arrivals"} <= set(words)
    alone, together = ({*permissions.commands(cluster=cluster)} for cluster in (False, True))
    assert together - alone == {"CLUSTER|SLOTS", "COMMAND"}
    assert {"+cluster|slots", "+command"} <= set(words)


def test_the_acl_permits_every_command_on_its_keys() -> None:
    words = list(permissions.probes(KeyNames(""), cluster=True))
    assert dict(zip(words[::2], words[1::2], strict=True)).items() >= {
        ("XADD", "{airy}:shards"),
        ("PUBLISH", "airy:arrivals"),
        ("INFO", ""),
    }
    assert words[::2] == permissions.commands(cluster=True)


def test_the_configuration_maps_to_redis_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "airy.yaml"
    file.write_text(
        "queue: {redis: {url: rediss://main/0, caFile: ~/ca.pem, certFile: a.crt, keyFile: a.key, sentinels: 'a:1,b'}}"
    )
    assert redis_server(load(file, {})) == RedisSettings(
        url=Secret("rediss://main/0"),
        sentinels=("a:1", "b"),
        ca_file=str(tmp_path / "ca.pem"),
        cert_file="a.crt",
        key_file="a.key",
    )
    with pytest.raises(Refused, match=r"queue\.redis\.url"):
        redis_server(load(None, {}))
