"""Subjects alternate, one that fails does not stop the others, and time that runs out is told."""

from collections.abc import Callable

from benchmarks.plan import Result
from benchmarks.progress import Progress, shares
from benchmarks.repeats import NO_TIME, repeat
from benchmarks.window import Window
from stack.errors import StackError

WINDOW = Window(
    seconds=2.0, images=100, cpu_s={"subject": 1.0}, rss_bytes=(1, 1), mean_batch=None,
    queue_ms=None, compute_ms=None,
)  # fmt: skip


class Bench:
    """Subjects that take a time of a clock's, and what was told and kept."""

    def __init__(self, deadline: float | None = None) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.lines: list[str] = []
        self.kept: list[Result] = []
        self.progress = Progress(
            self.lines.append, self.kept.append, deadline, clock=lambda: self.now
        )

    def subject(self, name: str, seconds: float, error: str = "") -> Callable[[], Window]:
        def run() -> Window:
            self.order.append(name)
            self.now += seconds
            if error:
                raise StackError(error)
            return WINDOW

        return run

    def repeat(self, repeats: int, **subjects: float) -> Result:
        todo = {name: self.subject(name, seconds) for name, seconds in subjects.items()}
        return repeat(todo, repeats, self.progress, {"network": "x"}, clock=lambda: self.now)


def test_every_second_repeat_is_reversed_and_each_subject_is_kept_as_it_ends() -> None:
    bench = Bench()
    result = bench.repeat(2, a=1.0, b=1.0)
    assert bench.order == ["a", "b", "b", "a"]
    assert [sum(map(len, one["measurements"].values())) for one in bench.kept] == [1, 2, 3, 4]
    assert bench.kept[0]["settings"] == {"network": "x"}
    assert bench.kept[-1] == result


def test_one_that_fails_is_left_out_with_its_reason() -> None:
    bench = Bench()
    todo = {"a": bench.subject("a", 1.0, error="it died"), "b": bench.subject("b", 1.0)}
    result = repeat(todo, 2, bench.progress)
    assert bench.order == ["a", "b", "b"]
    assert result["failures"] == {"a": "it died"}
    assert list(result["measurements"]) == ["b"]


def test_what_there_is_no_time_for_is_not_begun() -> None:
    bench = Bench(deadline=37.0)
    result = bench.repeat(3, a=10.0, b=10.0, c=10.0)
    # 17 s are left after b: one that was not measured yet is taken to need more, b is known.
    assert bench.order == ["a", "b", "b"]
    assert bench.now <= 37.0
    assert [len(windows) for windows in result["measurements"].values()] == [1, 2]
    assert result["failures"] == {"c": NO_TIME}


def test_time_is_shared_by_weight_among_what_is_left() -> None:
    weights = {"throughput": 3.0, "latency": 2.0}
    assert shares(120.0, ["throughput", "latency", "other"], weights) == 60.0
    assert shares(90.0, ["latency", "other"], weights) == 60.0
    assert shares(30.0, ["other"], weights) == 30.0
