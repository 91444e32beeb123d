"""Brings the benchmark to a GPU machine without a network: packed here, unpacked and run there."""
