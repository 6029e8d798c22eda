"""`make pages` writes the JSON Schema of each view of the command line to docs/schemas."""

from pathlib import Path

from airy.cli import schemas

DIRECTORY = Path(__file__).parents[2] / "docs/schemas"


def files() -> dict[str, str]:
    """By name of the file."""
    return {f"{view.name}.json": schemas.text(view) for view in schemas.all_views()}


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    for path in DIRECTORY.glob("*.json"):
        path.unlink()
    for name, text in files().items():
        (DIRECTORY / name).write_text(text)


if __name__ == "__main__":
    main()
