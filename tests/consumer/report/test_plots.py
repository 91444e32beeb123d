"""The figure, measured as it is drawn."""

from collections.abc import Iterator
from itertools import combinations

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from consumer.report.plots import FONT, make_figure
from consumer.report.style import STYLE
from tests.consumer.scenes import RUNS

pytestmark = pytest.mark.slow  # two seconds for each figure


def texts(figure: Figure) -> Iterator[Text]:
    """Those that are drawn: an axis has labels for ticks beyond its ends, too."""
    yield from figure.texts
    for panel in figure.axes:
        if not panel.axison:
            yield from panel.texts
            continue
        yield from (*panel.texts, panel.xaxis.label, panel.yaxis.label)
        yield from (text for text in panel.get_children() if isinstance(text, Text))
        legend = panel.get_legend()
        yield from [] if legend is None else legend.get_texts()
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high:
                    yield tick.label1


@pytest.mark.parametrize("name", RUNS)
def test_no_text_of_the_figure_lies_on_another_or_leaves_it(name: str) -> None:
    run = RUNS[name]()
    with mpl.rc_context({**STYLE, "font.size": FONT}):
        figure = make_figure(run.chosen, run.summary)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
        drawn = {id(text): text for text in texts(figure) if text.get_visible() and text.get_text()}
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawn.values()]
    assert boxes
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
    for (text, box), (other, other_box) in combinations(boxes, 2):
        over = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
        above = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
        assert over <= 1 or above <= 3, (text, other)
