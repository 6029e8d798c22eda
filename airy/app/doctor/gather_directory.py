"""Gathers facts about the data directory: disk, secrets, journal, stores. Writes one file, and removes it."""

import os
import tempfile
from pathlib import Path

import anyio.to_thread

from airy import topics
from airy.app import files
from airy.app.doctor.check import NotGathered
from airy.app.doctor.facts import DirectoryFacts, LocalStoreFacts, LogFacts, SecretFileFacts
from airy.app.doctor.gather_machine import current_user, user_name
from airy.app.doctor.listening import command_of
from airy.app.log_transfer.open_log import open_log
from airy.bus.api import Bus
from airy.bus.memory.journal_inspection import fingerprint_at, inspect_journal, lock_holder
from airy.bus.record import Position
from airy.config import Config, data_directory
from airy.errors import Refused
from airy.live_config.source import SECRETS_DIRECTORY
from airy.seal import load_or_create_key
from airy.store.factory import StoreFacts, inspect_store
from airy.token_file import TOKEN_FILE
from airy.tui.instance import DEMO

WRITTEN_BYTES = 262_144  # more than any buffer, less than any disk that is worth a check
PROBE = ".airy-doctor-"


def gather_directory(config: Config) -> DirectoryFacts:
    """Blocking."""
    path = data_directory(config)
    kind = "directory" if path.is_dir() else "other" if os.path.lexists(path) else "missing"
    parent = path if kind == "directory" else next(each for each in path.absolute().parents if each.is_dir())
    disk = os.statvfs(parent)
    writable = os.access(parent, os.W_OK | os.X_OK)
    return DirectoryFacts(
        path=path,
        kind=kind,
        parent=parent,
        user=current_user(),
        owner=user_name(parent.stat().st_uid),
        writable=writable,
        file_system=_file_system(parent),
        free_bytes=disk.f_bavail * disk.f_frsize,
        total_bytes=disk.f_blocks * disk.f_frsize,
        free_files=disk.f_favail if disk.f_files else -1,
        write_error=_write_error(path) if kind == "directory" and writable else 0,
        secrets=tuple(_secret_files(config)),
        sealing_key=_sealing_key(config),
        sealing_key_missing=not files.sealing_key_path(config).exists(),
    )


def _write_error(directory: Path) -> int:
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=PROBE) as file:
            file.write(b"\0" * WRITTEN_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or -1
    return 0


def _secret_files(config: Config) -> list[SecretFileFacts]:
    directory = data_directory(config)
    candidates = (
        directory / TOKEN_FILE,
        directory / DEMO / TOKEN_FILE,
        files.sealing_key_path(config),
        files.journal_path(config) / "journal.db",
        *(directory / SECRETS_DIRECTORY).glob("*"),
    )
    return [SecretFileFacts(path, path.stat().st_mode & 0o777) for path in candidates if path.is_file()]


def _sealing_key(config: Config) -> str:
    """Why it cannot be used. The key is loaded as a process would, and never created."""
    path = files.sealing_key_path(config)
    try:
        if path.exists():
            load_or_create_key(path)
    except (Refused, OSError) as error:
        return str(error)
    return ""


def _file_system(directory: Path) -> str:
    """Its type, by the longest mount point above; empty where it is unknown."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    found = [(each[1], each[2]) for each in mounts if directory.absolute().is_relative_to(each[1])]
    return max(found, key=lambda mount: len(mount[0]), default=("", ""))[1]


def gather_log(config: Config) -> LogFacts | NotGathered:
    """Blocking."""
    if config.bus.kind != "journal":
        return NotGathered(f"bus.kind is {config.bus.kind}")
    directory = files.journal_path(config)
    holder = lock_holder(directory)
    url = f"http://{config.http.host}:{config.http.port}"
    return LogFacts(inspect_journal(directory), directory, holder, command_of(holder) if holder else "", url)


async def gather_stores(config: Config) -> LocalStoreFacts | NotGathered:
    paths = [path for path in files.store_paths(config) if path.is_file()]
    if not paths:
        return NotGathered("there is no store yet")
    stores = [await anyio.to_thread.run_sync(inspect_store, path) for path in paths]
    return LocalStoreFacts(tuple(stores), await _in_log(config, stores))


async def _in_log(config: Config, stores: list[StoreFacts]) -> dict[Path, int | None]:
    marks = {each.path: each.last_applied.position for each in stores if each.last_applied is not None}
    if not marks or config.bus.kind == "memory":
        return {}
    if config.bus.kind == "journal":
        directory = files.journal_path(config)
        return {path: await anyio.to_thread.run_sync(fingerprint_at, directory, at) for path, at in marks.items()}
    async with open_log(config, reading=True) as bus:
        return {path: await _fingerprint(bus, at) for path, at in marks.items()}


async def _fingerprint(bus: Bus, at: Position) -> int | None:
    tp = at.topic_partition
    topic = next(each for each in topics.FOLDED if each.name == at.topic)
    if at.offset >= (await bus.end_offsets([topic]))[tp]:
        return None
    async with bus.tail({tp: at.offset}) as tail:
        while not (found := await tail.fetch(records_max=1, wait_s=1.0)):
            pass  # the caller bounds the time
    return found[0].fingerprint if found[0].position == at else None
