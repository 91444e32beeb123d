"""Photos: JPEGs whose decoding costs as much as a network, decoded by the bridge or by Triton."""

import io
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from benchmarks import subjects
from benchmarks.models import LABELS, MAX_BATCH, write_null_model
from benchmarks.null_model import SPARE, enough
from benchmarks.plan import FEW_BRIDGES, SEVERAL_BRIDGES, Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import repeat
from benchmarks.rig import CORES, Rig
from benchmarks.subjects import AT_LEAST_ONCE
from benchmarks.window import LEAST_IMAGES, Window, answer_all, drain, load
from imaging.decode import to_input
from imaging.rules import ImageRules, Preprocess
from producer.encoding import EncodedImage, Encoding, encode
from producer.sources import cifar10
from stack.errors import StackError
from stack.service import Service
from wire.image import ImageEvent

NETWORKS = {"cpu": ("resnet18", 16, "fp32", 2), "cuda": ("resnet50", 128, "fp16", 4)}
"""Network, largest batch, precision and instances by device; weights are random, which cost the
same. With two instances, a GPU waited for half of the time while the pixels were copied."""
FASTEST = 11_000.0
"""Highest rate for which a topic of pixels is filled: 150 kB for each image, some 20 GB in all."""
NULL, NULL_DALI = "null_photo", "null_photo_dali"
RAW_SPARE = 2
"""Size of a backlog of pixels as a multiple of the images that are answered, at a known rate."""
WIDTH, HEIGHT = 500, 375
NOISE = 16
"""Noise that is added to each enlarged shipped image: as a JPEG it then has a photo's 100 kB."""
DISTINCT = 256
SIDE, RESIZE = 224, 256
FIRST = 1000
"""Photos that are answered before anything is measured, to find the rate."""


