"""The file of a configuration: replaced at once, the previous version beside it, secrets in files of their own."""

import os
from pathlib import Path

import pytest

from airy.config import Config, DataConfig
from airy.errors import Refused
from airy.live_config.source import ConfigSource
from airy.secret import Secret

TEXT = "http: {port: 9090}   # ours\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "airy.yaml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=DataConfig(directory=str(tmp_path / "data")))


def test_the_previous_version_stays_beside_the_new_one_with_the_same_mode(file: Path, config: Config) -> None:
    source = ConfigSource(file, {})
    source.write("http: {port: 9091}\n", TEXT, config)

    assert file.read_text() == "http: {port: 9091}\n"
    previous = file.with_name("airy.yaml.previous")
    assert previous.read_text() == TEXT
    assert (file.stat().st_mode & 0o777, previous.stat().st_mode & 0o777) == (0o640, 0o640)
    assert sorted(each.name for each in file.parent.iterdir()) == ["airy.yaml", "airy.yaml.previous"]


def test_a_crash_between_writing_and_renaming_leaves_the_former_file(
    file: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ConfigSource(file, {})

    def crash(_self: Path, _target: Path) -> Path:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash)
        with pytest.raises(Refused, match=r"cannot replace .*: input/output error"):
            source.write("http: {port: 9091}\n", TEXT, config)
    assert file.read_text() == TEXT

    source.write("http: {port: 9092}\n", TEXT, config)  # the rest of the crash does not matter
    assert file.read_text() == "http: {port: 9092}\n"


def test_a_symbolic_link_stays_and_leads_to_the_new_text(file: Path, config: Config, tmp_path: Path) -> None:
    link = tmp_path / "linked" / "airy.yaml"
    link.parent.mkdir()
    link.symlink_to(file)
    ConfigSource(link, {}).write("log: {level: debug}\n", TEXT, config)

    assert link.is_symlink()
    assert file.read_text() == "log: {level: debug}\n"


def test_without_a_file_the_first_change_creates_one_for_its_owner_and_going_back_removes_it(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = ConfigSource(None, {})
    assert source.read() is None
    source.write("log: {level: debug}\n", None, config)

    assert (tmp_path / "airy.yaml").stat().st_mode & 0o777 == 0o600
    assert source.read() == "log: {level: debug}\n"
    source.restore(None)
    assert source.read() is None


def test_a_secret_is_a_file_that_only_its_owner_reads_and_goes_with_the_last_version_that_names_it(
    file: Path, config: Config
) -> None:
    source = ConfigSource(file, {})
    reference = source.keep_secret(config, "components.sources.viber.authToken", Secret("the token of the bot"))
    kept = Path(reference.removeprefix("file:"))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700

    first, second, third = f"a: {reference}\n", "a: 1\n", "a: 2\n"
    source.write(first, TEXT, config)
    source.write(second, first, config)
    assert kept.read_text() == "the token of the bot"
    source.write(third, second, config)
    assert not kept.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_said_before_anything_is_written(file: Path) -> None:
    file.parent.chmod(0o500)
    try:
        assert "is read-only" in ConfigSource(file, {}).unwritable()
    finally:
        file.parent.chmod(0o700)
    assert ConfigSource(file, {}).unwritable() == ""
