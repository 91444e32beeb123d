"""A small detector of the project's own: its canvases, its network, its training, its score."""
