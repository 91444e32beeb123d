"""The same subjects again and again, in alternating order."""

from collections.abc import Callable, Mapping

from benchmarks.plan import Result, Say
from benchmarks.spread import alternated
from benchmarks.window import Window
from stack.errors import StackError


def repeat(todo: Mapping[str, Callable[[], Window]], repeats: int, say: Say) -> Result:
    """Every subject once in each repeat, every second repeat in reverse."""
    found: dict[str, list[dict[str, object]]] = {name: [] for name in todo}
    failures: dict[str, str] = {}
    for turn in range(repeats):
        for name in alternated(list(todo), turn):
            if name in failures:
                continue
            try:
                window = todo[name]()
            except StackError as error:
                # The rest still counts; what failed is told in the results.
                failures[name] = str(error)
                say(f"{name}: failed: {error}")
                continue
            found[name].append(window.as_json())
            say(
                f"{name}: {window.rate:,.0f} images/s, CPU {window.cpu_us['subject']:,.0f} µs/image"
            )
    for name in failures:
        del found[name]
    return {"measurements": found, "failures": failures, "repeats": repeats}
