"""The former flat spelling of components: accepted with a warning, refused beside the nested one."""

from pathlib import Path

import pytest

from airy.components import CommunicationSection, ConsumerSection
from airy.config import Config
from airy.config_document import InvalidConfig
from airy.config_file import load


def loaded(directory: Path, text: str) -> tuple[Config, list[str]]:
    path = directory / "airy.yaml"
    path.write_text(text)
    warnings: list[str] = []
    config = load(path, {}, warn=warnings.append)
    return config, [warning.removeprefix(f"{path}:") for warning in warnings]


def test_a_flat_key_is_read_with_a_warning_that_says_what_to_write(tmp_path: Path) -> None:
    config, warnings = loaded(tmp_path, "components:\n  webhook-consumer:\n    timeoutS: 3\n")

    assert config.section(ConsumerSection).timeout_s == 3.0
    assert warnings == ["2: components.webhook-consumer is deprecated: write `components: {webhook: {consumer: …}}`"]


def test_flat_and_nested_keys_of_different_components_are_merged(tmp_path: Path) -> None:
    text = "components:\n  webhook:\n    publisher: {enabled: false}\n  webhook-consumer: {timeoutS: 3}\n  api:\n"
    text += "  api-communication: {messageTtlS: 4}\n"
    config, warnings = loaded(tmp_path, text)

    assert (config.section(ConsumerSection).timeout_s, config.section(CommunicationSection).message_ttl_s) == (3, 4)
    assert [warning.partition(" ")[0] for warning in warnings] == ["4:", "6:"]


def test_a_component_in_both_spellings_is_refused(tmp_path: Path) -> None:
    text = "components:\n  webhook: {consumer: {timeoutS: 3}}\n  webhook-consumer: {timeoutS: 4}\n"

    with pytest.raises(
        InvalidConfig, match=r":3: components\.webhook-consumer: is given as components\.webhook\.consumer"
    ):
        loaded(tmp_path, text)


def test_a_problem_below_a_flat_key_has_its_line_and_the_nested_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r":3: components\.webhook\.consumer\.timeoutS: expected a number"):
        loaded(tmp_path, "components:\n  webhook-consumer:\n    timeoutS: soon\n")
