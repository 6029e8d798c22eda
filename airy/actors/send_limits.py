"""Send limits of one kind of channel: rate and parallel sends per channel, rate per conversation. Pure: `now_ms` is an
argument, of the monotonic clock.

A channel is refused while its rate is used up (token bucket), while `parallel_max` conversations are in flight, or
while it is paused because the provider refused its credentials or asked for no more calls. A conversation is refused
beyond `conversation_per_s` on average, after `conversation_burst` at once, for providers that limit messages to one
contact (generic cell rate algorithm).

The limits of a channel apply across all connectors. Conversations are spread over partitions, so a connector that owns
a share of the partitions takes that share of both, and all connectors together stay within them.
"""

from msgspec import Struct

from airy.token_bucket import TokenBucket

RATE_PER_S_MIN = 0.01
ENTRIES_KEPT = 64  # no sweep below this number
BUSY_RETRY_MS = 50


class ChannelLimit(Struct):
    bucket: TokenBucket
    in_flight: int = 0
    paused_until_ms: int = 0


class SendLimiter:
    def __init__(
        self,
        *,
        rate_per_s: float,
        parallel_max: int,
        conversation_per_s: float | None = None,
        conversation_burst: int = 1,
    ) -> None:
        self._rate_per_s = rate_per_s
        self._parallel_max = parallel_max
        self._interval_ms = 0 if conversation_per_s is None else round(1000 / conversation_per_s)
        self._tolerance_ms = self._interval_ms * (conversation_burst - 1)
        self._channels: dict[str, ChannelLimit] = {}
        self._conversations: dict[str, int] = {}  # conversation → when all its messages are paid back
        self._sweep_at = ENTRIES_KEPT
        self._sweep_conversations_at = ENTRIES_KEPT
        self.share = 1.0  # of the topic's partitions this process owns

    @property
    def _rate(self) -> float:
        return max(self._rate_per_s * self.share, RATE_PER_S_MIN)

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate_per_s * self.share)

    def try_acquire(self, channel_id: str, now_ms: int, *, conversation_id: str = "") -> int:
        """0: acquired, one more call is in flight. Otherwise the milliseconds until another attempt makes sense.

        `conversation_id`: a message to its contact is sent; without it, only the channel's limits apply.
        """
        paid_back_ms = self._conversations.get(conversation_id, now_ms)
        if (wait_ms := paid_back_ms - self._tolerance_ms - now_ms) > 0:
            return wait_ms
        channel = self._channels.get(channel_id)
        if channel is None:
            self._sweep(now_ms)
            channel = self._channels[channel_id] = ChannelLimit(TokenBucket(self._burst, now_ms))
        if now_ms < channel.paused_until_ms:
            return channel.paused_until_ms - now_ms
        if channel.in_flight >= max(1, round(self._parallel_max * self.share)):
            return BUSY_RETRY_MS
        bucket_wait_ms = channel.bucket.take(now_ms, rate_per_s=self._rate, burst=self._burst)
        if bucket_wait_ms:
            return max(1, round(bucket_wait_ms))
        channel.in_flight += 1
        if conversation_id and self._interval_ms:
            self._sweep_conversations(now_ms)
            self._conversations[conversation_id] = max(paid_back_ms, now_ms) + self._interval_ms
        return 0

    def release(self, channel_id: str) -> None:
        channel = self._channels[channel_id]
        channel.in_flight -= 1

    def pause(self, channel_id: str, until_ms: int) -> None:
        if channel_id in self._channels:
            channel = self._channels[channel_id]
            channel.paused_until_ms = max(channel.paused_until_ms, until_ms)

    def paused(self, now_ms: int) -> list[str]:
        return [name for name, channel in self._channels.items() if channel.paused_until_ms > now_ms]

    def resumes_in_ms(self, now_ms: int) -> int | None:
        """Until the first paused channel may send again; None: no channel is paused."""
        return min(
            (each.paused_until_ms - now_ms for each in self._channels.values() if each.paused_until_ms > now_ms),
            default=None,
        )

    def _sweep(self, now_ms: int) -> None:
        """Drop channels with a full bucket and nothing in flight, whenever their number has doubled."""
        if len(self._channels) >= self._sweep_at:
            full_ms = self._burst / self._rate * 1000
            self._channels = {
                name: channel
                for name, channel in self._channels.items()
                if channel.in_flight
                or channel.paused_until_ms > now_ms
                or now_ms < channel.bucket.refilled_ms + full_ms
            }
            self._sweep_at = max(ENTRIES_KEPT, 2 * len(self._channels))

    def _sweep_conversations(self, now_ms: int) -> None:
        if len(self._conversations) >= self._sweep_conversations_at:
            self._conversations = {name: at for name, at in self._conversations.items() if at > now_ms}
            self._sweep_conversations_at = max(ENTRIES_KEPT, 2 * len(self._conversations))
