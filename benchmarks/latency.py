"""Latency of single images by offered load, of Triton alone and of the bridge."""

import json
import math
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import subjects
from benchmarks.plan import (
    BESIDE,
    FEW_BRIDGES,
    HALF,
    LOW,
    OURS,
    OURS_EXACTLY_ONCE,
    SEVERAL_BRIDGES,
    TRITON,
    Plan,
    Result,
)
from benchmarks.progress import Progress
from benchmarks.repeats import NO_TIME
from benchmarks.rig import CORES, IMAGES, MODEL, PARTITIONS, Rig
from benchmarks.spread import alternated
from benchmarks.window import drain, running, wait_until
from consumer.measuring.statistics import STAGES
from producer.encoding import Encoding
from stack.bridge import Bridge
from stack.errors import StackError
from stack.service import Service

WARM_LOAD, WARM_TIMES = 0.25, 3
"""Load, and length as a multiple of a point's, of the images before any measurement. A broker took
three times as long for the first thousand as for the third, until Java had compiled the code."""
BACKLOG = 400_000
"""Most images from which a single bridge's throughput is measured: on a GPU some 21,000 a
second."""
KAFKA_RATE, STRAIGHT_RATE = 4000.0, 1500.0
"""Most images per second of one probe, through Kafka and straight to Triton; with more it would
fall behind its own schedule, as an image takes it 100 to 250 µs."""
MOST_PROBES = 8
SETTLE_S = 10.0
MIN_FIRST, FIRST_EACH = 50, 12
PROBE_S = 180.0
"""Bound on a probe's time in addition to its measurement: its start, its first images, which may
wait for a bridge, and the last answers."""
SPARE_S = 60.0
"""Seconds that the broker's load lasts longer than what is measured beside it; it is stopped."""
LOADED = 200
"""Answers after which the broker's load is at its rate."""
AROUND_S = 10.0
"""Usual seconds that a point takes in addition to its measurement."""


def first_images(partitions: int) -> int:
    """Images of a probe that are answered before its clock starts.

    They open connections, and reach each partition of both topics. A partition's first record costs
    the broker an fsync, and meanwhile it takes no others from that producer: for 80 ms on the disk
    of a machine with a GPU.
    """
    return max(MIN_FIRST, FIRST_EACH * partitions)


FIRST = first_images(PARTITIONS)
Measure = Callable[[float, float], Result]
"""From (images/s, seconds), measures one subject at that rate."""


