"""Checks of what an instance works on: webhooks, dead letters, channels. Pure."""

from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import Any
from urllib.parse import urlsplit

from airy.app.doctor.check import Findings, each, ok, problem, skipped, warning
from airy.app.doctor.checks_instance import total, unread
from airy.app.doctor.instance_facts import ChannelView, EndpointView, InstanceFacts, WebhookUrlFacts
from airy.model import channel_health as channel_metadata

EXPIRES_S_WANTED = 7 * 86_400.0
BACKLOG_S_WANTED = 300.0
FULL_SHARE = 0.9


# --- webhooks and dead letters


def queue(facts: InstanceFacts) -> Findings:
    up, waiting, most = (
        total(facts, f"airy_{name}") for name in ("webhook_queue_up", "webhooks_waiting", "webhooks_waiting_max")
    )
    if up is None:
        return skipped("this process does not use the queue")
    if not up:
        return problem("the webhook queue does not answer", "check queue.redis.url and that Redis is up")
    if most and waiting and waiting > FULL_SHARE * most:
        return problem(
            f"{waiting:,.0f} of {most:,.0f} deliveries wait: the log holds further ones",
            "repair or unsubscribe the webhooks that fail, or raise queue.jobsMax",
        )
    return ok(f"{waiting or 0:,.0f} deliveries wait")


def endpoints(facts: InstanceFacts) -> Findings:
    if facts.endpoints is None:
        return unread("webhooks")
    titles = {webhook.id: webhook.title for webhook in facts.webhooks or ()}
    failing = [one for one in facts.endpoints.values() if one.health in ("failing", "paused")]
    return each((_failing(one, titles.get(one.id, one.id)) for one in failing), "every endpoint answers")


def _failing(endpoint: EndpointView, title: str) -> Findings:
    last = endpoint.last_attempt
    answer = (last.error or f"it answered {last.status}") if last else "no answer is known"
    since = f" since {endpoint.failing_since}" if endpoint.failing_since else ""
    return problem(
        f"{title} does not take deliveries{since}: {answer}",
        "correct the endpoint; deliveries wait and are repeated. `airy console --open webhooks` shows the attempts",
    )


def backlog(facts: InstanceFacts) -> Findings:
    age_s = total(facts, "airy_webhooks_oldest_age_seconds")
    if age_s is None:
        return skipped("this process does not use the queue")
    if age_s > BACKLOG_S_WANTED:
        return warning(
            f"the oldest delivery waits for {age_s:,.0f} s: an endpoint fails or is slow",
            "`airy console --open webhooks` shows which; repair or unsubscribe it",
        )
    return ok(f"none waits for more than {BACKLOG_S_WANTED:g} s")


def dead_deliveries(facts: InstanceFacts) -> Findings:
    count = total(facts, "airy_dead_deliveries")
    if count is None:
        return unread("metrics")
    if count:
        return warning(
            f"{count:,.0f} webhook deliveries failed their last attempt",
            "repair the endpoint, then replay them: airy console --write --open webhooks",
        )
    return ok("none")


def dead_letters(facts: InstanceFacts) -> Findings:
    if facts.dead_letters is None:
        return unread("dead letters")
    if facts.dead_letters:
        return warning(
            f"{facts.dead_letters:,} records of the log could not be processed",
            "airy dlq list, then airy dlq replay or discard",
        )
    return ok("none")


def webhook_urls(facts: WebhookUrlFacts) -> Findings:
    title = {webhook.id: webhook.title for webhook in facts.webhooks}
    host = {webhook.id: urlsplit(webhook.url).netloc for webhook in facts.webhooks}
    forbidden = (
        problem(
            f"{title[one]} posts to {host[one]}: {reason}",
            "correct its url with webhooks.update, or allow it in security.webhooks",
        )
        for one, reason in facts.refused.items()
    )
    unreachable = (
        problem(
            f"{title[one]} posts to {host[one]}, which does not answer: {reason}",
            "start the endpoint, or correct its url with webhooks.update",
        )
        for one, reason in facts.unreachable.items()
    )
    return each([*forbidden, *unreachable], "allowed, and reachable from here or in use")


# --- channels


def channel_health(facts: InstanceFacts) -> Findings:
    if facts.channels is None:
        return unread("channels")
    failing = [one for one in facts.channels if _health(one).get("state") == "failing"]
    return each(
        (
            problem(
                f"{one.title} does not work: {_health(one).get('reason') or 'no reason is known'}",
                f"correct it at the provider, or connect it again (channels.{one.source}.connect)",
            )
            for one in failing
        ),
        f"{len(facts.channels)} connected",
    )


def credentials(facts: InstanceFacts) -> Findings:
    if facts.channels is None:
        return unread("channels")
    now_s = facts.now_ms / 1000
    return each(
        (_expiring(one, left_s) for one in facts.channels if (left_s := _left_s(one, now_s)) < EXPIRES_S_WANTED),
        "no credentials of a channel expire within 7 days",
    )


def _expiring(channel: ChannelView, left_s: float) -> Findings:
    step = f"connect it again with a new token: channels.{channel.source}.connect"
    if left_s <= 0:
        return problem(f"the provider's token of {channel.title} has expired: nothing is sent", step)
    return warning(f"the provider's token of {channel.title} expires in {left_s / 86_400:.1f} days", step)


def _left_s(channel: ChannelView, now_s: float) -> float:
    """Infinite for credentials that do not expire, or without a readable time."""
    try:
        return datetime.fromisoformat(str(channel.metadata[channel_metadata.EXPIRE_AT])).timestamp() - now_s
    except (KeyError, ValueError):
        return inf


def _health(channel: ChannelView) -> Mapping[str, Any]:
    known = channel.metadata.get("health")
    return known if isinstance(known, Mapping) else {}
