"""The laws of the fold, for any log Hypothesis can think of."""

import hypothesis.strategies as st
import msgspec
from hypothesis import given
from msgspec import Raw

from airy.model import invariants
from airy.model.change import Change
from airy.model.delivery import Delivery
from airy.model.fact import Fact
from airy.model.fold import fold
from airy.model.render import conversation_metadata, render_message
from tests.kit.builders import START_MS, Chat
from tests.kit.facts import REPORTS, TIMES, anything, logs, times
from tests.kit.fold import DictState, LiveState, Reference, fold_all

STATES = st.sampled_from(REPORTS)


def final(reference: Reference, chat: Chat) -> bytes:
    return reference.state(chat.conversation_id).snapshot()


@given(logs)
def test_every_invariant_holds_after_every_fact(log: list[Fact]) -> None:
    chat, state, told = Chat(), DictState(), list[Change]()
    accepted = 0
    for fact in log:
        before = {message.id: message for message in state.messages()}
        snapshot = state.snapshot()
        folded = fold(state, fact)
        accepted += folded.accepted
        told += folded.changes
        conversation, messages = state.conversation(), state.messages()
        if not folded.accepted:
            assert not folded.changes
            assert DictState.restored(snapshot).messages() == messages
        if conversation is not None:
            assert conversation.id == chat.conversation_id
            assert conversation.sequence == accepted
            assert invariants.broken(conversation, messages) == []
        assert all(invariants.moved_by_the_table(before.get(message.id), message) for message in messages)
        assert all(change.sequence == accepted for change in folded.changes)
    assert invariants.told_wrongly(told) == []


@given(logs)
def test_the_fold_changes_nothing_it_does_not_put(log: list[Fact]) -> None:
    """A store keeps the structs of a batch: a rejected fact must not have touched them, an accepted one must say so."""
    live, encoded = LiveState(), DictState()
    for fact in log:
        before = live.frozen()
        fold(live, fact)
        folded = fold(encoded, fact)
        assert live.frozen().snapshot() == encoded.snapshot()
        if not folded.accepted:
            assert live.frozen().messages() == before.messages()
            assert live.frozen().conversation() == before.conversation()


@given(logs, st.data())
def test_a_fact_told_again_at_any_later_point_changes_nothing(log: list[Fact], data: st.DataObject) -> None:
    once = fold_all(log)
    repeated = list(log)
    for _ in range(data.draw(st.integers(1, 8))):
        if repeated:
            again = data.draw(st.integers(0, len(repeated) - 1))
            repeated.insert(data.draw(st.integers(again + 1, len(repeated))), repeated[again])
    twice = fold_all(repeated)
    assert twice.digest() == once.digest()
    assert twice.changes == once.changes
    assert twice.accepted == once.accepted


@given(st.lists(st.tuples(st.integers(0, 2), anything), max_size=40), st.randoms(use_true_random=False))
def test_conversations_do_not_know_of_each_other(made: list[tuple[int, object]], random: object) -> None:
    chats = [Chat(number) for number in range(3)]
    log = [make(chats[number]) for number, make in made]  # type: ignore[operator]
    apart = fold_all(fact for chat in chats for fact in log if fact.conversation_id == chat.conversation_id)
    together = fold_all(log)
    assert together.digest() == apart.digest()
    assert sorted(together.changes, key=lambda change: change.id) == sorted(apart.changes, key=lambda change: change.id)


@given(logs, st.integers(0, 40))
def test_a_prefix_and_then_the_rest_is_the_whole(log: list[Fact], cut: int) -> None:
    """With the state written down and read back in between."""
    whole, first = fold_all(log), fold_all(log[:cut])
    second = Reference()
    second.states = {name: DictState.restored(state.snapshot()) for name, state in first.states.items()}
    second.fold_all(log[cut:])
    assert second.digest() == whole.digest()
    assert first.changes + second.changes == whole.changes


@given(logs)
def test_what_the_log_carries_is_all_the_fold_sees(log: list[Fact]) -> None:
    """Facts read back from their bytes give the same bytes out."""
    carried = [msgspec.json.decode(msgspec.json.encode(fact), type=Fact) for fact in log]
    assert fold_all(carried).changes == fold_all(log).changes


# --- the order law


