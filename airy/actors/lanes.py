"""How fast and how wide a connector may send, per channel. Pure: `now_ms` is an argument.

A lane is one channel. It holds back when its rate is used up, when `parallel_max` conversations are under way, or for
a while after the provider refused the channel's credentials.
"""

from msgspec import Struct


class Lane(Struct):
    tokens: float
    refilled_ms: int
    under_way: int = 0
    paused_until_ms: int = 0


class Lanes:
    def __init__(self, *, rate_per_s: float, parallel_max: int) -> None:
        self._rate = rate_per_s
        self._burst = max(1.0, rate_per_s)
        self._parallel_max = parallel_max
        self._lanes: dict[str, Lane] = {}

    def enter(self, channel_id: str, now_ms: int) -> int:
        """0: go, one send is under way now. Otherwise milliseconds until it is worth asking again."""
        lane = self._lanes.get(channel_id)
        if lane is None:
            lane = self._lanes[channel_id] = Lane(tokens=self._burst, refilled_ms=now_ms)
        if now_ms < lane.paused_until_ms:
            return lane.paused_until_ms - now_ms
        if lane.under_way >= self._parallel_max:
            return 50
        lane.tokens = min(self._burst, lane.tokens + (now_ms - lane.refilled_ms) / 1000 * self._rate)
        lane.refilled_ms = now_ms
        if lane.tokens < 1:
            return max(1, round((1 - lane.tokens) / self._rate * 1000))
        lane.tokens -= 1
        lane.under_way += 1
        return 0

    def leave(self, channel_id: str) -> None:
        lane = self._lanes[channel_id]
        lane.under_way -= 1
        if lane.under_way == 0 and lane.tokens >= self._burst - 1 and not lane.paused_until_ms:
            del self._lanes[channel_id]  # as good as new: idle channels take no memory

    def pause(self, channel_id: str, until_ms: int) -> None:
        if channel_id in self._lanes:
            self._lanes[channel_id].paused_until_ms = until_ms

    def paused(self, now_ms: int) -> list[str]:
        return [name for name, lane in self._lanes.items() if lane.paused_until_ms > now_ms]
