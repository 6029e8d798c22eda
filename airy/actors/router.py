"""The router: raw webhooks of one source become facts. A transform: everything it decides is in the source's `route`.

At least once: what it reads again after a crash makes the same facts with the same ids, which the fold ignores. Accounts
nobody has connected are parked with their bytes (see unpark.py); bytes nobody can read are dead-lettered.
"""

from collections.abc import Mapping, Sequence

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.loops import transform
from airy.bus.record import Emit, Record
from airy.bus.table import Table
from airy.model.entity import Channel
from airy.sources.api import Source


def facts_of(source: Source, record: Record, channels: Mapping[str, Channel]) -> list[Emit]:
    """The facts of one raw webhook, as records keyed by conversation. Raises `Undecodable`."""
    routed = source.route(record, channels)
    trace = tuple((name, value) for name, value in record.headers if name in {"traceparent", "request-id"})
    return [
        topics.EVENTS.emit(fact.conversation_id, fact, headers=(("id", fact.id.encode()), *trace))
        for fact in routed.facts
    ]  # fmt: skip


def dead_letter(record: Record, reason: str, attempts: int) -> Emit:
    """`record` as it came, with why and from where, for `dlq.<topic>`."""
    headers = (
        *record.headers, ("topic", record.topic.encode()), ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset), ("reason", reason.encode("utf-8", "replace")[:1024]),
        ("attempts", b"%d" % attempts),
    )  # fmt: skip
    topic = topics.dead_letters(record.topic)
    return topic.emit(record.key.decode("utf-8", "replace"), record.value or b"", headers=headers)
