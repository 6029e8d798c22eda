"""The webhook queue on Redis: for several processes and machines. What its keys are: `docs/decisions/0009`."""

from airy.actors.webhooks.queue_redis.queue import RedisQueue
from airy.actors.webhooks.queue_redis.server import Server

__all__ = ["RedisQueue", "Server"]
