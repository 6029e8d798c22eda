"""Properties of the fold, for any log that Hypothesis generates."""

import hypothesis.strategies as st
import msgspec
from hypothesis import given
from msgspec import Raw

from airy.model import invariants
from airy.model.change import Change
from airy.model.delivery_state import DeliveryState
from airy.model.fact import Fact
from airy.model.fold import fold
from airy.model.render import conversation_metadata, render_message
from tests.kit.builders import START_MS, Chat
from tests.kit.fact_strategies import REPORTS, TIMES, anything, logs, times
from tests.kit.fold import DictState, LiveState, ReferenceFold, fold_all

STATES = st.sampled_from(REPORTS)


def final(reference: ReferenceFold, chat: Chat) -> bytes:
    return reference.state(chat.conversation_id).snapshot()


@given(logs)
def test_every_invariant_holds_after_every_fact(log: list[Fact]) -> None:
    chat, state, changes = Chat(), DictState(), list[Change]()
    accepted = 0
    for fact in log:
        before = {message.id: message for message in state.messages()}
        snapshot = state.snapshot()
        folded = fold(state, fact)
        accepted += folded.accepted
        changes += folded.changes
        conversation, messages = state.conversation(), state.messages()
        if not folded.accepted:
            assert not folded.changes
            assert DictState.restored(snapshot).messages() == messages
        if conversation is not None:
            assert conversation.id == chat.conversation_id
            assert conversation.sequence == accepted
            assert invariants.violations(conversation, messages) == []
        assert all(invariants.transition_allowed(before.get(message.id), message) for message in messages)
        assert all(change.sequence == accepted for change in folded.changes)
    assert invariants.change_violations(changes) == []


@given(logs)
def test_the_fold_changes_nothing_it_does_not_put(log: list[Fact]) -> None:
    """A store keeps structs across a batch: a rejected fact must not change them, an accepted one must put them."""
    live, encoded = LiveState(), DictState()
    for fact in log:
        before = live.encoded()
        fold(live, fact)
        folded = fold(encoded, fact)
        assert live.encoded().snapshot() == encoded.snapshot()
        if not folded.accepted:
            assert live.encoded().messages() == before.messages()
            assert live.encoded().conversation() == before.conversation()


@given(logs, st.data())
def test_a_duplicate_fact_at_any_later_point_has_no_effect(log: list[Fact], data: st.DataObject) -> None:
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
def test_conversations_are_independent(made: list[tuple[int, object]], random: object) -> None:
    chats = [Chat(number) for number in range(3)]
    log = [make(chats[number]) for number, make in made]  # type: ignore[operator]
    apart = fold_all(fact for chat in chats for fact in log if fact.conversation_id == chat.conversation_id)
    together = fold_all(log)
    assert together.digest() == apart.digest()
    assert sorted(together.changes, key=lambda change: change.id) == sorted(apart.changes, key=lambda change: change.id)


@given(logs, st.integers(0, 40))
def test_a_prefix_and_then_the_rest_equals_the_whole(log: list[Fact], cut: int) -> None:
    """With the state encoded and decoded in between."""
    whole, first = fold_all(log), fold_all(log[:cut])
    second = ReferenceFold()
    second.states = {name: DictState.restored(state.snapshot()) for name, state in first.states.items()}
    second.fold_all(log[cut:])
    assert second.digest() == whole.digest()
    assert first.changes + second.changes == whole.changes


@given(logs)
def test_the_fold_depends_on_the_encoded_facts_only(log: list[Fact]) -> None:
    """Facts decoded from their bytes make changes with the same bytes."""
    carried = [msgspec.json.decode(msgspec.json.encode(fact), type=Fact) for fact in log]
    assert fold_all(carried).changes == fold_all(log).changes


# --- independence of order


