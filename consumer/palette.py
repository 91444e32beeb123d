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
            Colour("#8d97a1", "#76828e"),
            Colour("#3f9fd8", "#56b4e9"),
            Colour("#bb6496", "#cc79a7"),
            Colour("#dba800", "#e8c33a"),
            Colour("#009e73", "#1fbf92"),
            Colour("#0b5aa3", "#3f86e0"),
        ),
        strict=True,
    )
)
