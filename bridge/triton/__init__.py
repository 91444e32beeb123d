"""The Triton side of the bridge: the client, its messages, and what a model is."""
