"""Tags and templates: entities whose latest record is their state."""

from msgspec import Raw
from msgspec.structs import replace

from airy import topics
from airy.bus.record import Position
from airy.commands.errors import Conflict, NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.model.entity import Color, Tag, Template
from airy.store.api import EntityReader


class TagCommands:
    def __init__(self, writer: Writer, store: EntityReader) -> None:
        self._writer = writer
        self._store = store

    async def create(self, name: str, color: Color, context: RequestContext) -> Written[Tag]:
        """A repeated idempotency key returns the same tag. Raises `Conflict` if its name or color differ."""
        tag = Tag(id=self._writer.id_for(context, "tag"), name=name, color=color, updated_at_ms=self._writer.now_ms())
        found = await self._store.tag(tag.id)
        if found is not None and (found.name, found.color) != (name, color):
            raise Conflict("this idempotency key was used for another tag", field="idempotency_key")
        if found is not None:
            tag = replace(tag, updated_at_ms=self._writer.next_timestamp(found.updated_at_ms))
        return await self._put(tag)

    async def update(self, tag_id: str, name: str | None, color: Color | None) -> Written[Tag]:
        tag = await self._known(tag_id)
        return await self._put(
            replace(
                tag,
                name=tag.name if name is None else name,
                color=color or tag.color,
                updated_at_ms=self._writer.next_timestamp(tag.updated_at_ms),
            )
        )

    async def delete(self, tag_id: str) -> Position:
        """Conversations keep the id of a deleted tag."""
        await self._known(tag_id)
        return await self._writer.put_entity(topics.TAGS, tag_id, None)

    async def _put(self, tag: Tag) -> Written[Tag]:
        return Written(tag, await self._writer.put_entity(topics.TAGS, tag.id, tag))

    async def _known(self, tag_id: str) -> Tag:
        tag = await self._store.tag(tag_id)
        if tag is None:
            raise NotFound(f"there is no tag {tag_id}", field="id")
        return tag


class TemplateCommands:
    def __init__(self, writer: Writer, store: EntityReader) -> None:
        self._writer = writer
        self._store = store

    async def create(self, name: str, source: str, content: Raw, context: RequestContext) -> Written[Template]:
        """A repeated idempotency key returns the same template. Raises `Conflict` if it differs."""
        template = Template(id=self._writer.id_for(context, "template"), name=name, source=source, content=content)
        found = await self._store.template(template.id)
        if found is not None and (found.name, found.source, bytes(found.content)) != (
            name,
            source,
            bytes(content),
        ):
            raise Conflict("this idempotency key was used for another template", field="idempotency_key")
        return await self._put(template)

    async def update(
        self, template_id: str, *, name: str | None, source: str | None, content: Raw | None
    ) -> Written[Template]:
        template = await self._known(template_id)
        return await self._put(
            replace(
                template,
                name=template.name if name is None else name,
                source=source or template.source,
                content=template.content if content is None else content,
            )
        )

    async def delete(self, template_id: str) -> Position:
        await self._known(template_id)
        return await self._writer.put_entity(topics.TEMPLATES, template_id, None)

    async def _put(self, template: Template) -> Written[Template]:
        return Written(template, await self._writer.put_entity(topics.TEMPLATES, template.id, template))

    async def _known(self, template_id: str) -> Template:
        template = await self._store.template(template_id)
        if template is None:
            raise NotFound(f"there is no template {template_id}", field="id")
        return template
