"""What the visitors of a chat plugin did and saw, and the rules for it. Pure.

A resume token is named by its conversation, family and generation. `resume` is a use of one; a use with a successor
replaced the token. Times are of the simulation, clocks of processes differ from it by at most `SKEW_S`.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

from msgspec import Struct

from airy.commands.visitors import OVERLAP_MS

SKEW_S = 5.0
OVERLAP_S = OVERLAP_MS / 1000
REUSED_AFTER_S = OVERLAP_S + 2 * SKEW_S  # a second use so late is one of a copy, whatever the clocks
TOO_LATE_S = OVERLAP_S - 2 * SKEW_S  # a second use so late may be taken for one

Outcome = Literal["ok", "refused", "doubt"]  # doubt: it may have had its effect


class ResumeName(Struct, frozen=True):
    conversation: str
    family: int
    generation: int


class VisitorOperation(Struct, frozen=True, kw_only=True):
    """`received`: the resume token of the answer. `opened`: the conversation of the token of a visit that was given or
    received. `shown`: texts of the answer, oldest first; None if it shows none. `final`: after the last fault, when
    every process had folded everything.
    """

    kind: Literal["resume", "send", "probe", "read"]
    begin: float
    end: float
    outcome: Outcome
    presented: ResumeName | None = None
    received: ResumeName | None = None
    opened: str = ""
    family: int = 0  # of the visit that sent or probed
    text: str = ""
    shown: tuple[str, ...] | None = None
    final: bool = False

    @property
    def family_name(self) -> tuple[str, int]:
        given = self.presented
        return (self.opened, self.family) if given is None else (given.conversation, given.family)

    @property
    def replaced(self) -> bool:
        return self.outcome == "ok" and self.presented not in {None, self.received}


def violations(history: Sequence[VisitorOperation]) -> list[str]:
    return [*_conversations(history), *_messages(history), *_successors(history), *_reuses(history), *_ends(history)]


def text_of(conversation: str, name: str) -> str:
    """What a visitor writes names its conversation."""
    return f"{conversation} {name}"


def _conversations(history: Sequence[VisitorOperation]) -> Iterator[str]:
    """A token opens its own conversation."""
    for each in history:
        opened = {each.opened} if each.opened else set()
        opened |= {name.conversation for name in (each.presented, each.received) if name is not None}
        opened |= {text.partition(" ")[0] for text in (each.shown or ())}
        if len(opened) > 1:
            yield f"{each.kind} at {each.begin:.1f} opened {sorted(opened)}"


def _messages(history: Sequence[VisitorOperation]) -> Iterator[str]:
    """What was acknowledged is shown once, in order, and what was refused is not."""
    sends = [each for each in history if each.kind == "send"]
    for look in history:
        if look.shown is None:
            continue
        of_it = [each for each in sends if each.opened == look.opened]
        for text in {text for text in look.shown if look.shown.count(text) > 1}:
            yield f"{text} is shown twice at {look.begin:.1f}"
        for each in of_it:
            if each.outcome == "ok" and each.end < look.begin and each.text not in look.shown:
                yield f"{each.text} is not shown at {look.begin:.1f}"
            if each.text in look.shown and not any(
                other.text == each.text and other.outcome != "refused" and other.begin <= look.end for other in of_it
            ):
                yield f"{each.text} is shown at {look.begin:.1f} and was refused"
        known = {each.text: each for each in of_it if each.outcome == "ok"}
        in_order = [known[text] for text in look.shown if text in known]
        for earlier, later in combinations(in_order, 2):
            if later.end < earlier.begin:
                yield f"{later.text} was written before {earlier.text}, and is shown after it"


def _successors(history: Sequence[VisitorOperation]) -> Iterator[str]:
    """A token is replaced by the next of its family; before the first message it stays."""
    for each in history:
        if each.kind != "resume" or each.outcome != "ok" or each.presented is None:
            continue
        given = each.presented
        following = ResumeName(given.conversation, given.family, given.generation + 1)
        written = any(
            other.kind == "send"
            and other.outcome == "ok"
            and other.opened == given.conversation
            and other.end < each.begin
            for other in history
        )
        if each.received not in ({following} if written else {given, following}):
            yield f"{given} was replaced by {each.received}"


def _reuses(history: Sequence[VisitorOperation]) -> Iterator[str]:
    """A replaced token does not count beyond the overlap, and not at all once its successor was used."""
    uses = [each for each in history if each.kind == "resume"]
    for each in (one for one in uses if one.replaced):
        for again in uses:
            if again.presented != each.presented or again.outcome != "ok":
                continue
            if again.begin > each.end + REUSED_AFTER_S:
                yield f"{again.presented} was used at {each.end:.1f} and began a visit at {again.begin:.1f}"
            if any(other.replaced and other.presented == each.received and other.end < again.begin for other in uses):
                yield f"{again.presented} began a visit at {again.begin:.1f} although its successor was used"


def _ends(history: Sequence[VisitorOperation]) -> Iterator[str]:
    """A refused use ends the family with all visits; no other one ends."""
    for each in history:
        if each.outcome == "refused" and not _copied(history, each):
            yield f"a {each.kind} of {each.family_name} was refused at {each.begin:.1f}, and no token was used twice"
    for refusal in (each for each in history if each.kind == "resume" and each.outcome == "refused"):
        for each in history:
            if each.outcome != "ok" or each.family_name != refusal.family_name or each.begin <= refusal.end:
                continue
            if (each.kind == "resume" and each.presented is not None) or (each.kind == "probe" and each.final):
                yield f"a {each.kind} of {each.family_name} at {each.begin:.1f}, after a use of it was refused"


def _copied(history: Sequence[VisitorOperation], refused: VisitorOperation) -> bool:
    """Whether some token of the family may count as used twice, by one who had a copy."""
    uses = [
        (each, each.presented)
        for each in history
        if each.presented is not None and each.family_name == refused.family_name and each.begin <= refused.end
    ]
    return any(
        (old.generation < new.generation and again.end > first.begin)
        or (old == new and again.end - first.begin > TOO_LATE_S)
        for first, new in uses
        for again, old in uses
        if again is not first
    )
