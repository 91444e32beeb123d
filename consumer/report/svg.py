"""Draws a chart as an SVG inside the page, with the colours of the page's theme."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from consumer.palette import PAGE_COLOURS
from consumer.report.axes import Room
from consumer.report.charts import Chart
from consumer.report.style import STYLE, bare

SVG = "{http://www.w3.org/2000/svg}"
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 22.0, 42.0
"""Room for the labels around the axes, in points."""
FONT = 11.0
"""Size of the labels, in points; they are CSS pixels where the drawing is not scaled."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a drawing, in CSS pixels. `name`: its class in style.css."""

    name: str
    width: float
    height: float


WIDE = Frame("wide", 600.0, 290.0)
NARROW = Frame("narrow", 310.0, 250.0)
"""The size for a phone: the labels of the wide drawing, scaled down to it, could not be read."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart in both sizes; the page shows the one that fits."""

    chart: Chart
    drawn: tuple[Markup, ...]


def draw(make: Callable[[Room], Chart]) -> Drawing:
    """Draw a chart for the page.

    Args:
        make: draws the chart on the axes that it gets.
    """
    made = [_draw(frame, make) for frame in (WIDE, NARROW)]
    return Drawing(made[0][0], tuple(drawn for _, drawn in made))


def _draw(frame: Frame, make: Callable[[Room], Chart]) -> tuple[Chart, Markup]:
    width, height = frame.width - LEFT - RIGHT, frame.height - TOP - BOTTOM
    file = io.BytesIO()
    with mpl.rc_context({**STYLE, "font.size": FONT}):
        figure = Figure((frame.width / 72, frame.height / 72), dpi=72)
        figure.patch.set_visible(False)
        panel = figure.add_axes(
            (LEFT / frame.width, BOTTOM / frame.height, width / frame.width, height / frame.height)
        )
        chart = make(Room(panel, width, height, FONT))
        bare(panel)
        figure.text(0.5, 5 / frame.height, chart.x_label, ha="center", va="bottom")
        figure.text(2 / frame.width, 1, chart.y_label, ha="left", va="top")
        figure.savefig(file, format="svg")
    root = ET.fromstring(file.getvalue())  # noqa: S314 - matplotlib wrote it
    _strip(root)
    root.attrib = {
        "class": f"chart {frame.name}",
        "viewBox": f"0 0 {frame.width:g} {frame.height:g}",
        "role": "img",
        "aria-label": f"{chart.title}: {chart.y_label} by {chart.x_label}",
    }
    text = ET.tostring(root, "unicode").replace("ns0:", "").replace(":ns0", "")
    for name, colour in PAGE_COLOURS.items():
        text = text.replace(colour.light, f"var(--{name})")
    return chart, Markup(text)  # noqa: S704 - no stranger's text is in it


def _strip(element: ET.Element) -> None:
    """Keep only what is visible: ids would occur twice, and clips and styles are not needed."""
    for child in list(element):
        _strip(child)
        empty = child.tag == f"{SVG}g" and not len(child)
        if empty or child.tag in (f"{SVG}defs", f"{SVG}metadata"):
            element.remove(child)
    gid = element.attrib.pop("id", "")
    element.attrib.pop("clip-path", None)
    element.text = (element.text or "").strip()
    element.tail = ""
    if gid == "mark":
        element.set("class", gid)
    if "d" in element.attrib:
        element.set("d", re.sub(r"-?\d+\.\d+", _rounded, " ".join(element.attrib["d"].split())))
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if element.tag == f"{SVG}text":
        # Use the page's own font: a phone may have no other.
        style = element.attrib["style"]
        style = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", style)
        element.set("style", re.sub(r"font-family: [^;]*; ", "", style))


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")
