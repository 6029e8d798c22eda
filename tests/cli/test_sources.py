"""`airy sources`"""

from airy.sources.catalogue import SOURCES
from tests.kit.command_line import CommandLine, matches_golden


def test_sources_are_listed_in_the_order_of_the_catalogue(airy: CommandLine) -> None:
    assert matches_golden("sources-list", airy("sources", "list").out)
    assert [each["name"] for each in airy.json("sources", "sources", "list")] == [spec.name for spec in SOURCES]


def test_every_source_is_described(airy: CommandLine) -> None:
    for spec in SOURCES:
        assert [each["name"] for each in airy.json("source", "sources", "info", spec.name)["kinds"]] == [
            kind.name for kind in spec.kinds
        ]
    assert matches_golden("sources-info", airy("sources", "info", "telegram").out)
