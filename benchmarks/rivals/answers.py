"""Whether a rival answers rightly: the 1,000 shipped images through it, before it is measured."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import Message, TopicPartition

from benchmarks.filling import mlserver_records
from benchmarks.rig import IMAGES, MODEL, Rig
from benchmarks.rivals.entries import Rival
from benchmarks.window import require_alive, running, wait_until
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.errors import StackError
from stack.service import Service

CONSUMES = "Kafka server consuming"
"""MLServer's log says so, and nothing else does: it reads from the end of its topic."""
IMAGES_OF = 1000
"""Images whose answers are counted. As many follow them, for a rival that waits for a number of
images."""
ANSWERED_S = 180.0
RIGHT = 915
"""Images that the network classifies correctly in float32; on a GPU it can be one or two off."""
MAY_MOVE = 2


def require_right(rig: Rig, rival: Rival) -> int:
    """How many of the 1,000 images a rival classifies correctly.

    Raises:
        StackError: they are not as many as torch's, or it does not answer.
    """
    found = right_answers(rig, rival)
    if abs(found - RIGHT) > MAY_MOVE:
        raise StackError(f"{rival.name}: {found} of {IMAGES_OF} answers are right, not {RIGHT}")
    return found


def right_answers(rig: Rig, rival: Rival) -> int:
    """How many of the 1,000 images have the true class as their best class."""
    source, target = rig.topic("in"), rig.topic("out")
    subject = rival.start(rig, source, target, MODEL)
    with np.load(IMAGES) as data:
        labels = data["labels"]
    with running(rig, subject):
        feed(rig, rival, subject, source, 2 * IMAGES_OF)
        classes = _classes(rig, target, subject)
    return sum(classes.get(f"b{i}") == int(labels[i]) for i in range(IMAGES_OF))


def feed(rig: Rig, rival: Rival, subject: Sequence[Service], source: str, count: int) -> None:
    """Send images to a rival that has started, in the form that it takes."""
    if rival.takes_json:
        log = subject[0].log_path
        wait_until(
            rig, lambda: CONSUMES in log.read_text(errors="replace"), subject, "its consumer"
        )
        rig.fill(source, mlserver_records(cifar10(Encoding.RAW), count, MODEL))
    else:
        rig.fill_images(source, cifar10(Encoding.RAW), count)


def _classes(rig: Rig, topic: str, subject: Sequence[Service]) -> Mapping[str, int]:
    """The best class of each image by its id, as soon as all images that count are answered."""
    wanted = {f"b{i}" for i in range(IMAGES_OF)}
    classes: dict[str, int] = {}
    deadline = time.monotonic() + ANSWERED_S
    with rig.reader() as consumer:
        partitions = consumer.list_topics(topic, timeout=ANSWERED_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        while wanted - classes.keys():
            require_alive(rig, subject)
            if time.monotonic() > deadline:
                raise StackError(
                    f"{subject[0].name}: {len(wanted - classes.keys())} of {IMAGES_OF} images have "
                    f"no answer after {ANSWERED_S:.0f} s; see {subject[0].log_path}"
                )
            for message in consumer.consume(1000, 0.2):
                if message.error() is None:
                    classes[_id(message)] = best_class(json.loads(message.value() or b"null"))
    return classes


def _id(message: Message) -> str:
    key = message.key()
    return key.decode() if isinstance(key, bytes) else str(key)


def best_class(answer: Any) -> int:
    """The best class in an answer, which may have the form of any rival.

    Raises:
        StackError: it is of no form that is known.
    """
    match answer:
        case [{"class_id": int(best)}, *_] | {"top": [{"class_id": int(best)}, *_]}:
            return best
        case {"scores": [*scores]}:
            return int(np.argmax(scores))
        case {"outputs": [{"data": [str(text), *_]}, *_]}:  # MLServer's, around its model's own
            return best_class(json.loads(text))
        case _:
            raise StackError(f"an answer is not understood: {str(answer)[:200]}")
