"""Edits of the text of a configuration file: only the lines of the changed keys change."""

import difflib
from pathlib import Path

import pytest
import yaml

from airy.config_document import InvalidConfig, kind_of, parse
from airy.errors import Refused
from airy.live_config.edit import Edit, edited, written
from airy.live_config.settings import SECTIONS, ConfigSetting

REFERENCE = Path(__file__).parents[2] / "airy.yaml"
FILE = "airy.yaml"
SETTINGS = [setting for section in SECTIONS for setting in section.settings if setting.kind != "map"]
TEXT = """\
# head
http: {port: 9090}   # short
components:
  # sources we use
  sources:
    viber:
      # the bot
      authToken: env:VIBER   # secret

    # Telegram, for later
    telegram:
      enabled: false
    twilio:
      authToken:
      - a
      - b   # old
      accountSid: "AC1"
media:   # nothing yet
security:
  webhooks:
    ports:
      - 443
      - 8443
# tail
"""
EDITED = """\
# head
http: {host: "::1", port: 9090}   # short
components:
  # sources we use
  sources:
    viber:
      # the bot
      authToken: file:x/y   # secret
      enabled: false

    # Telegram, for later
    telegram:
      enabled: false
      markRead: true
    twilio:
      authToken:
        [x]   # old
      accountSid: "AC1"
media:   # nothing yet
  prefix: airy/
security:
  webhooks:
    ports:
      [1]
log:
  level: debug
# tail
"""


def edit(path: str, value: object = None, default: object = None) -> Edit:
    return Edit(tuple(path.split(".")), value, default)


def changed(setting: ConfigSetting) -> object:
    values = {"switch": not setting.default, "number": 2, "text": "some text", "secret": "abc", "list": ["a", "b"]}
    return setting.choices[0] if setting.kind == "choice" else values[setting.kind]


def test_each_key_of_the_reference_changes_the_one_line_that_has_it_as_a_comment() -> None:
    text = REFERENCE.read_text()
    for setting in SETTINGS:
        after = edited(text, [edit(setting.path, changed(setting), setting.default)], FILE)
        changes = [line for line in difflib.ndiff(text.splitlines(), after.splitlines()) if line[0] in "+-"]
        assert len(changes) == 2, changes
        assert changes[1].startswith("+") and changes[1].lstrip("+ ").startswith(f"{setting.key.split('.')[-1]}: ")


def test_comments_order_and_unchanged_lines_stay() -> None:
    edits = [
        edit("http.host", "::1"),
        edit("components.sources.viber.enabled", False),
        edit("components.sources.viber.authToken", "file:x/y"),
        edit("components.sources.twilio.authToken", ["x"]),
        edit("components.sources.telegram.markRead", True),
        edit("media.prefix", "airy/"),
        edit("security.webhooks.ports", [1]),
        edit("log.level", "debug"),
    ]
    assert edited(TEXT, edits, FILE) == EDITED


def test_a_key_that_gets_its_default_leaves_the_file_with_its_line() -> None:
    after = edited(
        TEXT, [edit("http.port"), edit("components.sources.viber.authToken"), edit("media"), edit("log.x")], FILE
    )
    assert "http: {}   # short" in after
    assert "      # the bot\n\n    # Telegram" in after
    assert "media" not in after


@pytest.mark.parametrize("text", ["", "# only a comment", "---\n"])
def test_an_empty_file_gets_the_section(text: str) -> None:
    assert edited(text, [edit("http.port", 9090)], FILE).endswith("http:\n  port: 9090\n")


@pytest.mark.parametrize(
    "value",
    [
        "a: b",
        "#x",
        "no",
        "true",
        "1",
        "null",
        "",
        " x",
        "a,b",
        "zeilen\num",
        "'",
        '"',
        "[x",
        "é😀",
        7,
        1.5,
        True,
        ["a, b", "c"],
    ],
)
def test_a_value_is_read_back_as_it_was_written(value: object) -> None:
    node = parse(written(value), FILE)
    assert isinstance(node, yaml.ScalarNode | yaml.SequenceNode)
    if isinstance(value, list):
        assert [each.value for each in node.value] == value
    else:
        kinds = {str: "str", int: "int", float: "float", bool: "bool"}
        text = str(value).lower() if isinstance(value, bool) else str(value)
        assert (node.value, kind_of(node)) == (text, kinds[type(value)])


def test_what_is_no_section_cannot_take_a_key() -> None:
    with pytest.raises(Refused, match="cannot write http"):
        edited("http: [1]\n", [edit("http.port", 1)], FILE)
    with pytest.raises(InvalidConfig):
        edited("http: [1\n", [edit("http.port", 1)], FILE)
