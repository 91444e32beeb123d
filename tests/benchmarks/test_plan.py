"""How much is measured where, and by how many processes."""

import pytest

from benchmarks.latency import MOST_PROBES, probes_for
from benchmarks.plan import FULL, QUICK, plan_for


def test_a_short_run_on_a_gpu_ends_within_eight_minutes_by_itself() -> None:
    plan = plan_for("cuda", quick=True)
    assert plan.budget_s is not None
    assert plan.budget_s < 8 * 60
    assert plan.essential


def test_on_a_cpu_nothing_is_left_out() -> None:
    assert (plan_for("cpu", quick=True), plan_for("cpu", quick=False)) == (QUICK, FULL)
    assert not QUICK.essential
    assert QUICK.budget_s is None


def test_a_gpu_gets_the_images_that_it_can_take() -> None:
    for quick in (True, False):
        plan = plan_for("cuda", quick=quick)
        seconds = plan.watch.warm_s + plan.watch.window_s + 2
        assert plan.images > 90_000 * seconds


@pytest.mark.parametrize(
    ("rate", "straight", "cores", "probes"),
    [
        (2_000, False, 16, 1),
        (2_000, True, 16, 2),
        (10_000, False, 16, 3),
        (15_000, True, 16, MOST_PROBES),
        (15_000, True, 8, 4),
        (2_000, True, 2, 1),  # more of them would take the cores from what they measure
    ],
)
def test_no_probe_sends_more_than_it_can(
    rate: float, straight: bool, cores: int, probes: int
) -> None:
    assert probes_for(rate, straight=straight, cores=cores) == probes
