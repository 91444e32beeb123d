"""Measures the same subjects repeatedly, in alternating order."""

import time
from collections.abc import Callable, Mapping

from benchmarks.plan import Result
from benchmarks.progress import Progress
from benchmarks.spread import alternated
from benchmarks.window import Window
from stack.errors import StackError

FIRST_S = 15.0
"""Seconds that a subject is expected to need before its first measurement: start, warm-up, stop."""
SLOWER = 1.2
"""Factor by which a subject may take longer than the last time."""
NO_TIME = "no time left"


def repeat(
    todo: Mapping[str, Callable[[], Window]],
    repeats: int,
    progress: Progress,
    settings: Mapping[str, object] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Measure each subject once in each repeat, every second repeat in reverse, while time is left.

    If time is short, the last repeats of some subjects are missing; the others can be compared by
    their index, which is the number of the repeat.

    Args:
        settings: kept with the result.
    """
    found: dict[str, list[dict[str, object]]] = {name: [] for name in todo}
    failures: dict[str, str] = {}
    took: dict[str, float] = {}
    for turn in range(repeats):
        for name in alternated(list(todo), turn):
            if name in failures or len(found[name]) < turn:
                continue
            if not progress.has_time(SLOWER * took.get(name, FIRST_S)):
                progress.say(f"{name}: {NO_TIME}")
                continue
            began = clock()
            try:
                window = todo[name]()
            except StackError as error:
                # The rest still counts; the results name what failed.
                failures[name] = str(error)
                progress.say(f"{name}: failed: {error}")
            else:
                took[name] = max(took.get(name, 0.0), clock() - began)
                found[name].append(window.as_json())
                progress.say(
                    f"{name}: {window.rate:,.0f} images/s, CPU {window.cpu_us['subject']:,.0f} "
                    "µs/image"
                )
            progress.keep(_result(found, failures, repeats, settings))
    for name, windows in found.items():
        if not windows:
            failures.setdefault(name, NO_TIME)
    return _result(found, failures, repeats, settings)


def _result(
    found: Mapping[str, list[dict[str, object]]],
    failures: Mapping[str, str],
    repeats: int,
    settings: Mapping[str, object] | None,
) -> Result:
    measured = {
        name: list(windows) for name, windows in found.items() if windows and name not in failures
    }
    result: Result = {
        "measurements": measured, "failures": dict(failures), "repeats": repeats,
    }  # fmt: skip
    return result if settings is None else {**result, "settings": dict(settings)}
