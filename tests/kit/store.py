"""Helpers that query a store and the reference fold."""

from collections.abc import Iterable

from airy import topics
from airy.bus.record import TopicPartition
from airy.model.change import Change
from airy.model.conversation import Conversation, Message
from airy.model.fact import Fact
from airy.store.api import ConversationView, Page, Store, StoredChange, Work
from tests.kit.builders import START_MS, Chat, channel, seeded_log
from tests.kit.fold import ReferenceFold
from tests.kit.log import Log

EVERY_PARTITION = range(topics.EVENT_PARTITIONS)
SEEDS = range(5)
BEFORE_ALL = (-1, -1)
FAR_MS = START_MS * 2


def facts_of(log: Log) -> list[Fact]:
    decoded = (topics.EVENTS.decode(record) for record in log.records if record.topic == topics.EVENTS.name)
    return [fact for fact in decoded if fact is not None]


def seeded(seed: int, *, facts: int = 300, conversations: int = 12, gap: int = 0) -> Log:
    """A plausible log with its channel somewhere near the start."""
    log = Log(gap=gap)
    story = seeded_log(seed, facts=facts, conversations=conversations)
    log.append(*story[:20], channel(), *story[20:])
    return log


def listed(page: Page[ConversationView]) -> list[str]:
    return [view.conversation.id for view in page.items]


def message_ids(page: Page[Message]) -> list[str]:
    return [message.id for message in page.items]


async def all_changes(
    store: Store, tps: Iterable[TopicPartition] = topics.EVENTS.topic_partitions
) -> list[StoredChange]:
    found: list[StoredChange] = []
    for tp in tps:
        found += await store.changes(tp, after=BEFORE_ALL, changes_max=100_000)
    return found


async def everything(store: Store, log: Log) -> list[object]:
    """All answers of a store about a log, in one value."""
    names = sorted({fact.conversation_id for fact in facts_of(log)})
    return [
        [await store.conversation(name) for name in names],
        [await store.messages(name, cursor=None, page_size=500) for name in names],
        await store.conversations(filters=None, cursor=None, page_size=500),
        await all_changes(store),
        await open_work(store, "facebook"),
        await store.channels(connected_only=False),
        await store.counts(),
        await store.positions(),
    ]


async def open_work(store: Store, source: str, *, due_until_ms: int = FAR_MS) -> list[Work]:
    return await store.work(
        "send", source, partitions=EVERY_PARTITION, due_until_ms=due_until_ms, work_max=1000
    ) + await store.work("profile", source, partitions=EVERY_PARTITION, due_until_ms=due_until_ms, work_max=1000)


def reference_list(reference: ReferenceFold) -> list[Conversation]:
    """The visible conversations of the reference fold, in no particular order."""
    found = [state.conversation() for state in reference.states.values()]
    return [conversation for conversation in found if conversation is not None and conversation.visible]


def reference_messages(reference: ReferenceFold, conversation_id: str) -> list[Message]:
    """Newest first by sequence, without deleted ones."""
    return [message for message in reversed(reference.state(conversation_id).messages()) if not message.deleted]


async def digest_of(store: Store) -> str:
    return await store.digest(changes=True)


def by_partition(reference: ReferenceFold) -> list[Change]:
    """The changes of the reference fold in the order of a store: partition by partition."""
    lanes: dict[int, list[Change]] = {}
    for change in reference.changes:
        lanes.setdefault(topics.EVENTS.partition(change.lane), []).append(change)
    return [change for partition in sorted(lanes) for change in lanes[partition]]


def crowd(size: int) -> Log:
    """`size` conversations of one channel, each with one message; two share each time."""
    log = Log()
    log.append(channel())
    for number in range(size):
        log.append(Chat(number).received("hello", at_ms=START_MS + number // 2 * 1000))
    return log
