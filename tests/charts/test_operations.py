"""The tables of docs/operations.md match the code. To update one, copy the output of its failing test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from airy import acls, components, topics
from airy.http.metrics import DESCRIPTIONS, PREFIX

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text()
DAY_MS = 86_400_000


def kept(retention: str, retention_ms: int | None) -> str:
    if retention == "time" and retention_ms is not None:
        return f"{retention_ms // DAY_MS} days"
    return {"kept": "for ever", "compacted": "the latest of each key"}[retention]


def topic_table() -> str:
    """One row for the topics all sources have."""
    lines = ["| topic | partitions | key | kept | written by |", "|---|--:|---|---|---|"]
    for topic in topics.ALL:
        writers = [name for name in components.BY_ID if acls.writes(name, topic)]
        named = dict.fromkeys(_any_source(name) for name in writers)
        by = "every process" if len(writers) == len(components.BY_ID) else ", ".join(f"`{name}`" for name in named)
        how_long = kept(topic.retention, topic.retention_ms)
        name = _any_source(topic.name)
        lines.append(f"| `{name}` | {topic.partitions} | {topic.key} | {how_long} | {by or 'no component yet'} |")
    return "\n".join(dict.fromkeys(lines))


def _any_source(name: str) -> str:
    """A component id or topic name with its source, if it has one, replaced by `<source>`."""
    for source in topics.SOURCE_NAMES:
        for form in ("sources-{}", "source.{}.events"):
            name = name.replace(form.format(source), form.format("<source>"))
    return name


def metric_table() -> str:
    lines = ["| metric | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{PREFIX}{name}` | {meaning} |" for name, meaning in sorted(DESCRIPTIONS.items()))])


@pytest.mark.parametrize("table", [topic_table, metric_table])
def test_the_tables_of_the_documentation_match_the_code(table: Callable[[], str]) -> None:
    assert table() in PAGE, table()


def test_every_anchor_of_the_page_exists() -> None:
    headings = [line.lstrip("#").strip() for line in PAGE.splitlines() if line.startswith("#")]
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    used = {part.split(")")[0] for part in PAGE.split("](#")[1:]}

    assert used - anchors == set()
