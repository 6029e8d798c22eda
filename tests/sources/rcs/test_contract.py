"""RCS keeps the contract of sources, over its recorded payloads and against its provider."""

from pathlib import Path

from tests.kit.contracts.source import SourceContract
from tests.kit.providers import WIRES


class TestContract(SourceContract):
    wire = WIRES["rcs"]
    folder = Path(__file__).parent / "fixtures"