def provider_events(data: st.DataObject, chat: Chat) -> list[Fact]:
    """Consistent events of a provider: each message once, everything else any number of times.

    Edits, reactions and owners have times of their own, because the log orders those of one time. Edits are all counted
    or none is.
    """
    facts: list[Fact] = []
    for place, name in enumerate(("a", "b", "c")):
        if data.draw(st.booleans(), label=f"{name} arrives"):
            window = data.draw(st.none() | times)
            facts.append(chat.received(name, at_ms=START_MS + 10_000 * place + 1, window_until_ms=window))
    for place, name in enumerate(("x", "y", "z")):  # x and y may be sent by Airy, z is sent by another app
        if data.draw(st.booleans(), label=f"{name} is echoed"):
            ours = name if name != "z" and data.draw(st.booleans(), label=f"{name} carries our id") else None
            facts.append(chat.echoed(name, at_ms=START_MS + 10_000 * place + 2, ours=ours))
    about = st.sampled_from(("a", "b", "x", "y", "z"))
    revisions = data.draw(st.sampled_from((st.integers(1, 2), st.just(0))), label="revisions")
    for place in range(data.draw(st.integers(0, 8), label="more")):
        at_ms, name = data.draw(times), data.draw(about)
        own_ms = at_ms + place
        match data.draw(st.integers(0, 5)):
            case 0:
                facts.append(chat.edited(name, f"edit at {own_ms}", data.draw(revisions), at_ms=own_ms))
            case 1:
                facts.append(chat.deleted(name, at_ms=at_ms))
            case 2:
                emoji = data.draw(st.sampled_from(("❤️", "👍", None)))
                facts.append(chat.reacted(name, emoji, actor=data.draw(st.sampled_from("12")), at_ms=own_ms))
            case 3:
                facts.append(chat.receipt(data.draw(STATES), watermark_ms=at_ms, at_ms=at_ms))
            case 4:
                facts.append(chat.handover(owner=data.draw(st.none() | st.just("7")), at_ms=own_ms))
            case _:
                state = data.draw(STATES)
                facts.append(chat.receipt(state, name, at_ms=at_ms, error=f"refused at {at_ms}"))
    return facts


def outbound_sends(data: st.DataObject, chat: Chat, name: str) -> tuple[list[Fact], list[Fact]]:
    """An outbound message up to the call, and its possible outcomes, in the order they are recorded."""
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


def outcome(reference: ReferenceFold, chat: Chat) -> object:
    """The part of the state that must not depend on order. Sequences may, and so may what follows from them or from the
    arrival (the last message, activity), and erased copies of a message.
    """
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
    pending = sorted(conversation.pending_reports.items())
    facts_about = (
        conversation.unread_count,
        conversation.window_until_ms,
        conversation.read_until_ms,
        conversation.handover_owner,
    )
    return msgspec.to_builtins((shown, pending, facts_about, conversation_metadata(conversation)), enc_hook=_plain)


def _plain(value: object) -> object:
    assert isinstance(value, Raw)
    return bytes(value).decode()


@given(st.data())
def test_provider_events_may_arrive_in_any_order_any_number_of_times(data: st.DataObject) -> None:
    """After every possible outcome of the sends."""
    chat = Chat()
    begun, ends = outbound_sends(data, chat, "x")
    other_begun, other_ends = outbound_sends(data, chat, "y")
    sends = begun + ends + other_begun + other_ends
    events = provider_events(data, chat)
    again = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    shuffled = data.draw(st.permutations(events + again))
    assert outcome(fold_all(sends + shuffled), chat) == outcome(fold_all(sends + events), chat)


@given(st.data())
def test_provider_events_may_arrive_before_the_outcome_of_the_call(data: st.DataObject) -> None:
    chat = Chat()
    begun, ends = outbound_sends(data, chat, "x")
    events = provider_events(data, chat)
    mixed = data.draw(st.permutations(events))
    for place, fact in zip(sorted(data.draw(st.integers(0, len(mixed))) for _ in ends), ends, strict=True):
        mixed.insert(place + ends.index(fact), fact)
    assert outcome(fold_all(begun + mixed), chat) == outcome(fold_all(begun + ends + events), chat)


def test_the_comparison_of_outcomes_can_fail() -> None:
    """The compared view differs between a failed and a sent message."""
    chat = Chat()
    sends: list[Fact] = [
        chat.queued("x", recipient_id="someone"),
        chat.started("x"),
        chat.succeeded("x", provider="x"),
    ]
    failed = [*sends, chat.receipt(DeliveryState.FAILED, "x")]
    assert outcome(fold_all(sends), chat) != outcome(fold_all(failed), chat)
