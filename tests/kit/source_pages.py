"""`make pages` writes the tables of docs that follow from the code: of sources, and of the checks of `airy doctor`."""

from collections.abc import Iterator
from pathlib import Path

from airy.app.doctor.catalogue import CHECKS
from airy.app.doctor.report import table
from airy.cli import source_pages
from airy.sources.catalogue import SOURCES

DOCS = Path(__file__).parents[2] / "docs"


def pages() -> Iterator[tuple[Path, dict[str, str]]]:
    """Each page and its blocks."""
    yield DOCS / "sources.md", {"sources": source_pages.overview(), "forms": source_pages.forms()}
    yield DOCS / "doctor.md", {"checks": table(CHECKS)}
    for spec in SOURCES:
        yield DOCS / "sources" / f"{spec.name}.md", {"supported": source_pages.supported(spec)}


def main() -> None:
    for path, blocks in pages():
        path.write_text(source_pages.filled(path.read_text(), blocks))


if __name__ == "__main__":
    main()
