"""The store files of processes that share a data directory."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from airy.app import files
from airy.config import BusConfig, Config, DataConfig, KafkaConfig
from airy.file_lock import InUse


def cluster(directory: Path, namespace: str = "") -> Config:
    bus = BusConfig(kind="kafka", kafka=KafkaConfig(bootstrap=("localhost:9092",), namespace=namespace))
    return replace(Config(), data=DataConfig(directory=str(directory)), bus=bus)


def test_processes_that_share_a_directory_use_different_stores(tmp_path: Path) -> None:
    with ExitStack() as held:
        stores = [held.enter_context(files.claimed_store(cluster(tmp_path))) for _ in range(3)]
        assert len(set(stores)) == 3


def test_a_released_store_is_used_again(tmp_path: Path) -> None:
    with files.claimed_store(cluster(tmp_path)) as first:
        pass
    with files.claimed_store(cluster(tmp_path)) as second:
        assert second == first


def test_each_namespace_and_the_journal_have_their_own_store(tmp_path: Path) -> None:
    paths = [files.store_paths(cluster(tmp_path, name)) for name in ("", "blue", "green")]
    paths.append(files.store_paths(replace(cluster(tmp_path), bus=BusConfig())))

    assert len({path for some in paths for path in some}) == sum(map(len, paths))


def test_an_error_releases_the_store(tmp_path: Path) -> None:
    with pytest.raises(InUse, match="of something else"), files.claimed_store(cluster(tmp_path)) as first:
        raise InUse("of something else")
    with files.claimed_store(cluster(tmp_path)) as second:
        assert second == first


def test_one_process_too_many_is_refused_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "STORES_MAX", 1)
    with (
        files.claimed_store(cluster(tmp_path)),
        pytest.raises(InUse, match="--data"),
        files.claimed_store(cluster(tmp_path)),
    ):
        pass
