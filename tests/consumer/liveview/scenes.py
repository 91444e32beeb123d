"""What may be hard to lay out in the live view."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from consumer.liveview.view import View
from consumer.reader import Received
from tests.consumer.liveview.records import MS, NOW_NS, answer, image, refuse, stored
from tests.consumer.scenes import CIFAR, LONG_LABEL, UNBROKEN
from wire.record import Outgoing


def _gradient(side: int = 32) -> bytes:
    made = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(made, "PNG")
    return made.getvalue()


def _pass_by(view: View, label: Callable[[int], str], count: int, id: str = "image-") -> None:
    """Images; every seventh waits, every fifth is a dead letter, every third answered wrongly."""
    took = np.random.default_rng(3).lognormal(np.log(30), 1.0, count)
    for number in range(count):
        value = _gradient() if number % 4 else b""
        sent = image(number, id=f"{id}{number}", label=label(number), value=value)
        record = stored(sent, offset=number)
        view.take(Received(record, NOW_NS))
        if number % 7 == 0:
            continue
        if number % 5 == 0:
            letter = refuse(record, f"a PNG of 12,000 x 9,000 pixels, more than {id} may have")
            view.take(Received(stored(letter, "images.dlq", number), NOW_NS))
            continue
        says = label(number + 1 if number % 3 == 0 else number)
        found = stored(answer(record, says, took_ms=int(took[number])), "predictions", number)
        view.take(Received(found, NOW_NS + int(took[number] * 1.3) * MS))


def usual(view: View) -> None:
    _pass_by(view, lambda number: CIFAR[number % 10], 300)


def one(view: View) -> None:
    _pass_by(view, lambda _: "cat", 2)


def long_names(view: View) -> None:
    _pass_by(view, lambda number: f"{LONG_LABEL} {number % 3}", 300, UNBROKEN)


def thousand_classes(view: View) -> None:
    _pass_by(view, lambda number: f"n{number % 1000:08d}", 3000)


def only_rubbish(view: View) -> None:
    """Records with nothing in them that says what they are."""
    for number in range(12):
        broken = stored(Outgoing(None, b"rubbish", []), offset=number)
        view.take(Received(broken, NOW_NS))
        letter = refuse(broken, "not an image that the bridge knows")
        view.take(Received(stored(letter, "images.dlq", number), NOW_NS))


SCENES: dict[str, Callable[[View], None]] = {
    "nothing": lambda _: None,
    "one": one,
    "usual": usual,
    "long names": long_names,
    "thousand classes": thousand_classes,
    "only rubbish": only_rubbish,
}
