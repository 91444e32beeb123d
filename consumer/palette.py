"""The colours of the page and of the stages, used wherever they are drawn. Pure.

The colours of the stages are based on those of Okabe and Ito, which colour-blind people can tell
apart; a test checks this for all pairs.
"""

from typing import NamedTuple

from consumer.measuring.statistics import STAGES


class Colour(NamedTuple):
    """The same colour on a light and on a dark page, as #rrggbb."""

    light: str
    dark: str


PAGE_COLOURS = {
    "page": Colour("#f4f6f8", "#0e1318"),
    "card": Colour("#ffffff", "#171d24"),
    "ink": Colour("#18212b", "#e7ecf1"),
    "dim": Colour("#5a6673", "#9ba8b5"),
    "rule": Colour("#e1e6ea", "#2b343d"),
    "blue": Colour("#0a69b5", "#5cb0f2"),
    "orange": Colour("#c65a00", "#f6a63c"),
    "good": Colour("#00735a", "#45d0ab"),
    "bad": Colour("#b3261e", "#ff8f84"),
}
"""The colours of the report's page, by their names in style.css; the figure has the light ones."""

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
