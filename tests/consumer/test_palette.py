"""The colours of the stages: the same wherever they are drawn, and told apart by everyone."""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from consumer.palette import STAGE_COLOURS

ROOT = Path(__file__).parents[2]
FLOATS = npt.NDArray[np.float64]

# How colours look to people without one kind of cone. Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency" (2009), severity 1.0; for
# linear RGB.
SIGHT: dict[str, FLOATS] = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
APART = 0.09
"""Least distance in OKLab; side by side, 0.02 can just be seen."""


def _oklab(colour: str, sight: FLOATS) -> FLOATS:
    """A colour as it is perceived (Ottosson, "A perceptual color space for image processing")."""
    srgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(sight @ linear, 0, 1)
    cones = np.cbrt(
        np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        @ seen
    )
    found: FLOATS = (
        np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        )
        @ cones
    )
    return found


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("page", ["light", "dark"])
def test_any_two_stages_are_told_apart(page: str, sight: str) -> None:
    seen = {
        name: _oklab(getattr(colour, page), SIGHT[sight]) for name, colour in STAGE_COLOURS.items()
    }
    near = {
        f"{one}, {other}": round(distance, 3)
        for one, other in combinations(seen, 2)
        if (distance := float(np.linalg.norm(seen[one] - seen[other]))) < APART
    }
    assert near == {}


def test_the_live_view_has_the_same_colours() -> None:
    style = (ROOT / "consumer/liveview/page/style.css").read_text()
    for name, colour in STAGE_COLOURS.items():
        assert re.findall(rf"--{name}: (#\w+)", style) == [colour.light, colour.dark]


def test_the_dashboard_has_the_same_colours() -> None:
    """Those of a dark page, as Grafana's own theme is; the bridge does not see `kafka_out`."""
    file = ROOT / "observability/grafana/dashboards/pipeline.json"
    (panel,) = (
        one
        for one in json.loads(file.read_text())["panels"]
        if "{{stage}}" in [target["legendFormat"] for target in one.get("targets", ())]
    )
    shown = {
        override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byName"
    }
    assert shown == {
        name: colour.dark for name, colour in STAGE_COLOURS.items() if name != "kafka_out"
    }
