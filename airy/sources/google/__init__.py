"""Google Business Messages; see spec.py for what it is and source.py for how the parts fit."""
