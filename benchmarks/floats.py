"""The cost of a model that takes floating-point numbers, which the bridge has to make."""

from collections.abc import Callable
from math import prod

import numpy as np

from benchmarks import subjects
from benchmarks.models import write_null_model
from benchmarks.null_model import enough
from benchmarks.photos import RESIZE, SIDE, photo_images, pixels_of
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import repeat
from benchmarks.rig import Rig
from benchmarks.window import Window, answer_all, drain
from imaging.tensor import DTYPES, TensorRules
from producer.encoding import Encoding, encode

SHAPE = (SIDE, SIDE, 3)
TYPES = ("UINT8", "FP32", "FP16")
FIRST = 500
"""Images that are answered before anything is measured, to find the rate."""


def floats(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """CPU of the bridge for each image by the type that the model takes; null models of 224x224."""
    repository = rig.directory / "float-models"
    for datatype in TYPES:
        write_null_model(repository, _name(datatype), SHAPE, RESIZE, datatype)
    photos = photo_images()
    with np.load(pixels_of(rig.directory / "photos.npz", photos)) as data:
        raw = [encode(one, Encoding.RAW) for one in data["images"]]
    with rig.other_triton(repository) as served:

        def through(source: str, datatype: str) -> Callable[[], Window]:
            def run() -> Window:
                target, model = served.topic("out"), _name(datatype)
                subject = subjects.bridges(served, source, target, model=model)
                return drain(served, subject, source, target, plan.watch, model=model)

            return run

        todo: dict[str, Callable[[], Window]] = {}
        for kind, images in (("JPEG", photos), ("raw", raw)):
            first, target = served.topic("first"), served.topic("out")
            served.fill_images(first, images, FIRST)
            warm = subjects.bridges(served, first, target, model=_name("UINT8"))
            rate = answer_all(served, warm, first, target)
            progress.say(f"{kind}, first {FIRST}: {rate:,.0f} images/s")
            backlog = served.topic(kind)
            served.fill_images(backlog, images, enough(rate, plan.watch))
            todo |= {f"{kind}, {datatype}": through(backlog, datatype) for datatype in TYPES}
        settings = {
            f"{datatype} bytes an image": f"{size:,}"
            for datatype in TYPES
            for size in (prod(SHAPE) * TensorRules(DTYPES[datatype]).itemsize,)
        }
        return repeat(todo, plan.repeats, progress, settings)


def _name(datatype: str) -> str:
    return f"null_{datatype.lower()}"
