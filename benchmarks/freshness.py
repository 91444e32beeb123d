"""Offers twice the images that the bridge can answer, and measures the age of its answers."""

from functools import partial

from benchmarks import subjects
from benchmarks.latency import AROUND_S, BACKLOG, offer
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import NO_TIME
from benchmarks.rig import MODEL, Rig
from benchmarks.window import drain
from producer.encoding import Encoding

MAX_AGE_S = 2.0
OVERLOAD = 2.0
"""Offered rate as a multiple of the bridge's own throughput."""
AGES = 10
"""Length of a measurement as a multiple of --max-age: its first part fills the backlog."""


def freshness(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Latency of the answered images from their intended time, and their share of all images."""
    backlog = rig.backlog(min(plan.images, BACKLOG), Encoding.RAW)
    target = rig.topic("out")
    top = drain(
        rig, subjects.bridges(rig, backlog, target), backlog, target, plan.watch, model=MODEL
    ).rate
    progress.say(f"bridge: {top:,.0f} images/s at most")
    seconds = max(2 * plan.latency_s, AGES * MAX_AGE_S)
    points: list[Result] = []
    failures: dict[str, str] = {}

    def result() -> Result:
        return {
            "top_rate": top, "max_age_s": MAX_AGE_S, "overload": OVERLOAD, "points": list(points),
            "failures": dict(failures),
        }  # fmt: skip

    settings = {**subjects.AT_LEAST_ONCE, "max_age": f"{MAX_AGE_S}s"}
    for repeat in range(plan.repeats):
        if not progress.has_time(seconds + AROUND_S):
            failures[f"repeat {repeat + 1}"] = NO_TIME
            continue
        start = partial(subjects.bridges, rig, settings=settings)
        found = offer(rig, start, OVERLOAD * top, seconds)
        points.append({"repeat": repeat, **found})
        progress.keep(result())
        share = found["answered"] / found["sent"]
        progress.say(f"p99 {found['p99']:,.0f} ms of the {share:.0%} that were answered")
    return result()
