"""`/components.*`: the configuration of components and of the process; shown, planned, applied."""

from collections.abc import Mapping, Sequence

from anyio import to_thread
from msgspec import Struct

from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import EmptyBody
from airy.http.component_schemas import (
    AppliedComponentsSchema,
    ComponentListSchema,
    ComponentPlanSchema,
    ComponentValuesSchema,
)
from airy.http.field_error import FieldError
from airy.http.ports import ApiContext
from airy.http.problems import Problem
from airy.http.request_bodies import FilledText, Json
from airy.http.resource import Resource
from airy.live_config.entered import PlanProblem, SectionChange, plain
from airy.live_config.live_config import LastConfigChange, LiveConfig
from airy.live_config.plan import Difference, Plan, shown
from airy.live_config.settings import SECTIONS, ConfigSection, ConfigSetting
from airy.model.fleet import ComponentCount
from airy.model.render import timestamp
from airy.secret import MASK

Document = dict[str, object]


class ComponentChange(Struct, frozen=True):
    """`data`: values by key; null is the default. What is not given stays as it is."""

    name: FilledText
    enabled: bool | None = None
    data: Json | None = None


class PlanComponents(Struct, frozen=True):
    """Without `components`: what the file says now is compared with what runs."""

    components: list[ComponentChange] = []


class UpdateComponents(Struct, frozen=True):
    fingerprint: FilledText
    components: list[ComponentChange] = []


