"""The colour of each stage, wherever a stage is drawn. Pure.

They are based on Okabe and Ito's colours, which colour-blind people tell apart, too; a test holds
all pairs of them to that.
"""

from typing import NamedTuple

from consumer.measuring.statistics import STAGES


class Colour(NamedTuple):
    """The same colour on a light and on a dark page, as #rrggbb."""

    light: str
    dark: str


STAGE_COLOURS: dict[str, Colour] = dict(
    zip(
        (name for name, _, _ in STAGES),
        (
            Colour("#969c9b", "#797b80"),
            Colour("#3ea1df", "#59b4e8"),
            Colour("#af5ba0", "#d98baa"),
            Colour("#daa900", "#e9c33c"),
            Colour("#079356", "#87aa4d"),
            Colour("#1b51ac", "#3d87e2"),
        ),
        strict=True,
    )
)
