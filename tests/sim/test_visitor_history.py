"""Visitors of a chat plugin at two API replicas: a token opens its own conversation only, a message is written once,
and a resume token that is used again ends the visits.

`VISITOR_SEEDS` is the number of seeds, `AIRY_SEED` the first; `make visitors SEEDS=500` runs more. A failing seed
prints the command that replays it.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from airy.actors.projector import Projector
from airy.commands import Visit, VisitorCommands, Writer, visitors
from airy.errors import Unavailable
from airy.http import chatplugin, visitor_directory
from airy.http.auth import Caller
from airy.model import fold
from airy.model.fact import ResumeTokenUsed
from airy.model.fold_context import FoldContext
from tests.sim.seeded_histories import SeededHistories, by_name
from tests.sim.visitor_history import (
    OVERLAP_S,
    REUSED_AFTER_S,
    TOO_LATE_S,
    ResumeName,
    VisitorOperation,
    text_of,
    violations,
)
from tests.sim.visitor_simulation import VisitorSimulation

HISTORIES = SeededHistories(VisitorSimulation, "VISITOR_SEEDS", __file__, seeds=100)
FAST_SEEDS = 2
PLANTED_SEEDS_MAX = 20

pytestmark = pytest.mark.timeout(600)


def test_visitors_keep_what_is_theirs_in_a_few_histories() -> None:
    HISTORIES.check(range(FAST_SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("block", HISTORIES.blocks)
def test_visitors_keep_what_is_theirs(block: int) -> None:
    HISTORIES.check_block(block)


@pytest.mark.slow
def test_histories_contain_the_cases_the_rules_check() -> None:
    """Unknown outcomes, replaced tokens, refused copies, and visits that have ended."""
    everything = [each for seed in range(10) for each in HISTORIES.simulate(seed).visitor_history]

    assert sum(each.kind == "send" and each.outcome == "doubt" for each in everything) > 20
    assert sum(each.kind == "resume" and each.outcome == "doubt" for each in everything) > 20
    assert sum(each.replaced for each in everything) > 100
    assert sum(each.kind == "resume" and each.outcome == "refused" for each in everything) > 20
    assert sum(each.kind == "probe" and each.outcome == "refused" for each in everything) > 50
    assert sum(len(each.shown or ()) for each in everything) > 500


# --- planted bugs: the rules must find each of them


def judge_tokens_by_an_old_store(patch: pytest.MonkeyPatch) -> None:
    """A replica does not bring its store up to the present before it judges a resume token."""

    async def at_once(*_: Any, **__: Any) -> bool:
        return True

    patch.setattr(Projector, "wait_until_current", at_once)


def replace_any_token(patch: pytest.MonkeyPatch) -> None:
    """The fold takes every use for one of the token that is valid, a repeated record too."""
    rule = fold.RULES[ResumeTokenUsed]

    def used(context: FoldContext, fact: Any) -> bool:
        context.conversation.resume_generation += 1
        context.conversation.resumed_at_ms = fact.at_ms
        return True

    patch.setitem(fold.RULES, ResumeTokenUsed, rule._replace(apply=used, deduplicate=lambda _: False))


def forgive_copies(patch: pytest.MonkeyPatch) -> None:
    """Every older token still begins a visit."""
    judge = visitors.judge

    def forgiving(*given: Any) -> str:
        judged = judge(*given)
        return "replaced" if judged == "reused" else judged

    patch.setattr(visitors, "judge", forgiving)


def refuse_a_copy_and_go_on(patch: pytest.MonkeyPatch) -> None:
    """The second use of a token is refused, and its family is not ended."""

    async def nothing(*_: Any) -> None:
        return

    patch.setattr(VisitorCommands, "_revoke", nothing)


def let_visits_go_on(patch: pytest.MonkeyPatch) -> None:
    """The visits of a family that was ended are not looked for."""

    async def valid(*_: Any) -> None:
        return

    patch.setattr(VisitorCommands, "check_family", valid)


def write_again_at_each_replica(patch: pytest.MonkeyPatch) -> None:
    """Each replica derives its own id from the id of a message."""
    derived = Writer.id_for

    def own(self: Any, cause: Any, *scope: str) -> str:
        return derived(self, cause, *scope, str(id(self)))

    patch.setattr(Writer, "id_for", own)


def answer_before_the_append(patch: pytest.MonkeyPatch) -> None:
    """A message is answered although the log did not take it."""
    send, answered = VisitorCommands.send, list[Any]()

    async def careless(self: Any, *given: Any) -> Any:
        try:
            answered.append(await send(self, *given))
        except Unavailable:
            if not answered:
                raise
        return answered[-1]

    patch.setattr(VisitorCommands, "send", careless)


def serve_the_visitor_before(patch: pytest.MonkeyPatch) -> None:
    """The caller of a request is that of the first one in the process."""
    visit_of, seen = visitor_directory.visit_of, list[Visit | None]()

    def stale(caller: Caller | None) -> Visit | None:
        seen.append(visit_of(caller))
        return seen[0]

    patch.setattr(chatplugin, "visit_of", stale)


PLANTED = by_name(
    judge_tokens_by_an_old_store,
    replace_any_token,
    forgive_copies,
    refuse_a_copy_and_go_on,
    let_visits_go_on,
    write_again_at_each_replica,
    answer_before_the_append,
    serve_the_visitor_before,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    HISTORIES.must_find(PLANTED[name], monkeypatch, seeds_max=PLANTED_SEEDS_MAX)


# --- the rules themselves

CONVERSATION = "x"
FIRST, SECOND, THIRD = (ResumeName(CONVERSATION, 0, number) for number in range(3))


def operation(begin: float, kind: Any, **more: Any) -> VisitorOperation:
    given: dict[str, Any] = {"kind": kind, "begin": begin, "end": begin + 1, "outcome": "ok", "opened": CONVERSATION}
    return VisitorOperation(**given | more)


def sent(begin: float, name: str, **more: Any) -> VisitorOperation:
    return operation(begin, "send", text=text_of(CONVERSATION, name), **more)


def used(begin: float, presented: ResumeName, received: ResumeName | None, **more: Any) -> VisitorOperation:
    return operation(begin, "resume", presented=presented, received=received, **more)


def shows(*names: str) -> tuple[str, ...]:
    return tuple(text_of(CONVERSATION, name) for name in names)


SENT = sent(0, "hello")
USED = used(2, FIRST, SECOND, shown=shows("hello"))
COPIED = used(4 + REUSED_AFTER_S, FIRST, None, outcome="refused")
WRONG: Mapping[str, tuple[list[VisitorOperation], str]] = {
    "a token of another conversation": ([used(2, FIRST, ResumeName("y", 0, 1))], "opened"),
    "a message of another conversation": ([operation(2, "read", shown=("y hello",))], "opened"),
    "a lost message": ([SENT, replace(USED, shown=())], "is not shown"),
    "a doubled message": ([SENT, replace(USED, shown=shows("hello", "hello"))], "twice"),
    "messages out of order": ([SENT, sent(2, "again"), used(4, FIRST, SECOND, shown=shows("again", "hello"))], "after"),
    "a refused message": ([replace(SENT, outcome="refused"), USED], "and was refused"),
    "a token that is not replaced": ([SENT, replace(USED, received=FIRST)], "was replaced by"),
    "a token that is replaced by a later one": ([SENT, replace(USED, received=THIRD)], "was replaced by"),
    "a copy that counts": ([SENT, USED, replace(COPIED, outcome="ok", received=SECOND)], "began a visit"),
    "a token whose successor was used": (
        [SENT, USED, used(4, SECOND, THIRD, shown=shows("hello")), used(6, FIRST, SECOND, shown=shows("hello"))],
        "although its successor",
    ),
    "a copy that ends nothing": (
        [SENT, USED, COPIED, used(COPIED.end + 1, SECOND, THIRD, shown=shows("hello"))],
        "after a use of it was refused",
    ),
    "a visit that goes on": (
        [SENT, USED, COPIED, operation(COPIED.end + 1, "probe", final=True)],
        "after a use of it was refused",
    ),
    "a token that is refused at once": ([SENT, USED, used(4, SECOND, None, outcome="refused")], "no token was used"),
    "a visit that is refused": ([SENT, replace(SENT, begin=4, end=5, outcome="refused")], "no token was used twice"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_rule_is_enforced(name: str) -> None:
    history, words = WRONG[name]

    assert any(words in line for line in violations(history)), violations(history)


def test_a_possible_history_has_no_violations() -> None:
    soon = USED.end + TOO_LATE_S
    history = [
        used(-2, FIRST, FIRST, shown=()),
        SENT,
        sent(0, "lost", outcome="doubt"),
        USED,
        used(soon, FIRST, SECOND, shown=shows("hello")),
        used(soon, FIRST, None, outcome="doubt"),
        COPIED,
        replace(SENT, begin=COPIED.end + OVERLAP_S, end=COPIED.end + OVERLAP_S, text="x late", outcome="refused"),
        operation(COPIED.end + 1, "probe"),
        operation(COPIED.end + 2, "probe", outcome="refused", final=True),
        operation(COPIED.end + 3, "read", shown=shows("hello", "lost"), final=True),
    ]

    assert violations(history) == []
