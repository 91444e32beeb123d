"""What is remembered of the latest images, and that it is bounded."""

import pytest

from consumer.liveview.recent import MAX_PICTURE, Picture, Recent


def picture(size: int) -> Picture:
    return Picture(b"x" * size, "image/png", None, None)


def test_items_are_found_by_any_of_their_keys_until_they_are_pushed_out() -> None:
    recent = Recent(max_items=2)
    first = recent.add("a", 0.0, ("a", 1), ("images", 0, 0))
    assert recent.find(("images", 0, 0)) is first
    recent.name(first, ("other", 7))
    assert recent.find(("nothing", 1), ("other", 7)) is first
    recent.add("b", 0.0, ("b", 1))
    recent.add("c", 0.0, ("c", 1))
    assert len(recent) == 2
    assert recent.find(("a", 1), ("images", 0, 0), ("other", 7)) is None


def test_a_key_that_went_to_a_newer_item_outlives_the_older_one() -> None:
    recent = Recent(max_items=2)
    recent.add("a", 0.0, ("a", 1))
    newer = recent.add("a", 0.0, ("a", 1))
    recent.add("b", 0.0, ("b", 1))
    assert recent.find(("a", 1)) is newer


def test_waiting_counts_the_items_without_an_outcome_that_are_still_kept() -> None:
    recent = Recent(max_items=3)
    items = [recent.add(str(number), 0.0, (str(number), 0)) for number in range(3)]
    assert recent.settle(items[1], "answered")
    assert not recent.settle(items[1], "dead-lettered")
    assert items[1].state == "answered"
    assert recent.waiting == 2
    recent.add("3", 0.0, ("3", 0))
    assert recent.waiting == 2  # the first one went, unanswered


def test_old_pictures_go_where_new_ones_need_room() -> None:
    recent = Recent(max_items=100, max_bytes=1000)
    items = [recent.add(str(number), 0.0, (str(number), 0)) for number in range(5)]
    for item in items:
        recent.keep(item, picture(300))
    assert recent.picture_bytes == 900
    kept = [recent.picture(item.number) is not None for item in items]
    assert kept == [False, False, True, True, True]


def test_a_picture_goes_with_its_item() -> None:
    recent = Recent(max_items=1)
    first = recent.add("a", 0.0, ("a", 0))
    recent.keep(first, picture(10))
    recent.add("b", 0.0, ("b", 0))
    assert recent.picture(first.number) is None
    assert recent.picture_bytes == 0


@pytest.mark.parametrize("size", [MAX_PICTURE, MAX_PICTURE + 1])
def test_a_picture_is_kept_up_to_what_the_bridge_takes(size: int) -> None:
    recent = Recent()
    item = recent.add("a", 0.0, ("a", 0))
    recent.keep(item, picture(size))
    assert (recent.picture(item.number) is not None) == (size <= MAX_PICTURE)
