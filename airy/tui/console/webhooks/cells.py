"""The cells and titles of the view of webhooks. Pure."""

from collections.abc import Sequence

from textual.content import Content

from airy.tui.console import format as shown
from airy.tui.console.grid import Column
from airy.tui.console.webhooks import rows
from airy.tui.view_model import clean

LIST = (
    Column("health", 14),
    Column("name", 16, keep=7),
    Column("dead", 5, "right", keep=8),
    Column("waiting", 7, "right", keep=6),
    Column("oldest", 7, "right", keep=4),
    Column("ok", 5, "right", keep=6),
    Column("last", 16, keep=5),
    Column("address"),
    Column("events", 28, keep=2),
)
DEAD = (
    Column("died", 14, keep=7),
    Column("event", 22, keep=6),
    Column("tries", 5, "right", keep=5),
    Column("reason"),
)
ATTEMPTS = (
    Column("at", 14, keep=7),
    Column("outcome", 11, keep=8),
    Column("answer", 9, keep=9),
    Column("took", 7, "right", keep=6),
    Column("try", 3, "right", keep=5),
    Column("event", 22, keep=4),
    Column("next try", 8, keep=3),
    Column("error or response"),
)


def webhook_cells(
    webhook: rows.ListedWebhook, dead: int | None, stats: rows.WebhookStats | None
) -> Sequence[Content | str]:
    health = rows.health_of(webhook, stats)
    symbol, style = rows.HEALTH_STYLES.get(health, ("?", ""))
    known = stats or rows.WebhookStats(webhook.id)
    last = known.last_attempt
    return (
        Content.styled(f"{symbol} {health}", style),
        Content.styled(clean(webhook.name or ""), "bold"),
        Content.styled(shown.count(dead), "bold $error" if dead else "$foreground-muted"),
        shown.count(known.waiting),
        shown.duration(known.oldest_s),
        known.success,
        Content.styled(known.last, "" if last is None or last.outcome == "delivered" else "$error"),
        clean(webhook.url),
        Content.styled(webhook.said, "$foreground-muted"),
    )


def delivery_cells(delivery: rows.ListedDelivery) -> Sequence[Content | str]:
    return (
        shown.date_and_time(delivery.died_at),
        Content.styled(clean(delivery.event), "$secondary"),
        shown.count(delivery.attempts),
        Content.styled(clean(delivery.reason), "$error"),
    )


def attempt_cells(attempt: rows.ListedAttempt) -> Sequence[Content | str]:
    symbol, style = rows.OUTCOME_STYLES.get(attempt.outcome, ("?", ""))
    failed = attempt.outcome != "delivered"
    return (
        shown.date_and_time(attempt.attempted_at),
        Content.styled(f"{symbol} {attempt.outcome}", style),
        Content.styled(attempt.answer, style if failed else ""),
        shown.duration(attempt.latency_ms / 1000),
        shown.count(attempt.attempt),
        Content.styled(clean(attempt.event), "$secondary"),
        shown.time_of_day(attempt.next_attempt_at) if attempt.next_attempt_at else "",
        Content.styled(attempt.said, "$error" if attempt.error else "$foreground-muted"),
    )


def lower_title(webhook: rows.ListedWebhook, lower: rows.Lower, count: str, stats: rows.WebhookStats | None) -> Content:
    """The tables to choose from, of which the current one is marked; in a second line why it does not deliver."""
    parts = [
        Content.styled(f" {each} ", "bold $background on $primary" if each == lower else "$foreground-muted")
        for each in rows.LOWER
    ]
    sentence = stats.sentence if stats else ""
    return Content.assemble(
        *parts,
        Content.styled(f" {webhook.title}", "bold $primary"),
        Content.styled(f" · {count} · a changes the table", "$foreground-muted"),
        Content.styled(f"\n {sentence}" if sentence else "", "$warning"),
    )


def counted(listed: int, total: int) -> str:
    return f"{total:,}" if listed == total else f"{listed:,} of {total:,}"


def document(webhook: rows.ListedWebhook) -> dict[str, object]:
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": webhook.status,
        "url": webhook.url,
        "events": webhook.events,
    }
