"""A folding process is killed; the next process that opens the file continues at the last commit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airy.store.sqlite import SqliteStore
from tests.kit.store import everything, seeded

FACTS = 1200
AHEAD = 10  # batches that the child may fold before the kill takes effect
CHILD = f"""
import sys
import anyio
from airy.store.sqlite import SqliteStore
from tests.kit.store import seeded

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    records = seeded(21, facts={FACTS}).records
    done = await store.positions()
    records = [record for record in records if record.offset >= done.get(record.topic_partition, 0)]
    for start in range(0, len(records), 7):
        sys.stdin.readline()
        await store.apply(records[start : start + 7])
        print(start, flush=True)
        if start % 70 == 0:
            await store.checkpoint()
    print("finished", flush=True)

anyio.run(main)
"""


def killed_after(path: Path, lines: int) -> str:
    """Fold in a child process and kill it once it has printed `lines` lines. Returns the last line read."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n" * (lines + AHEAD))
    child.stdin.flush()
    last = ""
    for _ in range(lines):
        last = child.stdout.readline().strip()
    os.kill(child.pid, signal.SIGKILL)
    child.stdin.close()
    child.stdout.close()
    child.wait()
    return last


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_killed_process_resumes_at_its_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    log = seeded(21, facts=FACTS)
    clean = SqliteStore(":memory:")
    await clean.open()
    for lines in (3, 20, 9, 31, 5):
        assert killed_after(path, lines) != "finished"
        store = SqliteStore(path)
        await store.open()
        positions = await store.positions()
        known = [record for record in log.records if record.offset < positions.get(record.topic_partition, 0)]
        await clean.apply(known)
        assert known
        assert await store.digest(changes=True) == await clean.digest(changes=True)
        assert await everything(store, log) == await everything(clean, log)
        await store.close()
    store = SqliteStore(path)
    await store.open()
    await store.apply(log.records)
    await clean.apply(log.records)
    assert await store.digest(changes=True) == await clean.digest(changes=True)
    await store.close()
    await clean.close()
