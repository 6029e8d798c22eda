"""Starts a process whose catalogue has one source more: `journey` prints what was seen of one, anything else is a
command line of Airy.
"""

import sys

from airy.sources import catalogue
from tests.kit.paper_source.spec import SPEC


def enlist() -> None:
    """Before anything that derives from the catalogue is imported."""
    catalogue.SOURCES = (*catalogue.SOURCES, SPEC)
    catalogue.BY_NAME = {spec.name: spec for spec in catalogue.SOURCES}
    catalogue.BY_KIND = {kind.name: spec for spec in catalogue.SOURCES for kind in spec.kinds}
    catalogue.KINDS = {kind.name: kind for spec in catalogue.SOURCES for kind in spec.kinds}


def main() -> None:
    enlist()
    if sys.argv[1:] == ["journey"]:
        import anyio
        import msgspec

        from tests.kit.journey import travel
        from tests.kit.paper_source.wire import PaperWire

        journey = anyio.run(travel, PaperWire(), "paper")
        sys.stdout.buffer.write(msgspec.json.encode(journey))
        return
    from airy.cli import main as cli

    sys.exit(cli())


if __name__ == "__main__":
    main()
