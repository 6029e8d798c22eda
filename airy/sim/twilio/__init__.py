"""The simulated Twilio: numbers for SMS and senders for WhatsApp."""

from airy.sim.twilio.options import DEMO_SENDER, DEMO_SMS_NUMBER, TwilioOptions
from airy.sim.twilio.provider import TwilioProvider

__all__ = ["DEMO_SENDER", "DEMO_SMS_NUMBER", "TwilioOptions", "TwilioProvider"]
