"""`airy rebuild`: removes the stores on disk and folds the log into new ones. No effects: a store is a cache."""

import sys

from airy.app import files
from airy.app.log_transfer.open_log import open_log
from airy.app.verify import fold_all
from airy.config import Config, data_directory
from airy.store.factory import create_store
from airy.store.sqlite.store_file import remove

OK = 0


async def rebuild(config: Config) -> int:
    """Raises `InUse` while a process has the journal or a store. An interruption leaves stores that a process, or
    another run, folds to the end.
    """
    data_directory(config).mkdir(parents=True, exist_ok=True)
    first, *others = files.store_paths(config)
    async with open_log(config, reading=True) as bus:
        for path in [first, *(path for path in others if path.exists())]:
            with files.locked(path):
                remove(path)
                store = create_store(path)
                await store.open()
                await fold_all(bus, store, f"rebuilding {path.name}")
                counts, digest = await store.counts(), await store.digest()
                await store.close()
            facts = ", ".join(f"{counts[name]:,} {name}" for name in ("conversations", "messages", "channels"))
            sys.stdout.write(f"{path.name}: rebuilt, {facts}; digest {digest[:16]}\n")
    return OK
