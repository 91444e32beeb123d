"""Latency of single images by offered load: Triton alone, the bridge, and the usual demo."""

import json
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks import subjects
from benchmarks.plan import LOW, Plan, Result, Say
from benchmarks.rig import IMAGES, MODEL, Rig
from benchmarks.spread import alternated
from benchmarks.window import drain
from producer.encoding import Encoding
from stack.errors import StackError
from stack.service import Service

WARM_LOAD, WARM_TIMES = 0.25, 3
"""Load, and times a point's length, of lone images before any is measured. A broker took three
times as long for the first thousand as for the third, until Java had compiled what they need."""
DEMO_SHARES = (0.5, 0.8)
"""Of the demo's own throughput, where it is compared too; at more it may not keep up."""


def latency(rig: Rig, plan: Plan, say: Say) -> Result:
    """Each subject at shares of the bridge's throughput; the demo where it can keep up."""
    backlog = rig.backlog(plan.images * rig.scale, Encoding.RAW)

    def top(subject: list[Service], target: str) -> float:
        return drain(rig, subject, backlog, target, plan.watch, model=MODEL).rate

    target = rig.topic("out")
    ours = top(subjects.bridges(rig, backlog, target), target)
    say(f"bridge: {ours:,.0f} images/s at most")
    demo = 0.0
    if subjects.peers_python() is not None:
        target = rig.topic("out")
        demo = top(subjects.usual_demo(rig, backlog, target), target)
        say(f"usual demo: {demo:,.0f} images/s at most")
    _point(rig, "bridge", WARM_LOAD * ours, WARM_TIMES * plan.latency_s)
    # Its own limit is far below ours: the shares of ours alone would leave it one point.
    demo_rates = [round(share * demo / ours, 2) for share in DEMO_SHARES if demo]
    judged = sorted({LOW, *demo_rates})
    sustained = max(demo_rates, default=0.0)
    points: list[Result] = []
    failures: dict[str, str] = {}
    for repeat in range(plan.repeats):
        rates = {*judged, *plan.rates} if repeat < 2 else judged
        for share in sorted(rates):
            names = ["Triton", "bridge", *(["usual demo"] if share <= sustained else [])]
            for name in alternated(names, repeat):
                try:
                    point = _point(rig, name, share * ours, plan.latency_s)
                except StackError as error:
                    # The other points still count; what failed is told in the results.
                    failures[f"{name} at {share:.0%}"] = str(error)
                    say(f"{name} at {share:.0%}: failed: {error}")
                    continue
                points.append({"repeat": repeat, "share": share, "subject": name, **point})
                say(f"{name} at {share:.0%}: p50 {point['p50']:.1f} ms, p99 {point['p99']:.1f} ms")
    return {"top_rate": ours, "usual_demo_top_rate": demo, "points": points,
            "failures": failures}  # fmt: skip


def _point(rig: Rig, name: str, rate: float, seconds: float) -> Result:
    output = rig.directory / "latencies.json"
    argv = [
        sys.executable, str(subjects.PROGRAMS / "probe.py"), "--images", str(IMAGES), "--rate",
        f"{rate:.3f}", "--seconds", str(seconds), "--output", str(output),
    ]  # fmt: skip
    subject: list[Service] = []
    if name == "Triton":
        argv += ["--triton", rig.triton.grpc, "--model", MODEL]
    else:
        source, target = rig.topic("in"), rig.topic("out")
        make = subjects.bridges if name == "bridge" else subjects.usual_demo
        subject = make(rig, source, target)
        argv += ["--brokers", rig.kafka.bootstrap, "--source", source, "--target", target]
    before = rig.counters(MODEL)
    try:
        for part in subject:
            part.start()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    finally:
        for part in subject:
            part.stop()
    if done.returncode != 0:
        raise StackError(f"the latency of {name} could not be measured\n{done.stderr[-2000:]}")
    after = rig.counters(MODEL)
    found = json.loads(output.read_text())
    latencies, waits = found["latencies_ms"], found["waits_ms"]
    if not latencies:
        raise StackError(f"{name} answered none of {found['sent']} images at {rate:.0f} images/s")
    executions = after.executions - before.executions
    return {
        "rate": rate,
        "sent": found["sent"],
        "answered": found["answered"],
        **{f"p{share}": _percentile(latencies, share) for share in (50, 90, 99)},
        "max": max(latencies),
        "wait_p50": _percentile(waits, 50) if waits else None,
        "mean_batch": (after.inferences - before.inferences) / executions if executions else None,
    }


def _percentile(values: list[float], share: int) -> Any:
    """The smallest value that `share` percent of all do not exceed."""
    return float(np.percentile(values, share, method="inverted_cdf"))
