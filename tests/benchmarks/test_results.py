"""What a run has measured is kept while it runs, and no run spoils the results of another."""

from pathlib import Path

import pytest

from benchmarks.progress import Progress
from benchmarks.repeats import NO_TIME, repeat
from benchmarks.results import RAW, Kept, read, save
from benchmarks.window import Window
from stack.errors import StackError

ABOUT = {"machine": {"device": "CPU"}}


def test_a_run_that_is_stopped_leaves_the_results_before_it_and_its_own(tmp_path: Path) -> None:
    save(tmp_path, "latency", {"points": [1]})
    kept = Kept(tmp_path, "latency", ABOUT)
    assert kept.where() == "nothing was measured yet"
    kept.partial({"points": [2]})
    assert read(tmp_path, ["latency"]) == {"latency": {"points": [1]}}
    assert kept.where() == f"what there is: {tmp_path / RAW / 'latency.partial.json'}"


def test_where_there_are_no_others_unfinished_results_are_read_and_say_so(tmp_path: Path) -> None:
    Kept(tmp_path, "latency", ABOUT).partial({"points": [2]})
    found = read(tmp_path, ["latency", "photos"])
    assert found == {"latency": {"points": [2], "unfinished": True, **ABOUT}}


def test_a_finished_section_takes_the_place_of_both(tmp_path: Path) -> None:
    save(tmp_path, "latency", {"points": [1]})
    kept = Kept(tmp_path, "latency", ABOUT)
    kept.partial({"points": [2]})
    kept.finish({"points": [2, 3]})
    assert read(tmp_path, ["latency"]) == {"latency": {"points": [2, 3], **ABOUT}}
    assert [path.name for path in (tmp_path / RAW).iterdir()] == ["latency.json"]


def test_a_section_that_had_no_time_leaves_the_results_before_it(tmp_path: Path) -> None:
    save(tmp_path, "photos", {"measurements": {"bridge": [1]}})
    kept = Kept(tmp_path, "photos", ABOUT)
    progress = Progress(lambda _: None, kept.partial, deadline=0.0, clock=lambda: 0.0)
    result = repeat({"bridge": window, "ceiling": window}, 2, progress)
    with pytest.raises(StackError, match=rf"nothing was measured \({NO_TIME}\); earlier"):
        kept.finish(result)
    assert read(tmp_path, ["photos"]) == {"photos": {"measurements": {"bridge": [1]}}}


def window() -> Window:
    raise AssertionError("there is no time for it")
