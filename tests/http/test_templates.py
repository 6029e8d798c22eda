"""`/templates.*` as clients of the original Airy use them."""

from airy.http.response_schemas import (
    ListSchema,
    TemplateSchema,
)
from tests.kit.api import api_harness
from tests.kit.response_schemas import validated


async def test_a_template_is_created_read_updated_and_deleted() -> None:
    async with api_harness() as api:
        content = {"message": {"text": "[[greeting]], how can I help?"}}
        given = {"name": "Greeting", "source": "facebook", "content": content}
        template = validated(TemplateSchema, await api.call("/templates.create", given, status=201))
        assert template.content == content
        assert validated(TemplateSchema, await api.call("/templates.info", {"id": template.id})) == template
        changed = await api.call("/templates.update", {"id": template.id, "name": "Hi", "source": "viber"})
        assert changed == {"id": template.id, "name": "Hi", "source": "viber", "content": content}
        assert (await api.call("/templates.update", {"id": template.id, "content": "[[x]]"}))["content"] == "[[x]]"
        await api.call("/templates.delete", {"id": template.id}, status=204)
        for path in ("/templates.info", "/templates.update", "/templates.delete"):
            await api.call(path, {"id": template.id}, status=404)


async def test_templates_are_listed_by_source_and_part_of_the_name() -> None:
    async with api_harness() as api:
        for number in range(3):
            for source in ("google", "twilio.sms"):
                given = {"name": f"Template {number} for {source}", "source": source, "content": {}}
                await api.call("/templates.create", given, status=201)

        async def count(**body: object) -> int:
            return len(validated(ListSchema[TemplateSchema], await api.call("/templates.list", body)).data)

        assert await count(source="google") == 3
        assert await count(source="google", name="Template") == 3
        assert await count(source="twilio.sms", name="1 for twilio") == 1
        assert await count(source="twilio.sms", name="template") == 0
        assert await count(source="viber") == 0
        problem = await api.call("/templates.list", status=400)
        assert [error["field"] for error in problem["fields"]] == ["source"]