def photos(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Images/s of photos through a network of their size, and through one that answers at once."""
    network, max_batch, precision, instances = NETWORKS[rig.torch_device]
    images = photo_images()
    pixels = pixels_of(rig.directory / "photos.npz", images)
    with_dali = bool(find_spec("nvidia") and find_spec("nvidia.dali"))
    repository = _models(rig, with_dali=with_dali)
    with rig.other_triton(repository) as served:

        def through(model: str, network: str, count: int = 1) -> Callable[[], Window]:
            def run() -> Window:
                target = served.topic("out")
                subject = _bridges(served, backlog, target, model, count)
                return drain(served, subject, backlog, target, plan.watch, model=network)

            return run

        ceilings: list[float] = []

        @cache
        def raw_backlog() -> str:
            # No subject is faster than Triton alone, and each begins at the start of the topic.
            if not ceilings:
                raise StackError("how many are needed is not known: the ceiling was not measured")
            rate = min(max(ceilings), FASTEST)
            topic = served.topic("pixels")
            with np.load(pixels) as data:
                raw = [encode(one, Encoding.RAW) for one in data["images"]]
            count = enough(rate, plan.watch) // SPARE * RAW_SPARE
            served.fill_images(topic, raw, max(count, 4 * LEAST_IMAGES))
            return topic

        def raw(count: int) -> Callable[[], Window]:
            def run() -> Window:
                source, target = raw_backlog(), served.topic("out")
                subject = subjects.bridges(served, source, target, count, network)
                return drain(served, subject, source, target, plan.watch, model=network)

            return run

        first, target = served.topic("first"), served.topic("out")
        served.fill_images(first, images, FIRST)
        rate = answer_all(served, _bridges(served, first, target, NULL), first, target)
        progress.say(f"first {FIRST} photos: {rate:,.0f} images/s")
        backlog = served.topic("photos")
        served.fill_images(backlog, images, enough(rate, plan.watch))
        in_flight = subjects.in_flight(instances)

        def ceiling() -> Window:
            straight = subjects.triton_load(served, max_batch, in_flight, network, pixels)
            window = load(served, straight, plan.watch, model=network)
            ceilings.append(window.rate)
            return window

        # What the goals need comes first: there may not be time for everything.
        todo = {"ceiling": ceiling, "bridge, raw": raw(1)}
        if rig.device == "cuda":
            several = SEVERAL_BRIDGES[FEW_BRIDGES]
            todo |= {
                f"{FEW_BRIDGES}, raw": raw(several),
                f"{FEW_BRIDGES}, decoded in Triton": through(
                    f"{network}_encoded", network, several
                ),
                FEW_BRIDGES: through(network, network, several),
            }
        todo |= {
            "bridge, decoded in Triton": through(f"{network}_encoded", network),
            "null model, decoded in Triton": through(f"{NULL}_encoded", NULL),
            "bridge": through(network, network),
            "null model": through(NULL, NULL),
        }
        if with_dali:
            todo["null model, decoded in Triton by DALI"] = through(
                f"{NULL_DALI}_encoded", NULL_DALI
            )
        mean = sum(len(image.value) for image in images) / len(images)
        settings = {
            "network": network, "precision": precision, "instances": instances,
            "photo": f"JPEG {WIDTH}x{HEIGHT}, {mean / 1000:.0f} kB",
            "decoded in Triton by": "DALI" if rig.device == "cuda" and with_dali else "the rules",
            "decoders": CORES, "load processes": subjects.LOADS,
        }  # fmt: skip
        return repeat(todo, plan.repeats, progress, settings)


def _bridges(rig: Rig, source: str, target: str, model: str, count: int = 1) -> list[Service]:
    """Bridges that decode on all cores together."""
    settings = {**AT_LEAST_ONCE, "decoders": str(max(1, CORES // count))}
    return subjects.bridges(rig, source, target, count, model, settings)


def _models(rig: Rig, *, with_dali: bool) -> Path:
    """A repository with the network, a null model, and their ensembles."""
    from exporter.model import Model  # noqa: PLC0415 - torch takes seconds
    from exporter.passthrough import export_ensemble  # noqa: PLC0415

    network, max_batch, precision, instances = NETWORKS[rig.torch_device]
    # Where a GPU runs the network, it also decodes.
    dali = ("--dali",) if with_dali and rig.device == "cuda" else ()
    kept = rig.export(
        f"photos-{precision}", "--weights", "none", "--max-batch-size", str(max_batch),
        "--precision", precision, "--instances", str(instances),
        "--ensemble", "--decoders", str(CORES), *dali, model=network,
    )  # fmt: skip
    repository = rig.directory / "photo-models"
    shutil.copytree(kept, repository)
    for name in (NULL, NULL_DALI) if with_dali else (NULL,):
        write_null_model(repository, name, (SIDE, SIDE, 3), RESIZE)
        model = Model(
            name=name, build=_never_built, labels=LABELS, size=(SIDE, SIDE), resize=RESIZE
        )
        export_ensemble(
            model, repository, max_batch_size=MAX_BATCH, decoders=CORES, dali=name == NULL_DALI,
            device=rig.device,
        )  # fmt: skip
    return repository


def photo_images() -> list[EncodedImage]:
    """The shipped images, enlarged, with noise; the same in each run."""
    rng = np.random.default_rng(0)
    found = []
    for image in cifar10(Encoding.PNG, limit=DISTINCT):
        with Image.open(io.BytesIO(image.value)) as opened:
            large = opened.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        noise = rng.integers(-NOISE, NOISE + 1, (HEIGHT, WIDTH, 3))
        pixels = np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)
        found.append(encode(pixels, Encoding.JPEG))
    return found


def pixels_of(path: Path, images: Sequence[EncodedImage]) -> Path:
    """Write a file of the images as the network's input."""
    limit = 1 << 30
    rules = ImageRules((SIDE, SIDE, 3), Preprocess(RESIZE), max_bytes=limit, max_pixels=limit)
    event = ImageEvent("", None, None, None, 0, 0)
    decoded = [to_input(event, image.value, rules) for image in images]
    np.savez(path, images=np.stack([np.asarray(one) for one in decoded]))
    return path


def _never_built() -> NoReturn:
    raise NotImplementedError("a null model has no network")
