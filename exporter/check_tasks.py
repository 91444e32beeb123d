"""Checks networks that do not give probabilities: embeddings and detectors."""

from typing import Any

import torch
from torch import Tensor, nn

from exporter.apart import Predict
from exporter.check import CHANGED, Sample, Verdict, compare, run
from exporter.errors import ExportError
from exporter.formats import quiet

VECTOR_TOLERANCE = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.2}
"""Largest difference of a vector's numbers that is accepted, as a share of the largest number.
ResNet-20 on the shipped images: 4e-6 in fp32."""

BOX_TOLERANCE = 0.5
SCORE_TOLERANCE = 1e-3
"""Largest difference of a box, in pixels, and of a score. A detector is exported in fp32, and its
file agrees with eager mode except for the last bits. But boxes with nearly equal scores may change
places, and one may then suppress the other instead of being suppressed by it."""

LOST_BOXES = 0.01
"""Share of the boxes that may have no counterpart, for the same reason."""


def compare_as(
    task: str, eager: nn.Module, exported: Predict, images: Sample, precision: str
) -> Verdict:
    """Run both over `images`, as `exporter.check.compare` does, and compare the results.

    Raises:
        ExportError: they differ by more than the precision allows.
    """
    exported = _guarded(exported)
    if task == "detect":
        return compare_boxes(eager, exported, images)
    if task == "embed":
        return compare_vectors(eager, exported, images, precision)
    return compare(eager, exported, images, precision)


def _guarded(exported: Predict) -> Predict:
    """Turn errors into ExportError: a trace that depends on its example fails with other batch
    sizes."""

    def predict(pixels: Tensor) -> Any:
        try:
            return exported(pixels)
        except ExportError:
            raise
        except Exception as error:  # each runtime has its own errors
            last = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
            raise ExportError(
                f"the exported model fails on {len(pixels)} images, which eager mode does not: "
                f"{last[-1].strip()}"
            ) from error

    return predict


def compare_vectors(eager: nn.Module, exported: Predict, images: Sample, precision: str) -> Verdict:
    """See `compare_as`."""
    wanted, got = run(eager, images.pixels), run(exported, images.pixels)
    if wanted.shape != got.shape or got.dtype != torch.float32:
        raise ExportError(
            f"the exported model gives {got.dtype} {tuple(got.shape)}, "
            f"not float32 {tuple(wanted.shape)}"
        )
    largest = wanted.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    differences = ((wanted - got).abs() / largest).amax(1)
    worst = float(differences.max())
    tolerance = VECTOR_TOLERANCE[precision]
    changed = int((~(differences <= tolerance)).sum())  # true for NaN, too
    if changed > CHANGED[precision] * len(wanted) or not torch.isfinite(got).all():
        raise ExportError(
            f"the exported model's vectors differ from eager mode's by {worst:.1e} of their "
            f"largest number, more than {tolerance:.0e} ({precision})"
        )
    return Verdict(len(wanted), changed, worst, what="vector")


def compare_boxes(eager: nn.Module, exported: Predict, images: Sample) -> Verdict:
    """See `compare_as`; each box must have a similar one on the other side, in both directions."""
    # All images together, to find a detector that fails with several images.
    with torch.inference_mode(), quiet():
        wanted, got = _boxes(eager(images.pixels)), _boxes(exported(images.pixels))
    shapes = [(one.dtype, tuple(one.shape)) for one in wanted]
    if shapes != [(one.dtype, tuple(one.shape)) for one in got]:
        given = ", ".join(f"{one.dtype} {list(one.shape)}" for one in got)
        raise ExportError(f"the exported model gives {given}, eager mode other shapes")
    found = lost = changed = 0
    worst = 0.0
    for ours, theirs in zip(zip(*wanted, strict=True), zip(*got, strict=True), strict=True):
        alone, difference = _without_counterpart(ours, theirs)
        others, _ = _without_counterpart(theirs, ours)
        worst = max(worst, difference)
        found += int((ours[2] > 0).sum())
        lost += alone + others
        changed += bool(alone + others)
    if lost > LOST_BOXES * found:
        raise ExportError(
            f"the exported model and eager mode differ in {lost} of {found} boxes "
            f"({changed} of {len(images.pixels)} images)"
        )
    return Verdict(len(images.pixels), changed, worst, what="boxes", boxes=found)


def _boxes(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Boxes, labels and scores, also from a single tensor [n, 4 + classes, boxes]."""
    if not isinstance(found, Tensor):
        return found
    scores, labels = found[:, 4:].max(1)
    return found[:, :4].transpose(1, 2), labels, scores


def _without_counterpart(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> tuple[int, float]:
    """Number of boxes of one image without a box of the same class, place and score on the other
    side; and the largest difference of a score among the other boxes."""
    alone, worst = 0, 0.0
    for box, label, score in zip(*ours, strict=True):
        if not score > 0:
            continue
        apart = (theirs[2] - score).abs()
        near = (theirs[0] - box).abs().amax(1) <= BOX_TOLERANCE
        like = near & (theirs[1] == label) & (apart <= SCORE_TOLERANCE)
        if like.any():
            worst = max(worst, float(apart[like].min()))
        else:
            alone += 1
    return alone, worst