def told_by_the_provider(data: st.DataObject, chat: Chat) -> list[Fact]:
    """Events a provider can send without contradicting itself: each message once, everything else at will."""
    facts: list[Fact] = []
    for place, name in enumerate(("a", "b", "c")):
        if data.draw(st.booleans(), label=f"{name} arrives"):
            window = data.draw(st.none() | times)
            facts.append(chat.received(name, at_ms=START_MS + 10_000 * place + 1, window_until_ms=window))
    for place, name in enumerate(("x", "y", "z")):  # x and y may be ours, z is somebody else's
        if data.draw(st.booleans(), label=f"{name} is echoed"):
            ours = name if name != "z" and data.draw(st.booleans(), label=f"{name} carries our id") else None
            facts.append(chat.echoed(name, at_ms=START_MS + 10_000 * place + 2, ours=ours))
    about = st.sampled_from(("a", "b", "x", "y", "z"))
    for _ in range(data.draw(st.integers(0, 8), label="more")):
        at_ms, name = data.draw(times), data.draw(about)
        match data.draw(st.integers(0, 5)):
            case 0:
                facts.append(chat.edited(name, f"edit at {at_ms}", data.draw(st.integers(0, 2)), at_ms=at_ms))
            case 1:
                facts.append(chat.deleted(name, at_ms=at_ms))
            case 2:
                emoji = data.draw(st.sampled_from(("❤️", "👍", None)))
                facts.append(chat.reacted(name, emoji, actor=data.draw(st.sampled_from("12")), at_ms=at_ms))
            case 3:
                facts.append(chat.receipt(data.draw(STATES), watermark_ms=at_ms, at_ms=at_ms))
            case 4:
                facts.append(chat.handover(owner=data.draw(st.none() | st.just("7")), at_ms=at_ms))
            case _:
                state = data.draw(STATES)
                facts.append(chat.receipt(state, name, at_ms=at_ms, error=f"refused at {at_ms}"))
    return facts


def our_sends(data: st.DataObject, chat: Chat, name: str) -> tuple[list[Fact], list[Fact]]:
    """A message of ours up to the call, and what may become of it, in the order it is recorded."""
    begun: list[Fact] = [
        chat.queued(name, at_ms=START_MS + 100, recipient_id="someone"),
        chat.started(name, at_ms=data.draw(st.sampled_from(TIMES))),
    ]
    sent = chat.succeeded(name, provider=data.draw(st.sampled_from((name, None))))
    lost = chat.unknown(name)
    refused = chat.failed(name)
    again = chat.failed(name, retry_at_ms=START_MS)
    ends: list[list[Fact]] = [
        [],
        [sent],
        [lost],
        [refused],
        [again],
        [lost, sent],
        [lost, refused],
        [lost, again],
    ]
    return begun, data.draw(st.sampled_from(ends))


def outcome(reference: Reference, chat: Chat) -> object:
    """What must not depend on order. Numbers of facts may, and so may copies of ours that nobody sees any more."""
    state = reference.state(chat.conversation_id)
    conversation = state.conversation()
    if conversation is None:
        return None
    messages = sorted(
        (message for message in state.messages() if not (message.echoed and message.deleted)),
        key=lambda message: message.id,
    )
    shown = [
        (render_message(message), message.deleted, message.reported, sorted(message.reactions.items()), message.attempt)
        for message in messages
    ]
    news = sorted(conversation.parked.items())
    facts_about = (
        conversation.unread_count,
        conversation.window_until_ms,
        conversation.read_until_ms,
        conversation.handover_owner,
        conversation.last_message_at_ms,
    )
    return msgspec.to_builtins((shown, news, facts_about, conversation_metadata(conversation)), enc_hook=_plain)


def _plain(value: object) -> object:
    assert isinstance(value, Raw)
    return bytes(value).decode()


@given(st.data())
def test_what_the_provider_says_may_come_in_any_order_any_number_of_times(data: st.DataObject) -> None:
    """After our own sends came to whatever they came to."""
    chat = Chat()
    begun, ends = our_sends(data, chat, "x")
    other_begun, other_ends = our_sends(data, chat, "y")
    ours = begun + ends + other_begun + other_ends
    told = told_by_the_provider(data, chat)
    again = data.draw(st.lists(st.sampled_from(told), max_size=5)) if told else []
    shuffled = data.draw(st.permutations(told + again))
    assert outcome(fold_all(ours + shuffled), chat) == outcome(fold_all(ours + told), chat)


@given(st.data())
def test_what_the_provider_says_may_overtake_the_outcome_of_our_call(data: st.DataObject) -> None:
    chat = Chat()
    begun, ends = our_sends(data, chat, "x")
    told = told_by_the_provider(data, chat)
    mixed = data.draw(st.permutations(told))
    for place, fact in zip(sorted(data.draw(st.integers(0, len(mixed))) for _ in ends), ends, strict=True):
        mixed.insert(place + ends.index(fact), fact)
    assert outcome(fold_all(begun + mixed), chat) == outcome(fold_all(begun + ends + told), chat)


def test_the_order_law_can_fail() -> None:
    """The view the law compares does tell a failed message from a sent one."""
    chat = Chat()
    ours: list[Fact] = [
        chat.queued("x", recipient_id="someone"),
        chat.started("x"),
        chat.succeeded("x", provider="x"),
    ]
    failed = [*ours, chat.receipt(Delivery.FAILED, "x")]
    assert outcome(fold_all(ours), chat) != outcome(fold_all(failed), chat)
