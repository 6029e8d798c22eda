"""Alerts and dashboard use only exported metrics, and every alert has a runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from airy.http.metrics import DESCRIPTIONS, PREFIX
from tests.kit.in_process import InProcessAiry

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "charts/monitoring/rules.yaml").read_text())
DASHBOARD = json.loads((ROOT / "charts/monitoring/dashboard.json").read_text())
PAGE = (ROOT / "docs/operations.md").read_text()

NAME = re.compile(r"(?<![\w:.\"$])(airy[_:][\w:]*)(?!\w)")
TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"(airy_\w+)\s*\{([^}]*)\}")
MATCHER = re.compile(r"(\w+)\s*(=~|!=|!~|=)\s*\"([^\"]*)\"")
HISTOGRAM = re.compile("(?<=_seconds)_(bucket|count|sum)$")
ADDED = {"job", "instance"}  # added by Prometheus to every sample
MEASURED_LATER = {"consumer_lag": {"group", "topic"}, "consumer_age_seconds": {"group"}}  # not at the start

Shown = dict[str, list[dict[str, str]]]


def rules(kind: str) -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"] if kind in rule]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in (*rules("record"), *rules("alert")):
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


@pytest.fixture
async def shown() -> Shown:
    """Labels of every sample by name, of a process with some activity."""
    async with InProcessAiry().open() as here:
        await here.connect()
        await here.subscribe("message.created")
        assert (await here.says("one")).status == 200
        await here.until(lambda: here.endpoint.answered)
        await here.services.lag_monitor.refresh({})
        answer = await here.get("/metrics")
    samples: Shown = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample.labels)
    return samples


def test_the_checks_of_this_file_find_their_patterns() -> None:
    """Otherwise the patterns below would pass for an empty page."""
    names = [name for _, text in expressions() for name in NAME.findall(TEXT.sub('""', text))]

    assert len(names) > 50
    assert "airy_fold_age_seconds" in names
    assert "airy:consumer_lag:max" in names


async def test_a_running_process_exports_exactly_the_described_metrics(shown: Shown) -> None:
    exposed = {HISTOGRAM.sub("", name.removeprefix(PREFIX)) for name in shown}

    assert exposed - DESCRIPTIONS.keys() == set(), "say in airy.http.metrics what it means"
    assert DESCRIPTIONS.keys() - exposed - MEASURED_LATER.keys() == set(), "not exposed"


async def test_alerts_and_panels_name_only_metrics_that_exist(shown: Shown) -> None:
    recorded = {rule["record"] for rule in rules("record")}
    known = shown.keys() | recorded | {PREFIX + name for name in MEASURED_LATER}

    unknown = {
        (place, name)
        for place, text in expressions()
        for name in NAME.findall(TEXT.sub('""', text))
        if name not in known
    }
    assert unknown == set()


async def test_selectors_name_labels_and_values_that_exist(shown: Shown) -> None:
    wrong = []
    for place, text in expressions():
        for name, matchers in SELECTOR.findall(text):
            labels = shown.get(name, [{"group": "", "topic": ""}])
            for label, operator, value in MATCHER.findall(matchers):
                if label in ADDED:
                    continue
                values = {sample.get(label) for sample in labels}
                wanted = value.split("|") if operator in {"=~", "!~"} else [value]
                if not set(wanted) <= values:
                    wrong.append((place, name, label, value))
    assert wrong == []


async def test_groupings_and_legends_use_labels_that_some_metric_of_the_expression_has(shown: Shown) -> None:
    labels_of = {name: {label for labels in samples for label in labels} for name, samples in shown.items()}
    labels_of |= {PREFIX + name: labels for name, labels in MEASURED_LATER.items()}
    recorded: dict[str, set[str]] = {}

    def known(text: str) -> set[str]:
        names = NAME.findall(TEXT.sub('""', text))
        return ADDED.union(*(labels_of.get(name, set()) | recorded.get(name, set()) for name in names))

    def grouped(text: str) -> set[str]:
        return {label.strip() for group in GROUPING.findall(text) for label in group.split(",") if label.strip()}

    for rule in rules("record"):
        recorded[rule["record"]] = grouped(rule["expr"])
    for place, text in expressions():
        assert grouped(text) <= known(text), place
    for rule in rules("alert"):
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert used <= known(rule["expr"]), rule["alert"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert used <= known(target["expr"]), panel["title"]


def test_every_alert_has_a_severity_a_summary_and_a_runbook_section() -> None:
    sections = {heading.lower(): heading for heading in re.findall(r"^#+ (\w+)$", PAGE, re.MULTILINE)}

    for rule in rules("alert"):
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert sections.get(anchor) == rule["alert"]
        text = PAGE.split(f"\n### {rule['alert']}\n", 1)[1].split("\n#", 1)[0]
        assert "**Do:**" in text, f"{rule['alert']}: what is there to do?"
    alerts = {rule["alert"] for rule in rules("alert")}
    assert {heading for heading in sections.values() if heading.startswith("Airy")} == alerts


def test_names_are_unique_and_panels_do_not_overlap() -> None:
    names = [rule["alert"] for rule in rules("alert")] + [rule["record"] for rule in rules("record")]
    panels = [(panel["id"], panel["title"]) for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(set(names)) == len(names)
    assert len({identity for identity, _ in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
