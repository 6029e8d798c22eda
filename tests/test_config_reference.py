"""The configuration reference: the blocks of components in airy.yaml are generated from their sections."""

from pathlib import Path

import pytest

from airy import components
from airy.components import Component
from airy.config_reference import section_block

ROOT = Path(__file__).parents[1]
WITH_SECTION = [component for component in components.ALL if component.section is not None]


@pytest.mark.parametrize("component", WITH_SECTION, ids=lambda component: component.id)
def test_the_reference_has_the_generated_block_of_every_component(component: Component) -> None:
    """To update airy.yaml, copy the block from the failing assertion."""
    block = "\n".join(section_block(component, indent=4))

    assert f"\n{block}\n" in (ROOT / "airy.yaml").read_text(), f"airy.yaml lacks\n{block}"
