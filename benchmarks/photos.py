"""Photos: JPEGs whose decoding costs as much as a network, decoded by the bridge or in Triton."""

import io
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from benchmarks import subjects
from benchmarks.models import LABELS, MAX_BATCH, write_null_model
from benchmarks.null_model import enough
from benchmarks.plan import Plan, Result, Say
from benchmarks.repeats import repeat
from benchmarks.rig import CORES, Rig, image_records
from benchmarks.subjects import AT_LEAST_ONCE
from benchmarks.window import Window, answer_all, drain, load
from imaging.decode import to_input
from imaging.rules import ImageRules, Preprocess
from producer.encoding import EncodedImage, Encoding, encode
from producer.sources import cifar10
from stack.service import Service
from wire.image import ImageEvent

NETWORKS = {"cpu": ("resnet18", 16), "cuda": ("resnet50", 128)}
"""What fits the device, and its largest batch; with random weights, which cost the same."""
NULL, NULL_DALI = "null_photo", "null_photo_dali"
WIDTH, HEIGHT = 500, 375
NOISE = 16
"""Added to each shipped image, enlarged: a JPEG has then the 100 kB of a photo, and its cost."""
DISTINCT = 256
SIDE, RESIZE = 224, 256
FIRST = 1000
"""Photos that are answered before anything is measured, to see how fast that goes."""


def photos(rig: Rig, plan: Plan, say: Say) -> Result:
    """Images/s of photos through a network of their size, and through one that answers at once."""
    network, max_batch = NETWORKS[rig.torch_device]
    images = _photos()
    pixels = _pixels(rig.directory / "photos.npz", images)
    with_dali = bool(find_spec("nvidia") and find_spec("nvidia.dali"))
    repository = _models(rig, network, max_batch, with_dali=with_dali)
    with rig.other_triton(repository) as served:

        def through(model: str, network: str) -> Callable[[], Window]:
            def run() -> Window:
                target = served.topic("out")
                return drain(
                    served, _bridge(served, backlog, target, model), backlog, target, plan.watch,
                    model=network,
                )  # fmt: skip

            return run

        first, target = served.topic("first"), served.topic("out")
        served.fill(first, image_records(images, FIRST))
        rate = answer_all(served, _bridge(served, first, target, NULL), first, target)
        say(f"first {FIRST} photos: {rate:,.0f} images/s")
        backlog = served.topic("photos")
        served.fill(backlog, image_records(images, enough(rate, plan.watch)))
        in_flight = 2 * rig.instances

        def ceiling() -> Window:
            straight = subjects.triton_load(served, max_batch, in_flight, network, pixels)
            return load(served, [straight], plan.watch, model=network)

        todo = {
            "ceiling": ceiling,
            "bridge": through(network, network),
            "bridge, decoded in Triton": through(f"{network}_jpeg", network),
            "null model": through(NULL, NULL),
            "null model, decoded in Triton": through(f"{NULL}_jpeg", NULL),
        }
        if with_dali:
            todo["null model, decoded in Triton by DALI"] = through(f"{NULL_DALI}_jpeg", NULL_DALI)
        result = repeat(todo, plan.repeats, say)
    mean = sum(len(image.value) for image in images) / len(images)
    result["settings"] = {
        "network": network, "photo": f"JPEG {WIDTH}x{HEIGHT}, {mean / 1000:.0f} kB",
        "decoded in Triton by": "DALI" if rig.device == "cuda" and with_dali else "the rules",
        "decoders": CORES,
    }  # fmt: skip
    return result


def _bridge(rig: Rig, source: str, target: str, model: str) -> list[Service]:
    return subjects.bridges(
        rig, source, target, model=model, settings={**AT_LEAST_ONCE, "decoders": str(CORES)}
    )


def _models(rig: Rig, network: str, max_batch: int, *, with_dali: bool) -> Path:
    """A repository with the network, a null model, and their ensembles."""
    from exporter.models import Model  # noqa: PLC0415 - torch takes seconds
    from exporter.passthrough import export_ensemble  # noqa: PLC0415

    # Where a GPU runs the network, it decodes too.
    dali = ("--dali",) if with_dali and rig.device == "cuda" else ()
    kept = rig.export(
        "photos", "--weights", "none", "--max-batch-size", str(max_batch), "--ensemble",
        "--decoders", str(CORES), *dali, model=network,
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


def _photos() -> list[EncodedImage]:
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


def _pixels(path: Path, images: Sequence[EncodedImage]) -> Path:
    """A file of them as the network gets them."""
    limit = 1 << 30
    rules = ImageRules((SIDE, SIDE, 3), Preprocess(RESIZE), max_bytes=limit, max_pixels=limit)
    event = ImageEvent("", None, None, None, 0, 0)
    decoded = [to_input(event, image.value, rules) for image in images]
    np.savez(path, images=np.stack([np.asarray(one) for one in decoded]))
    return path


def _never_built() -> NoReturn:
    raise NotImplementedError("a null model has no network")
