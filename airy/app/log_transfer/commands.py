"""`airy log export|import|digest|check`: their files, and what they find."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import anyio.to_thread
from msgspec import Struct

from airy import topics
from airy.app.log_transfer.exporter import ArchiveSummary, Write, export_log
from airy.app.log_transfer.fold_digest import FoldDigest, fold_archive, fold_log
from airy.app.log_transfer.importer import ArchiveContents, import_log, inspect_archive
from airy.app.log_transfer.open_log import check_queue, clear_caches, open_log
from airy.app.progress import KIBIBYTES, report_progress
from airy.bus.api import Bus
from airy.bus.topic import Topic
from airy.config import Config
from airy.errors import Refused, Unavailable

COPY_BYTES: Final = 1_048_576
KIBIBYTE: Final = 1_024
STANDARD = "-"


class ArchiveComparison(Struct, frozen=True):
    """Whether the configured log folds to what an archive folds to."""

    same: bool
    log: FoldDigest
    archive: FoldDigest


async def export(config: Config, path: str) -> ArchiveSummary:
    """Export the configured log to a file or stdout."""
    async with open_log(config, reading=True) as bus:
        with report_progress("exporting", await _records(bus, topics.ALL)) as on_progress:
            if path == STANDARD:
                summary = await export_log(bus, _writer(sys.stdout.buffer), on_progress=on_progress)
                await anyio.to_thread.run_sync(sys.stdout.buffer.flush)
            else:
                with _new_file(Path(path)) as file:
                    summary = await export_log(bus, _writer(file), on_progress=on_progress)
    return summary


async def load(config: Config, path: str, *, resume: bool) -> tuple[ArchiveSummary, list[str]]:
    """Import a file or stdin into the configured log. Also returns a line for each cache that was removed."""
    with _archive(path) as file:
        contents = await _inspected(file)
        await check_queue(config)
        async with open_log(config) as bus:
            with report_progress("importing", contents.summary.records) as on_progress:
                await import_log(bus, file, contents, resume=resume, on_progress=on_progress)
            return contents.summary, clear_caches(config)


async def digest(config: Config) -> FoldDigest:
    """Fold the configured log."""
    async with open_log(config, reading=True) as bus:
        with report_progress("folding", await _records(bus, topics.FOLDED)) as on_progress:
            return await fold_log(bus, on_progress=on_progress)


async def check(config: Config, path: str) -> ArchiveComparison:
    """Fold an archive and the configured log."""
    with _archive(path) as file:
        contents = await _inspected(file)
        with report_progress("folding the archive", contents.summary.records) as on_progress:
            expected = await fold_archive(file, on_progress=on_progress)
    async with open_log(config, reading=True) as bus:
        with report_progress("folding the log", contents.summary.records) as on_progress:
            found = await fold_log(bus, on_progress=on_progress)
    return ArchiveComparison(same=found == expected, log=found, archive=expected)


# --- files


async def _records(bus: Bus, of: Sequence[Topic[Any]]) -> int:
    """How many records these topics hold at most: offsets have gaps."""
    starts, ends = await bus.beginning_offsets(of), await bus.end_offsets(of)
    return sum(end - starts[tp] for tp, end in ends.items())


async def _inspected(file: BinaryIO) -> ArchiveContents:
    kibibytes = os.fstat(file.fileno()).st_size // KIBIBYTE
    with report_progress("checking the archive", kibibytes, unit=KIBIBYTES) as on_progress:
        reported = 0

        def read_so_far(topic: str, _records: int) -> None:
            nonlocal reported
            on_progress(topic, file.tell() // KIBIBYTE - reported)
            reported = file.tell() // KIBIBYTE

        contents = await inspect_archive(file, on_progress=read_so_far)
    file.seek(0)
    return contents


def _writer(file: BinaryIO) -> Write:
    async def write(data: bytes) -> None:
        """In a thread: a pipe may be slow, and must not block the log's clients."""
        try:
            await anyio.to_thread.run_sync(file.write, data)
        except OSError as error:
            raise Unavailable(f"the archive cannot be written: {error.strerror}") from error

    return write


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Renamed to `path` once complete and synced. Mode 0600, because it holds messages."""
    if path.exists():
        raise Refused(f"{path} exists: name another file, or remove it")
    draft = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f"{draft} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _archive(path: str) -> Iterator[BinaryIO]:
    """A seekable file; stdin is copied to a temporary one."""
    if path != STANDARD:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(f"{path} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile(prefix="airy-log-") as copy:
        for data in iter(partial(sys.stdin.buffer.read, COPY_BYTES), b""):
            copy.write(data)
        copy.seek(0)
        yield copy
