"""RCS for Business by Google's API; see spec.py for what it is and source.py for how the parts fit."""
