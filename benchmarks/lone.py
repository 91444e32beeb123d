"""What a single image costs where images come one by one: CPU and wake-ups of each part."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from benchmarks import subjects
from benchmarks.latency import through_kafka
from benchmarks.plan import Plan, Result
from benchmarks.procfs import threads, tree_usage
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from benchmarks.window import running, wait_until

RATE = 200.0
"""Images/s: a tenth of what two cores answer, so that nearly every image is alone."""
WARM = 2_000
"""Answers before anything is measured: the broker's code is compiled by then."""
SPARE_S = 60.0
"""Seconds that the load lasts longer than the measurement and the first images at most."""
KINDS = {"rdk:": "bridge: Kafka's client", "event_engine": "bridge: gRPC", "grpc": "bridge: gRPC"}
"""Threads of the bridge by the beginning of their names; all others are Python's."""
PYTHON, ENDED = "bridge: Python's threads", "bridge: threads that ended meanwhile"


class Used(NamedTuple):
    """What threads or processes have used.

    Attributes:
        wakes: times that they were given a core.
    """

    cpu_s: float
    wakes: int


NOTHING = Used(0.0, 0)


def lone(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """CPU and wake-ups per image of broker, Triton and bridge, and of the bridge's threads."""
    found: list[dict[str, dict[str, float]]] = []

    def result() -> Result:
        return {"repeats_of_parts": found, "settings": {"images/s": f"{RATE:.0f}"}}

    for _ in range(plan.repeats):
        found.append(_measure(rig, plan.latency_s))
        progress.keep(result())
        cost = found[-1]["bridge"]
        progress.say(f"bridge: {cost['cpu_us']:.0f} µs and {cost['wakes']:.1f} wake-ups per image")
    return result()


def _measure(rig: Rig, seconds: float) -> dict[str, dict[str, float]]:
    source, target = rig.topic("in"), rig.topic("out")
    load = through_kafka(rig, source, target, RATE, WARM / RATE + seconds + SPARE_S)
    (bridge,) = subjects.bridges(rig, source, target)
    with running(rig, [bridge, load]):
        wait_until(rig, lambda: rig.ends(target) >= WARM, [bridge, load], "the first answers")
        before, images = _sample(rig, bridge.pid), rig.ends(target)
        time.sleep(seconds)
        after, images = _sample(rig, bridge.pid), rig.ends(target) - images
    return {
        part: {
            "cpu_us": 1e6 * (used.cpu_s - before.get(part, NOTHING).cpu_s) / images,
            "wakes": (used.wakes - before.get(part, NOTHING).wakes) / images,
        }
        for part, used in after.items()
    }


def _sample(rig: Rig, bridge: int) -> dict[str, Used]:
    """What each part has used so far."""
    found = {
        name: Used(tree_usage(pids).cpu_s, sum(one.wakes for _, one in used_by(pids)))
        for name, pids in (
            ("broker", rig.kafka_pids), ("Triton", [rig.triton.pid]), ("bridge", [bridge]),
        )
    }  # fmt: skip
    rest = found["bridge"].cpu_s
    for comm, used in used_by([bridge]):
        kind = next((kind for begin, kind in KINDS.items() if comm.startswith(begin)), PYTHON)
        cpu_s, wakes = found.get(kind, NOTHING)
        found[kind] = Used(cpu_s + used.cpu_s, wakes + used.wakes)
        rest -= used.cpu_s
    # Their wake-ups are counted nowhere.
    found[ENDED] = Used(max(0.0, rest), 0)
    return found


def used_by(pids: Iterable[int]) -> Iterator[tuple[str, Used]]:
    """The name and the use of each thread of the processes and their descendants."""
    for thread in threads(pids):
        try:
            nanoseconds, _, turns = (thread / "schedstat").read_text().split()
            name = (thread / "comm").read_text().strip()
        except OSError:  # it ended meanwhile
            continue
        yield name, Used(int(nanoseconds) / 1e9, int(turns))
