"""The providers' side of every source in the catalogue: signed webhooks, and answers to calls."""

from collections.abc import Mapping

from tests.kit.providers.base import Webhook, Wire
from tests.kit.providers.google import GoogleWire
from tests.kit.providers.meta import FacebookWire, InstagramWire
from tests.kit.providers.rcs import RcsWire
from tests.kit.providers.telegram import TelegramWire
from tests.kit.providers.twilio import TwilioWire
from tests.kit.providers.viber import ViberWire
from tests.kit.providers.whatsapp import WhatsAppWire

PROVIDERS = (FacebookWire, InstagramWire, WhatsAppWire, TwilioWire, TelegramWire, ViberWire, GoogleWire, RcsWire)
WIRES: Mapping[str, Wire] = {wire.spec.name: wire() for wire in PROVIDERS}

__all__ = ["WIRES", "Webhook", "Wire"]
