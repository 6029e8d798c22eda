"""What a fake Airy instance stores beside conversations: contacts, tags, templates, users and API tokens."""

from collections.abc import Callable
from typing import Any

from tests.kit.fake_answers import Document, known, page

NO_ADDRESS = dict.fromkeys(
    ("organization_name", "address_line1", "address_line2", "postal_code", "city", "state", "country")
)


class FakeDirectory:
    """`answer` gives what a path answers, None if it is none of these; `written` are the accepted writes."""

    def __init__(self) -> None:
        self.contacts: dict[str, Document] = {}
        self.tags: dict[str, Document] = {}
        self.templates: dict[str, Document] = {}
        self.users: dict[str, Document] = {}
        self.tokens: dict[str, Document] = {}
        self.written: list[tuple[str, Document]] = []

    def contact(self, contact_id: str, name: str | None, **given: Any) -> None:
        self.contacts[contact_id] = {
            "id": contact_id,
            "display_name": name,
            **dict.fromkeys(("avatar_url", "title", "gender", "timezone", "locale", "organization_name")),
            "via": {},
            "address": NO_ADDRESS,
            "conversations": {},
            "metadata": None,
            "created_at": 1_767_225_600_000,
            "updated_at": None,
            "version": 1,
            **given,
        }

    def tag(self, tag_id: str, name: str, color: str = "tag-red") -> None:
        self.tags[tag_id] = {"id": tag_id, "name": name, "color": color}

    def template(self, template_id: str, name: str, source: str, content: object) -> None:
        self.templates[template_id] = {"id": template_id, "name": name, "source": source, "content": content}

    def user(self, user_id: str, name: str) -> None:
        seen = {"first_seen_at": "2026-01-01T00:00:00.000Z", "last_seen_at": "2026-01-02T00:00:00.000Z"}
        self.users[user_id] = {"id": user_id, "name": name, "avatar_url": None, **seen}

    def token(self, token_id: str, name: str, **given: Any) -> None:
        self.tokens[token_id] = {
            "id": token_id,
            "name": name,
            "role": "admin",
            "permissions": [],
            "created_by": "system",
            "created_at": "2026-01-02T00:00:00.000Z",
            "expires_at": "2027-01-02T00:00:00.000Z",
            "revoked_at": None,
            **given,
        }

    def answer(self, path: str, body: Document) -> Document | None:
        if path not in ACTIONS:
            return None
        if path.partition(".")[2] not in READING:
            self.written.append((path, body))
        return ACTIONS[path](self, body)

    # --- contacts

    def _list_contacts(self, body: Document) -> Document:
        return page(list(self.contacts.values()), body)

    def _contact(self, body: Document) -> Document:
        if "conversation_id" in body:
            owners = [each["id"] for each in self.contacts.values() if body["conversation_id"] in each["conversations"]]
            return known(self.contacts, owners[0] if owners else "", "contact", "conversation_id")
        return known(self.contacts, body["id"], "contact")

    def _create_contact(self, body: Document) -> Document:
        self.contact("new", body.get("display_name"))
        self.contacts["new"].update(body)
        return self.contacts["new"]

    def _update_contact(self, body: Document) -> Document:
        contact = self._contact(body)
        given = {name: value for name, value in body.items() if name != "version"}
        contact.update({**given, "address": {**contact["address"], **body.get("address", {})}})
        return {}

    def _merge_contacts(self, body: Document) -> Document:
        merged = known(self.contacts, body["source_id"], "contact", "source_id")
        del self.contacts[body["source_id"]]
        history = {name: value for name, value in merged.items() if name != "version"}
        return {**known(self.contacts, body["destination_id"], "contact"), "merge_history": [history]}

    def _delete_contact(self, body: Document) -> Document:
        self._contact(body)
        del self.contacts[body["id"]]
        return {}

    # --- tags

    def _list_tags(self, _body: Document) -> Document:
        return {"data": list(self.tags.values())}

    def _create_tag(self, body: Document) -> Document:
        self.tag("new", body["name"], body["color"])
        return self.tags["new"]

    def _update_tag(self, body: Document) -> Document:
        known(self.tags, body["id"], "tag").update({name: value for name, value in body.items() if value is not None})
        return {}

    def _delete_tag(self, body: Document) -> Document:
        known(self.tags, body["id"], "tag")
        del self.tags[body["id"]]
        return {}

    # --- templates

    def _list_templates(self, body: Document) -> Document:
        found = [each for each in self.templates.values() if each["source"] == body["source"]]
        return {"data": [each for each in found if (body.get("name") or "") in each["name"]]}

    def _template(self, body: Document) -> Document:
        return known(self.templates, body["id"], "template")

    def _create_template(self, body: Document) -> Document:
        self.template("new", body["name"], body["source"], body["content"])
        return self.templates["new"]

    def _update_template(self, body: Document) -> Document:
        self._template(body).update({name: value for name, value in body.items() if value is not None})
        return self._template(body)

    def _delete_template(self, body: Document) -> Document:
        self._template(body)
        del self.templates[body["id"]]
        return {}

    # --- users and tokens

    def _list_users(self, body: Document) -> Document:
        return page(list(self.users.values()), body)

    def _revoke_sessions(self, body: Document) -> Document:
        known(self.users, body["id"], "user")
        return {}

    def _list_tokens(self, _body: Document) -> Document:
        return {"data": list(self.tokens.values())}

    def _create_token(self, body: Document) -> Document:
        self.token("new", body["name"], role=body["role"], permissions=body["permissions"])
        return {**self.tokens["new"], "token": "airy_new"}

    def _revoke_token(self, body: Document) -> Document:
        known(self.tokens, body["id"], "API token")["revoked_at"] = "2026-01-03T00:00:00.000Z"
        return self.tokens[body["id"]]


READING = frozenset({"list", "info"})
Operation = Callable[[FakeDirectory, Document], Document]
ACTIONS: dict[str, Operation] = {
    "/contacts.list": FakeDirectory._list_contacts,
    "/contacts.info": FakeDirectory._contact,
    "/contacts.create": FakeDirectory._create_contact,
    "/contacts.update": FakeDirectory._update_contact,
    "/contacts.merge": FakeDirectory._merge_contacts,
    "/contacts.delete": FakeDirectory._delete_contact,
    "/tags.list": FakeDirectory._list_tags,
    "/tags.create": FakeDirectory._create_tag,
    "/tags.update": FakeDirectory._update_tag,
    "/tags.delete": FakeDirectory._delete_tag,
    "/templates.list": FakeDirectory._list_templates,
    "/templates.info": FakeDirectory._template,
    "/templates.create": FakeDirectory._create_template,
    "/templates.update": FakeDirectory._update_template,
    "/templates.delete": FakeDirectory._delete_template,
    "/users.list": FakeDirectory._list_users,
    "/users.revoke-sessions": FakeDirectory._revoke_sessions,
    "/tokens.list": FakeDirectory._list_tokens,
    "/tokens.create": FakeDirectory._create_token,
    "/tokens.revoke": FakeDirectory._revoke_token,
}
