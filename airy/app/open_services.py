"""Opens the real ports of a process: log, store, queue, sockets; and builds its services over them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from airy import acls, topics
from airy.actors.delivery import RESPONSE_BODY_S
from airy.app import files, topic_admin
from airy.app.kafka import kafka_settings
from airy.app.redis import redis_server
from airy.app.services import Ports, Services, attachment_egress_policy, build_services, webhook_egress_policy
from airy.bus.kafka import KafkaBus
from airy.bus.kafka.producer import codec
from airy.bus.memory import MemoryBus, open_journal
from airy.clock import Clock, RandomIds
from airy.components import APPS, ConsumerSection
from airy.config import Config, enabled_components
from airy.egress import UNRESTRICTED
from airy.errors import Refused
from airy.http_client_aiohttp import AiohttpClient
from airy.media.object_storage import S3Bucket, bucket_storage, local_storage
from airy.media.storage import MediaStorage
from airy.queue.redis import RedisQueue
from airy.queue.sqlite import SqliteQueue
from airy.store.factory import create_store


@asynccontextmanager
async def open_services(
    config: Config, running: frozenset[str], clock: Clock, *, ephemeral: bool
) -> AsyncIterator[Services]:
    """Raises `Refused`, `Unavailable`, `InUse`."""
    _check_queue(config)
    async with AsyncExitStack() as held:
        bus, store_path = await _open_log(config, running, clock, held, ephemeral=ephemeral)
        store = create_store(store_path)
        await store.open()
        held.push_async_callback(store.close)
        queue = await _open_queue(config, held, durable=store_path is not None)
        media, media_temporary = _open_media(config, held, durable=store_path is not None)
        provider_http = await held.enter_async_context(AiohttpClient(UNRESTRICTED))
        attachments = AiohttpClient(attachment_egress_policy(config), connections_max=config.media.fetch.parallel_max)
        ports = Ports(
            clock=clock,
            ids=RandomIds(),
            bus=bus,
            store=store,
            queue=queue,
            sealer=files.sealer(config),
            media=media,
            media_temporary=media_temporary,
            provider_http=provider_http,
            webhook_http=await held.enter_async_context(_webhook_client(config)),
            provider_files=provider_http,
            attachment_files=await held.enter_async_context(attachments),
            wait_for_arrival=queue.wait_for_arrival,
        )
        yield build_services(config, ports)


def _webhook_client(config: Config) -> AiohttpClient:
    """With a connection for each delivery in flight, so that none waits for those of others."""
    return AiohttpClient(
        webhook_egress_policy(config),
        connections_max=config.section(ConsumerSection).in_flight_max,
        body_s=RESPONSE_BODY_S,
    )


def lacks_shared_queue(config: Config) -> bool:
    """A rule over two sections that matters only to a running process."""
    webhooks = enabled_components(config) & frozenset(APPS["webhooks"])
    return config.bus.kind == "kafka" and config.queue.kind == "embedded" and bool(webhooks)


def _check_queue(config: Config) -> None:
    if lacks_shared_queue(config):
        raise Refused(
            "webhook deliveries of a cluster wait in Redis, where every process finds them: set queue.kind: redis "
            "and queue.redis.url, or --redis redis://host:port/0; or disable webhook-publisher and webhook-consumer",
            field="queue.kind",
        )


async def _open_log(
    config: Config, running: frozenset[str], clock: Clock, held: AsyncExitStack, *, ephemeral: bool
) -> tuple[MemoryBus | KafkaBus, Path | None]:
    """The log, and the path of its store; None: the store is kept in memory."""
    if config.bus.kind == "kafka":
        settings = kafka_settings(config)
        codec(settings)
        kafka = config.bus.kafka
        await topic_admin.verify_topics(
            settings, acls.used(running), replication=kafka.replication, min_in_sync=kafka.min_in_sync
        )
        path = held.enter_context(files.claimed_store(config))
        return KafkaBus(topics.ALL, settings), None if ephemeral else path
    if ephemeral or config.bus.kind == "memory":
        return MemoryBus(topics.ALL, clock=clock), None
    journal = held.enter_context(open_journal(files.journal_path(config)))
    return MemoryBus(topics.ALL, clock=clock, journal=journal), files.store_path(config)


async def _open_queue(config: Config, held: AsyncExitStack, *, durable: bool) -> SqliteQueue | RedisQueue:
    section = config.queue
    if section.kind == "redis":
        shared = RedisQueue(redis_server(config), namespace=section.redis.namespace, jobs_max=section.jobs_max)
        await shared.open()
        held.push_async_callback(shared.close)
        return shared
    queue = SqliteQueue(files.queue_path(config) if durable else ":memory:", jobs_max=section.jobs_max)
    await queue.open()
    await queue.expire_all_leases()  # safe: the journal's lock excludes every other process
    held.push_async_callback(queue.close)
    return queue


def _open_media(config: Config, held: AsyncExitStack, *, durable: bool) -> tuple[MediaStorage, Path]:
    """The storage, and the directory in which files are kept while they arrive: on the same disk, if it is local."""
    if durable or config.media.directory is not None:
        directory = files.media_directory(config)
    else:
        directory = Path(held.enter_context(TemporaryDirectory(prefix="airy-media-")))
    directory.mkdir(parents=True, exist_ok=True)
    if config.media.kind == "local":
        return local_storage(directory), directory
    section = config.media.s3
    bucket = S3Bucket(
        name=section.bucket,
        region=section.region,
        endpoint=section.endpoint,
        access_key_id=section.access_key_id,
        secret_access_key=section.secret_access_key,
        path_style=section.path_style,
        private=section.allow_private_addresses,
    )
    return bucket_storage(bucket), directory
