"""A typed, partitioned log that knows nothing about messages."""

from airy.bus.api import Bus as Bus
from airy.bus.api import Fenced as Fenced
from airy.bus.api import Ownership as Ownership
from airy.bus.api import Pulse as Pulse
from airy.bus.api import Reader as Reader
from airy.bus.api import RecordTooLarge as RecordTooLarge
from airy.bus.api import Subscription as Subscription
from airy.bus.api import Tail as Tail
from airy.bus.api import Truncated as Truncated
from airy.bus.faults import Crashed as Crashed
from airy.bus.faults import Faults as Faults
from airy.bus.journal import Journal as Journal
from airy.bus.journal import JournalFailed as JournalFailed
from airy.bus.journal import open_journal as open_journal
from airy.bus.lock import InUse as InUse
from airy.bus.loops import origin as origin
from airy.bus.loops import transform as transform
from airy.bus.memory import MemoryBus as MemoryBus
from airy.bus.record import Emit as Emit
from airy.bus.record import Headers as Headers
from airy.bus.record import Position as Position
from airy.bus.record import Record as Record
from airy.bus.record import TopicPartition as TopicPartition
from airy.bus.table import Table as Table
from airy.bus.topic import Topic as Topic
