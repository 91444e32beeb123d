"""The capacity model with measured costs: renews docs/scaling.md, or sizes a stream of yours."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import StatisticsError, median
from typing import Annotated, Any, NamedTuple

import typer

from benchmarks.capacity import Costs, Plan, plan
from benchmarks.plan import FEW_BRIDGES, SEVERAL_BRIDGES
from benchmarks.report import table
from benchmarks.results import Found, Section, path_of, rates, read, windows
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.paths import ROOT
from wire.image import ImageEvent, encode_image
from wire.prediction import STAMPS, Prediction, ScoredLabel, encode_prediction
from wire.record import Outgoing

RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/scaling.md"
SMALL, PHOTOS = "cuda/throughput", "cuda/photos"
MEASURED = (SMALL, PHOTOS, "bridges")
"""The sections that the page is made of. What an image costs is taken where a GPU answers it:
beside a model that answers at once, the same bridge is faster than it ever is in use."""
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
EXAMPLES = (1_000, 100_000, 10_000_000)

RECORD_OVERHEAD = 12
"""Bytes of a record in Kafka's format beside its key, value and headers, about."""
HEADER_OVERHEAD = 2
PHOTO_BYTES = 100_000
PHOTO = "bridge, decoded in Triton"
CEILING = "ceiling"
GPU_HOUR = 4.54
GPU_PRICE = "an H200 SXM on demand at Spheron on 17 March 2026: 4.54 US dollars an hour"
"""The price that is named with what it gives. What else a stream needs has no price here."""
SHOWN = (
    ("ResNet-20, raw 32x32", SMALL, ("bridge", *SEVERAL_BRIDGES, CEILING)),
    (
        "ResNet-50, 224x224",
        PHOTOS,
        (
            "bridge, raw",
            f"{FEW_BRIDGES}, raw",
            PHOTO,
            f"{FEW_BRIDGES}, decoded in Triton",
            CEILING,
        ),
    ),
)
"""What a million images took of a GPU, as measured."""


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
    raw, large = _cpu_us(found, SMALL, "bridge"), _cpu_us(found, PHOTOS, PHOTO)
    small = Costs(
        image_bytes=_bytes(_image()),
        prediction_bytes=_bytes(_prediction()),
        bridge_rate=median(rates(found[SMALL], "bridge")),
        bridge_core_us=raw["subject"],
        broker_core_us=raw["kafka"],
        triton_core_us=raw["triton"],
        gpu_rate=_median(found, SMALL, CEILING, lambda one: one["rate"]),
        gpu_watts=_median(found, SMALL, CEILING, lambda one: one["gpu"]["watts"]),
    )
    photo = replace(
        small,
        image_bytes=PHOTO_BYTES,
        # What it waits for is decoding: the bridge itself would go on until its own core is full.
        bridge_rate=1e6 / large["subject"],
        bridge_core_us=large["subject"],
        broker_core_us=large["kafka"],
        triton_core_us=large["triton"],
        gpu_rate=_median(found, PHOTOS, CEILING, lambda one: one["rate"]),
        gpu_watts=_median(found, PHOTOS, CEILING, lambda one: one["gpu"]["watts"]),
    )
    return [
        Workload("32x32 raw pixels, ResNet-20", small),
        Workload("photos, JPEG of 100 kB, ResNet-50 at 224x224, decoded in Triton", photo),
    ]


def _cpu_us(found: Found, section: str, name: str) -> dict[str, float]:
    """The CPU time of an image in microseconds: in the bridge (subject), the broker and Triton."""
    return {
        part: _median(found, section, name, lambda one, part=part: one["cpu_us"][part])  # type: ignore[misc]  # mypy loses a lambda's default
        for part in ("subject", "kafka", "triton")
    }


def _median(
    found: Found, section: str, name: str, figure: Callable[[Mapping[str, Any]], float]
) -> float:
    taken = windows(found.get(section), name)
    try:
        return median(map(figure, taken))
    except (KeyError, TypeError, StatisticsError):
        raise UnmeasuredError(
            f"{path_of(RESULTS, section)} does not say what {name!r} takes of CPU and GPU: run "
            "`make bench DEVICE=cuda`"
        ) from None


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
    kinds, small = workloads(found), found[SMALL]
    if "bridges" not in found:
        raise UnmeasuredError(f"{RESULTS} has no bridges.json: run `make bench`")
    about = small["machine"]
    lines = [
        f"Measured on one {about['device']}; {about['cpu']}, {about['cores']} cores; "
        f"{small['date']}{', in a quick run' if small['quick'] else ''}. Several bridges: "
        f"{found['bridges']['machine']['cpu']}, {found['bridges']['date']}.",
        "",
    ]
    lines += [
        "### What a million images took of the GPU",
        "",
        *_million(found),
        "",
        f"The price is that of {GPU_PRICE}.",
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


def _million(found: Found) -> list[str]:
    rows = []
    for what, section, names in SHOWN:
        for name in names:
            taken = [one for one in windows(found[section], name) if one.get("gpu")]
            if taken:
                rate = median(one["rate"] for one in taken)
                watts = median(one["gpu"]["watts"] for one in taken)
                busy = median(one["gpu"]["utilisation"] for one in taken)
                price = GPU_HOUR * 1e6 / rate / 3600
                rows.append(
                    (
                        f"{what}: {name}", f"{rate:,.0f}", f"{busy:.0f}", f"{watts:.0f}",
                        f"{1e6 * watts / rate:,.0f}", f"{price:.3f}",
                    )
                )  # fmt: skip
    head = ("", "images/s", "GPU busy, %", "GPU, W", "J per million",
            "GPU's price per million, US dollars")  # fmt: skip
    return list(table(head, rows))


def _parts(kinds: list[Workload]) -> list[str]:
    rows = []
    for kind in kinds:
        c = kind.costs
        cpu = f"{c.bridge_core_us:.0f} + {c.triton_core_us:.0f}"
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
    head = ("", "bytes of image + prediction", "CPU of bridge + Triton, µs", "of broker, µs",
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
                f"{p.watt_hours_per_million:,.0f}",
            )
        )  # fmt: skip
    head = ("images/s", "into Kafka, Gbit/s", "partitions", "brokers", "bridges", "CPU cores",
            "GPUs", "least room", "Wh per million")  # fmt: skip
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
