"""Instagram keeps the contract of sources, over its recorded payloads and against its provider."""

from pathlib import Path

from tests.kit.contracts.source import SourceContract
from tests.kit.providers import WIRES
from tests.kit.providers.meta import InstagramLoginWire


class TestContract(SourceContract):
    wire = WIRES["instagram"]
    folder = Path(__file__).parent / "fixtures"


class TestContractOfInstagramLogin(SourceContract):
    """The same events, of an account without a page."""

    wire = InstagramLoginWire()
    folder = Path(__file__).parent / "fixtures"
