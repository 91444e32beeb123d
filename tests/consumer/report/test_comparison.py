import dataclasses

from consumer.report.comparison import Line, caveats, compare
from tests.consumer.runs import make_run


def lines(a: list[int], b: list[int]) -> dict[tuple[str, str], Line]:
    found = compare(make_run(a).summary, make_run(b).summary)
    return {(line.group, line.name): line for line in found}


def test_a_latency_that_fell_is_better_and_one_that_rose_is_worse() -> None:
    slow, quick = [2000] * 2000, [1000] * 2000
    assert lines(slow, quick)["latency from intended time", "p50"].verdict == "better"
    found = lines(quick, slow)["latency from intended time", "p50"]
    assert (found.verdict, found.change_text) == ("worse", "+100.0%")


def test_a_small_change_is_named_neither() -> None:
    assert lines([1000] * 2000, [1030] * 2000)["latency from intended time", "p50"].verdict == ""


def test_a_percentile_with_few_images_behind_it_is_not_judged() -> None:
    found = lines([1000] * 500, [9000] * 500)
    assert found["latency from intended time", "p95"].verdict == "worse"
    assert found["latency from intended time", "p99"].few
    assert found["latency from intended time", "p99"].verdict == ""
    assert found["latency from intended time", "max"].verdict == ""


def test_a_stage_is_judged_by_what_it_does_to_the_whole() -> None:
    a = make_run([1000] * 100).summary
    b = make_run([1000] * 100).summary
    small, large = dataclasses.replace(a.stages[0], mean_ms=0.001), a.stages[-1]
    a = dataclasses.replace(a, stages=[small, large])
    b = dataclasses.replace(b, stages=[dataclasses.replace(small, mean_ms=0.003), large])
    stage = next(line for line in compare(a, b) if line.group == "stage, mean")
    assert (stage.change_text, stage.verdict) == ("+200.0%", "")


def test_one_missing_image_or_one_wrong_answer_more_is_worse() -> None:
    a = make_run([1000] * 1000).summary
    b = dataclasses.replace(a, missing=1, correct=a.correct - 1)
    found = {line.name: line for line in compare(a, b)}
    assert (found["missing"].verdict, found["missing"].change_text) == ("worse", "from none")
    assert (found["correct"].verdict, found["correct"].change_text) == ("worse", "-0.10 points")


def test_a_run_without_a_latency_can_be_compared() -> None:
    found = lines([], [1000] * 10)
    assert found["latency from intended time", "p50"].text(None) == "-"
    assert found["latency from intended time", "p50"].verdict == ""


def test_what_makes_two_runs_incomparable_is_said() -> None:
    a = make_run([1000] * 100).summary
    assert caveats(a, a) == []
    b = dataclasses.replace(
        make_run([1000] * 100, model="other").summary,
        valid=False, reasons=["why"], stored=3, warmup=10, offered_rate=5.0,
    )  # fmt: skip
    said = "\n".join(caveats(a, b))
    for words in ("B is not valid: why", "3 answers", "different models", "warm-ups", "load"):
        assert words in said
