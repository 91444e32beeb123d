"""Compares the goals with the measurements. Pure: a goal without a measurement says so."""

from collections.abc import Iterator

from benchmarks.goal import Goal, at_least, at_most, rate, shown
from benchmarks.machine import CPU
from benchmarks.plan import (
    BESIDE,
    FEW_BRIDGES,
    HALF,
    LOW,
    OURS,
    OURS_EXACTLY_ONCE,
    SEVERAL_BRIDGES,
    TRITON,
)
from benchmarks.results import Found, Section, pairs, points, rates, windows
from benchmarks.rivals.table import compare
from benchmarks.spread import Spread, ratio

WEAKER = "weaker"
DECODING = (
    "null model, decoded in Triton by DALI",
    "null model, decoded in Triton",
)
"""Measurements of decoding alone, as in the ensemble beside a GPU: by DALI where it is there."""
RIGHT, MAY_LOSE = 915, 2
"""Right answers for the 1,000 shipped images in float32, and how many fewer lower precision may
have."""
FLAT = 0.05
"""Share by which resident memory may grow in one window and still count as constant."""
HIGH, HIGHEST = 0.75, 0.9
"""The shares of the throughput at which the latency under load is judged."""
SAME = 1.03
"""Factor by which the CPU for an image may differ from before: repeated runs differ by that."""
FRESH = 1.2
"""Highest age of an answer as a multiple of --max-age: the age itself, and the model's time."""
AT_ONCE_MS = 1.0
"""Milliseconds within which a single image must go to Triton: more than a busy scheduler adds, but
less than any timer would."""


def judge(found: Found) -> list[Goal]:
    """Every goal, in the order in which the project states them."""
    throughput, overhead = found.get("throughput"), found.get("overhead")
    latency, formats = found.get("latency"), found.get("formats")
    return [
        *_ceiling(throughput),
        *_rivals(found.get("rivals")),
        *_modes(throughput),
        *_low_load(latency),
        *_high_load(latency),
        *_few_bridges(latency),
        *_apart(found.get("apart")),
        *_lone(found.get("lone")),
        *_freshness(found.get("freshness")),
        *_own_cost(overhead),
        *_memory(found.get("memory")),
        *_floats(found.get("floats")),
        *_as_before(found.get("baseline")),
        *_batches(throughput, latency),
        *_bridges(found.get("bridges"), overhead),
        *_tritons(found.get("tritons")),
        *_formats(formats),
        *_photos(found.get("photos")),
        *_gpu(throughput, found.get("photos")),
    ]


def _photos(section: Section | None) -> Iterator[Goal]:
    network = "network" if section is None else section["settings"]["network"]
    here, there = rates(section, "bridge"), rates(section, "bridge, decoded in Triton")
    ceiling = rates(section, "ceiling")
    yield shown(f"photos: bridge ÷ ceiling alone, {network}", here, ceiling)
    yield shown(f"photos: bridge, decoded in Triton ÷ ceiling alone, {network}", there, ceiling)
    null = [
        rates(section, f"null model{how}")
        for how in ("", ", decoded in Triton", ", decoded in Triton by DALI")
    ]
    what = "photos, null model: decoded in Triton"
    yield shown(f"{what} ÷ decoded in the bridge", null[1], null[0])
    yield shown(f"{what} by DALI ÷ decoded in Triton by the rules", null[2], null[1])


def _gpu(throughput: Section | None, photos: Section | None) -> Iterator[Goal]:
    """The goals for a GPU; none for a CPU."""
    if throughput is not None and _on_gpu(throughput):
        ours = {name: rates(throughput, name) for name in ("bridge", *SEVERAL_BRIDGES)}
        best = max(filter(None, ours.values()), key=lambda one: Spread.of(one).median, default=[])
        yield rate("images/s on one GPU, raw", best, 20_000)
        *fewer, most = SEVERAL_BRIDGES
        ceiling = rates(throughput, "ceiling")
        for name in fewer:
            yield shown(f"on one GPU: {name} ÷ ceiling alone", ours[name], ceiling)
        yield at_least(f"on one GPU: {most} ÷ ceiling alone", ours[most], ceiling, 0.95)
    if photos is not None and _on_gpu(photos):
        ceiling = rates(photos, "ceiling")
        for name in ("bridge, raw", f"{FEW_BRIDGES}, raw"):
            yield at_least(
                f"photos on one GPU: {name} ÷ ceiling alone", rates(photos, name), ceiling, 0.9
            )
        limit, what = ceiling, "ceiling alone"
        for name in DECODING:
            decoding = rates(photos, name)
            if decoding and ceiling and Spread.of(decoding).median < Spread.of(ceiling).median:
                # The bridge cannot answer more photos than are decoded with no network behind.
                limit, what = decoding, f"{name}, which is less than the ceiling"
                break
        for bridges in ("bridge", FEW_BRIDGES):
            yield at_least(
                f"photos on one GPU: {bridges}, decoded in Triton ÷ {what}",
                rates(photos, f"{bridges}, decoded in Triton"), limit, 0.9,
            )  # fmt: skip
        yield shown(
            f"photos on one GPU: {FEW_BRIDGES}, which decode ÷ ceiling alone",
            rates(photos, FEW_BRIDGES), ceiling,
        )  # fmt: skip


