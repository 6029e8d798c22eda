"""Topics and limits in docs/scaling.md equal those of the code, and its figures follow from its unit costs."""

import inspect
import re
from math import ceil
from pathlib import Path

import pytest

from airy import topics
from airy.actors.connector import Connector
from airy.change_readers import WEBHOOK_PUBLISHER
from airy.components import ConsumerSection
from airy.config import Config
from airy.sources.facebook.spec import SPEC

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
BUSY = 0.6


def cells(line_start: str) -> list[str]:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {line_start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def unit_s(name: str) -> float:
    """The planned time of a unit."""
    number, unit = cells(f"`{name}` |")[3].split()
    return float(number) * {"µs": 1e-6, "ms": 1e-3}[unit]


def test_the_page_has_every_topic_with_its_partitions() -> None:
    shown = dict(re.findall(r"^\| `([a-z.<>-]+)` \| (\d+) \|", PAGE, re.MULTILINE))

    assert shown == {any_source(topic.name): str(topic.partitions) for topic in topics.ALL}


def test_the_page_counts_partitions_correctly() -> None:
    of_sources = [topic for topic in topics.ALL if any_source(topic.name) != topic.name]
    sources = len(topics.SOURCE_NAMES)
    whole, source, folded, queued = (
        sum(one.partitions for one in some)
        for some in (topics.ALL, of_sources, topics.FOLDED, WEBHOOK_PUBLISHER.topics)
    )
    base, each = whole - source, source // sources

    assert f"Those are {base}, and {each} for each source of the version" in PAGE
    assert f"a store folds the {folded} of the first ten rows" in PAGE
    assert f"publishers share the {queued} of the first three" in PAGE
    assert (
        f"{base} partitions in {len(topics.ALL) - len(of_sources)} topics, and {each} in 3 more for each source" in PAGE
    )
    (cells_, partitions) = re.findall(r"(\d+) × (\d+) = [\d,]+ partitions", PAGE)[0]
    assert int(cells_) == ceil(100_000 / 3_000)
    assert (int(partitions) - base) % each == 0


def any_source(name: str) -> str:
    """The name of a topic with its source, if it has one, replaced by `<source>`."""
    for source in topics.SOURCE_NAMES:
        name = name.replace(f"source.{source}.events", "source.<source>.events")
    return name


def test_the_page_calculates_with_the_limits_of_the_code() -> None:
    config, limits = Config(), SPEC.kinds[0].limits
    consumer = config.section(ConsumerSection)
    workers = inspect.signature(Connector.__init__).parameters["workers_max"].default

    assert f"per channel {limits.per_s:g} a second and {limits.parallel_max} conversations" in PAGE
    assert f"per process {workers} / (time of a provider's call)" in PAGE
    assert f"{consumer.per_webhook_max} / 50 ms = {consumer.per_webhook_max * 20} a second" in PAGE
    assert f"`F × D × latency / {consumer.in_flight_max}`" in PAGE
    assert config.queue.jobs_max == 10**6


@pytest.mark.parametrize(("column", "rate"), [(2, 1_000), (3, 3_000), (4, 4_000)])
def test_the_examples_follow_from_the_unit_costs(column: int, rate: int) -> None:
    fold_s = unit_s("f")
    left = BUSY - rate * fold_s
    work_s = unit_s("i") + unit_s("r"), unit_s("q"), unit_s("d")
    processes = [ceil(round(rate * each / left, 6)) for each in work_s]  # ceil(6.0 + rounding error) must be 6
    whole = sum(max(2, count) for count in processes) + 2

    assert float(cells("folding, cores of **each**")[column]) == pytest.approx(rate * fold_s, abs=0.006)
    assert cells("sources / publisher / consumer")[column] == " / ".join(map(str, processes))
    assert cells("with two of each")[column] == str(whole)
    work, folding = map(float, cells("cores busy")[column].split(" / "))
    assert work == pytest.approx(rate * sum(work_s), abs=0.06)
    assert folding == pytest.approx(whole * rate * fold_s, abs=0.06)


@pytest.mark.parametrize("facts", [10**6, 10**8, 10**9])
def test_the_time_of_a_new_store_follows_from_the_cost_of_a_fold(facts: int) -> None:
    power = {10**6: "10⁶", 10**8: "10⁸", 10**9: "10⁹"}[facts]
    told = cells(f"{power} |")
    seconds = {"s": 1, "min": 60, "h": 3600}

    for cell, expected in ((told[5], facts * unit_s("f")), (told[6], facts * unit_s("f") / (1 - 1_000 * unit_s("f")))):
        number, unit = cell.split()
        assert float(number) * seconds[unit] == pytest.approx(expected, rel=0.03)
