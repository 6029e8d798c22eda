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
    lines = ["| topic | partitions | key | kept | written by |", "|---|--:|---|---|---|"]
    for topic in topics.ALL:
        writers = [name for name in components.BY_NAME if acls.writes(name, topic)]
        by = "every process" if len(writers) == len(components.BY_NAME) else ", ".join(f"`{name}`" for name in writers)
        how_long = kept(topic.retention, topic.retention_ms)
        lines.append(f"| `{topic.name}` | {topic.partitions} | {topic.key} | {how_long} | {by or 'no component yet'} |")
    return "\n".join(lines)


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
