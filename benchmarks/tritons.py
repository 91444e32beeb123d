"""Several Triton servers behind one bridge, each with its share of a core."""

import copy
import uuid
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import subjects
from benchmarks.null_model import warm_broker
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import repeat
from benchmarks.rig import MODEL, Rig
from benchmarks.share import SHARE, SharedTriton
from benchmarks.subjects import AT_LEAST_ONCE
from benchmarks.window import Window, drain
from producer.encoding import Encoding

COUNTS = (1, 2)


def tritons(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Images/s of the real model behind one bridge, which is not confined.

    With whole cores, the second Triton would take cores from the first, the bridge and the broker.
    The section shows how Triton servers add up, and not the limit of this machine.
    """
    warm_broker(rig)
    backlog = rig.backlog(plan.images, Encoding.RAW)
    todo = {str(count): _of(rig, plan, backlog, count) for count in COUNTS}
    return {**repeat(todo, plan.repeats, progress), "counts": list(COUNTS), "share": SHARE}


def _of(rig: Rig, plan: Plan, backlog: str, count: int) -> Callable[[], Window]:
    def run() -> Window:
        with ExitStack() as running:
            servers = []
            for _ in range(count):
                name = f"triton-{uuid.uuid4().hex[:8]}"
                server = SharedTriton(rig.repository, rig.directory / name, name)
                running.callback(server.kill)
                server.launch()
                servers.append(server)
            for server in servers:
                server.wait_ready()
                server.confine()
            beside = copy.copy(rig)
            beside.triton = servers[0]  # its counters stand for all of them
            target = rig.topic("out")
            addresses = ",".join(server.grpc for server in servers)
            subject = subjects.bridges(
                rig, backlog, target, 1, MODEL, {**AT_LEAST_ONCE, "triton": addresses}
            )
            return drain(beside, subject, backlog, target, plan.watch, model=MODEL)

    return run
