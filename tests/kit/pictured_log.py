"""What the log of the pictures holds, and the log lines of its processes."""

from airy import topics
from tests.kit.fake_instance import NOW_MS
from tests.kit.fake_logs import FakeLogs
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


def write_lines(logs: FakeLogs) -> None:
    one, two = "bakery-1:8080", "bakery-2:8080"
    logs.write(one, 1, "process.started", url="http://bakery-1:8080")
    logs.write(two, 3, "process.started", url="http://bakery-2:8080")
    logs.write(one, 12, "webhooks.parked", path="airy/sources/sources-twilio", webhooks=1, topic="source.twilio.events")
    logs.write(one, 14, "webhooks.replayed", path="airy/sources/sources-twilio", account="+4930901820", webhooks=1)
    logs.write(one, 40, "send.ended", path="airy/sources/connector", outcome="retry", attempt=1, channel="ch-1")
    logs.write(
        two, 41, "delivery.failed", "warning", path="airy/webhook-consumer/dispatcher", status=500, webhook="crm"
    )
    logs.write(one, 55, "channel.failing", "warning", path="airy/sources/connector", error="the token was revoked")
    failed = [{"exc_type": "ValueError", "exc_value": "not a number", "frames": []}]
    logs.write(two, 61, "request.failed", "error", request_id="r-81", exception=failed)
    logs.write(two, 75, "dispatcher.queue_unavailable", "warning", path="airy/webhook-consumer/dispatcher")
