"""The webhook queue on Redis, shared by several processes and machines. Key layout: `docs/decisions/0009`."""

from airy.queue.redis.queue import RedisQueue
from airy.queue.redis.settings import RedisSettings

__all__ = ["RedisQueue", "RedisSettings"]
