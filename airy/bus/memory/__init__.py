"""The bus in one process, in memory alone or with a journal on local disk."""

from airy.bus.memory.bus import MemoryBus as MemoryBus
from airy.bus.memory.faults import Faults as Faults
from airy.bus.memory.faults import InjectedCrash as InjectedCrash
from airy.bus.memory.journal import Journal as Journal
from airy.bus.memory.journal import JournalFailed as JournalFailed
from airy.bus.memory.journal import open_journal as open_journal
from airy.bus.memory.settings import GroupTimeouts as GroupTimeouts
from airy.bus.memory.settings import MemoryLimits as MemoryLimits
from airy.bus.memory.settings import RetentionSettings as RetentionSettings
