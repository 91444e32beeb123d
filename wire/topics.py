"""The default names of the topics, in one place for all programs."""

IMAGES = "images"
PREDICTIONS = "predictions"
DEAD_LETTERS = "images.dlq"
