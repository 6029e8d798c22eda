"""One instance and one token: what the views of the console read from and write to."""

from typing import TypeVar

from airy.api_client import ApiClient
from airy.tui.console.event_feed import EventFeed

T = TypeVar("T")


class Session:
    """`writes`: whether actions may change anything."""

    def __init__(self, client: ApiClient, feed: EventFeed, *, writes: bool = False) -> None:
        self.client = client
        self.feed = feed
        self.writes = writes

    @property
    def url(self) -> str:
        return self.client.url

    async def call(self, path: str, body: object, shape: type[T]) -> T:
        """Raises `Refused`, `Unavailable`."""
        return await self.client.call(path, body, shape)
