"""Options of the simulated Twilio: one account with numbers and WhatsApp senders."""

from typing import ClassVar

from airy.errors import Refused
from airy.sim.provider.options import SimAccount, SimOptions

SMS, WHATSAPP = "twilio.sms", "twilio.whatsapp"

DEMO_SMS_NUMBER = SimAccount("+4930901820", "Order hotline", "", kind=SMS)
DEMO_SENDER = SimAccount("whatsapp:+4930901820", "Order hotline", "", kind=WHATSAPP)


class TwilioOptions(SimOptions, frozen=True, kw_only=True):
    """`public_url`: of the installation, for senders whose address is entered at Twilio by hand: Twilio signs it."""

    accounts: tuple[SimAccount, ...] = (DEMO_SMS_NUMBER, DEMO_SENDER)
    account_sid: str = "AC00000000000000000000000000000001"
    auth_token: str = "twilio-token"  # noqa: S105 — of a simulation
    public_url: str = "http://127.0.0.1:8080"

    title: ClassVar[str] = "Twilio"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.auth_token:
            raise Refused("the auth token is empty: webhooks could not be signed", field="auth_token")


def is_whatsapp(address: str) -> bool:
    return address.startswith("whatsapp:")
