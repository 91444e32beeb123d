"""Measures what the bridge costs, as ratios of alternating measurements within one run."""
