"""Hypothesis strategies for logs of one conversation.

Message names, times and texts are drawn from small sets, so that facts refer to the same few messages.
"""

from collections.abc import Callable

import hypothesis.strategies as st
from msgspec import Raw

from airy.model import ids
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact
from airy.model.raw import NULL
from tests.kit.builders import START_MS, Chat

NAMES = ("a", "b", "c")
OURS = ("x", "y")
TIMES = [START_MS + 1000 * n for n in range(12)]
REPORTS = (DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ, DeliveryState.FAILED)

Made = Callable[[Chat], Fact]

names = st.sampled_from(NAMES)
provider_names = st.sampled_from((*NAMES, *OURS))
ours = st.sampled_from(OURS)
times = st.sampled_from(TIMES)
attempts = st.integers(1, 4)
tags = st.sampled_from([ids.derive("tag", name) for name in ("Urgent", "Later")])
keys = st.sampled_from(("user_data", "user_data.a", "user_data.a.b", "contact.display_name", "contact", "state"))


def _made(
    method: Callable[..., Fact],
    *args: st.SearchStrategy[object],
    **kwargs: st.SearchStrategy[object],
) -> st.SearchStrategy[Made]:
    positional = st.tuples(*args)
    named = st.fixed_dictionaries(kwargs)
    return st.builds(lambda got, more: lambda chat: method(chat, *got, **more), positional, named)


def _receipt(chat: Chat, state: DeliveryState, about: list[str], watermark_ms: int | None, at_ms: int) -> Fact:
    pricing = Raw(b'{"category":"%s"}' % state.value.encode()) if at_ms % 3 == 0 else NULL
    error = f"refused at {at_ms}"
    return chat.receipt(state, *about, watermark_ms=watermark_ms, at_ms=at_ms, error=error, pricing=pricing)


from_providers: st.SearchStrategy[Made] = st.one_of(
    _made(Chat.received, names, at_ms=times, window_until_ms=st.none() | times),
    _made(Chat.echoed, ours, at_ms=times),
    _made(Chat.echoed, ours, at_ms=times, ours=ours),
    st.builds(
        lambda *got: lambda chat: _receipt(chat, *got),
        st.sampled_from(REPORTS),
        st.lists(provider_names, max_size=2, unique=True),
        st.none() | times,
        times,
    ),
    _made(Chat.edited, provider_names, st.sampled_from(("new", "newer")), st.integers(0, 3), at_ms=times),
    _made(Chat.deleted, provider_names, at_ms=times),
    _made(
        Chat.reacted,
        provider_names,
        st.sampled_from(("❤️", "👍", None)),
        actor=st.sampled_from(("1", "2")),
        at_ms=times,
    ),
    _made(Chat.handover, st.sampled_from(("pass", "take", "roles")), st.none() | st.just("7"), at_ms=times),
    _made(
        Chat.identified,
        st.sampled_from(("another", "a third")),
        participant_id=st.none() | st.just("another"),
        same_contact=st.none() | st.just("c"),
        at_ms=times,
    ),
    _made(Chat.noted, referral=st.sampled_from(("flyer", "ad", None)), at_ms=times),
)

from_us: st.SearchStrategy[Made] = st.one_of(
    _made(Chat.queued, ours, recipient_id=st.none() | st.just("someone")),
    _made(Chat.deferred, ours, recipient_id=st.none() | st.just("someone")),
    _made(Chat.resend, ours),
    _made(Chat.cancel, ours),
    _made(Chat.resumed, st.integers(0, 2), family=st.integers(0, 1), at_ms=times),
    _made(Chat.revoked, st.integers(0, 1), at_ms=times),
    _made(Chat.started, ours, attempts, worker=st.sampled_from(("w1", "w2"))),
    _made(Chat.succeeded, ours, attempts, provider=st.none() | ours),
    _made(Chat.failed, ours, attempts, retry_at_ms=st.none() | times),
    _made(Chat.unknown, ours, attempts),
    st.builds(lambda key, value: lambda chat: chat.metadata({key: value}), keys, st.integers(0, 2)),
    st.builds(lambda key: lambda chat: chat.metadata({}, remove=(key,)), keys),
    st.builds(
        lambda name, value: lambda chat: chat.metadata({"user_data.n": value}, message_id=chat.inbound_id(name)),
        names,
        st.integers(0, 2),
    ),
    _made(Chat.profile, st.none() | st.just("Ines"), found=st.booleans()),
    _made(Chat.refetch),
    _made(Chat.read),
    _made(Chat.tag_added, tags),
    _made(Chat.tag_removed, tags),
    _made(Chat.state_changed, st.sampled_from(("OPEN", "CLOSED", None)), base=st.none() | st.integers(0, 9)),
)

anything = st.one_of(from_providers, from_us)


def log_of(made: list[Made], chat: Chat | None = None) -> list[Fact]:
    """The facts; each has its own id unless it is derived from its cause."""
    chat = chat or Chat()
    return [make(chat) for make in made]


logs = st.lists(anything, max_size=40).map(log_of)