def latency(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Triton alone, Triton beside the broker's load, and the bridge, at shares of the bridge's
    throughput."""
    backlog = rig.backlog(min(plan.images, BACKLOG), Encoding.RAW)
    target = rig.topic("out")
    subject = subjects.bridges(rig, backlog, target)
    ours = drain(rig, subject, backlog, target, plan.watch, model=MODEL).rate
    progress.say(f"bridge: {ours:,.0f} images/s at most")
    bridge = partial(subjects.bridges, rig)
    measured: dict[str, Measure] = {
        TRITON: partial(offer, rig, None),
        OURS: partial(offer, rig, bridge),
    }
    if rig.device == "cuda":
        few = partial(subjects.bridges, rig, count=SEVERAL_BRIDGES[FEW_BRIDGES])
        measured[FEW_BRIDGES] = partial(offer, rig, few)
    if not plan.essential:
        measured[BESIDE] = partial(_beside_broker, rig)
        exactly = partial(subjects.bridges, rig, settings=subjects.EXACTLY_ONCE)
        measured[OURS_EXACTLY_ONCE] = partial(offer, rig, exactly)
    offer(rig, bridge, WARM_LOAD * ours, WARM_TIMES * plan.latency_s)
    points: list[Result] = []
    failures: dict[str, str] = {}
    left_out: set[str] = set()

    def result() -> Result:
        there = {f"{one['subject']} at {one['share']:.0%}" for one in points}
        missing = dict.fromkeys(sorted(left_out - there), NO_TIME)
        return {"top_rate": ours, "points": list(points), "failures": {**failures, **missing}}

    for repeat in range(plan.repeats):
        for share in sorted(plan.rates if repeat < 2 else {LOW}):
            names = [name for name in measured if name != OURS_EXACTLY_ONCE or share == HALF]
            for name in alternated(names, repeat):
                what = f"{name} at {share:.0%}"
                if not progress.has_time(plan.latency_s + AROUND_S):
                    left_out.add(what)
                    continue
                try:
                    point = measured[name](share * ours, plan.latency_s)
                except StackError as error:
                    # The other points still count; the results name those that failed.
                    failures[what] = str(error)
                    progress.say(f"{name} at {share:.0%}: failed: {error}")
                    continue
                points.append({"repeat": repeat, "share": share, "subject": name, **point})
                progress.keep(result())
                progress.say(
                    f"{name} at {share:.0%}: p50 {point['p50']:.1f} ms, p99 {point['p99']:.1f} ms"
                )
    return result()


Start = Callable[[str, str], list[Service]] | None
"""From (source, target), starts the services between them; None: the load goes straight to
Triton."""


def offer(
    rig: Rig,
    start: Start,
    rate: float,
    seconds: float,
    settle_s: float = SETTLE_S,
    first: int = FIRST,
) -> Result:
    """Measure one subject at one rate.

    Args:
        settle_s: seconds that the last answers may take.
        first: images that are answered before.

    Raises:
        StackError: the subject answered nothing, or could not be measured.
    """
    probes = probes_for(rate, straight=start is None)
    argv = [
        *subjects.program("probe"), "--images", str(IMAGES), "--rate",
        f"{rate / probes:.3f}", "--seconds", str(seconds), "--settle", str(settle_s),
        "--warm", str(first),
    ]  # fmt: skip
    subject: list[Service] = []
    if start is None:
        argv += ["--triton", rig.triton.grpc, "--model", MODEL]
    else:
        source, target = rig.topic("in"), rig.topic("out")
        subject = start(source, target)
        argv += ["--brokers", rig.kafka.bootstrap, "--source", source, "--target", target]
    before = rig.counters(MODEL)
    try:
        for part in subject:
            part.start()
        several = [part for part in subject if isinstance(part, Bridge)]
        if len(several) > 1:
            wait_until(
                rig,
                lambda: subjects.is_shared(several, PARTITIONS),
                several,
                "the bridges' partitions",
            )
        pauses = rig.broker_pauses()
        found = run_probes(argv, rig.directory, probes, seconds)
    finally:
        for part in subject:
            part.stop()
    after = rig.counters(MODEL)
    pauses = rig.broker_pauses() - pauses
    sent = sum(one["sent"] for one in found)
    latencies, waits, lateness = (
        [value for one in found for value in one[of]]
        for of in ("latencies_ms", "waits_ms", "lateness_ms")
    )
    if not latencies:
        raise StackError(f"none of {sent} images at {rate:.0f} images/s was answered")
    executions = after.executions - before.executions
    return {
        "rate": rate,
        "sent": sent,
        "answered": sum(one["answered"] for one in found),
        **{f"p{share}": _percentile(latencies, share) for share in (50, 90, 99)},
        "max": max(latencies),
        "probes": probes,
        "sender_late_ms": _percentile(lateness, 99),
        "wait_p50": _percentile(waits, 50) if waits else None,
        "slowest_ms": stages_of([image for one in found for image in one["slowest_ms"]]),
        "broker_pause_ms": max(pauses, default=0.0),
        "mean_batch": (after.inferences - before.inferences) / executions if executions else None,
    }


def _beside_broker(rig: Rig, rate: float, seconds: float) -> Result:
    """Triton alone, while as many images go through the broker as if a bridge asked it.

    They are sent one by one, and a program without a model answers them.
    """
    source, target = rig.topic("in"), rig.topic("out")
    relay = subjects.relay(rig, source, target)
    load = through_kafka(rig, source, target, rate, seconds + SPARE_S)
    with running(rig, [relay, load]):
        end = rig.ends(target) + LOADED
        wait_until(rig, lambda: rig.ends(target) >= end, [relay, load], "the broker's load")
        return offer(rig, None, rate, seconds)


def through_kafka(rig: Rig, source: str, target: str, rate: float, seconds: float) -> Service:
    """A program that sends single images through Kafka, for the load and not for its figures."""
    argv = [
        *subjects.program("probe"), "--images", str(IMAGES), "--rate", f"{rate:.3f}",
        "--seconds", str(seconds), "--warm", str(FIRST), "--brokers", rig.kafka.bootstrap,
        "--source", source, "--target", target,
        "--output", str(rig.directory / "unused-latencies.json"),
    ]  # fmt: skip
    return subjects.Program("load", argv, rig.directory / "load")


def stages_of(slowest: Sequence[Sequence[float]]) -> dict[str, float] | None:
    """Mean milliseconds of each stage of these images; None where there are none."""
    if not slowest:
        return None
    return {
        name: round(fmean(image[place] for image in slowest), 2)
        for place, (name, _, _) in enumerate(STAGES)
    }


def probes_for(rate: float, *, straight: bool, cores: int = CORES) -> int:
    """Number of probes that can send at this rate without being late, if the cores suffice."""
    wanted = math.ceil(rate / (STRAIGHT_RATE if straight else KAFKA_RATE))
    return max(1, min(wanted, MOST_PROBES, cores // 2))


def run_probes(
    argv: Sequence[str], directory: Path, probes: int, seconds: float
) -> list[dict[str, Any]]:
    """The results of several probes.

    Raises:
        StackError: one of them failed.
    """
    outputs = [directory / f"latencies-{index}.json" for index in range(probes)]
    running: list[subprocess.Popen[str]] = []
    try:
        for index, output in enumerate(outputs):
            options = ["--output", str(output), "--name", f"{index}-"]
            running.append(subprocess.Popen([*argv, *options], stderr=subprocess.PIPE, text=True))
        for one in running:
            error = one.communicate(timeout=seconds + PROBE_S)[1]
            if one.returncode != 0:
                raise StackError(f"the latency could not be measured\n{error[-2000:]}")
    except subprocess.TimeoutExpired:
        raise StackError(f"a probe did not end in {seconds + PROBE_S:.0f} s") from None
    finally:
        for one in running:
            one.kill()
            one.communicate()
    return [json.loads(output.read_text()) for output in outputs]


def _percentile(values: list[float], share: int) -> Any:
    """The smallest value that `share` percent of all do not exceed."""
    return float(np.percentile(values, share, method="inverted_cdf"))
