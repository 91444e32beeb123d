"""JPEGs to a network's pixels with NVIDIA DALI, on a GPU or a CPU, a batch at a time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from nvidia.dali import Pipeline, fn, types

from imaging.decode import opened
from imaging.fit import place
from imaging.formats import format_of
from imaging.orientation import UPRIGHT
from imaging.rules import ImageError, ImageRules, Pixels

INTERPOLATIONS = {
    "nearest": types.INTERP_NN,
    "bilinear": types.INTERP_LINEAR,
    "bicubic": types.INTERP_CUBIC,
    "lanczos": types.INTERP_LANCZOS3,
}


class Jpeg(NamedTuple):
    """A JPEG that the bridge's rules let in by its header, and what becomes of it.

    Attributes:
        size: (height, width) that it is scaled to; its own where the network scales nothing.
        start: (top, left) of the network's pixels in that.
    """

    value: bytes
    size: tuple[int, int]
    start: tuple[int, int]


def read_jpeg(value: bytes, rules: ImageRules) -> Jpeg | None:
    """What DALI has to know of an image; None: it is not for DALI, or not an image at all."""
    assert rules.shape is not None
    if rules.shape[2] != 3 or len(value) > rules.max_bytes or format_of(value) != "JPEG":
        return None
    try:
        with opened(value, rules.max_pixels) as (image, orientation, ended):
            # Images that are to be turned are rare, and not for DALI.
            if orientation != UPRIGHT or not ended or image.mode not in ("L", "RGB"):
                return None
            where = place(image.size, rules)
    except ImageError:
        return None
    if where.left < 0 or where.top < 0:  # a letterbox
        return None
    return Jpeg(value, (where.height, where.width), (where.top, where.left))


class Decoder:
    """Decodes what of a batch is for DALI.

    Args:
        rules: of the network's pixels; an image that is beyond its bounds is not for DALI.
        max_batch: images in a batch.
        device_id: of the GPU; None: the CPU.
        warn: told of each batch that DALI could not do.

    Raises:
        RuntimeError: DALI cannot run here; says why.
    """

    def __init__(
        self,
        rules: ImageRules,
        max_batch: int,
        device_id: int | None,
        *,
        warn: Callable[[str], None],
    ) -> None:
        assert rules.shape is not None
        self._rules = rules
        self._max_batch = max_batch
        self._device_id = device_id
        self._read = partial(read_jpeg, rules=rules)
        self._warn = warn
        self._none = np.empty((0, *rules.shape), np.uint8)
        self._pipeline: Any = self._make()

    def decode(self, images: Sequence[bytes]) -> tuple[list[int], Pixels]:
        """Indexes of the images that were decoded, and their pixels: uint8 [n, height, width, 3].

        DALI fails a batch as a whole and does not say for which image: then it is none of them.
        """
        read = enumerate(map(self._read, images))
        jpegs = {index: jpeg for index, jpeg in read if jpeg is not None}
        if not jpegs:
            return [], self._none
        try:
            return list(jpegs), self._run(list(jpegs.values()))
        except RuntimeError as error:
            self._pipeline = None  # of no use after that
            self._warn(f"DALI could not do a batch of {len(jpegs)}: {_reason(error)}")
            return [], self._none

    def _run(self, jpegs: Sequence[Jpeg]) -> Pixels:
        pipeline = self._pipeline = self._pipeline or self._make()
        pipeline.feed_input("IMAGE", [np.frombuffer(jpeg.value, np.uint8) for jpeg in jpegs])
        pipeline.feed_input("SIZE", [np.array(jpeg.size, np.float32) for jpeg in jpegs])
        pipeline.feed_input("START", [np.array(jpeg.start, np.int32) for jpeg in jpegs])
        (decoded,) = pipeline.run()
        pixels: Pixels = decoded.as_cpu().as_array()
        return pixels

    def _make(self) -> Any:
        assert self._rules.shape is not None
        pipeline = Pipeline(
            batch_size=self._max_batch,
            device_id=self._device_id,
            # One process decodes for each core; and each batch is waited for.
            num_threads=1,
            exec_pipelined=False,
            exec_async=False,
            prefetch_queue_depth=1,
        )
        with pipeline:
            encoded = fn.external_source(name="IMAGE", dtype=types.UINT8, ndim=1)
            size = fn.external_source(name="SIZE", dtype=types.FLOAT, ndim=1)
            start = fn.external_source(name="START", dtype=types.INT32, ndim=1)
            pixels = fn.decoders.image(
                encoded,
                device="cpu" if self._device_id is None else "mixed",
                output_type=types.BGR if self._rules.preprocess.bgr else types.RGB,
            )
            by = INTERPOLATIONS[self._rules.preprocess.interpolation]
            pixels = fn.resize(pixels, size=size, interp_type=by, antialias=True)
            shape = self._rules.shape[:2]
            pipeline.set_outputs(fn.slice(pixels, start=start, shape=shape, axes=(0, 1)))
        pipeline.build()
        return pipeline


def _reason(error: RuntimeError) -> str:
    """What went wrong, out of DALI's many lines, without the place in the pipeline."""
    text = " ".join(str(error).split())
    return text.rpartition(" encountered: ")[2]
