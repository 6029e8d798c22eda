"""WhatsApp Cloud API; see spec.py for what it is and source.py for how the parts fit."""
