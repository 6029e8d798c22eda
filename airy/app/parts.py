"""The ports of one process, bundled: the same tree is built over real ones and over simulated ones."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import anyio
from msgspec import Struct, field

from airy import topics
from airy.actors.commands import Commands, Writer
from airy.actors.follower import Follower
from airy.actors.webhooks.queue import WebhookQueue
from airy.addresses import Reach
from airy.app.accounts import FacebookAccounts
from airy.app.checkpointer import Checkpointed
from airy.app.roll import Roll
from airy.app.watch import Watch
from airy.bus.api import Bus
from airy.clock import Clock, Ids
from airy.config import Config
from airy.fetch import Fetch
from airy.histogram import LONG_S, Histogram
from airy.model.entity import Channel
from airy.seal import Sealer, place
from airy.sources.api import Source
from airy.sources.facebook import Facebook, FacebookConfig
from airy.store.api import Store


class Parts(Struct, kw_only=True):
    config: Config
    clock: Clock
    ids: Ids
    bus: Bus
    store: Store
    queue: WebhookQueue
    follower: Follower
    watch: Watch
    roll: Roll
    provider_fetch: Fetch  # to providers: addresses the operator configured
    webhook_fetch: Fetch  # to subscribers' endpoints: addresses anybody may have typed in
    sealer: Sealer
    sources: Mapping[str, Source]
    commands: Commands
    arrived: Callable[[float], Awaitable[None]]  # waits until the queue has something new, or so many seconds
    kept: Checkpointed | None = None  # the store, where it is kept in a file
    counts: Counter[str] = field(default_factory=Counter)  # what became of provider webhooks; survives restarts
    deliveries: Counter[str] = field(default_factory=Counter)  # attempts of ours that succeeded and failed
    lateness: Histogram = field(default_factory=lambda: Histogram(LONG_S))  # of changes, when an endpoint took them

    def unseal(self, channel: Channel) -> str:
        """A channel's token in clear. Raises `Refused`."""
        return self.sealer.unseal(channel.token or "", place(topics.CHANNELS.name, channel.id, "token"))


def assemble(
    config: Config,
    *,
    clock: Clock,
    ids: Ids,
    bus: Bus,
    store: Store,
    queue: WebhookQueue,
    sealer: Sealer,
    provider_fetch: Fetch,
    webhook_fetch: Fetch,
    arrived: Callable[[float], Awaitable[None]] = anyio.sleep,
    kept: Checkpointed | None = None,
) -> Parts:
    """What follows from the ports and the configuration."""
    follower = Follower(bus, store)
    facebook = Facebook(facebook_config(config))
    return Parts(
        config=config,
        clock=clock,
        ids=ids,
        bus=bus,
        store=store,
        queue=queue,
        sealer=sealer,
        follower=follower,
        provider_fetch=provider_fetch,
        webhook_fetch=webhook_fetch,
        arrived=arrived,
        kept=kept,
        sources={facebook.name: facebook},
        watch=Watch(bus, follower),
        roll=Roll(bus, clock),
        commands=Commands(
            Writer(bus, follower.reached, clock, ids),
            store,
            sealer,
            FacebookAccounts(provider_fetch, facebook.config),
            message_ttl_s=config.components.api_communication.message_ttl_s,
            reach=webhook_reach(config),
        ),
    )


def webhook_reach(config: Config) -> Reach:
    """Where outbound webhooks may go; checked when somebody subscribes, and at each connection."""
    guard = config.security.webhooks
    return Reach(ports=guard.ports, http=guard.allow_http, private=guard.allow_private_addresses)


def facebook_config(config: Config) -> FacebookConfig:
    """Where the component is off, placeholders: nothing is verified or sent with them."""
    given = config.components.sources_facebook
    return FacebookConfig(
        app_id=given.app_id or "off",
        app_secrets=tuple(secret.reveal() for secret in given.app_secret) or ("off",),
        verify_token=given.webhook_secret.reveal() if given.webhook_secret else "off",
        graph_url=given.graph_url,
        graph_version=given.graph_version,
        human_agent=given.human_agent,
    )
