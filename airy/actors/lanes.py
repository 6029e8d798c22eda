"""How fast and how wide a connector may send, per channel. Pure: `now_ms` is an argument.

A lane is one channel. It holds back when its rate is used up, when `parallel_max` conversations are under way, or for
a while after the provider refused the channel's credentials.

Rate and width are those of a channel, whoever sends. Conversations are spread over partitions, so a connector that owns
a share of the partitions takes that share of both, and all connectors together keep to them.
"""

from msgspec import Struct

RATE_PER_S_MIN = 0.01
LANES_KEPT = 64


class Lane(Struct):
    tokens: float
    refilled_ms: int
    under_way: int = 0
    paused_until_ms: int = 0


class Lanes:
    def __init__(self, *, rate_per_s: float, parallel_max: int) -> None:
        self._rate_per_s = rate_per_s
        self._parallel_max = parallel_max
        self._lanes: dict[str, Lane] = {}
        self._sweep_at = LANES_KEPT
        self.share = 1.0  # of the conversations of each channel that are ours

    @property
    def _rate(self) -> float:
        return max(self._rate_per_s * self.share, RATE_PER_S_MIN)

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate_per_s * self.share)

    def enter(self, channel_id: str, now_ms: int) -> int:
        """0: go, one send is under way now. Otherwise milliseconds until it is worth asking again."""
        lane = self._lanes.get(channel_id)
        if lane is None:
            self._sweep(now_ms)
            lane = self._lanes[channel_id] = Lane(tokens=self._burst, refilled_ms=now_ms)
        if now_ms < lane.paused_until_ms:
            return lane.paused_until_ms - now_ms
        if lane.under_way >= max(1, round(self._parallel_max * self.share)):
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

    def _sweep(self, now_ms: int) -> None:
        """Forget lanes that are as good as new, whenever there are twice as many as were worth keeping."""
        if len(self._lanes) >= self._sweep_at:
            full_ms = self._burst / self._rate * 1000
            self._lanes = {
                name: lane
                for name, lane in self._lanes.items()
                if lane.under_way or lane.paused_until_ms > now_ms or now_ms < lane.refilled_ms + full_ms
            }
            self._sweep_at = max(LANES_KEPT, 2 * len(self._lanes))

    def pause(self, channel_id: str, until_ms: int) -> None:
        if channel_id in self._lanes:
            self._lanes[channel_id].paused_until_ms = until_ms

    def paused(self, now_ms: int) -> list[str]:
        return [name for name, lane in self._lanes.items() if lane.paused_until_ms > now_ms]
