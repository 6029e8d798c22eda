"""Only jars with the pinned digests are used."""

from pathlib import Path

import pytest

from tests.kit.servers.fixtures import needed
from tests.kit.servers.kafka_artefacts import Artefacts, checksums, ready, wrong
from tests.kit.servers.missing import Missing

pytestmark = pytest.mark.cluster


@pytest.fixture
def artefacts() -> Artefacts:
    with needed():
        return ready()


@pytest.fixture
def copy(artefacts: Artefacts, tmp_path: Path) -> Path:
    """A separate cache for the test."""
    libs = tmp_path / artefacts.folder.name / "libs"
    libs.mkdir(parents=True)
    for jar in (artefacts.folder / "libs").iterdir():
        (libs / jar.name).symlink_to(jar)
    return libs


def test_the_cached_jars_are_the_listed_ones(artefacts: Artefacts) -> None:
    assert wrong(artefacts.folder / "libs", checksums()) == []
    assert len(checksums()) > 40


def test_intact_copies_are_used(copy: Path, tmp_path: Path) -> None:
    assert ready(tmp_path).folder == copy.parent


def test_a_jar_with_one_bit_changed_is_refused(copy: Path, tmp_path: Path) -> None:
    jar = copy / "slf4j-api-1.7.36.jar"
    data = bytearray(jar.read_bytes())
    data[len(data) // 2] ^= 1
    jar.unlink()
    jar.write_bytes(data)

    with pytest.raises(Missing, match=r"slf4j-api-1\.7\.36\.jar has another checksum"):
        ready(tmp_path)


def test_a_missing_and_an_additional_jar_are_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "slf4j-api-1.7.36.jar").unlink()
    (copy / "stranger.jar").touch()

    with pytest.raises(Missing, match=r"slf4j-api-1\.7\.36\.jar is missing, stranger\.jar is not on the list"):
        ready(tmp_path)


def test_without_java_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Missing, match="apt-get install default-jre-headless"):
        ready(tmp_path)


def test_missing_software_skips_a_test_and_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no java"), needed():
        raise Missing("no java")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no java"), needed():
        raise Missing("no java")
