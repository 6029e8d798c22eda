"""Options of the simulated APIs of Google."""

from airy.errors import Refused
from airy.sim.google_api import service_account
from airy.sim.provider.options import SimOptions


class GoogleApiOptions(SimOptions, frozen=True, kw_only=True):
    """`service_account`: its JSON key; empty: one is made. `service_account_file`: where an installation finds it, if
    not in its configuration. `webhook_key` signs webhooks and is posted when an address is entered.
    `clock_off_s_max`: how much the clock of an installation may differ from Google's.
    """

    service_account: str = ""
    service_account_file: str | None = None
    webhook_key: str
    clock_off_s_max: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.webhook_key:
            raise Refused("the key of webhooks is empty: they could not be signed", field="webhook_key")

    @property
    def json_key(self) -> str:
        return self.service_account or service_account.made()

    @property
    def configured_key(self) -> str:
        """What an installation has in its configuration."""
        if self.service_account_file is not None:
            return f"file:{self.service_account_file}"
        return self.json_key.strip()
