"""Finds the visitor of a chat plugin by the token of a visit."""

from collections.abc import Callable

from airy.commands import Unauthenticated, Visit, VisitorCommands
from airy.errors import Unavailable
from airy.http.auth import Caller, CallerKind
from airy.permissions import PERMISSIONS, Role


class VisitorDirectory:
    """`caught_up`: whether the store holds what was in the log at the start, and so every revocation."""

    def __init__(self, visitors: VisitorCommands, caught_up: Callable[[], bool]) -> None:
        self._visitors = visitors
        self._caught_up = caught_up

    async def find(self, token: bytes, /) -> Caller | None:
        visit = self._visitors.tokens.read_visit(token.decode("latin-1"))
        if visit is None:
            return None
        if not self._caught_up():
            raise Unavailable("this replica is still folding the log: visits that have ended are not known yet")
        try:
            await self._visitors.check_family(visit)
        except Unauthenticated:
            return None
        return visitor(visit)


def visitor(visit: Visit) -> Caller:
    claims = {"channel_id": visit.channel_id, "family": str(visit.family)}
    return Caller(visit.conversation_id, PERMISSIONS[Role.VISITOR], kind=CallerKind.VISITOR, claims=claims)


def visit_of(caller: Caller | None) -> Visit | None:
    """None for a caller that is no visitor."""
    if caller is None or caller.kind is not CallerKind.VISITOR:
        return None
    return Visit(conversation_id=caller.id, channel_id=caller.claims["channel_id"], family=int(caller.claims["family"]))
