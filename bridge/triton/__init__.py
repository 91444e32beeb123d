"""The Triton side of the bridge: the client, its messages and the description of a model."""
