"""Measuring a run: predictions matched to imagesand the latency of each."""
