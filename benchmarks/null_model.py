"""Sections that measure the bridge against a model that answers at once."""

from collections.abc import Callable, Mapping

from benchmarks import subjects
from benchmarks.models import NULL
from benchmarks.plan import Plan, Result
from benchmarks.progress import Progress
from benchmarks.repeats import repeat
from benchmarks.rig import PARTITIONS, Rig
from benchmarks.share import SHARE, SharedBridge
from benchmarks.stages import stages
from benchmarks.subjects import AT_LEAST_ONCE, EXACTLY_ONCE
from benchmarks.window import Watch, Window, answer_all, drain
from producer.encoding import Encoding

WARM_IMAGES = 100_000
START_S = 2.0
"""Seconds that a subject may take from its first answer until its measurement begins."""
SPARE = 4
"""Size of a backlog as a multiple of one bridge's answers: a relay, or several bridges, answer
more."""


def overhead(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """CPU of the bridge for each image, beside that of Kafka's client alone."""
    rate = warm_broker(rig)
    # Memory is measured too: Kafka's client takes a few seconds until it has fetched its fill.
    watch = plan.watch._replace(warm_s=2 * plan.watch.warm_s)
    raw, png = (
        rig.backlog(enough(rate, watch), encoding) for encoding in (Encoding.RAW, Encoding.PNG)
    )

    def ours(
        source: str, count: int = 1, settings: Mapping[str, str] = AT_LEAST_ONCE
    ) -> Callable[[], Window]:
        def run() -> Window:
            target = rig.topic("out")
            subject = subjects.bridges(rig, source, target, count, NULL, settings)
            return drain(rig, subject, source, target, watch, model=NULL)

        return run

    # The relay answers several times as many images.
    short = Watch(plan.watch.warm_s / 4, plan.watch.window_s / 4)

    def client_alone() -> Window:
        target = rig.topic("out")
        subject = [subjects.relay(rig, raw, target)]
        return drain(rig, subject, raw, target, short, model=NULL)

    todo = {
        "raw": ours(raw),
        "Kafka's client alone": client_alone,
        "PNG": ours(png),
        "raw, exactly once": ours(raw, settings=EXACTLY_ONCE),
        "raw, 2 bridges": ours(raw, 2),
    }
    result = repeat(todo, plan.repeats + plan.more_repeats, progress)
    progress.say("stages, one by one")
    return {**result, "stages": stages(plan.repeats)}


def bridges(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """Measure several bridges of one group, each with its share of a core.

    With whole cores, a few bridges, the broker and Triton would need more cores than there are. The
    section shows how bridges add up, and not the limit of this machine.
    """
    rate = warm_broker(rig)
    todo: dict[str, Callable[[], Window]] = {}

    def of(source: str, count: int) -> Callable[[], Window]:
        def run() -> Window:
            target = rig.topic("out")
            subject = subjects.bridges(rig, source, target, count, NULL, kind=SharedBridge)
            return drain(rig, subject, source, target, plan.watch, model=NULL)

        return run

    counts = [2**power for power in range(PARTITIONS.bit_length())]
    for name, encoding in (("raw", Encoding.RAW), ("PNG", Encoding.PNG)):
        backlog = rig.backlog(enough(rate * max(1, SHARE * counts[-1]), plan.watch), encoding)
        todo |= {f"{name}, {count}": of(backlog, count) for count in counts}
    return {**repeat(todo, plan.repeats, progress), "counts": counts, "share": SHARE}


def enough(rate: float, watch: Watch) -> int:
    """The images of a backlog that lasts until a subject of about this rate has been measured."""
    return int(SPARE * rate * (START_S + watch.warm_s + watch.window_s))


def warm_broker(rig: Rig) -> float:
    """Have Java compile what the broker runs often, before anything is measured.

    A broker that had just started spent six times the CPU on an image, which slowed down whatever
    was measured first.

    Returns:
        Images per second that one bridge answered meanwhile, or more.
    """
    backlog = rig.backlog(WARM_IMAGES, Encoding.RAW)
    rate = 0.0
    for settings in (EXACTLY_ONCE, AT_LEAST_ONCE):
        target = rig.topic("warm")
        subject = subjects.bridges(rig, backlog, target, model=NULL, settings=settings)
        rate = answer_all(rig, subject, backlog, target)
    return rate
