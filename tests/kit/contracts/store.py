"""What every store does, R-1 to R-5. An engine inherits the class and says how it is opened.

Nothing here looks behind the protocol.
"""

from tests.kit.contracts.store_acting import ActingContract
from tests.kit.contracts.store_asking import AskingContract
from tests.kit.contracts.store_dead import DeadContract
from tests.kit.contracts.store_filtering import FilteringContract
from tests.kit.contracts.store_folding import FoldingContract


class StoreContract(FoldingContract, ActingContract, AskingContract, FilteringContract, DeadContract):
    """All of it."""
