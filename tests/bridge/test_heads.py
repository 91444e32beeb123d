"""An answer of several heads, where low scores are left out and topics are chosen by label."""

from bridge.predicting import at_least
from bridge.routing import Routes
from bridge.tasks.task import Heads
from wire.prediction import Head, ScoredLabel

CAT = ScoredLabel(label="cat", class_id=3, score=0.9)
DOG = ScoredLabel(label="dog", class_id=5, score=0.1)
RED = ScoredLabel(label="red", class_id=0, score=0.4)
ANSWER = Heads((Head(output="ANIMAL", top=(CAT, DOG)), Head(output="COLOUR", top=(RED,))))


def test_each_head_keeps_the_labels_that_are_sure_enough() -> None:
    found = at_least(ANSWER, 0.5)
    assert isinstance(found, Heads)
    assert [(head["output"], list(head["top"])) for head in found.heads] == [
        ("ANIMAL", [CAT]),
        ("COLOUR", []),
    ]


def test_the_topic_is_that_of_the_first_heads_best_label() -> None:
    routes = Routes("predictions", topics={"cat": "cats", "red": "reds"})
    assert routes.topic(ANSWER, ()) == "cats"
    assert routes.topic(at_least(ANSWER, 0.95), ()) == "predictions"
