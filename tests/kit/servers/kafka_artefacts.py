"""Kafka's own jars, pinned and checked, in the user's cache: fetched once with Maven, then used offline.

Maven's repository is configured per machine. Each fetched jar is compared with the checked-in list: a changed, missing
or additional one is rejected. The cache's folder is named after that list, so a new version is a new folder. Beside the
jars are an archive of loaded classes (one per JVM; it halves the start time of a broker) and the files of a formatted
storage folder.

`python -m tests.kit.servers.kafka_artefacts` fetches them ahead of time.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.servers.missing import Missing, program

HERE = Path(__file__).parent
POM = HERE / "kafka_pom.xml"
CHECKSUMS = HERE / "kafka_jars.sha256"
VERSION = re.findall(r"<artifactId>kafka_2.13</artifactId><version>([\d.]+)<", POM.read_text())[0]
FETCH_S = 600
TRIES = 3


@dataclass(frozen=True)
class Artefacts:
    """Whether the cache folder is complete."""

    folder: Path
    java: str

    @property
    def class_path(self) -> str:
        """In a fixed order, which the class archive depends on."""
        return os.pathsep.join(str(jar) for jar in sorted((self.folder / "libs").glob("*.jar")))

    @property
    def class_archive(self) -> Path:
        """Specific to this JVM and its version."""
        java = Path(self.java).resolve()
        mark = hashlib.sha256(f"{java} {java.stat().st_mtime_ns} {java.stat().st_size}".encode()).hexdigest()[:8]
        return self.folder / f"classes-{mark}.jsa"

    @property
    def no_class_archive(self) -> Path:
        """Exists if that JVM could not create an archive: it is not tried again."""
        return self.class_archive.with_suffix(".none")

    @property
    def template(self) -> Path:
        """The files of a formatted storage folder, without the ids."""
        return self.folder / "bootstrap.checkpoint"


def cache() -> Path:
    """Outside the checkout: `make clean` does not remove it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airy"


def checksums() -> dict[str, str]:
    """Name of a jar → SHA-256."""
    return {name: digest for digest, name in (line.split() for line in CHECKSUMS.read_text().splitlines())}


def wrong(libs: Path, expected: Mapping[str, str]) -> list[str]:
    """The errors of a folder of jars, one line each."""
    here = {jar.name: jar for jar in libs.glob("*") if jar.is_file()}
    changed = [
        name
        for name, jar in here.items()
        if name in expected and hashlib.sha256(jar.read_bytes()).hexdigest() != expected[name]
    ]
    return [
        *(f"{name} is missing" for name in sorted(expected.keys() - here.keys())),
        *(f"{name} is not on the list" for name in sorted(here.keys() - expected.keys())),
        *(f"{name} has another checksum" for name in sorted(changed)),
    ]


def ready(within: Path | None = None) -> Artefacts:
    """The artefacts, fetched if necessary. Raises `Missing` if they cannot be fetched, or differ from the list."""
    java = program("java", "default-jre-headless")
    root = within or cache()
    folder = root / f"kafka-{VERSION}-{hashlib.sha256(CHECKSUMS.read_bytes()).hexdigest()[:8]}"
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f"{folder.name}.lock"):  # one process fetches, the others wait for it
        if not folder.exists():
            _fetch(folder)
        found = wrong(folder / "libs", checksums())
    if found:
        raise Missing(f"Kafka's jars are refused: {', '.join(found)}; remove {folder} to fetch them again")
    return Artefacts(folder, java)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A lock between processes; the kernel releases it when its holder dies."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    maven = program("mvn", "maven")
    for abandoned in folder.parent.glob(f"{folder.name}.*/"):  # left by a killed process; this process holds the lock
        shutil.rmtree(abandoned, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for attempt in range(1, TRIES + 1):
            done = _copy_dependencies(maven, building)
            if done.returncode == 0:
                break
            if attempt == TRIES:
                said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
                raise Missing(f"Maven could not fetch Kafka {VERSION}; is the network there?\n{said}")
        found = wrong(building / "libs", checksums())
        if found:
            raise Missing(f"what Maven fetched is refused: {', '.join(found)}")
        building.chmod(0o755)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _copy_dependencies(maven: str, building: Path) -> subprocess.CompletedProcess[str]:
    shutil.copyfile(POM, building / "pom.xml")
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs")
    command = [maven, "--batch-mode", "--quiet", *goal]
    return subprocess.run(command, cwd=building, capture_output=True, text=True, timeout=FETCH_S, check=False)


if __name__ == "__main__":
    try:
        print(ready().folder)  # noqa: T201 -- its only output
    except Missing as missing:
        sys.exit(str(missing))
