"""An image that was too old is an outcome of its own: neither a fault nor missing."""

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
