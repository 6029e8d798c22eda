"""Checks of a running instance. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any
from urllib.parse import urlsplit

from airy import __version__
from airy.app.doctor.check import Findings, each, ok, problem, skipped, warning
from airy.app.doctor.facts import PublicUrlFacts, SettingFacts
from airy.app.doctor.instance_facts import ChannelView, EndpointView, InstanceFacts, ProcessView, WebhookUrlFacts
from airy.components import source_component
from airy.config import enabled_components
from airy.egress import EgressPolicy, check_url
from airy.errors import Refused
from airy.model import channel_health as channel_metadata
from airy.sources.catalogue import SOURCES

SKEW_S_WANTED, SKEW_S_MAX = 5.0, 60.0
LAG_S_WANTED, LAG_S_MAX = 60.0, 600.0
FOLD_S_WANTED = 30.0
LOOP_DELAY_S_WANTED = 1.0
BACKLOG_S_WANTED = 300.0
FULL_SHARE = 0.9
NAMES_MAX = 3  # in one sentence
EXPIRES_S_WANTED = 7 * 86_400.0
_GROUP_AGE = re.compile(r'airy_consumer_age_seconds\{.*?group="([^"]+)"')
NTP = "synchronise both clocks: timedatectl set-ntp true"


def reachable(facts: InstanceFacts) -> Findings:
    if facts.failure:
        return problem(f"no instance answers at {facts.url}: {facts.failure}", "start it (`airy up`), or correct --url")
    return ok(f"{facts.url} answers")


def token(facts: InstanceFacts) -> Findings:
    match facts.token:
        case "accepted":
            return ok("accepted")
        case "missing":
            return problem(
                f"{facts.url} wants a token and none is known here",
                "pass --token, or --data with the data directory of the instance",
            )
        case "unreadable":
            return problem(facts.token_problem, "correct it, or pass --token")
        case "exposed":
            return skipped("not read, because others can read its file: see data.secrets")
        case "refused":
            return problem(
                f"{facts.url} refuses the token",
                "pass the token of that instance with --token (AIRY_TOKEN); `airy token list` shows expired ones",
            )
    return skipped("this process serves nothing that needs a token")


def version(facts: InstanceFacts) -> Findings:
    versions = {facts.version, *(process.version for process in _live(facts))} - {""}
    other = sorted(versions - {__version__})
    if len(versions) > 1:
        return warning(
            f"processes run versions {', '.join(sorted(versions))}", "finish the upgrade: restart the older processes"
        )
    if other:
        return warning(
            f"the instance runs {other[0]} and this command is {__version__}",
            f"use the command of the instance, or restart it with {__version__}",
        )
    return ok(__version__)


def clock(facts: InstanceFacts) -> Findings:
    return skew("the instance", facts.skew_ms)


def skew(who: str, ahead_ms: int | None) -> Findings:
    """Also of Redis."""
    if ahead_ms is None:
        return skipped(f"{who} does not tell its time")
    ahead_s = ahead_ms / 1000
    words = f"the clock of {who} is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the one here"
    if abs(ahead_s) > SKEW_S_MAX:
        return problem(words, NTP)
    return warning(words, NTP) if abs(ahead_s) > SKEW_S_WANTED else ok(f"within {SKEW_S_WANTED:g} s")


def configuration(facts: InstanceFacts) -> Findings:
    if facts.plan is None:
        return _unread("settings")
    change = facts.last_change
    if change is not None and change.state == "reverted":
        return warning(
            f"the change of the configuration at {change.at} was taken back: {change.problem}",
            "correct that value and apply it again",
        )
    if paths := [each_.path for each_ in facts.plan.differences]:
        return warning(
            f"the process runs with other settings than its file has: {names(paths)}",
            "restart it, or apply the file: airy console --write --open config",
        )
    return ok("the process runs with the settings of its file")


def ready(facts: InstanceFacts) -> Findings:
    return each(
        (
            problem(f"{name} is not ready: {reason}", f"correct the reason; `airy status --url {facts.url}` shows more")
            for name, reason in facts.waiting_for.items()
        ),
        "every component of this process is ready",
    )


def components(facts: InstanceFacts) -> Findings:
    if facts.components is None:
        return _unread("processes")
    return each(
        (
            problem(f"no ready process runs {name}", f"start one: airy run {name}")
            for name, count in sorted(facts.components.items())
            if not count.ready
        ),
        f"{len(facts.components)} have a ready process",
    )


def processes(facts: InstanceFacts) -> Findings:
    if facts.processes is None:
        return _unread("processes")
    return each(
        (
            warning(
                f"process {one.instance} has sent no heartbeat for {one.age_s:,.0f} s", "start it again, or ignore it"
            )
            for one in facts.processes
            if one.stale
        ),
        f"{len(facts.processes)} send heartbeats",
    )


def held(facts: InstanceFacts) -> Findings:
    count = _sum(facts, "airy_partitions_held")
    if count is None:
        return _unread("metrics")
    if count:
        return problem(
            f"{count:.0f} partitions are not folded any further: their records are of a newer version",
            "upgrade this process to the newest version in the fleet",
        )
    return ok("every partition is folded")


def fold(facts: InstanceFacts) -> Findings:
    lag, age_s = _sum(facts, "airy_fold_lag"), _sum(facts, "airy_fold_age_seconds")
    if lag is None or age_s is None:
        return _unread("metrics")
    if lag and age_s > FOLD_S_WANTED:
        return warning(
            f"the store is {lag:,.0f} records ({age_s:,.0f} s) behind the log",
            "wait if it was just started; else look at its processor and disk, and at its log",
        )
    return ok(f"{lag:,.0f} records behind the log")


def lag(facts: InstanceFacts) -> Findings:
    if facts.metrics is None:
        return _unread("metrics")
    ages: dict[str, float] = {}
    for name, age_s in facts.metrics.items():
        if found := _GROUP_AGE.match(name):
            ages[found[1]] = max(age_s, ages.get(found[1], 0.0))
    return each(
        (_late(group, age_s) for group, age_s in sorted(ages.items()) if age_s > LAG_S_WANTED),
        f"no consumer group is more than {LAG_S_WANTED:g} s behind",
    )


def _late(group: str, age_s: float) -> Findings:
    say = problem if age_s > LAG_S_MAX else warning
    return say(
        f"consumer group {group} is {age_s:,.0f} s behind",
        "`airy status` shows which component waits; add a process of it if it is busy",
    )


def event_loop(facts: InstanceFacts) -> Findings:
    delay_s = _sum(facts, "airy_event_loop_delay_seconds")
    if delay_s is None:
        return _unread("metrics")
    if delay_s > LOOP_DELAY_S_WANTED:
        return warning(
            f"the event loop was blocked for {delay_s:.1f} s in the last minute", "give the process more processor time"
        )
    return ok(f"at most {delay_s:.2f} s late")


def bugs(facts: InstanceFacts) -> Findings:
    count = _sum(facts, "airy_bugs_total")
    if count is None:
        return _unread("metrics")
    if count:
        return warning(
            f"{count:.0f} unexpected errors ended a delivery, send, look-up or check",
            "report them with the log lines that end in _unexpectedly",
        )
    return ok("none")


# --- webhooks and dead letters


def queue(facts: InstanceFacts) -> Findings:
    up, waiting, most = (
        _sum(facts, f"airy_{name}") for name in ("webhook_queue_up", "webhooks_waiting", "webhooks_waiting_max")
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
        return _unread("webhooks")
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
    age_s = _sum(facts, "airy_webhooks_oldest_age_seconds")
    if age_s is None:
        return skipped("this process does not use the queue")
    if age_s > BACKLOG_S_WANTED:
        return warning(
            f"the oldest delivery waits for {age_s:,.0f} s: an endpoint fails or is slow",
            "`airy console --open webhooks` shows which; repair or unsubscribe it",
        )
    return ok(f"none waits for more than {BACKLOG_S_WANTED:g} s")


def dead_deliveries(facts: InstanceFacts) -> Findings:
    count = _sum(facts, "airy_dead_deliveries")
    if count is None:
        return _unread("metrics")
    if count:
        return warning(
            f"{count:,.0f} webhook deliveries failed their last attempt",
            "repair the endpoint, then replay them: airy console --write --open webhooks",
        )
    return ok("none")


def dead_letters(facts: InstanceFacts) -> Findings:
    if facts.dead_letters is None:
        return _unread("dead letters")
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
        return _unread("channels")
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
        return _unread("channels")
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


# --- the public address


def public_url(facts: SettingFacts) -> Findings:
    """Providers post webhooks to https addresses of the internet only."""
    config = facts.config
    enabled = enabled_components(config)
    calling = [spec.name for spec in SOURCES if spec.webhooks and source_component(spec).id in enabled]
    url = config.http.public_url
    if not calling:
        return ok("no enabled source is called by a provider")
    names = ", ".join(calling)
    if not url:
        return ok(f"not set; {names} work without it, if the address at the provider is right")
    parts = urlsplit(url)
    try:
        check_url(f"https://{parts.netloc}", EgressPolicy(ports=()))
    except Refused:
        return warning(
            f"http.publicUrl is {url}, which only machines of this network reach: no provider posts webhooks there",
            "set http.publicUrl: https://HOST, the address of your proxy; simulated providers may keep it",
        )
    if parts.scheme != "https":
        return problem(
            f"http.publicUrl is {url}: providers post webhooks to https only, and sign that address",
            f"set http.publicUrl: https://{parts.netloc}, with TLS in front",
        )
    return ok(url)


def public_url_reached(facts: PublicUrlFacts) -> Findings:
    step = "point http.publicUrl, DNS and the proxy to this installation, without a change of the path"
    if facts.airy:
        return ok(f"{facts.url} leads to Airy")
    if facts.error.startswith("time-out"):
        return warning(
            f"{facts.url} does not answer from this machine: {facts.error}",
            f"try it from outside: curl {facts.url}/livez",
        )
    if facts.error:
        return problem(f"{facts.url} does not lead to an instance: {facts.error}", step)
    return problem(f"{facts.url}/livez answered {facts.status}, and not as Airy does: another program is there", step)


# --- small


def names(all_names: Sequence[str]) -> str:
    """The first ones, and how many more."""
    shown = ", ".join(all_names[:NAMES_MAX])
    return shown if len(all_names) <= NAMES_MAX else f"{shown} and {len(all_names) - NAMES_MAX} more"


def _live(facts: InstanceFacts) -> list[ProcessView]:
    return [one for one in facts.processes or () if not one.stale]


def _unread(what: str) -> Findings:
    return skipped(f"the instance does not show its {what} to this token")


def _sum(facts: InstanceFacts, name: str) -> float | None:
    """Of all samples of a metric; None if there is none."""
    metrics = facts.metrics or {}
    found = [value for sample, value in metrics.items() if sample.partition("{")[0] == name]
    return sum(found) if found else None
