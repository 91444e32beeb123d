"""The default names of the topics, in one place for all programs, and which names there can be."""

import re

IMAGES = "images"
PREDICTIONS = "predictions"
DEAD_LETTERS = "images.dlq"

_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}")


def is_topic_name(text: str) -> bool:
    """Whether Kafka can have a topic with this name."""
    return _NAME.fullmatch(text) is not None
