"""The capacity model with measured costs: renews docs/scaling.md, or sizes a stream of yours."""

import json
import math
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.capacity import Costs, Plan, plan
from benchmarks.report import table
from benchmarks.results import Found, Section, rates, read, windows
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.paths import ROOT
from wire.image import ImageEvent, encode_image
from wire.prediction import STAMPS, Prediction, ScoredLabel, encode_prediction
from wire.record import Outgoing

RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/scaling.md"
MEASURED = ("overhead", "bridges", "photos")
"""The sections that the page is made of."""
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
EXAMPLES = (1_000, 100_000, 10_000_000)

RECORD_OVERHEAD = 12
"""Bytes of a record in Kafka's format beside its key, value and headers, about."""
HEADER_OVERHEAD = 2
GPU_RATE = 20_000
"""ResNet-20 at 32x32 on one H100 class GPU through Triton: an assumption until it is measured."""
PHOTO_BYTES = 100_000
PHOTO_GPU_RATE = 5_000
"""ResNet-50 at 224x224, likewise: published figures through Triton are 6,000 on one A100."""
PHOTO = "null model, decoded in Triton"


class Workload(NamedTuple):
    title: str
    costs: Costs


class UnmeasuredError(Exception):
    """Results without which there is nothing to plan with; the text says which."""


def workloads(found: Found) -> list[Workload]:
    """Small raw images, and photos that are decoded in Triton, with measured costs.

    Raises:
        UnmeasuredError: one of them was not measured.
    """
    raw, large = (_cpu_us(found, *where) for where in (("overhead", "raw"), ("photos", PHOTO)))
    small = Costs(
        image_bytes=_bytes(_image()),
        prediction_bytes=_bytes(_prediction()),
        bridge_rate=median(rates(found["overhead"], "raw")),
        bridge_core_us=raw["subject"],
        broker_core_us=raw["kafka"],
        gpu_rate=GPU_RATE,
    )
    photo = replace(
        small,
        image_bytes=PHOTO_BYTES,
        # Its decoding filled the cores: the bridge itself would go on until its own one is full.
        bridge_rate=1e6 / large["subject"],
        bridge_core_us=large["subject"],
        broker_core_us=large["kafka"],
        decode_core_us=large["triton"],
        gpu_rate=PHOTO_GPU_RATE,
    )
    return [
        Workload("32x32 raw pixels, ResNet-20", small),
        Workload("photos, JPEG of 100 kB, ResNet-50 at 224x224, decoded in Triton", photo),
    ]


def _cpu_us(found: Found, section: str, name: str) -> dict[str, float]:
    """CPU microseconds an image of the bridge (subject), of the broker and of Triton."""
    taken = windows(found.get(section), name)
    if not taken:
        raise UnmeasuredError(f"{RESULTS} has no {section}.json with {name!r}: run `make bench`")
    return {part: median(one["cpu_us"][part] for one in taken) for part in taken[0]["cpu_us"]}


def _image() -> Outgoing:
    image = cifar10(Encoding.RAW, limit=1)[0]
    return encode_image(
        id="camera-7/000000", value=image.value, content_type=image.content_type,
        source="camera-7", intended_ns=0, sent_ns=0, dtype=image.dtype, shape=image.shape,
    )  # fmt: skip


def _prediction() -> Outgoing:
    event = ImageEvent("camera-7/000000", None, None, None, 0, 0)
    top = tuple(ScoredLabel(label="automobile", class_id=1, score=0.333333) for _ in range(3))
    stamps = dict.fromkeys(STAMPS, 1_700_000_000_000_000_000)
    answer = Prediction(event.id, "resnet20_cifar10", "1", top, stamps, 64)
    return encode_prediction(event, event.id.encode(), answer, "bridge/host/1")


def _bytes(record: Outgoing) -> int:
    headers = sum(len(name) + len(value or b"") + HEADER_OVERHEAD for name, value in record.headers)
    return RECORD_OVERHEAD + len(record.key or b"") + len(record.value or b"") + headers


