"""Runs that are hard to lay out: pages of them are measured in a browser, and looked at."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from consumer.report.gallery import Place
from consumer.report.page import write_comparison, write_report
from imaging.thumbnail import thumbnail
from tests.consumer.runs import Run, make_run

LONG_MODEL = "wide_resnet101_2.tv2_in1k-finetuned-on-the-door-cameras-of-2026-11"
LONG_LABEL = "black-and-tan coonhound, or another large dog of the same colour"
UNBROKEN = "org.example.cameras.building7.floor3.door12.left_of_the_window.2026-11-27T11:35:39Z"


def _latencies(count: int, shift: float = 0.0) -> list[int]:
    """Microseconds, spread as those of a real run are: a narrow body and a long tail."""
    spread = np.random.default_rng(7).lognormal(np.log(9000) + shift, 0.35, count)
    tail = np.random.default_rng(8).pareto(2.2, count) * 4000
    return [int(one) for one in spread + tail]


def _classes(count: int, name: Callable[[int], str]) -> list[tuple[str, str]]:
    return [(name(n % count), name(n % count if n % 9 else (n + 3) % count)) for n in range(5000)]


CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

RUNS: dict[str, Callable[[], Run]] = {
    "usual": lambda: make_run(
        _latencies(1000), answers=_classes(10, CIFAR.__getitem__), run_id="demo-20261127",
        shares=(0, 0.02, 0.12, 0.3, 0.35, 0.85),
        settings={"brokers": "127.0.0.1:9092", "count": "1000", "images_topic": "images"},
    ),
    "nothing": lambda: make_run([]),
    "one": lambda: make_run([8200], answers=[("cat", "dog")]),
    "close together": lambda: make_run([50_000 + n for n in range(1000)]),
    "long names": lambda: make_run(
        _latencies(2000),
        answers=_classes(12, lambda n: f"{LONG_LABEL} {n}"), model=LONG_MODEL, run_id=UNBROKEN,
        id=UNBROKEN, refused="a reason of some length: the image has 12,000 x 9,000 pixels",
        settings={"brokers": ",".join(f"kafka-{n}.example.org:9093" for n in range(5))},
    ),
    "thousand classes": lambda: make_run(
        [n * 3_000_000 if n % 700 == 0 else 4000 for n in range(3000)],
        answers=_classes(1000, "n{:08d}".format), scores=[0.2, 0.9999], rate=400,
        shares=(0, 0.1, 0.12, 0.2, 0.6, 0.9),
    ),
}  # fmt: skip


def pictures(run: Run) -> dict[Place, str]:
    """A picture of some of the images; of the others there is none."""
    made = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(made, "PNG")
    uri = thumbnail(made.getvalue(), "image/png", None, None, side=144, exact_side=64).data_uri
    return {(0, number): uri for number in range(len(run.rows.ids)) if number % 3}


def write_pages(folder: Path) -> list[Path]:
    """The report of each run and its comparison with the usual one, one file each."""
    runs = {name: make() for name, make in RUNS.items()}
    found = []
    for name, run in runs.items():
        report, comparison = folder / f"report {name}.html", folder / f"comparison {name}.html"
        with report.open("wb") as file:
            write_report(file, run.rows, run.chosen, run.summary, pictures(run))
        with comparison.open("wb") as file:
            names = ("results/a", f"results/{name}")
            write_comparison(file, names, runs["usual"].summary, run.summary)
        found += [report, comparison]
    return found
