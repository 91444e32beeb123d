import dataclasses

from consumer.report.comparison import Line, caveats, compare
from consumer.summary import Summary
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


def test_runs_at_different_rates_are_set_side_by_side_and_not_judged() -> None:
    a, b = make_run([2000] * 2000).summary, make_run([1000] * 2000, rate=300).summary
    found = compare(a, b)
    assert {line.verdict for line in found} == {""}
    rate = next(line for line in found if (line.group, line.name) == ("images/s", "answered"))
    assert rate.change_text == "+200.0%"
    assert "different load: A was offered 100.0 images/s, B 300.0" in "".join(caveats(a, b))


def test_accuracy_is_judged_of_the_same_images_only() -> None:
    def correct(a: Summary, b: Summary) -> str:
        return next(line for line in compare(a, b) if line.name == "correct").verdict

    answers = [("cat", "cat"), ("dog", "dog"), ("dog", "cat")]
    a, same = (make_run([1000] * 300, answers=given).summary for given in (answers, answers[::-1]))
    better = make_run([1000] * 300, answers=[*answers[:2], ("dog", "dog")]).summary
    others = make_run([1000] * 300, answers=[("cat", "cat")]).summary
    assert a.image_set == same.image_set == better.image_set != others.image_set
    assert caveats(a, better) == []
    assert correct(a, better) == "better"
    assert correct(a, others) == ""
    assert "different images: A has 300 (300" in "".join(caveats(a, others))


def test_no_time_of_a_run_that_is_not_valid_is_judged() -> None:
    a, b = make_run([2000] * 2000).summary, make_run([1000] * 2000).summary
    found = compare(a, dataclasses.replace(b, valid=False, reasons=["why"]))
    assert {line.verdict for line in found} == {""}


def test_a_change_of_many_times_is_written_as_a_factor() -> None:
    assert Line("", "", 2.0, 1_000_000.0, "ms").change_text == "500,000 times"
