"""Tables of how the cost of an image grows. Pure."""

from collections.abc import Iterator, Sequence

from benchmarks.results import Section, windows
from benchmarks.spread import Spread

MIB = 1 << 20

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Head and rows of a table."""


def tables(section: Section) -> Iterator[Table]:
    """The cost of an image by what grows; then the time until a bridge answers."""
    yield (
        ("", "images/s", "bridge's CPU, µs/image", "Kafka's", "bridge's memory, MiB"),
        [
            (
                name,
                Spread.of([one["rate"] for one in measured]).text(0),
                Spread.of([one["cpu_us"]["subject"] for one in measured]).text(0),
                Spread.of([one["cpu_us"]["kafka"] for one in measured]).text(0),
                Spread.of([one["rss_bytes"][1] / MIB for one in measured]).text(0),
            )
            for name in section["measurements"]
            if (measured := windows(section, name))
        ],
    )
    starts = section.get("starts", ())
    if starts:
        yield (
            ("images that wait", "ready after, s", "first answer after, s", "memory then, MiB"),
            [
                (
                    f"{waiting:,}",
                    *(
                        Spread.of([one[of] / unit for one in starts if one["waiting"] == waiting])
                        .text(digits)
                        for of, unit, digits in (
                            ("ready_s", 1, 1), ("first_answer_s", 1, 1), ("rss_bytes", MIB, 0),
                        )
                    ),
                )
                for waiting in dict.fromkeys(one["waiting"] for one in starts)
            ],
        )  # fmt: skip