def _on_gpu(section: Section) -> bool:
    return bool(section["machine"]["device"] != CPU)


def _formats(section: Section | None) -> Iterator[Goal]:
    for name, right in ({} if section is None else section.get("right", {})).items():
        what = f"right of the 1,000 images through Triton, {name}"
        yield Goal(what, f"≥ {RIGHT - MAY_LOSE}", str(right), right >= RIGHT - MAY_LOSE)
    script = rates(section, "TorchScript")
    for name in ("pt2", "TorchScript, bf16", "pt2, bf16"):
        yield shown(f"{name} ÷ TorchScript, Triton alone", rates(section, name), script)


def _ceiling(section: Section | None) -> Iterator[Goal]:
    ours = rates(section, "bridge")
    beside = rates(section, "ceiling with broker load")
    yield at_least("bridge ÷ ceiling with the same broker load", ours, beside, 0.95)
    yield shown("bridge ÷ ceiling alone", ours, rates(section, "ceiling"))


def _modes(section: Section | None) -> Iterator[Goal]:
    ours, exactly = rates(section, "bridge"), rates(section, "bridge, exactly once")
    yield at_least("bridge, exactly once ÷ at least once", exactly, ours, 0.95)
    yield shown(
        "bridge, PNG: decoded in Triton ÷ decoded in the bridge",
        rates(section, "bridge, PNG decoded in Triton"), rates(section, "bridge, PNG"),
    )  # fmt: skip


def _rivals(section: Section | None) -> Iterator[Goal]:
    """The goals against rivals of the same guarantee: twice the rate, three times with the null
    model, and no higher p99."""
    if section is None:
        yield Goal("bridge ÷ each rival of the same guarantee", "≥ 2")
        return
    for one in compare(section):
        weaker = section["rivals"][one.name]["guarantee"] == WEAKER
        goals = [("images/s", one.model, 2.0), ("images/s, null model", one.null, 3.0)]
        goals += [(f"p99 at {share:.0%} load, theirs in ours", p99, 1.0)
                  for share, p99 in one.p99.items()]  # fmt: skip
        for what, spread, goal in goals:
            if spread is not None:
                met = None if weaker else spread.median >= goal
                wanted = "" if weaker else f"≥ {goal:g}"
                yield Goal(f"{one.ours} ÷ {one.name}: {what}", wanted, spread.text(), met)


def _low_load(section: Section | None) -> Iterator[Goal]:
    ours = [] if section is None else points(section, "bridge", LOW)
    for name, extra in (("p50", 2), ("p99", 10)):
        less = _added(section, OURS, LOW, name)
        yield at_most(f"{name} at {LOW:.0%} load, bridge less Triton alone, ms", less, extra, 2)
    waits = [one["wait_p50"] for one in ours if one["wait_p50"] is not None]
    yield at_most(f"wait for a batch at {LOW:.0%} load, p50, ms", waits, AT_ONCE_MS, 2)


def _high_load(section: Section | None) -> Iterator[Goal]:
    both = pairs(section, OURS, BESIDE, HIGH)
    modes = pairs(section, OURS_EXACTLY_ONCE, OURS, HALF)
    if section is None or modes:  # on a GPU there is no time for it
        times = [a["p99"] / b["p99"] for a, b in modes]
        yield at_most(f"p99 at {HALF:.0%} load, exactly once ÷ at least once", times, 2, 1)
    if section is None or both:
        times = [a["p99"] / b["p99"] for a, b in both]
        what = f"p99 at {HIGH:.0%} load, bridge ÷ Triton beside the broker's load"
        yield at_most(what, times, 2, 1)
    highest = [] if section is None else points(section, OURS, HIGHEST)
    if section is None or highest:
        p99 = [one["p99"] for one in highest]
        yield at_most(f"p99 at {HIGHEST:.0%} load, bridge, ms", p99, 100, 0)


def _added(section: Section | None, subject: str, share: float, level: str) -> list[float]:
    """Milliseconds by which a subject is above Triton alone, in each repeat that has both."""
    return [ours[level] - theirs[level] for ours, theirs in pairs(section, subject, TRITON, share)]


def _few_bridges(section: Section | None) -> Iterator[Goal]:
    """The latency that several bridges add, none of which is busy; measured in front of a GPU."""
    for share in () if section is None else (LOW, HALF, HIGH):
        for name, extra in (("p50", 3), ("p99", 10)):
            less = _added(section, FEW_BRIDGES, share, name)
            if less:
                what = f"{name} at {share:.0%} load, {FEW_BRIDGES} less Triton alone, ms"
                yield at_most(what, less, extra, 1)


