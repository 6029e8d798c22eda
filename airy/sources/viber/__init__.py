"""Viber bots; see spec.py for what they are and source.py for how the parts fit."""
