"""When nearly everything fails, the bridge must stop rather than bury it all."""

import pytest

from bridge.fuse import Fuse, FuseBlownError


def test_dead_letters_in_a_row_blow_the_fuse() -> None:
    fuse = Fuse(consecutive=3, ratio=0, window=10)
    fuse.dead("a")
    fuse.dead("b")
    fuse.answered()
    fuse.dead("c")
    fuse.dead("d")
    with pytest.raises(FuseBlownError, match=r"3 images in a row.*the last: e"):
        fuse.dead("e")


def test_a_share_of_dead_letters_blows_the_fuse_once_the_window_is_full() -> None:
    fuse = Fuse(consecutive=0, ratio=0.5, window=10)
    for _ in range(6):
        fuse.dead("early")
    fuse.answered(3)
    with pytest.raises(FuseBlownError, match="7 of the last 10"):
        fuse.dead("late")


def test_answers_push_dead_letters_out_of_the_window() -> None:
    fuse = Fuse(consecutive=0, ratio=0.5, window=4)
    for _ in range(50):
        fuse.dead("x")
        fuse.dead("x")
        fuse.answered(2)


def test_zero_means_never() -> None:
    fuse = Fuse(consecutive=0, ratio=0, window=5)
    for _ in range(100):
        assert not fuse.holds()
        fuse.dead("x")


def test_until_the_first_answer_the_tenth_dead_letter_waits_for_it() -> None:
    fuse = Fuse(consecutive=1000, ratio=0, window=10)
    for _ in range(9):
        assert not fuse.holds()
        fuse.dead("x")
    assert fuse.holds()
    with pytest.raises(FuseBlownError, match=r"12 images in a row.*none was answered yet.*: y"):
        fuse.blow(3, "y")
    fuse.answered()
    for _ in range(500):
        assert not fuse.holds()
        fuse.dead("x")


def test_a_limit_below_ten_is_kept_before_the_first_answer() -> None:
    fuse = Fuse(consecutive=2, ratio=0, window=10)
    fuse.dead("x")
    assert fuse.holds()