def _apart(section: Section | None) -> Iterator[Goal]:
    """The latency that the bridge adds where it does not take the servers' cores."""
    for share in (LOW, HIGH):
        less = _added(section, OURS, share, "p99")
        what = f"p99 at {share:.0%} load, bridge less Triton alone, cores of their own, ms"
        yield at_most(what, less, 5, 1)


def _lone(section: Section | None) -> Iterator[Goal]:
    parts = [] if section is None else section["repeats_of_parts"]
    costs = [one["bridge"]["cpu_us"] for one in parts]
    yield at_most("bridge's CPU for a single image, µs", costs, 250, 0)


def _memory(section: Section | None) -> Iterator[Goal]:
    if section is None or len(section["samples"]) < 2:  # it is measured only if it is asked for
        return
    first, last = (section["samples"][place]["rss_bytes"] for place in (0, -1))
    what = f"growth of the bridge's memory over {section['settings']['hours']} h, %"
    yield at_most(what, [100 * (last / first - 1)], 100 * FLAT, 1)


def _freshness(section: Section | None) -> Iterator[Goal]:
    age_s = 2.0 if section is None else section["max_age_s"]
    found = [] if section is None else [one["p99"] for one in section["points"]]
    what = f"p99 of what is answered at twice the throughput, --max-age {age_s:g}s, ms"
    yield at_most(what, found, FRESH * age_s * 1000, 0)


def _own_cost(section: Section | None) -> Iterator[Goal]:
    for name, limit in (("raw", 40), ("PNG", 120)):
        costs = [one["cpu_us"]["subject"] for one in windows(section, name)]
        yield at_most(f"bridge's CPU per image, {name}, null model, µs", costs, limit, 0)
    costs, bare = (
        [one["cpu_us"]["subject"] for one in windows(section, name)]
        for name in ("raw", "Kafka's client alone")
    )
    yield shown("bridge's CPU per image, raw ÷ that of Kafka's client alone", costs, bare)
    growth = [
        one["rss_bytes"][1] / max(1, one["rss_bytes"][0]) - 1 for one in windows(section, "raw")
    ]
    what = "growth of the bridge's memory over a window, %"
    yield at_most(what, [100 * one for one in growth], 100 * FLAT, 1)


def _costs(section: Section | None, name: str) -> list[float]:
    return [one["cpu_us"]["subject"] for one in windows(section, name)]


def _floats(section: Section | None) -> Iterator[Goal]:
    for kind in ("JPEG", "raw"):
        costs, plain = (_costs(section, f"{kind}, {one}") for one in ("FP32", "UINT8"))
        yield shown(f"bridge's CPU per image of 224x224, {kind}: FP32 ÷ UINT8", costs, plain)


def _as_before(section: Section | None) -> Iterator[Goal]:
    if section is None:  # no commit was given
        return
    for kind in ("raw", "PNG"):
        what = f"bridge's CPU per image, {kind}: now ÷ {section['settings']['before']}"
        costs, before = (_costs(section, f"{kind}, {one}") for one in ("now", "before"))
        repeats = min(len(costs), len(before))
        ratios = ratio(costs[:repeats], before[:repeats]).values if repeats else ()
        yield at_most(what, ratios, SAME, 3)


def _batches(throughput: Section | None, latency: Section | None) -> Iterator[Goal]:
    what = "mean batch in Triton, saturated"
    full = [one["mean_batch"] for one in windows(throughput, "bridge") if one["mean_batch"]]
    spread = Spread.of(full) if full else None
    yield (
        Goal(what, "≥ 16", spread.text(1), spread.median >= 16) if spread else Goal(what, "≥ 16")
    )
    lone = [] if latency is None else points(latency, "bridge", LOW)
    yield at_most(
        f"mean batch in Triton at {LOW:.0%} load", [one["mean_batch"] for one in lone], 1.1, 2
    )


def _tritons(section: Section | None) -> Iterator[Goal]:
    yield at_least(
        "2 Tritons ÷ one, behind one bridge, each with its share of a core",
        rates(section, "2"), rates(section, "1"), 1.8,
    )  # fmt: skip


def _bridges(section: Section | None, overhead: Section | None) -> Iterator[Goal]:
    for encoding in ("raw", "PNG"):
        for count in [2, 4] if section is None else section["counts"][1:]:
            yield at_least(
                f"{count} bridges ÷ one, {encoding}, null model, each with its share of a core",
                rates(section, f"{encoding}, {count}"), rates(section, f"{encoding}, 1"),
                0.9 * count,
            )  # fmt: skip
    yield shown(
        "2 bridges ÷ one, raw, null model, as much of the cores as they get",
        rates(overhead, "raw, 2 bridges"), rates(overhead, "raw"),
    )  # fmt: skip
