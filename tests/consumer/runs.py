"""Runs made up for the tests of what is shown of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumer.measuring.evaluate import evaluate
from consumer.measuring.matching import Matcher, Rows
from consumer.measuring.statistics import Measured, measured
from consumer.summary import Summary, TritonStages
from wire.prediction import STAMPS, Prediction, ScoredLabel

MS = 1_000_000
BEGAN_NS = 1_700_000_000_000_000_000
RUNS_US: dict[str, list[int]] = {
    "nothing": [],
    "one": [1000],
    "no time at all": [0] * 30,
    "all the same": [5000] * 200,
    "six decades": [10**n for n in range(7)] * 40,
    "clock errors": [-5, -5],
    "some clock errors": [-5, 3000] * 50,
}


@dataclass(frozen=True, slots=True)
class Run:
    rows: Rows
    chosen: Measured
    summary: Summary


def make_run(
    latencies_us: Sequence[int],
    *,
    answers: Sequence[tuple[str, str]] = (("cat", "cat"),),
    scores: Sequence[float] = (0.5,),
    id: str = "image-",
    model: str = "m",
    run_id: str = "r",
    refused: str | None = None,
    settings: dict[str, str] | None = None,
    shares: Sequence[float] = (0.0,) * len(STAMPS),
    rate: float = 100.0,
) -> Run:
    """Images at an even rate, each answered after so long.

    Args:
        latencies_us: of each image.
        answers: (true label, predicted label) of each image, over and over.
        scores: of each predicted label, over and over.
        id: of each image, before its number.
        model: name of the model.
        run_id: name of the run.
        refused: the reason of a dead letter that one more image gets.
        settings: options of the consumer.
        shares: of the latency that has gone by at each of `STAMPS`.
        rate: images/s.
    """
    matcher = Matcher(10**6)
    for number, latency in enumerate(latencies_us):
        due = BEGAN_NS + int(number * 1e9 / rate)
        stamps = {
            name: due + int(latency * 1000 * share)
            for name, share in zip(STAMPS, shares, strict=True)
        }
        label, predicted = answers[number % len(answers)]
        top = (ScoredLabel(label=predicted, class_id=0, score=scores[number % len(scores)]),)
        matcher.image(f"{id}{number}", due, stamps["sent"], label, (0, number))
        answer = Prediction(f"{id}{number}", model, "1", top, stamps, 4)
        matcher.prediction(answer, due + latency * 1000)
    if refused is not None:
        matcher.image(f"{id}refused", BEGAN_NS, BEGAN_NS, None)
        matcher.dead_letter(f"{id}refused", refused, BEGAN_NS)
    rows = matcher.rows()
    chosen = measured(rows, 0)
    summary = evaluate(
        matcher, rows, chosen, run_id=run_id, ended_by="count", expected=None, with_images=True,
        warmup=0, unreadable=0, allow_backlog=False, settings=settings,
        triton=[TritonStages(model, "1", 10, 40, 10, 4.0, 0.5, 0.1, 2.0, 0.1)],
    )  # fmt: skip
    return Run(rows, chosen, summary)
