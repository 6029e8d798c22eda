"""`airy rebuild`: removes the stores on disk and folds the log into new ones. No effects: a store is a cache."""

from collections.abc import Callable

from airy.app import files
from airy.app.log_transfer.open_log import open_log
from airy.app.verify import FoldedStore, fold_all, folded_store
from airy.config import Config, data_directory
from airy.store.factory import create_store
from airy.store.sqlite.store_file import remove


async def rebuild(config: Config, on_rebuilt: Callable[[FoldedStore], object]) -> None:
    """Calls `on_rebuilt` after each store. Raises `InUse` while a process has the journal or a store.

    An interruption leaves stores that a process, or another run, folds to the end.
    """
    first, *others = files.store_paths(config)
    async with open_log(config, reading=True) as bus:
        data_directory(config).mkdir(parents=True, exist_ok=True)  # of a cluster's log it may not exist yet
        for path in [first, *(path for path in others if path.exists())]:
            with files.locked(path):
                remove(path)
                store = create_store(path)
                await store.open()
                await fold_all(bus, store, f"rebuilding {path.name}")
                rebuilt = await folded_store(store, path.name, "rebuilt")
                await store.close()
            on_rebuilt(rebuilt)
