"""The project's own small detector: its canvases, network, training and score."""
