"""What a source declares about itself, as data: no module that runs one is imported here.

Topics, component, configuration section, webhook paths, `/channels.<kind>.*` endpoints, supervision and secret masking
are derived from these values. `build` is a dotted path, imported only in a process that runs the source.
"""

import re
from importlib import import_module
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct

from airy.sources.canonical import ContentName

Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+", extra={"expected": "an http(s):// address"})]
REQUIRED = Meta(extra={"required": True})
"""Marks a key that an enabled section must set. `Meta(description=…)` documents a key in airy.yaml."""

S = TypeVar("S", bound=Struct)

ProfileOrigin = Literal["none", "webhook", "provider"]
MediaOrigin = Literal["none", "url", "provider"]
Receipt = Literal["sent", "delivered", "read"]
Update = Literal["edit", "deletion", "reaction"]


class SourceSection(Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of a source's configuration; every one has `enabled`."""

    enabled: bool = False


class ChannelForm(Struct, frozen=True, kw_only=True):
    """The base of the bodies of `/channels.<kind>.connect`. Fields of type `Secret` are never shown."""

    name: str | None = None
    image_url: str | None = None


class Recipients(Struct, frozen=True, kw_only=True):
    """How a client of the API may name a contact to begin a conversation with, and what the contact's own messages
    name it: both must agree, or an answer would begin a second conversation.
    """

    pattern: str = r"\S.*"
    expected: str = "what the contact is called at the provider"  # in words, for callers
    ignored: str = ""  # characters that do not count
    prefix: str = ""  # added where it is missing
    none: str = ""  # why no conversation can begin with a message of ours

    def name_of(self, given: str) -> str:
        """Raises `ValueError` with what is wrong."""
        if self.none:
            raise ValueError(self.none)
        name = given.strip().translate(str.maketrans("", "", self.ignored))
        if self.prefix and not name.startswith(self.prefix):
            name = self.prefix + name
        if not re.fullmatch(self.pattern, name):
            raise ValueError(f"expected {self.expected}")
        return name


class SendLimits(Struct, frozen=True, kw_only=True):
    """What the provider takes from one channel."""

    per_s: float
    parallel_max: int  # conversations of one channel at once
    conversation_per_s: float | None = None  # messages to one contact
    conversation_burst: int = 1  # of them at once, paid back with silence


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a kind of channel can do.

    receives  contents of the contact's messages; others are kept as raw
    sends     canonical contents that `encode` takes; each other one is refused by name
    updates   of messages by the contact
    profile   none, webhook (a name comes with the contact's messages) or provider (it has to be asked)
    receipts  delivery states the provider reports after it took a message; empty: a sent message stays `sent`
    echoes    the provider reports messages that other programs sent from the same account
    media     none, url (a public address is in the message) or provider (a call with credentials returns it)
    starts    a conversation may begin with a message of ours
    """

    receives: tuple[ContentName, ...] = ()
    sends: tuple[ContentName, ...] = ()
    updates: tuple[Update, ...] = ()
    profile: ProfileOrigin = "none"
    receipts: tuple[Receipt, ...] = ()
    echoes: bool = False
    mark_read: bool = False
    typing: bool = False
    media: MediaOrigin = "none"
    explore: bool = False
    starts: bool = False


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of channel: `name` is what `Channel.source` holds and what `/channels.<name>.connect` is called.

    The one kind that is `open` has every other `Channel.source`: the id of a `CustomSource`, which exist in any number.
    Its conversations are of the source, whatever channel they are in.
    """

    name: str
    title: str
    account: str  # what identifies a channel at the provider, in words
    account_field: str = "source_channel_id"  # its name in the answer of `explore`
    connect: type[ChannelForm] | None  # None: routes of the source's own make channels
    explore: type[Struct] | None = None
    limits: SendLimits
    capabilities: Capabilities = Capabilities()
    recipients: Recipients = Recipients()
    credentials: tuple[str, ...] = ()  # names of the secrets a channel may hold, sealed
    webhook_credential: str = ""  # the one of them that verifies webhooks; empty: the section's secrets alone do
    channel_namespace: str | None = None  # of ids of channels, where the original's is not the name of the kind
    check_every_s: float | None = None  # so often a channel is checked at its provider, see `Checker`; None: never
    channel_per_connect: bool = False  # every connect makes a channel; otherwise there is one per account
    open: bool = False

    @property
    def namespace(self) -> str:
        """What ids of channels are derived in, together with the account."""
        return self.name if self.channel_namespace is None else self.channel_namespace


class SourceSpec(Struct, frozen=True, kw_only=True):
    """A source. `webhooks` are paths; a part in braces matches one segment: `/telegram/{channel_id}`.

    Without webhooks there is no ingress, no router and no topic of raw events: commands append what contacts write.
    Without a provider Airy itself brings messages to contacts: a send makes no calls, and is done once it is claimed.
    """

    name: str
    title: str
    kinds: tuple[Kind, ...]
    section: type[SourceSection]
    webhooks: tuple[str, ...] = ()
    webhook_bytes_max: int = 1_048_576  # of a request; above the limit of a record, `verify` gives parts
    build: str  # module:class, called with the section and the public address of this installation ("" if unknown)
    services: tuple[str, ...] = ()  # as the original names them in `client.config`
    reported_as: str = ""  # the component of these services there, if not `sources-<name>`
    arrives_with: tuple[str, ...] = ()  # sources whose webhook also brings events of these kinds
    identities: bool = False  # participants have several names, or names that change
    token_exchange: bool = False  # calls need a token that the provider issues for a short time
    webhook_suffix: str = ""  # behind the address that is pasted at the provider, such as parameters in a fragment
    public_url: bool = False  # cannot work without knowing its own public address
    provider: bool = True
    routes: tuple[str, ...] = ()  # HTTP paths of its own, besides webhooks and channels, as in `Component.routes`
    guarded: bool = False  # callers of the API name the addresses it calls: the guard of webhooks applies
    broadcasts: bool = False  # these routes follow changes, so its process needs a broadcaster

    @property
    def channel_secrets(self) -> bool:
        """Webhooks are verified with secrets of channels, not of the section alone."""
        return any(kind.webhook_credential for kind in self.kinds)

    def kind(self, name: str) -> Kind | None:
        return next((kind for kind in self.kinds if kind.name == name), None)

    def webhook_url(self, public_url: str, channel_id: str) -> str | None:
        """What to paste at the provider for a channel; None without webhooks or without a public address."""
        if not self.webhooks or not public_url:
            return None
        path = next((each for each in self.webhooks if "{channel_id}" in each), self.webhooks[0])
        return f"{public_url}{path.format(channel_id=channel_id)}{self.webhook_suffix}"

    def load(self) -> Any:
        """The class behind `build`."""
        module, _, name = self.build.partition(":")
        return getattr(import_module(module), name)


def marks_read(section: SourceSection, kind: Kind) -> bool:
    """Whether contacts see that their messages were read: the kind can show it, and the section does not forbid it."""
    return kind.capabilities.mark_read and bool(getattr(section, "mark_read", False))


def narrow(given: Struct, wanted: type[S]) -> S:
    """`given` as what the spec says it is; anything else is a mistake of the caller."""
    if not isinstance(given, wanted):
        raise TypeError(f"expected {wanted.__name__}, not {type(given).__name__}")
    return given
