"""The user of the webhook queue in Redis."""

from airy.app.redis import RedisUser
from airy.cli.view import View

REDIS_USER = View(name="redis-user", row=RedisUser, fields=(), one=True)
