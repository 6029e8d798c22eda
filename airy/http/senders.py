"""The users who sent the messages of a response."""

from airy.bus.record_schema import PartitionHeld
from airy.http.ports import ApiContext
from airy.model.conversation import Message
from airy.model.entity import User
from airy.model.render import Document, render_conversation, render_message
from airy.store.api import ConversationView


class Senders:
    """Renders messages with the names of their senders. Of one response: each user is read once."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._users: dict[str, User | None] = {}

    async def messages(self, messages: list[Message], *, read_sequence: int) -> list[Document]:
        return [
            render_message(message, read_sequence=read_sequence, user=await self._user(message)) for message in messages
        ]

    async def conversation(self, view: ConversationView) -> Document:
        last = view.last_message
        sender = None if last is None else await self._user(last)
        return render_conversation(view.conversation, view.channel, last, sender=sender)

    async def _user(self, message: Message) -> User | None:
        if message.from_contact:
            return None
        name = message.sender_id
        if name not in self._users:
            try:
                self._users[name] = await self._api.store.user(name)
            except PartitionHeld:  # a name is not worth refusing the messages
                self._users[name] = None
        return self._users[name]
