"""Contacts: created, edited, merged and deleted. One request is one record, so it takes effect whole or not at all."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import anyio.lowlevel
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.bus.topic import Topic
from airy.commands.errors import Conflict, NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.errors import Refused
from airy.model import ids
from airy.model.contact import KEY, Contact, ContactsWritten, ContactWrite
from airy.model.contact_edit import ContactEdit, edited, merged
from airy.model.contact_view import ContactView, contact_view
from airy.store.api import ContactReader

WRITES_MAX = 10
LINKS_MAX = 1_000  # conversations that one request links
YIELD_AFTER = 20  # queries, about a millisecond

_TAKEN = "this idempotency key was used for another contact"
_COLLIDED = (
    f"other requests changed these contacts each time the change was applied ({WRITES_MAX} times), and nothing was "
    "written: read them and send the request again"
)


class ContactStore(ContactReader, Protocol):
    """The part of the store that is used here."""

    async def entity_accepted(self, topic: Topic[Any], entity_id: str, write_id: str) -> bool: ...


class _Writes(Struct, frozen=True):
    """The writes of one attempt."""

    at_ms: int
    writes: Sequence[ContactWrite]
    covered: Mapping[str, int] = {}


class ContactCommands:
    """Each applies its intent to the contacts as they are, and again if another write was first."""

    def __init__(self, writer: Writer, store: ContactStore) -> None:
        self._writer = writer
        self._store = store

    async def create(self, edits: Sequence[ContactEdit], context: RequestContext) -> Written[list[ContactView]]:
        """All of them or none. A repeated idempotency key returns the same contacts as they are now; raises `Conflict`
        if they were created from other fields.
        """
        keyed = context.key is not None
        names = [self._writer.id_for(context, "contact", str(number)) for number in range(len(edits))]
        made: list[ContactView] = []

        async def created() -> _Writes:
            now_ms = self._writer.now_ms()
            made.clear()
            writes: list[ContactWrite] = []
            for number, (contact_id, edit) in enumerate(zip(names, edits, strict=True)):
                await _yield_after(number)
                request = ids.derive(msgspec.json.encode(edit, order="sorted").decode()) if keyed else ""
                base = await self._store.contact_version(contact_id)
                found = await self._store.contact(contact_id) if base else None
                if found is not None:
                    if found.contact.request != request:
                        raise Conflict(_TAKEN, field="idempotency_key")
                    made.append(found)
                    continue
                contact = Contact(id=contact_id, request=request, created_at_ms=now_ms)
                try:
                    contact = edited(contact, edit)
                except Refused as error:
                    raise _of_item(error, number, len(edits)) from error
                writes.append(ContactWrite(id=contact_id, base=base, contact=contact))
                made.append(_written(contact, max(now_ms, base + 1)))
            return _Writes(now_ms, await self._with_unlinked(writes))

        position = await self._write(created)
        views: list[ContactView] = []
        for number, view in enumerate(made):
            await _yield_after(number)
            views.append(await self._store.contact(view.contact.id) or view)
        return Written(views, position)

    async def update(self, contact_id: str, edit: ContactEdit, *, version: int | None = None) -> Position:
        """`version`: raises `Conflict` if the contact has another one by now. Raises `NotFound`."""

        async def updated() -> _Writes:
            view = await self._known(contact_id, "id", version)
            for name, source in edit.conversations.items():
                if not source and ids.contact_id(name) == view.contact.id:
                    message = f"conversation {name} belongs to this contact by itself: link it to another contact"
                    raise Refused(message, field="conversations")
            contact = edited(view.contact, edit)
            write = ContactWrite(id=view.contact.id, base=view.version, contact=contact)
            writes = [] if contact == view.contact else [write]
            return _Writes(self._writer.now_ms(), await self._with_unlinked(writes))

        return await self._write(updated)

    async def merge(self, source_id: str, destination_id: str) -> Written[ContactView]:
        """The destination afterwards; the source is gone. Raises `NotFound`."""
        if source_id == destination_id:
            raise Refused("must be another contact than the destination", field="source_id")
        last: list[ContactView] = []

        async def together() -> _Writes:
            source = await self._known(source_id, "source_id")
            destination = await self._known(destination_id, "destination_id")
            now_ms = self._writer.now_ms()
            contact = merged(destination, source)
            last[:] = [_written(contact, max(now_ms, destination.version + 1))]
            return _Writes(
                now_ms,
                [
                    ContactWrite(id=destination.contact.id, base=destination.version, contact=contact),
                    ContactWrite(id=source.contact.id, base=source.version),
                ],
            )

        position = await self._write(together)
        return Written(await self._store.contact(destination_id) or last[0], position)

    async def delete(self, contact_id: str, *, version: int | None = None) -> Position:
        """Its conversations have no contact until they have another message."""

        async def deleted() -> _Writes:
            view = await self._known(contact_id, "id", version)
            write = ContactWrite(id=view.contact.id, base=view.version)
            return _Writes(self._writer.now_ms(), [write], view.message_counts)

        return await self._write(deleted)

    async def _known(self, contact_id: str, field: str, version: int | None = None) -> ContactView:
        view = await self._store.contact(contact_id)
        if view is None:
            raise NotFound(f"there is no contact {contact_id}", field=field)
        if version is not None and version != view.version:
            message = f"contact {contact_id} was changed: its version is {view.version}, not {version}; read it again"
            raise Conflict(message, field="version")
        return view

    async def _with_unlinked(self, writes: list[ContactWrite]) -> list[ContactWrite]:
        """With writes of the contacts that link the same conversations now, without these."""
        linked = [name for write in writes if write.contact for name in write.contact.conversations]
        if len(linked) > LINKS_MAX:
            raise Refused(f"at most {LINKS_MAX} conversations in one request", field="conversations")
        if len(set(linked)) < len(linked):
            raise Refused("a conversation belongs to one contact", field="conversations")
        written = {write.id for write in writes}
        others: dict[str, ContactWrite] = {}
        for number, name in enumerate(linked):
            await _yield_after(number)
            owner = await self._store.contact_of(name)
            if owner is None or not owner.is_written or owner.contact.id in written:
                continue
            before = others.get(owner.contact.id)
            contact = (before.contact if before else None) or owner.contact
            left = {each: source for each, source in contact.conversations.items() if each != name}
            others[contact.id] = ContactWrite(
                id=contact.id, base=owner.version, contact=replace(contact, conversations=left)
            )
        return [*writes, *others.values()]

    async def _write(self, intent: Callable[[], Awaitable[_Writes]]) -> Position:
        for _ in range(WRITES_MAX):
            wanted = await intent()
            written = ContactsWritten(
                id=self._writer.new_id(), at_ms=wanted.at_ms, writes=tuple(wanted.writes), covered=dict(wanted.covered)
            )
            record = topics.CONTACTS.record(KEY, written, headers=(("id", written.id.encode()),))
            position = await self._writer.write([record])
            if not written.writes or await self._store.entity_accepted(topics.CONTACTS, KEY, written.id):
                return position
        raise Conflict(_COLLIDED)


async def _yield_after(number: int) -> None:
    """Let other tasks run now and then: the store answers without yielding."""
    if number % YIELD_AFTER == YIELD_AFTER - 1:
        await anyio.lowlevel.checkpoint()


def _written(contact: Contact, version: int) -> ContactView:
    """As the write leaves it, in case that it is deleted before it is read."""
    view = contact_view(contact.id, replace(contact, updated_at_ms=version), version, None, lambda _: None)
    assert view is not None
    return view


def _of_item(error: Refused, number: int, count: int) -> Refused:
    return error if count == 1 else Refused(str(error), field=f"[{number}].{error.field}")
