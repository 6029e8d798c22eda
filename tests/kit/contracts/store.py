"""The contract of every store, R-1 to R-6. A test class of an engine inherits it and defines `opened`.

It uses the port only.
"""

from tests.kit.contracts.store_acting import ActingContract
from tests.kit.contracts.store_asking import AskingContract
from tests.kit.contracts.store_contacts import ContactsContract
from tests.kit.contracts.store_dead_deliveries import DeadDeliveriesContract
from tests.kit.contracts.store_entities import EntitiesContract
from tests.kit.contracts.store_filtering import FilteringContract
from tests.kit.contracts.store_folding import FoldingContract
from tests.kit.contracts.store_holding import HoldingContract
from tests.kit.contracts.store_identities import IdentitiesContract


class StoreContract(
    FoldingContract,
    HoldingContract,
    IdentitiesContract,
    ActingContract,
    AskingContract,
    FilteringContract,
    EntitiesContract,
    ContactsContract,
    DeadDeliveriesContract,
):
    """The whole contract."""
