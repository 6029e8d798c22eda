"""Gathers the facts of all checks, in parallel, each kind within `GATHER_S`."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from airy import acls
from airy.app import topic_admin
from airy.app.doctor.catalogue import CHECKS
from airy.app.doctor.check import NotGathered
from airy.app.doctor.examination import Gathered
from airy.app.doctor.facts import (
    ConfigFacts,
    DirectoryFacts,
    LocalStoreFacts,
    LogFacts,
    MachineFacts,
    PortFacts,
    PublicUrlFacts,
    SettingFacts,
)
from airy.app.doctor.gather_directory import gather_directory, gather_log, gather_stores
from airy.app.doctor.gather_instance import gather_instance, gather_public_url, gather_webhook_urls
from airy.app.doctor.gather_machine import gather_machine, gather_port
from airy.app.doctor.instance_facts import InstanceFacts, TokenState, WebhookUrlFacts
from airy.app.kafka import kafka_settings
from airy.app.redis import redis_server
from airy.bus.kafka.inspection import KafkaFacts, inspect_kafka
from airy.clock import Clock
from airy.config import Config
from airy.errors import AiryError, Refused
from airy.http_client import HttpClient
from airy.queue.redis.inspection import RedisFacts, inspect_redis
from airy.queue.redis.keys import KeyNames
from airy.secret import Secret
from airy.token_file import ReadableByOthers
from airy.tui.instance import instance

GATHER_S = 15.0
PLACEHOLDER = "-"  # in place of a token, to learn the address only
INVALID = "the configuration is invalid"
ELSEWHERE = "--url names an instance elsewhere"
CLOSED = "no instance answers at"

Gather = Callable[[], Awaitable[Struct]]


class Question(Struct, frozen=True):
    """What the command line asks about."""

    config: ConfigFacts
    url: str | None = None  # None: the configured instance
    token: str | None = None
    env: Mapping[str, str] = {}


async def gather(question: Question, http: HttpClient, clock: Clock) -> Gathered:
    """Facts by their type. What cannot be gathered says why."""
    config = question.config.config
    absent = NotGathered(INVALID if question.url is None else ELSEWHERE)
    facts: dict[type[Struct], Struct | NotGathered] = {
        **dict.fromkeys({check.facts for check in CHECKS}, absent),
        ConfigFacts: question.config,
        MachineFacts: gather_machine(question.env),
    }
    if config is None and question.url is None:
        return facts
    kinds: dict[type[Struct], Gather] = {}
    if config is not None and question.url is None:
        facts[SettingFacts] = SettingFacts(config)
        kinds |= _of_configuration(config, clock)
    kinds[InstanceFacts] = partial(_instance, question, config or Config(), http, clock)

    async def run(kind: type[Struct], task: Gather) -> None:
        facts[kind] = await _bounded(task)

    async with anyio.create_task_group() as tasks:
        for kind, task in kinds.items():
            tasks.start_soon(run, kind, task)
    return await _completed(facts, question, http)


def _of_configuration(config: Config, clock: Clock) -> dict[type[Struct], Gather]:
    in_thread = anyio.to_thread.run_sync
    return {
        DirectoryFacts: partial(in_thread, gather_directory, config, abandon_on_cancel=True),
        LogFacts: partial(in_thread, gather_log, config, abandon_on_cancel=True),
        LocalStoreFacts: partial(gather_stores, config),
        PortFacts: partial(in_thread, gather_port, config, abandon_on_cancel=True),
        RedisFacts: partial(_redis, config, clock),
        KafkaFacts: partial(_kafka, config),
    }


async def _bounded(task: Gather) -> Struct:
    try:
        with anyio.fail_after(GATHER_S):
            return await task()
    except TimeoutError:
        return NotGathered(f"not within {GATHER_S:g} s")
    except (AiryError, OSError) as error:
        return NotGathered(str(error))
    except Exception as error:  # noqa: BLE001 - the other facts are wanted all the more; the reason is printed
        return NotGathered(f"unexpectedly {type(error).__name__}: {error}")


async def _instance(question: Question, config: Config, http: HttpClient, clock: Clock) -> Struct:
    asked = question.url is not None
    token: Secret | None = None
    without: TokenState = "missing"
    problem = ""
    try:
        url, token = instance(config, question.url, question.token)
    except Refused as error:
        url, _ = instance(config, question.url, PLACEHOLDER)
        without, problem = "exposed" if isinstance(error, ReadableByOthers) else "unreadable", str(error)
    found = await gather_instance(http, url, token, without, clock.now_ms)
    if found.failure and not asked:
        return NotGathered(f"{CLOSED} {url}")
    return replace(found, asked=asked, token_problem=problem)


async def _redis(config: Config, clock: Clock) -> Struct:
    if config.queue.kind != "redis":
        return NotGathered(f"queue.kind is {config.queue.kind}")
    return await inspect_redis(redis_server(config), KeyNames(config.queue.redis.namespace), clock.now_ms)


async def _kafka(config: Config) -> Struct:
    if config.bus.kind != "kafka":
        return NotGathered(f"bus.kind is {config.bus.kind}")
    desired = topic_admin.configured_cluster(config).desired()
    settings = kafka_settings(config)
    found = await inspect_kafka(settings, desired, min_in_sync=config.bus.kafka.min_in_sync)
    used = {name: frozenset(settings.wire_name(topic.name) for topic in acls.used([name])) for name in acls.ACTORS}
    return replace(found, components=used)


async def _completed(facts: dict[type[Struct], Struct | NotGathered], question: Question, http: HttpClient) -> Gathered:
    """With the facts that follow from the instance's."""
    found, local = facts[InstanceFacts], question.url is None
    answers = isinstance(found, InstanceFacts) and not found.failure
    port, log = facts.get(PortFacts), facts.get(LogFacts)
    if isinstance(port, PortFacts):
        port = replace(port, airy=answers and local, found=getattr(found, "installation", ""))
        facts[PortFacts] = port
    if isinstance(log, LogFacts):
        facts[LogFacts] = replace(log, answering=answers and not getattr(port, "foreign", False))
    if not isinstance(found, InstanceFacts) or found.failure:
        reason = found.reason if isinstance(found, NotGathered) else f"{CLOSED} {getattr(found, 'url', '')}"
        facts[PublicUrlFacts] = facts[WebhookUrlFacts] = NotGathered(reason)
        return facts
    config = question.config.config
    public_url = config.http.public_url if local and config else (found.settings or {}).get("http.publicUrl")

    async def run(kind: type[Struct], task: Gather) -> None:
        facts[kind] = await _bounded(task)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, WebhookUrlFacts, partial(gather_webhook_urls, found))
        tasks.start_soon(run, PublicUrlFacts, partial(gather_public_url, http, public_url, found.installation))
    return facts
