"""All sources are built alike, so that knowing one is knowing all; and the catalogue lists every one."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

import airy.sources
from airy.cli import source_pages
from airy.secret import Secret
from airy.sources.catalogue import BY_KIND, KINDS, SOURCES, find_webhook, match
from airy.sources.spec import ChannelForm, SourceSection, SourceSpec
from tests.kit.contracts.source import load
from tests.kit.providers import WIRES
from tests.kit.source_pages import DOCS, pages

FOLDER = Path(airy.sources.__file__).parent
PARTS = ("spec", "verify", "route", "encode", "interpret", "manage", "source")
PURE = ("spec", "verify", "route", "encode", "interpret")
OF_WEBHOOKS = ("verify", "route")
MEMBERS = (*OF_WEBHOOKS, "canonical", "encode", "interpret", "connect", "disconnect", "mark_read", "typing")
CALLED = tuple(spec for spec in SOURCES if spec.webhooks)


def parts_of(spec: SourceSpec) -> list[str]:
    """Nothing is verified and routed without webhooks, called without a provider, managed without a form. What several
    sources have in common is in a package they share.
    """
    if any(base.__module__.startswith("airy.sources.") for base in spec.load().__bases__):
        return ["spec", "manage", "source"]
    lacking = {
        *(() if spec.webhooks else OF_WEBHOOKS),
        *(() if spec.provider else ("encode", "interpret")),
        *(() if spec.provider and any(kind.connect for kind in spec.kinds) else ("manage",)),
    }
    return [part for part in PARTS if part not in lacking]


@pytest.fixture(params=SOURCES, ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> SourceSpec:
    return request.param


def test_every_folder_with_a_spec_is_in_the_catalogue() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/spec.py")} == {spec.name for spec in SOURCES}
    assert set(WIRES) == {spec.name for spec in CALLED}


def test_names_are_unique() -> None:
    assert len(KINDS) == sum(len(spec.kinds) for spec in SOURCES)
    paths = [path for spec in SOURCES for path in spec.webhooks]
    assert len(paths) == len(set(paths))


def test_the_catalogue_loads_neither_client_nor_implementation() -> None:
    """In a process of its own, because this one has loaded everything."""
    program = "import sys, airy.sources.catalogue; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert [name for name in loaded if name.split(".")[0] in {"aiohttp", "anyio", "litestar", "aiokafka", "apsw"}] == []
    assert [name for name in loaded if name.startswith(("airy.bus", "airy.model", "airy.http_client"))] == []
    assert [name for name in loaded if name.startswith("airy.sources.") and name.endswith((".source", ".manage"))] == []


def test_every_part_is_where_it_belongs(spec: SourceSpec) -> None:
    assert [part for part in parts_of(spec) if not (FOLDER / spec.name / f"{part}.py").exists()] == []


def test_one_class_ties_the_parts_together(spec: SourceSpec) -> None:
    built = spec.load()
    assert built.__module__ == f"airy.sources.{spec.name}.source"
    assert built.spec is spec
    lacking = [name for name in MEMBERS if not callable(getattr(built, name, None))]
    assert lacking == ([] if spec.webhooks else list(OF_WEBHOOKS))
    assert built(spec.section(), "") is not None


def test_what_is_pure_waits_for_nothing(spec: SourceSpec) -> None:
    for part in PURE:
        path = FOLDER / spec.name / f"{part}.py"
        text = path.read_text() if path.exists() else ""
        assert "async def" not in text, part
        assert "await " not in text, part


def test_sources_are_strangers_to_each_other(spec: SourceSpec) -> None:
    others = [other.name for other in SOURCES if other is not spec]
    for path in (FOLDER / spec.name).glob("*.py"):
        text = path.read_text()
        assert [name for name in others if re.search(rf"airy\.sources\.{name}\b", text)] == [], path


def test_sections_and_forms_are_what_they_extend(spec: SourceSpec) -> None:
    assert issubclass(spec.section, SourceSection)
    assert not spec.section().enabled
    for kind in spec.kinds:
        assert kind.connect is None or issubclass(kind.connect, ChannelForm)


def test_fields_that_hold_secrets_are_typed_as_secrets(spec: SourceSpec) -> None:
    """Masking walks the types, so a secret that is plain text would be shown."""
    shapes = [spec.section, *(kind.connect for kind in spec.kinds), *(kind.explore for kind in spec.kinds)]
    for shape in filter(None, shapes):
        for field in msgspec.structs.fields(shape):
            if any(word in field.name for word in ("token", "secret", "key")) and "Literal" not in str(field.type):
                assert Secret.__name__ in str(field.type), f"{shape.__name__}.{field.name}"


def test_what_verifies_webhooks_is_a_credential_of_the_kind(spec: SourceSpec) -> None:
    """Otherwise a connect with new credentials would not keep the previous one."""
    assert [kind.name for kind in spec.kinds if kind.webhook_credential not in {"", *kind.credentials}] == []


@pytest.mark.parametrize("spec", CALLED, ids=lambda spec: spec.name)
def test_every_source_runs_the_contract_over_recorded_payloads(spec: SourceSpec) -> None:
    module = import_module(f"tests.sources.{spec.name}.test_contract")
    assert module.TestContract.wire is WIRES[spec.name]
    assert len(load(module.TestContract.folder)) >= 20


def test_a_kind_leads_to_its_source() -> None:
    assert BY_KIND["twilio.whatsapp"].name == "twilio"
    assert KINDS["instagram"].title == "Instagram account"


@pytest.mark.parametrize(
    ("path", "source", "parameters"),
    [
        ("/facebook", "facebook", {}),
        ("/instagram", "instagram", {}),
        ("/twilio", "twilio", {}),
        ("/twilio/status", "twilio", {}),
        ("/telegram/42cb5df9", "telegram", {"channel_id": "42cb5df9"}),
        ("/viber", "viber", {}),
        ("/google", "google", {}),
        ("/rcs", "rcs", {}),
        ("/viber/eb15116b", "viber", {"channel_id": "eb15116b"}),
    ],
)
def test_a_path_leads_to_its_source(path: str, source: str, parameters: dict[str, str]) -> None:
    found = find_webhook(path)
    assert found is not None
    assert (found.spec.name, found.parameters) == (source, parameters)


@pytest.mark.parametrize("path", ["/", "", "/facebook/", "/Facebook", "/telegram", "/telegram/", "/telegram/a/b", "/x"])
def test_other_paths_lead_nowhere(path: str) -> None:
    assert find_webhook(path) is None


def test_a_template_matches_whole_segments() -> None:
    assert match("/a/{b}/c", "/a/1/c") == {"b": "1"}
    assert match("/a/{b}/c", "/a/1/d") is None


@pytest.mark.parametrize(("path", "blocks"), list(pages()), ids=lambda part: getattr(part, "stem", ""))
def test_the_tables_in_the_pages_are_what_the_catalogue_says(path: Path, blocks: dict[str, str]) -> None:
    assert path.read_text() == source_pages.filled(path.read_text(), blocks), "run `make pages`"


@pytest.mark.parametrize("spec", SOURCES, ids=lambda spec: spec.name)
def test_the_page_of_a_source_has_the_common_headings(spec: SourceSpec) -> None:
    page = (DOCS / "sources" / f"{spec.name}.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["## Connect", "## Supported", "## Limits", "## Configuration", "## Troubleshooting"]
