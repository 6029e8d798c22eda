"""What the log of the pictures holds."""

from airy import topics
from tests.kit.fake_instance import NOW_MS
from tests.kit.fake_topics import FakeTopics


def write_log(log: FakeTopics) -> None:
    """Records of the log, and how far its consumer groups are."""
    webhooks = topics.source_events("facebook").name
    for number in range(40):
        at_ms, key = NOW_MS - (40 - number) * 7_000, f"1f0c2a3e-5b7d-4c8e-9f10-{number % 5:012}"
        fact = b'{"kind":"message.received","content":{"text":"Is the rye bread back?"},"n":%d}' % number
        log.record(topics.EVENTS.name, number % 16, key, fact, at_ms)
        log.record(webhooks, number % 16, "page-1", b'{"object":"page","entry":[%d]}' % number, at_ms)
    log.record(topics.CHANNELS.name, 0, "ch-1", b'{"id":"ch-1","source":"facebook","connected":true}', NOW_MS - 900_000)
    log.record(topics.AUDIT.name, 0, "ada", b'{"action":"/channels.facebook.connect"}', NOW_MS - 900_000)
    log.committed("sources.facebook.router", webhooks, 40)
    log.committed("webhook-publisher", topics.EVENTS.name, 34)
    log.committed("media-fetcher", topics.EVENTS.name, 40)
