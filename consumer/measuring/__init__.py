"""Measuring a run: predictions matched to images, and the latency of each."""
