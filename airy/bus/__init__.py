"""A typed, partitioned log that knows nothing about messages. Backends: `airy.bus.memory`, `airy.bus.kafka`."""

from airy.bus.api import Bus as Bus
from airy.bus.api import Fenced as Fenced
from airy.bus.api import OffsetOutOfRange as OffsetOutOfRange
from airy.bus.api import Reader as Reader
from airy.bus.api import RebalanceListener as RebalanceListener
from airy.bus.api import RecordTooLarge as RecordTooLarge
from airy.bus.api import Subscription as Subscription
from airy.bus.api import Tail as Tail
from airy.bus.loops import transform as transform
from airy.bus.record import Headers as Headers
from airy.bus.record import Position as Position
from airy.bus.record import ProducerRecord as ProducerRecord
from airy.bus.record import Record as Record
from airy.bus.record import TopicPartition as TopicPartition
from airy.bus.table import Table as Table
from airy.bus.topic import Topic as Topic
