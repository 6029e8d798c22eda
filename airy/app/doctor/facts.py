"""The facts checks decide on: what is configured, and what was found on this machine. Values only.

The facts of Redis and Kafka are `airy.queue.redis.inspection.RedisFacts` and
`airy.bus.kafka.inspection.KafkaFacts`, those of a running instance are in `instance_facts`.
"""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from airy.bus.memory.journal_inspection import JournalFacts
from airy.config import Config
from airy.config_document import ConfigProblem
from airy.store.factory import StoreFacts


class ConfigFacts(Struct, frozen=True):
    """`config` is None if there are problems."""

    file: Path | None  # None: the defaults
    problems: tuple[ConfigProblem, ...] = ()
    deprecated: tuple[str, ...] = ()  # sentences
    mode: int = 0  # of the file
    secrets_in_file: bool = False  # written in the file itself, not references
    config: Config | None = None


class SettingFacts(Struct, frozen=True):
    """A configuration without problems."""

    config: Config


class MachineFacts(Struct, frozen=True):
    python: tuple[int, int]
    missing_packages: tuple[str, ...]
    open_files_max: int
    open_files_hard_max: int
    term: str
    encoding: str  # of the terminal
    terminal: bool


class SecretFileFacts(Struct, frozen=True):
    path: Path
    mode: int


class DirectoryFacts(Struct, frozen=True):
    """The data directory. `write_error`: the errno of a file that was written there and synced, or 0."""

    path: Path
    kind: str  # directory, missing, or other
    parent: Path  # the nearest directory above that exists; the path itself if it does
    user: str
    owner: str
    writable: bool
    file_system: str
    free_bytes: int
    total_bytes: int
    free_files: int
    write_error: int = 0
    secrets: tuple[SecretFileFacts, ...] = ()
    sealing_key: str = ""  # why it cannot be used
    sealing_key_missing: bool = False


class LogFacts(Struct, frozen=True):
    """The journal, and the process that has it open."""

    journal: JournalFacts
    directory: Path
    holder: str = ""  # process id; empty: no process has it open
    holder_command: str = ""
    url: str = ""  # of the configured instance
    answering: bool = False  # an instance answers there


class LocalStoreFacts(Struct, frozen=True):
    """The stores in the data directory, and the fingerprints of the records they folded last, as the log has them."""

    stores: tuple[StoreFacts, ...]
    in_log: Mapping[Path, int | None]  # None: the log has no such record


class PortFacts(Struct, frozen=True):
    """`error`: the errno of a listener there, or 0."""

    host: str
    port: int
    error: int = 0
    holder: str = ""  # process id
    holder_command: str = ""
    airy: bool = False  # an instance answers there
    found: str = ""  # the installation it belongs to
    known: frozenset[str] = frozenset()  # those whose sealing keys are in the data directory

    @property
    def foreign(self) -> bool:
        """Whether the instance belongs to another installation, as far as that is known."""
        return self.airy and bool(self.found and self.known) and self.found not in self.known


class PublicUrlFacts(Struct, frozen=True):
    """How `http.publicUrl` answered from this machine."""

    url: str
    expected: str  # the installation it should lead to
    error: str = ""
    status: int = 0
    found: str | None = None  # the installation that answered; None: none did
