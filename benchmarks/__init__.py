"""What the bridge costs: ratios between things measured side by side, alternating, in one run."""