def page(found: Found) -> str:
    """The measured part of docs/scaling.md.

    Raises:
        UnmeasuredError: a section is missing.
    """
    kinds, overhead = workloads(found), found["overhead"]
    if "bridges" not in found:
        raise UnmeasuredError(f"{RESULTS} has no bridges.json: run `make bench`")
    about = overhead["machine"]
    lines = [
        f"Measured on {about['cpu']}, {about['cores']} cores, {overhead['date']}"
        f"{', in a quick run' if overhead['quick'] else ''}; load average before: "
        f"{about['load_average']}.",
        "",
    ]
    lines += ["### What one of each does", "", *_parts(kinds), ""]
    lines += [
        "### Several bridges: the model beside the measurement",
        "",
        *_check(found["bridges"]),
        "",
    ]
    for kind in kinds:
        lines += [f"### {kind.title[0].upper()}{kind.title[1:]}", "", *_examples(kind.costs), ""]
    return "\n".join(lines).rstrip()


def _parts(kinds: list[Workload]) -> list[str]:
    rows = []
    for kind in kinds:
        c = kind.costs
        cpu = f"{c.bridge_core_us:.0f} + {c.decode_core_us:.0f}"
        limits = {
            "a partition": c.partition_rate, "a bridge": c.bridge_rate,
            "a broker": c.broker_rate, "a GPU": c.gpu_rate,
        }  # fmt: skip
        rows.append(
            (
                kind.title, f"{c.image_bytes:,} + {c.prediction_bytes:,}", cpu,
                f"{c.broker_core_us:.0f}", *(f"{rate:,.0f}" for rate in limits.values()),
                min(limits, key=lambda name: limits[name]),
            )
        )  # fmt: skip
    head = ("", "bytes of image + prediction", "CPU of bridge + decoding, µs", "of broker, µs",
            "a partition, images/s", "a bridge", "a broker", "a GPU", "first")  # fmt: skip
    return list(table(head, rows))


def _check(bridges: Section) -> list[str]:
    one = rates(bridges, "raw, 1")
    rows = []
    for count in bridges["counts"]:
        got = rates(bridges, f"raw, {count}")
        if one and got:
            model = count * median(one)
            rows.append(
                (str(count), f"{model:,.0f}", f"{median(got):,.0f}", f"{median(got) / model:.2f}")
            )
    head = (f"bridges, each with {bridges['share']:g} of a core", "model, images/s", "measured",
            "measured ÷ model")  # fmt: skip
    return list(table(head, rows))


def _examples(costs: Costs) -> list[str]:
    rows = []
    for rate in EXAMPLES:
        p = plan(rate, costs)
        rows.append(
            (
                f"{rate:,}", f"{p.ingress_gbit:,.2f}", f"{p.partitions:,}", f"{p.brokers:,}",
                f"{p.bridges:,}", f"{p.cores:,}", f"{p.gpus:,}", p.first,
                f"{p.watt_hours_per_million:,.0f}", f"{p.price_per_million:,.2f}",
            )
        )  # fmt: skip
    head = ("images/s", "into Kafka, Gbit/s", "partitions", "brokers", "bridges", "CPU cores",
            "GPUs", "least room", "Wh per million", "price per million")  # fmt: skip
    return list(table(head, rows))


def renewed(text: str, found: Found) -> str:
    """docs/scaling.md with its measured part written anew."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{page(found)}\n{END}{after}"


def main(
    rate: Annotated[
        float | None, typer.Argument(min=1, help="Images/s. Left out: docs/scaling.md is renewed.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A cost of yours: gpu_rate=9000."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the benchmark's results are.")] = RESULTS,
) -> None:
    """Size a stream of RATE images/s, or renew docs/scaling.md from the benchmark's results."""
    try:
        found = read(results, MEASURED)
        costs = workloads(found)[0].costs
        if rate is None:
            PAGE.write_text(renewed(PAGE.read_text(), found))
            return
    except UnmeasuredError as error:
        typer.echo(f"scaling: {error}", err=True)
        raise typer.Exit(1) from None
    costs = replace(costs, **_changes(change or []))
    shown = {**asdict(costs), **{f.name: getattr(plan(rate, costs), f.name) for f in fields(Plan)}}
    for name, value in shown.items():
        text = f"{value:,.4g}" if isinstance(value, float) else str(value)
        typer.echo(f"{name.replace('_', ' '):24} {text}")


def _changes(given: list[str]) -> dict[str, Any]:
    known = {field.name: field.type for field in fields(Costs)}
    changes: dict[str, Any] = {}
    for one in given:
        name, _, text = one.partition("=")
        if name not in known:
            raise typer.BadParameter(f"no cost {name!r}; there are {', '.join(known)}")
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise typer.BadParameter(f"{one}: expected a number above 0")
        changes[name] = value
    return changes


if __name__ == "__main__":
    typer.run(main)
