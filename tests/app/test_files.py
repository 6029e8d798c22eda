"""Where an installation keeps things, when several of its processes share a directory."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from airy.app import files
from airy.bus.lock import InUse
from airy.config import BusConfig, Config, Data, KafkaConfig


def cluster(directory: Path, namespace: str = "") -> Config:
    bus = BusConfig(kind="kafka", kafka=KafkaConfig(bootstrap=("localhost:9092",), namespace=namespace))
    return replace(Config(), data=Data(directory=str(directory)), bus=bus)


def test_processes_that_share_a_directory_each_get_a_store_of_their_own(tmp_path: Path) -> None:
    with ExitStack() as held:
        stores = [held.enter_context(files.claimed_store(cluster(tmp_path))) for _ in range(3)]
        assert len(set(stores)) == 3


def test_a_store_that_was_let_go_is_gone_on_with(tmp_path: Path) -> None:
    with files.claimed_store(cluster(tmp_path)) as first:
        pass
    with files.claimed_store(cluster(tmp_path)) as second:
        assert second == first


def test_another_namespace_is_another_log_and_so_is_the_journal(tmp_path: Path) -> None:
    paths = [files.store_paths(cluster(tmp_path, name)) for name in ("", "blue", "green")]
    paths.append(files.store_paths(replace(cluster(tmp_path), bus=BusConfig())))

    assert len({path for some in paths for path in some}) == sum(map(len, paths))


def test_what_goes_wrong_inside_leaves_the_store_free(tmp_path: Path) -> None:
    with pytest.raises(InUse, match="of something else"), files.claimed_store(cluster(tmp_path)) as first:
        raise InUse("of something else")
    with files.claimed_store(cluster(tmp_path)) as second:
        assert second == first


def test_one_process_too_many_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "STORES_MAX", 1)
    with (
        files.claimed_store(cluster(tmp_path)),
        pytest.raises(InUse, match="--data"),
        files.claimed_store(cluster(tmp_path)),
    ):
        pass
