"""Writes the pictures of docs/ and the snapshots of the tests: `make pictures`."""

import anyio

from tests.kit import pictures, snapshots
from tests.kit.event_loops import asyncio_backend


async def _write_all() -> None:
    await pictures.write_pictures()
    await snapshots.write_snapshots()


if __name__ == "__main__":
    pictures.use_utc()
    backend, options = asyncio_backend()
    anyio.run(_write_all, backend=backend, backend_options=options)
