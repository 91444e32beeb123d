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
        fuse.answered(3)
    assert fuse.share == 0.25


def test_zero_means_never() -> None:
    fuse = Fuse(consecutive=0, ratio=0, window=5)
    for _ in range(100):
        fuse.dead("x")
    assert fuse.share == 1.0
