"""What a supervisor wants of one child, and when. Lives as long as one run of the supervisor."""

from math import inf

from airy.actors.runtime.node import Node


class ChildState:
    def __init__(self, node: Node, *, temporary: bool) -> None:
        self.node = node
        self.temporary = temporary
        self.wanted = True  # False: ended and never started again
        self.waits_for_earlier = True  # starts only when every earlier sibling is ready or ended
        self.must_stop = False
        self.start_at = -inf
        self.failures = 0  # in a row

    @property
    def settled(self) -> bool:
        """Ready, or ended for good."""
        return not self.wanted or self.node.phase == "ready"
