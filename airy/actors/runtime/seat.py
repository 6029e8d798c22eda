"""A child as its supervisor sees it: what is wanted of it, and when. Lasts as long as the supervisor's
incarnation.
"""

from math import inf

from airy.actors.runtime.node import Node


class Seat:
    def __init__(self, node: Node, *, temporary: bool) -> None:
        self.node = node
        self.temporary = temporary
        self.wanted = True  # False: done for good
        self.gated = True  # starts only after its elders are ready
        self.must_stop = False
        self.due_at = -inf
        self.failures = 0  # in a row

    @property
    def settled(self) -> bool:
        return not self.wanted or self.node.phase == "ready"
