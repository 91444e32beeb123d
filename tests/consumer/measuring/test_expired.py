"""An image that was too old is an outcome of its own: neither a fault nor missing."""

import dataclasses

from consumer.measuring.text import image_lines, summary_lines
from tests.consumer.runs import make_run


def test_an_expired_image_is_told_by_itself_and_leaves_the_run_valid() -> None:
    run = make_run([5000] * 200, refused="expired")
    summary = run.summary
    assert (summary.sent, summary.answered, summary.expired) == (201, 200, 1)
    assert (summary.dead_lettered, summary.missing) == (0, 0)
    assert summary.dead_letters_by_reason == {}
    assert summary.valid, summary.reasons
    assert "1 images were too old" in summary.notes[0]
    assert sum(line.endswith("\tEXPIRED\t-\t-") for line in image_lines(run.rows)) == 1
    assert "expired        1" in list(summary_lines(summary))


def test_what_was_dropped_without_a_trace_is_missing_and_the_report_says_that_it_may_be_so() -> (
    None
):
    whole = make_run([5000] * 200).summary
    assert not any("--expired drop" in note for note in whole.notes)
    summary = dataclasses.replace(whole, sent=201, missing=1)
    assert "--expired drop" in summary.notes[-1]
    assert any("--expired drop" in line for line in summary_lines(summary))