@action("/components.list", permission=Permission.ADMINISTER, body=EmptyBody, returns=ComponentListSchema)
async def list_(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """Every component and section of the configuration: its state, its settings with their values, secrets masked."""
    live = api.configuration
    counts, references, overridden = api.health.fleet().components, live.references(), live.overridden()
    return Reply(
        {
            "file": live.file,
            "refused": live.refused() or None,
            "last_change": render_last_change(live.last_change),
            "data": [
                {
                    "name": section.name,
                    "path": section.path,
                    "summary": section.summary,
                    **state_of(section, live, counts.get(section.component)),
                    "settings": [_setting(each, live, references, overridden) for each in section.settings],
                }
                for section in SECTIONS
            ],
        }
    )


@action("/components.get", permission=Permission.ADMINISTER, body=EmptyBody, returns=ComponentValuesSchema)
async def get(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """The values of every enabled component as text, by component and key; secrets are masked."""
    live, references = api.configuration, api.configuration.references()
    return Reply(
        {
            "components": {
                section.name: {
                    setting.key: text
                    for setting in section.settings
                    if (text := shown(setting, setting.value(live.config), references.get(setting.path))) is not None
                }
                for section in SECTIONS
                if section.component and is_enabled(section, live)
            }
        }
    )


@action("/components.plan", permission=Permission.ADMINISTER, body=PlanComponents, returns=ComponentPlanSchema)
async def plan(api: ApiContext, request: ActionRequest[PlanComponents]) -> Reply:
    """What changes of the configuration would do: differences, problems, restarts. Nothing is written."""
    live = api.configuration
    found = await to_thread.run_sync(live.plan, _changes(request.body.components))
    return Reply(
        {
            "fingerprint": found.fingerprint,
            "differences": [_difference(each) for each in found.differences],
            "problems": [{"path": each.path, "message": each.message} for each in found.problems],
            "refused": live.refused() or None,
            **_restarts(api, found),
        }
    )


@action("/components.update", permission=Permission.ADMINISTER, body=UpdateComponents, returns=AppliedComponentsSchema)
async def update(api: ApiContext, request: ActionRequest[UpdateComponents]) -> Reply:
    """Apply changes to the configuration that the plan with this fingerprint was made for. The process reloads."""
    live, body = api.configuration, request.body
    changes = _changes(body.components)
    found = await to_thread.run_sync(live.apply, changes, body.fingerprint, api.clock.now_ms())
    if found.problems:
        raise _invalid(found.problems)
    reply = Reply(
        {
            "components": dict.fromkeys((change.name for change in changes), True),
            "data": [
                {"component": name, "result": "applied" if name in found.sections else "unchanged"}
                for name in dict.fromkeys((*(change.name for change in changes), *found.sections))
            ],
            "reloading": live.reloading,
            **_restarts(api, found),
        }
    )
    live.reload()
    return reply


RESOURCE = Resource(
    name="components",
    component="api-admin",
    actions=(list_, get, plan, update),
    commands="components",
)


def is_enabled(section: ConfigSection, live: LiveConfig) -> bool:
    return section.enabled is None or bool(section.enabled.value(live.config))


def state_of(section: ConfigSection, live: LiveConfig, count: ComponentCount | None) -> Document:
    """The state in the installation. A section of the process has none: every process uses it."""
    processes, ready = (count.processes, count.ready) if count else (0, 0)
    processes = max(processes, int(section.component in live.running))  # this one, before its first heartbeat
    if not section.component:
        state = None
    elif not is_enabled(section, live):
        state = "disabled"
    elif not processes:
        state = "not_running"
    else:
        state = "ready" if ready == processes else "not_ready"
    return {"state": state, "processes": processes, "ready": ready}


def render_last_change(change: LastConfigChange | None) -> Document | None:
    if change is None:
        return None
    return {"at": timestamp(change.at_ms), "state": change.state, "problem": change.problem or None}


def _setting(
    setting: ConfigSetting, live: LiveConfig, references: Mapping[str, str], overridden: Mapping[str, str]
) -> Document:
    value, reference = setting.value(live.config), references.get(setting.path)
    return {
        "key": setting.key,
        "path": setting.path,
        "kind": setting.kind,
        "value": None if reference is not None or setting.kind == "secret" else _json(setting, value),
        "reference": None if reference is None else shown(setting, value, reference),
        "is_set": bool(value) if setting.kind == "secret" else plain(value) != plain(setting.default),
        "default": None if setting.kind == "secret" else setting.default,
        "description": setting.description,
        "required": setting.required,
        "unit": setting.unit or None,
        "minimum": setting.minimum,
        "maximum": setting.maximum,
        "choices": list(setting.choices),
        "overridden_by": overridden.get(setting.path),
        "fixed": setting.fixed or None,
    }


def _json(setting: ConfigSetting, value: object) -> object:
    """Of a map only the names: its values may be secrets."""
    if isinstance(value, Mapping):
        return dict.fromkeys(value, MASK)
    return list(value) if setting.kind == "list" and isinstance(value, tuple) else value


def _difference(difference: Difference) -> Document:
    return {
        "component": difference.section,
        "path": difference.path,
        "before": difference.before,
        "after": difference.after,
        "secret": difference.secret,
    }


def _restarts(api: ApiContext, plan: Plan) -> Document:
    """What restarts in this process, and the other processes of the installation that an operator has to restart."""
    if not plan.differences:
        return {"restarts": [], "restart_by_hand": []}
    live = api.configuration
    names = set(plan.sections)
    shared = names - {section.name for section in SECTIONS if section.component}
    own = live.instance()
    others = [each.status for each in api.health.fleet().processes if not each.stale and each.status.instance != own]
    return {
        "restarts": sorted(live.running),
        "restart_by_hand": [
            {"instance": status.instance, "url": status.url, "components": sorted(set(status.components) & names)}
            for status in others
            if shared or names & set(status.components)
        ],
    }


def _changes(given: Sequence[ComponentChange]) -> list[SectionChange]:
    changes = []
    for number, change in enumerate(given):
        data = change.data.value if change.data is not None else {}
        if not isinstance(data, dict):
            raise Refused("must be a JSON object", field=f"components[{number}].data")
        changes.append(SectionChange(name=change.name, enabled=change.enabled, data=data))
    return changes


def _invalid(problems: Sequence[PlanProblem]) -> Problem:
    message = "; ".join(f"{each.path} {each.message}" if each.path else each.message for each in problems)
    return Problem(400, message, fields=[FieldError(each.path, each.message) for each in problems if each.path])
