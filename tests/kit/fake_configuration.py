"""The configuration of a fake instance: sections with settings, plans of changes, and their application."""

from typing import Any

from airy.live_config.settings import SECTIONS

Document = dict[str, Any]

STATES = {
    "api-communication": "ready",
    "api-contacts": "ready",
    "api-websocket": "ready",
    "webhook-publisher": "ready",
    "sources-facebook": "ready",
    "sources-viber": "not_ready",
    "webhook-consumer": "ready",
}
VALUES = {  # what differs from the defaults
    "http.publicUrl": "https://bakery.example",
    "components.sources.facebook.appId": "1029384756",
    "components.sources.facebook.enabled": True,
    "components.sources.viber.enabled": True,
}
REFERENCES = {"components.sources.facebook.appSecret": "${FACEBOOK_SECRET}"}


class FakeConfiguration:
    """`problems` are those of a plan that changes their paths; `version` is the fingerprint, and counts the changes."""

    def __init__(self) -> None:
        self.values: Document = dict(VALUES)
        self.problems: dict[str, str] = {}
        self.refused: str | None = None
        self.last_change: Document | None = None
        self.version = 1
        self.others: list[Document] = []
        self.reverts = ""  # why a changed configuration does not start

    def list(self) -> Document:
        return {
            "file": "airy.yaml",
            "refused": self.refused,
            "last_change": self.last_change,
            "data": [
                {
                    "name": section.name,
                    "path": section.path,
                    "summary": section.summary,
                    "state": STATES.get(section.name, "disabled") if section.component else None,
                    "processes": 1 if section.name in STATES else 0,
                    "ready": 1 if STATES.get(section.name) == "ready" else 0,
                    "settings": [self._setting(setting) for setting in section.settings],
                }
                for section in SECTIONS
            ],
        }

    def _setting(self, setting: Any) -> Document:
        secret = setting.kind == "secret"
        return {
            "key": setting.key,
            "path": setting.path,
            "kind": setting.kind,
            "value": None if secret else self.values.get(setting.path, setting.default),
            "reference": REFERENCES.get(setting.path),
            "is_set": setting.path in self.values,
            "default": None if secret else setting.default,
            "description": setting.description,
            "required": setting.required,
            "unit": setting.unit or None,
            "minimum": setting.minimum,
            "maximum": setting.maximum,
            "choices": list(setting.choices),
            "overridden_by": "AIRY_PORT" if setting.path == "http.port" else None,
            "fixed": setting.fixed or None,
        }

    def plan(self, body: Document) -> Document:
        settings = {(s.name, each.key): each for s in SECTIONS for each in s.settings}
        changed = [
            (settings[change["name"], key], value)
            for change in body.get("components", ())
            for key, value in {**change.get("data", {}), **_switch(change)}.items()
        ]
        differences = [
            {
                "component": setting.path,
                "path": setting.path,
                "before": _shown(setting, self.values.get(setting.path, setting.default)),
                "after": _shown(setting, value),
                "secret": setting.kind == "secret",
            }
            for setting, value in changed
        ]
        return {
            "fingerprint": str(self.version),
            "differences": differences,
            "problems": [
                {"path": each.path, "message": self.problems[each.path]}
                for each, _ in changed
                if each.path in self.problems
            ],
            "refused": self.refused,
            "restarts": ["api-admin", "sources-facebook"],
            "restart_by_hand": self.others,
        }

    def update(self, body: Document) -> Document:
        assert body["fingerprint"] == str(self.version)
        self.version += 1
        for difference in self.plan(body)["differences"]:
            self.values[difference["path"]] = difference["after"]
        state = "reverted" if self.reverts else "applied"
        self.last_change = {"at": "2026-01-01T00:00:00.000Z", "state": state, "problem": self.reverts or None}
        return {"components": {}, "data": [], "reloading": True, "restarts": [], "restart_by_hand": []}


def _shown(setting: Any, value: object) -> str | None:
    if not value and not isinstance(value, bool | int):
        return None
    return "*****" if setting.kind == "secret" else str(value).lower() if isinstance(value, bool) else str(value)


def _switch(change: Document) -> Document:
    return {"enabled": change["enabled"]} if "enabled" in change else {}
