"""The published schemas of what `--json` prints."""

import json

import pytest
from jsonschema import Draft202012Validator

from tests.kit import view_schemas

FILES = view_schemas.files()


def test_the_published_schemas_are_those_of_the_views() -> None:
    published = {path.name: path.read_text() for path in view_schemas.DIRECTORY.glob("*")}

    assert published == FILES, "run `make pages`"


@pytest.mark.parametrize("name", FILES)
def test_a_published_schema_is_a_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(FILES[name]))
