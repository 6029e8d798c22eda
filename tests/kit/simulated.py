"""Every kind of channel that has a simulated provider, with the provider."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from airy.secret import Secret
from airy.sim.google import BusinessMessagesOptions, BusinessMessagesProvider
from airy.sim.graph import DEMO_INSTAGRAM, DEMO_NUMBER, DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SimulatedProvider
from airy.sim.provider.setup import Connect
from airy.sim.rcs import RcsOptions, RcsProvider
from airy.sim.telegram import TelegramOptions, TelegramProvider
from airy.sim.twilio import DEMO_SENDER, DEMO_SMS_NUMBER, TwilioOptions, TwilioProvider
from airy.sim.viber import ViberOptions, ViberProvider
from airy.sources.catalogue import SOURCES
from airy.sources.spec import ChannelForm, Kind, SourceSpec
from tests.kit.providers.base import PUBLIC_URL

CLOCK_OFF_S_MAX = 7_200  # simulations set the clock of a machine by an hour; Google allows minutes


class MakeProvider(Protocol):
    def __call__(self, behaviour: Behaviour, *, seed: int = 0, now_ms: int = 0) -> SimulatedProvider[Any]: ...


def _graph(*accounts: Any) -> MakeProvider:
    def make(behaviour: Behaviour, *, seed: int = 0, now_ms: int = 0) -> SimulatedProvider[Any]:
        return GraphProvider(GraphOptions(accounts=accounts, behaviour=behaviour, seed=seed), now_ms=now_ms)

    return make


def _twilio(*accounts: Any) -> MakeProvider:
    def make(behaviour: Behaviour, *, seed: int = 0, now_ms: int = 0) -> SimulatedProvider[Any]:
        options = TwilioOptions(accounts=accounts, behaviour=behaviour, seed=seed, public_url=PUBLIC_URL)
        return TwilioProvider(options, now_ms=now_ms)

    return make


def _viber(behaviour: Behaviour, *, seed: int = 0, now_ms: int = 0) -> SimulatedProvider[Any]:
    return ViberProvider(ViberOptions(behaviour=behaviour, seed=seed), now_ms=now_ms)


def _telegram(behaviour: Behaviour, *, seed: int = 0, now_ms: int = 0) -> SimulatedProvider[Any]:
    return TelegramProvider(TelegramOptions(behaviour=behaviour, seed=seed), now_ms=now_ms)


def _google(behaviour: Behaviour, *, seed: int = 0, now_ms: int = 0) -> SimulatedProvider[Any]:
    options = BusinessMessagesOptions(behaviour=behaviour, seed=seed, clock_off_s_max=CLOCK_OFF_S_MAX)
    return BusinessMessagesProvider(options, now_ms=now_ms)


def _rcs(behaviour: Behaviour, *, seed: int = 0, now_ms: int = 0) -> SimulatedProvider[Any]:
    options = RcsOptions(behaviour=behaviour, seed=seed, clock_off_s_max=CLOCK_OFF_S_MAX)
    return RcsProvider(options, now_ms=now_ms)


PROVIDERS: Mapping[str, MakeProvider] = {
    "facebook": _graph(DEMO_PAGE),
    "instagram": _graph(DEMO_INSTAGRAM, DEMO_PAGE),
    "whatsapp": _graph(DEMO_NUMBER),
    "twilio.sms": _twilio(DEMO_SMS_NUMBER),
    "twilio.whatsapp": _twilio(DEMO_SENDER),
    "viber": _viber,
    "telegram": _telegram,
    "google": _google,
    "rcs": _rcs,
}
"""By kind, with the accounts of that kind first."""

ALL_PROVIDERS: tuple[MakeProvider, ...] = (
    _graph(DEMO_PAGE, DEMO_INSTAGRAM, DEMO_NUMBER),
    _twilio(DEMO_SMS_NUMBER, DEMO_SENDER),
    _viber,
    _telegram,
    _google,
    _rcs,
)
"""As providers are: one for all of its kinds."""


def kind_named(name: str) -> tuple[SourceSpec, Kind]:
    return next((spec, kind) for spec in SOURCES for kind in spec.kinds if kind.name == name)


def form_of(connect: Connect) -> ChannelForm:
    _, kind = kind_named(connect.kind)
    form: ChannelForm = msgspec.convert(connect.body, kind.connect, dec_hook=lambda _, text: Secret(text))
    return form
