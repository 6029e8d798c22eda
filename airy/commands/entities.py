"""Tags and templates: created, updated and deleted as entities."""

from msgspec import Raw
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.entity_writer import EntityWriter
from airy.commands.errors import Conflict, NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.model.entity import Color, Tag, Template
from airy.store.api import EntityReader


class TagCommands:
    def __init__(self, writer: Writer, store: EntityReader) -> None:
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)

    async def create(self, name: str, color: Color, context: RequestContext) -> Written[Tag]:
        """A repeated idempotency key returns the same tag. Raises `Conflict` if its name or color differ."""
        tag = Tag(id=self._writer.id_for(context, "tag"), name=name, color=color)

        async def created(found: Tag | None) -> Tag:
            if found is not None and (found.name, found.color) != (name, color):
                raise Conflict("this idempotency key was used for another tag", field="idempotency_key")
            return tag

        return await self._entities.put(topics.TAGS, tag.id, self._store.tag, created)

    async def update(self, tag_id: str, name: str | None, color: Color | None) -> Written[Tag]:
        async def updated(tag: Tag) -> Tag:
            return replace(tag, name=tag.name if name is None else name, color=color or tag.color)

        return await self._entities.update(topics.TAGS, tag_id, self._known, updated)

    async def delete(self, tag_id: str) -> Position:
        """Conversations keep the id of a deleted tag."""
        return await self._entities.delete(topics.TAGS, tag_id, self._known)

    async def _known(self, tag_id: str) -> Tag:
        tag = await self._store.tag(tag_id)
        if tag is None:
            raise NotFound(f"there is no tag {tag_id}", field="id")
        return tag


class TemplateCommands:
    def __init__(self, writer: Writer, store: EntityReader) -> None:
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)

    async def create(self, name: str, source: str, content: Raw, context: RequestContext) -> Written[Template]:
        """A repeated idempotency key returns the same template. Raises `Conflict` if it differs."""
        template = Template(id=self._writer.id_for(context, "template"), name=name, source=source, content=content)

        async def created(found: Template | None) -> Template:
            if found is not None and _fields(found) != _fields(template):
                raise Conflict("this idempotency key was used for another template", field="idempotency_key")
            return template

        return await self._entities.put(topics.TEMPLATES, template.id, self._store.template, created)

    async def update(
        self, template_id: str, *, name: str | None, source: str | None, content: Raw | None
    ) -> Written[Template]:
        async def updated(template: Template) -> Template:
            return replace(
                template,
                name=template.name if name is None else name,
                source=source or template.source,
                content=template.content if content is None else content,
            )

        return await self._entities.update(topics.TEMPLATES, template_id, self._known, updated)

    async def delete(self, template_id: str) -> Position:
        return await self._entities.delete(topics.TEMPLATES, template_id, self._known)

    async def _known(self, template_id: str) -> Template:
        template = await self._store.template(template_id)
        if template is None:
            raise NotFound(f"there is no template {template_id}", field="id")
        return template


def _fields(template: Template) -> tuple[str, str, bytes]:
    return template.name, template.source, bytes(template.content)
